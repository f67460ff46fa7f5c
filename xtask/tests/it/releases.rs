//! `releases` and `diff`: records are read out of tags of real repositories, whatever is checked
//! out, and whatever else is tagged.

use std::path::Path;
use std::process::Command;

use expect_test::expect;
use serde_json::{Value, json};

use crate::dsl::{Answer, Project};

/// A project in a repository of its own, with one commit.
fn repository() -> Project {
    let project = Project::new();
    project.file("docker/.keep", "").file("environments/dev/.keep", "");
    git(&project, &["init", "--quiet", "--initial-branch=main"]);
    commit(&project, "Begin");
    project
}

/// A repository with 1.0.0 and, two commits later, 1.1.0 on a moved base.
fn two_releases() -> Project {
    let project = repository();
    commit(&project, "Plough");
    commit(&project, "Sow");
    release(&project, "1.0.0", |_| {});
    commit(&project, "Add *stars*");
    commit(&project, "Take the fixes of today");
    release(&project, "1.1.0", moved);
    project
}

/// Runs git; its stdout. Neither the machine's configuration nor its clock is in what it makes.
fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Ada")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "ada@example.com")))
        .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, "@1763600000 +0000")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn git(project: &Project, arguments: &[&str]) -> String {
    git_in(project.root(), arguments)
}

fn commit(project: &Project, subject: &str) {
    project.file("app/source.txt", subject);
    git(project, &["add", "--all"]);
    git(project, &["commit", "--quiet", "--message", subject]);
}

/// Tags what is checked out as a release does: a commit beside the branch that adds the record.
fn release(project: &Project, version: &str, change: impl Fn(&mut Value)) {
    let mut record = record(version, &git(project, &["rev-parse", "HEAD"]));
    change(&mut record);
    tag(project, version, &format!("{record:#}\n"));
}

fn tag(project: &Project, version: &str, record: &str) {
    git(project, &["checkout", "--quiet", "--detach"]);
    project.file(&format!("releases/{version}.json"), record);
    git(project, &["add", "releases"]);
    git(project, &["commit", "--quiet", "--message", &format!("Release {version}")]);
    git(project, &["tag", "--annotate", "--message", version, &format!("v{version}")]);
    git(project, &["checkout", "--quiet", "main"]);
}

fn record(version: &str, commit: &str) -> Value {
    let image = |config: &str, size: u64, packages: Value| {
        json!({
            "fingerprint": config, "config": format!("sha256:{config}"),
            "layers": [{"diff_id": "sha256:base", "size": 80_000_000},
                       {"diff_id": format!("sha256:{config}"), "size": size}],
            "from": [],
            "distribution": "debian-13",
            "packages": {"manager": "dpkg", "installed": packages},
        })
    };
    let service = |image: &str, store: Value| json!({"image": image, "config": null, "attached": store.is_object(), "store": store});
    json!({
        "schema": "stevedore.release/1", "version": version, "previous": null, "name": "shop",
        "commit": commit, "branch": "release-v1.0", "created": "2026-11-20T08:00:00Z",
        "by": {"name": "Ada Lovelace", "email": "ada@example.com"}, "tools": {"git": "2.47.3"},
        "environment": "prod",
        "registry": null, "platform": "linux/amd64", "epoch": "2026-11-19T12:00:00Z",
        "bases": {"debian:trixie-slim": {"content": "sha256:b1", "digest": null}},
        "images": {
            "app": image("a1", 4_100_000, json!({"libc6:amd64": "2.41-12"})),
            "postgres": image("p1", 9_000_000, json!({"libc6:amd64": "2.41-12", "psql": "17"})),
        },
        "services": {
            "app": service("app", json!(null)),
            "postgres": service("postgres", json!({"version": "17.6", "major": 17})),
        },
        "dependencies": {}, "assets": {}, "migrations": {}, "gates": [], "configuration": {},
    })
}

/// What a newer base does to a record.
fn moved(record: &mut Value) {
    record["created"] = json!("2026-11-22T09:30:00Z");
    for (image, config) in [("app", "a2"), ("postgres", "p2")] {
        let image = &mut record["images"][image];
        image["config"] = json!(format!("sha256:{config}"));
        image["packages"]["installed"]["libc6:amd64"] = json!("2.41-12+deb13u1");
    }
}

/// The names of commits say nothing to a reader, and change with every edit of this file.
fn without_hashes(project: &Project, text: &str) -> String {
    let mut text = text.to_owned();
    let commits = git(project, &["log", "--all", "--format=%H"]);
    for commit in commits.lines() {
        text = text.replace(commit, "<commit>").replace(&commit[..12], "<commit>");
    }
    text
}

#[test]
fn releases_are_listed_newest_version_first_with_their_stack() {
    let project = repository();
    for version in ["1.0.0", "1.0.9", "1.0.10", "0.9.0"] {
        release(&project, version, |_| {});
    }
    let list = project.xtask(&["releases"]).succeeds().stdout;
    expect![[r#"
        1.0.10  2026-11-20  <commit>  Ada Lovelace  epoch 2026-11-19, 2 packages, postgres 17, 2 images of 93.1 MB
        1.0.9   2026-11-20  <commit>  Ada Lovelace  epoch 2026-11-19, 2 packages, postgres 17, 2 images of 93.1 MB
        1.0.0   2026-11-20  <commit>  Ada Lovelace  epoch 2026-11-19, 2 packages, postgres 17, 2 images of 93.1 MB
        0.9.0   2026-11-20  <commit>  Ada Lovelace  epoch 2026-11-19, 2 packages, postgres 17, 2 images of 93.1 MB
    "#]].assert_eq(&without_hashes(&project, &list));
    let events = project.xtask(&["--json", "releases"]).succeeds().events();
    let versions: Vec<&Value> = events.iter().map(|event| &event["version"]).collect();
    assert_eq!(versions, ["1.0.10", "1.0.9", "1.0.0", "0.9.0"]);
    expect![[r#"{"by":{"email":"ada@example.com","name":"Ada Lovelace"},"commit":"<commit>","created":"2026-11-20T08:00:00Z","deployed":[],"epoch":"2026-11-19T12:00:00Z","event":"release","images":2,"packages":2,"size_bytes":93100000,"stores":{"postgres":17},"version":"1.0.10"}"#]].assert_eq(&without_hashes(&project, &events[0].to_string()));
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let project = repository();
    release(&project, "1.0.0", |record| record["by"]["name"] = json!("Ada\u{1b}[2J"));
    project.xtask(&["--color=always", "releases"]).succeeds().prints("  Ada\u{fffd}[2J  epoch");
}

#[test]
fn a_record_that_cannot_be_read_is_one_line_and_hides_no_other() {
    let project = repository();
    release(&project, "1.0.0", |_| {});
    release(&project, "1.1.0", |record| record["schema"] = json!("stevedore.release/2"));
    release(&project, "1.2.0", |record| record["version"] = json!("1.0.0"));
    release(&project, "1.3.0", |record| record["commit"] = json!("--output=/tmp/x"));
    tag(&project, "1.4.0", "{\"schema\": \"stevedore.release/1\", \"version\":");
    let answer = project.xtask(&["releases"]).exits(1);
    expect![[r#"
        1.4.0  releases/1.4.0.json in the tag v1.4.0: this is no release record: EOF while parsing a value at line 1 column 44
        1.3.0  releases/1.3.0.json in the tag v1.3.0: the record names "--output=/tmp/x" as its commit
        1.2.0  releases/1.2.0.json in the tag v1.2.0: the record is of release 1.0.0
        1.1.0  releases/1.1.0.json in the tag v1.1.0: its schema is stevedore.release/2, and this program reads stevedore.release/1; use the cargo xtask of that release or a later one
        1.0.0  2026-11-20  <commit>  Ada Lovelace  epoch 2026-11-19, 2 packages, postgres 17, 2 images of 93.1 MB
    "#]].assert_eq(&without_hashes(&project, &answer.stdout));
    expect![[r#"
        error: 4 of 5 releases can't be read; the list says what is wrong with each
    "#]]
    .assert_eq(&answer.stderr);
    let events = project.xtask(&["--json", "releases"]).exits(1).events();
    let problems: Vec<bool> = events.iter().map(|event| event["problem"].is_string()).collect();
    assert_eq!(problems, [true, true, true, true, false, false]);
    let says = "releases/1.1.0.json in the tag v1.1.0: its schema is stevedore.release/2";
    project.xtask(&["diff", "1.0.0", "1.1.0"]).exits(1).says(says);
}

#[test]
fn other_tags_are_no_releases() {
    let project = repository();
    release(&project, "1.0.0", |_| {});
    git(&project, &["tag", "v1.1.0", "v1.0.0^{commit}"]);
    for tag in ["v0.1.0", "v1.0", "1.2.0", "v1.2.0-rc.1", "v01.2.0", "release-1"] {
        git(&project, &["tag", "--annotate", "--message", tag, tag]);
    }
    let answer = project.xtask(&["releases"]).succeeds();
    assert_eq!(answer.stdout.lines().count(), 1, "{}", answer.stdout);
    expect![[r#"
        not of `cargo xtask release`, since they hold no record: v1.2.0-rc.1, v0.1.0
        lightweight, so not releases: v1.1.0; `git fetch --tags --force` gets annotated ones
    "#]]
    .assert_eq(&answer.stderr);
    let refused = |version| project.xtask(&["diff", "1.0.0", version]).exits(2).stderr;
    expect![[r#"
        error: the tag v1.1.0 is lightweight, so it is not a release; known: 1.2.0-rc.1, 1.0.0, 0.1.0; `git fetch --tags --force` gets those of others
    "#]].assert_eq(&refused("1.1.0"));
    expect![[r#"
        error: the tag v0.1.0 holds no releases/0.1.0.json, so it is not a release; known: 1.2.0-rc.1, 1.0.0; `git fetch --tags --force` gets those of others
    "#]].assert_eq(&refused("0.1.0"));
    expect![[r#"
        error: there is no release 7.0.0; known: 1.2.0-rc.1, 1.0.0, 0.1.0; `git fetch --tags` gets those of others
    "#]].assert_eq(&refused("7.0.0"));
}

#[test]
fn without_a_release_it_is_said_how_to_make_one() {
    let project = repository();
    let answer = project.xtask(&["releases"]).succeeds();
    assert_eq!(answer.stdout, "");
    answer.says("no release yet; `cargo xtask release 0.1.0` makes the first one");
    project.xtask(&["diff", "1.0.0", "1.1.0"]).exits(2).says("no release 1.0.0; known: none;");
}

#[test]
fn without_a_repository_it_is_said_that_there_is_none() {
    let answer = Project::new().xtask(&["releases"]).exits(1);
    expect![[r#"
        error: <root> is no git repository, and releases are tags of one; `git init` makes it one
    "#]]
    .assert_eq(&answer.stderr);
}

#[test]
fn a_package_that_moved_with_the_base_is_listed_once() {
    let project = two_releases();
    let answer = project.xtask(&["diff", "1.0.0", "v1.1.0"]).succeeds();
    expect![[r#"
        1.0.0 (<commit>, 2026-11-20) → 1.1.0 (<commit>, 2026-11-22)
        commits
          + <commit>  Take the fixes of today
          + <commit>  Add *stars*
        images
          ~ app       a1 → a2  84.1 MB, the same size
          ~ postgres  p1 → p2  89.0 MB, the same size
        packages
          ~ libc6:amd64  2.41-12 → 2.41-12+deb13u1  in app, postgres
    "#]]
    .assert_eq(&without_hashes(&project, &answer.stdout));
    assert_eq!(answer.stderr, "");
}

#[test]
fn release_notes_are_markdown() {
    let project = two_releases();
    let answer = project.xtask(&["diff", "1.0.0", "1.1.0", "--markdown"]).succeeds();
    expect![[r#"
        ## 1.1.0 (2026-11-22)

        What differs from 1.0.0:

        ### Commits

        - Take the fixes of today (`<commit>`)
        - Add \*stars\* (`<commit>`)

        ### Images

        - `app` `a1` → `a2` (84.1 MB, the same size)
        - `postgres` `p1` → `p2` (89.0 MB, the same size)

        ### Packages

        - `libc6:amd64` `2.41-12` → `2.41-12+deb13u1` (in app, postgres)
    "#]]
    .assert_eq(&without_hashes(&project, &answer.stdout));
    project.xtask(&["--json", "diff", "1.0.0", "1.1.0", "--markdown"]).exits(2);
}

#[test]
fn the_other_way_round_is_the_mirror_image() {
    let project = two_releases();
    let there = project.xtask(&["--json", "diff", "1.0.0", "1.1.0"]).succeeds().events();
    let back = project.xtask(&["--json", "diff", "1.1.0", "1.0.0"]).succeeds().events();
    let kinds: Vec<&Value> = there.iter().map(|event| &event["event"]).collect();
    assert_eq!(kinds, ["diff", "commit", "commit", "image", "image", "package"]);
    assert_eq!(there.len(), back.len());
    for (there, back) in there.iter().zip(&back) {
        assert_eq!((&there["old"], &there["new"]), (&back["new"], &back["old"]), "{there}");
        let mirrored = match there["status"].as_str() {
            Some("added") => json!("removed"),
            _ => there["status"].clone(),
        };
        assert_eq!(back["status"], mirrored, "{there}");
    }
    let same = project.xtask(&["diff", "1.1.0", "1.1.0"]).succeeds().stdout;
    assert_eq!(same, "1.1.0 and 1.1.0: nothing differs\n");
}

#[test]
fn a_release_that_does_not_contain_the_other_is_said_to() {
    let project = two_releases();
    git(&project, &["checkout", "--quiet", "-B", "main", "v1.0.0^"]);
    commit(&project, "Mend 1.0");
    release(&project, "1.0.1", |_| {});
    let stdout = project.xtask(&["diff", "1.1.0", "1.0.1"]).succeeds().stdout;
    let commits: String = stdout.split_inclusive('\n').skip(1).take(4).collect();
    expect![[r#"
        commits (1.0.1 does not contain 1.1.0)
          + <commit>  Mend 1.0
          - <commit>  Take the fixes of today
          - <commit>  Add *stars*
    "#]]
    .assert_eq(&without_hashes(&project, &commits));
}

#[test]
fn neither_the_checkout_nor_the_configuration_nor_the_callers_shell_matters() {
    let mut project = two_releases();
    let ask = |project: &Project| -> [Answer; 2] {
        [["releases"].as_slice(), &["diff", "1.0.0", "1.1.0"]]
            .map(|it| project.xtask(it).succeeds())
    };
    let expected = ask(&project).map(|answer| answer.stdout);
    for (key, value) in
        [("color.ui", "always"), ("log.decorate", "full"), ("log.showSignature", "true")]
    {
        git(&project, &["config", key, value]);
    }
    git(&project, &["checkout", "--quiet", "--detach", "v1.0.0"]);
    project.file("app/source.txt", "not committed").file("releases/1.1.0.json", "not the record");
    for (name, value) in [
        ("GIT_DIR", "/nowhere"),
        ("GIT_WORK_TREE", "/nowhere"),
        ("GIT_INDEX_FILE", "/nowhere/index"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere/objects"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("LANGUAGE", "de"),
    ] {
        project.variable(name, value);
    }
    assert_eq!(ask(&project).map(|answer| answer.stdout), expected);
}

#[test]
fn a_shallow_clone_says_what_to_type_for_the_commits() {
    let project = two_releases();
    let clone = tempfile::tempdir().unwrap();
    let (directory, url) = (clone.path(), format!("file://{}", project.root().display()));
    git_in(directory, &["clone", "--quiet", "--depth=1", &url, "."]);
    git_in(directory, &["fetch", "--quiet", "--depth=1", "--tags"]);
    let diff = || {
        let program = env!("CARGO_BIN_EXE_xtask");
        let output = Command::new(program)
            .args(["diff", "1.0.0", "1.1.0"])
            .current_dir(directory)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Answer { code: output.status.code().unwrap(), stdout, stderr }.succeeds()
    };
    let answer = diff().prints("commits\n  not known to this clone\nimages\n").prints("libc6");
    expect![[r#"
        warning: the commits between 1.0.0 and 1.1.0 are not known: this clone does not hold their history; `git fetch --unshallow --tags` gets it
    "#]].assert_eq(&answer.stderr);
    // Both commits are there, and what is between them is not.
    let deepen = |depth: &str| git_in(directory, &["fetch", "--quiet", depth, "--tags"]);
    deepen("--depth=2");
    diff().prints("not known to this clone").says("`git fetch --unshallow --tags` gets the rest");
    deepen("--depth=4");
    diff().prints("Add *stars*").says("may be incomplete");
    deepen("--unshallow");
    let answer = diff();
    assert_eq!(answer.stderr, "");
    assert_eq!(answer.stdout, project.xtask(&["diff", "1.0.0", "1.1.0"]).stdout);
}

#[test]
fn what_is_no_version_reaches_no_git() {
    let mut project = two_releases();
    project.fake("git", "touch called; exec $real \"$@\"");
    for (name, says) in [
        ("1.0", "\"1.0\" is not a version of a release"),
        ("v1.0.0\n", "releases are X.Y.Z, such as 1.2.3"),
        ("1.0.0+b", "a `+` and what follows it is not supported"),
        ("1.0.0-rc", "what follows the three numbers is not a word, a dot and a number"),
        ("vv1.0.0", "releases are X.Y.Z, such as 1.2.3"),
        ("../1.0.0", "releases are X.Y.Z, such as 1.2.3"),
        ("", "releases are X.Y.Z, such as 1.2.3"),
        ("--output=/tmp/x", "unexpected argument"),
        ("-rf", "unexpected argument"),
    ] {
        project.xtask(&["diff", "1.0.0", name]).exits(2).says(says);
        project.xtask(&["diff", name, "1.0.0"]).exits(2).says(says);
    }
    assert!(!project.path("called").exists());
    project.xtask(&["diff", "1.0.0", "1.1.0"]).succeeds();
    assert!(project.path("called").exists());
}
