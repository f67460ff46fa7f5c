//! Releases: what is made of which commit, what it is called, and what is left alone.

use std::process::Command;

use crate::dsl::{Project, docker, engine, file_in_image};
use crate::registry::Registry;
use crate::shop::{Shop, configuration};

/// A shop whose registry nobody needs.
fn shop() -> Shop {
    Shop::new("127.0.0.1:1")
}

#[test]
fn a_release_is_a_tag_on_a_commit_that_adds_its_record_and_touches_nothing_else() {
    engine!();
    let shop = shop();
    let commit = shop.git(&["rev-parse", "main"]);
    // Whatever somebody does at this moment: another branch, staged and unstaged edits, a new file,
    // a lock that a dead git left behind.
    shop.git(&["checkout", "--quiet", "-b", "idea"]);
    shop.project.file("app/source.txt", "staged\n");
    shop.git(&["add", "app/source.txt"]);
    shop.project.file("app/source.txt", "unstaged\n").file("app/new.txt", "new\n");
    shop.project.file(".git/index.lock", "");
    let look = |shop: &Shop| {
        let index = std::fs::read(shop.project.path(".git/index")).unwrap();
        let head = shop.project.read(".git/HEAD");
        (index, head, shop.project.read("app/source.txt"))
    };
    let before = look(&shop);
    let answer = shop.release("0.7.0").succeeds();
    assert!(answer.stdout.ends_with("0.7.0 is released\n"), "{}", answer.stdout);
    assert!(answer.stderr.contains("what is changed here and not committed is no part of it"));
    assert!(look(&shop) == before);
    std::fs::remove_file(shop.project.path(".git/index.lock")).unwrap();

    assert_eq!(shop.git(&["rev-parse", "release-v0.7"]), commit);
    assert_eq!(shop.git(&["rev-parse", "main"]), commit);
    assert_eq!(shop.git(&["cat-file", "-t", "v0.7.0"]), "tag");
    assert_eq!(shop.git(&["rev-parse", "v0.7.0^@"]), commit, "one parent");
    let files = shop.git(&["diff", "--name-only", &commit, "v0.7.0"]);
    assert_eq!(files, "releases/0.7.0.cdx.json\nreleases/0.7.0.json\nreleases/0.7.0.md");
    assert_eq!(shop.git(&["worktree", "list"]).lines().count(), 1);

    let record = shop.record("0.7.0");
    assert_eq!(record["commit"], commit.as_str());
    let name = format!("{}/app:0.7.0", shop.project.name);
    assert_eq!(file_in_image(&name, "/app/source.txt"), "one\n", "of the commit");
    assert_eq!(configuration(&name), shop.config("0.7.0", "app"));
    let labels = docker(&["image", "inspect", "--format", "{{json .Config.Labels}}", &name]);
    let title = format!(r#""org.opencontainers.image.title":"{}/app""#, shop.project.name);
    assert!(labels.contains(&title), "{labels}");
    assert!(!labels.contains("0.7.0"), "a release changes no image: {labels}");
    assert!(record["images"]["app"]["packages"]["installed"]["bash"].is_string(), "{record}");
    let layers = record["images"]["app"]["layers"].as_array().unwrap();
    assert!(layers.len() > 1 && layers.iter().all(|layer| layer["size"].as_u64() > Some(0)));

    let references = shop.references();
    shop.release("0.7.0").succeeds().prints("0.7.0 is released already");
    shop.release("minor").succeeds().prints("0.7.0 is released already");
    assert_eq!(shop.references(), references, "who says it twice has one release");

    shop.project.xtask(&["release", "--abort", "0.7.0", "--yes"]).succeeds();
    assert_eq!(shop.git(&["tag"]), "");
    assert_eq!(shop.git(&["branch", "--list", "release-*"]), "");
    assert_eq!(docker(&["image", "ls", "--quiet", &name]), "");
    assert!(look(&shop).2 == before.2);
}

#[test]
fn everything_that_speaks_against_a_release_is_said_at_once_with_what_to_type() {
    engine!();
    let shop = shop();
    // A colleague is ahead, the branch is taken, git knows nobody, and the test is red.
    shop.project.file(
        "docker/app/Dockerfile",
        "FROM base AS test\nCOPY . /app\nRUN echo the test says no && false\n\
         FROM base\nCOPY --from=test /app /app\n",
    );
    shop.commit("a red test");
    shop.git(&["commit", "--quiet", "--allow-empty", "--message", "a colleague's"]);
    shop.git(&["push", "--quiet", "origin", "main"]);
    shop.git(&["branch", "release-v1.0"]);
    shop.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    shop.git(&["config", "--unset", "user.email"]);
    shop.git(&["config", "user.useConfigOnly", "true"]);
    let mut shop = shop;
    let home = shop.project.path("home").display().to_string();
    shop.project.variable("HOME", &home).variable("GIT_CONFIG_NOSYSTEM", "1");
    let answer = shop.release("1.0.0").exits(1);
    let (_, list) = answer.stderr.split_once("error: 1.0.0 can't be released:\n").unwrap();
    let lines: Vec<&str> = list.trim_end().lines().collect();
    assert_eq!(lines.len(), 5, "{list}");
    for (line, text) in lines.iter().zip([
        "the branch release-v1.0 exists already",
        "main is behind origin; bring it up to date with `git fetch origin main:main`",
        "git does not know who you are; `git config user.name NAME`",
        "the gate \"tests of app\" did not pass",
        "the gate \"images of prod\" did not pass",
    ]) {
        assert!(line.contains(text), "{text:?} is not in {line:?}");
    }
    assert!(answer.stderr.contains("the test says no"), "{}", answer.stderr);
    assert_eq!(shop.git(&["tag"]), "");
}

#[test]
fn a_red_gate_alone_ends_with_its_own_exit_code_and_releases_nothing() {
    engine!();
    let shop = shop();
    shop.project.file("docker/app/Dockerfile", "FROM base\nCOPY . /app\nRUN false\n");
    shop.commit("it does not build");
    shop.release("1.0.0").exits(3).says("1.0.0 can't be released");
    assert_eq!(shop.git(&["tag"]), "");
    assert_eq!(shop.git(&["branch", "--list", "release-*"]), "");
}

#[test]
fn a_version_that_may_not_be_made_is_refused_before_anything_is_built() {
    engine!();
    let mut shop = shop();
    shop.project.log_docker();
    for (version, code, text) in [
        ("1.0.1", 1, "`cargo xtask release 1.0.0` makes it from main"),
        ("patch", 1, "there is no release to fix yet; `cargo xtask release 0.1.0` makes the first"),
        ("1.2.3+build", 2, "releases are X.Y.Z"),
        ("1.2.3-rc", 2, "releases are X.Y.Z"),
        ("1.2.3-rc.1", 1, "`cargo xtask release 1.2.0` makes it from main"),
        ("01.2.3", 2, "releases are X.Y.Z"),
        ("1.2", 2, "releases are X.Y.Z"),
        ("1.2.3\nX", 2, "releases are X.Y.Z"),
        ("-rf", 2, "unexpected argument"),
        ("", 2, "releases are X.Y.Z"),
    ] {
        shop.release(version).exits(code).says(text);
    }
    // A tag of somebody who knows nothing of releases.
    shop.git(&["tag", "v1.0.0"]);
    shop.release("1.0.0").exits(1).says("tag v1.0.0 is lightweight");
    let calls = shop.project.calls();
    assert!(!calls.iter().any(|call| call.contains("buildx bake")), "{calls:?}");
}

#[test]
fn a_place_without_git_or_with_half_a_history_is_told_what_to_do() {
    engine!();
    let project = Project::new();
    project.xtask(&["release", "1.0.0"]).exits(2).says("begin with `git init`");
    let shop = shop();
    shop.commit("a second");
    let clone = shop.project.path("clone");
    let url = format!("file://{}", shop.remote().display());
    let target = clone.display().to_string();
    shop.git(&["clone", "--quiet", "--depth", "1", "--branch", "main", &url, &target]);
    let answer = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("-C")
        .arg(&clone)
        .args(["release", "1.0.0"])
        .env_remove("CI")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&answer.stderr);
    assert!(words.contains("this clone is shallow"), "{words}");
    assert!(words.contains("git fetch --unshallow"), "{words}");
}

#[test]
fn the_article_s_story_back_to_the_old_app_is_back_to_its_stack_byte_for_byte() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    let stack = |name: &str| format!("FROM debian:trixie-slim\nRUN echo {name} > /stack\n");
    shop.project.file("docker/base/Dockerfile", stack("A")).file("app/source.txt", "app 7\n");
    shop.commit("app 7 on stack A");
    shop.release("0.7.0").succeeds();
    shop.publish("0.7.0").succeeds();
    let (app, base) = (shop.config("0.7.0", "app"), shop.config("0.7.0", "base"));
    shop.project.file("docker/base/Dockerfile", stack("B")).file("app/source.txt", "app 8\n");
    shop.commit("app 8 on stack B");
    shop.release("0.8.0").succeeds();
    shop.publish("0.8.0").succeeds();
    assert_ne!(shop.config("0.8.0", "base"), base);

    // Another machine, years later.
    shop.forget_images();
    shop.project.xtask(&["image", "pull", "0.7.0"]).succeeds();
    let name = |image: &str| format!("{}/{image}:0.7.0", shop.project.name);
    for (image, config) in [("app", app), ("base", base)] {
        assert_eq!(configuration(&name(image)), config, "{image}");
    }
    assert_eq!(file_in_image(&name("app"), "/stack"), "A\n");
    assert_eq!(file_in_image(&name("app"), "/app/source.txt"), "app 7\n");
    shop.project.xtask(&["release", "verify", "0.7.0"]).succeeds().prints("verified 0.7.0");
}
