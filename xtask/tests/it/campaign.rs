//! Random edits against the real engine: an image that is called fresh holds the tree to the byte,
//! and what has not changed is never built again.
//!
//! Every image is `FROM scratch` and one COPY, read back whole. The truth about a tree comes from
//! `tree.rs`, which shares no code with the tool. Bounded rounds run with all the other tests;
//! `STEVEDORE_FULL=1` runs the whole campaign, which takes most of an hour.

// A campaign that fails says how to run it again.
#![allow(clippy::print_stderr)]

#[path = "../../fingerprint/tests/support/chance.rs"]
pub(crate) mod chance;
#[path = "../../fingerprint/tests/support/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fingerprint::ignore::Ignore;
use fingerprint::{Record, StatCache, Walk};

use crate::dsl::{Project, campaign, docker};
use chance::{Chance, size};
use tree::{EDITS, Edit, Modes, Snapshot};

/// A project with one image that copies `app/`, planted with entries.
fn project(chance: &mut Chance) -> Project {
    let project = Project::for_containers();
    let lock = fs::read_to_string(crate::dsl::repository().join("docker/stack.lock")).unwrap();
    project
        .file("docker/stack.lock", lock)
        .file("docker/app/Dockerfile", "FROM scratch\nCOPY . /tree/\n")
        .file("docker/app/Dockerfile.dockerignore", tree::IGNORE)
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, \
             command: [none], x-stevedore: {main: true}}",
        )])
        .mkdir("app");
    tree::plant(chance, &project.path("app"));
    project
}

/// Calls `look` with a directory that holds what an image holds below `/tree`.
fn unpacked<R>(image: &str, look: impl FnOnce(&Path) -> R) -> R {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    let container = docker(&["container", "create", image, "none"]);
    let container = container.trim();
    assert!(!container.is_empty(), "no container of {image}");
    docker(&["container", "export", "--output", archive.to_str().unwrap(), container]);
    docker(&["container", "rm", container]);
    let tar = Command::new("tar")
        .args(["--extract", "--preserve-permissions", "--no-same-owner", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(directory.path())
        .arg("tree")
        .status();
    assert!(tar.unwrap().success(), "can't unpack {image}");
    look(&directory.path().join("tree"))
}

#[track_caller]
fn assert_same(found: &Snapshot, wanted: &Snapshot, what: &str) {
    let paths: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let differences: Vec<String> = paths
        .into_iter()
        .filter(|path| found.get(*path) != wanted.get(*path))
        .map(|path| {
            let name = String::from_utf8_lossy(path);
            format!("{name:?}: {:?} instead of {:?}", found.get(path), wanted.get(path))
        })
        .collect();
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

/// Half of the edits are those that a builder or a cache may overlook.
fn kind_of_edit(chance: &mut Chance) -> Edit {
    const HARD: [Edit; 6] = [
        Edit::SameSizeSameTime,
        Edit::SameSizeSameTime,
        Edit::SameSizeSameTime,
        Edit::DirectoryMode,
        Edit::Rename,
        Edit::OtherKind,
    ];
    if chance.below(2) == 0 { chance.pick(&HARD) } else { chance.pick(&EDITS) }
}

#[test]
fn after_any_edits_the_image_holds_the_tree_and_is_built_only_when_it_must_be() {
    campaign!();
    let mut chance = Chance::new("image rounds");
    let project = project(&mut chance);
    let root = project.path("app");
    // Tree -> the fingerprint it was built under.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..size(12, 240) {
        let mut edits = Vec::new();
        for _ in 0..1 + chance.below(3) {
            let kind = kind_of_edit(&mut chance);
            let there = tree::snapshot(&root, Modes::Settled);
            if tree::edit(&mut chance, &root, &there, kind) {
                edits.push(kind);
            }
        }
        let wanted = tree::snapshot(&root, Modes::Settled);
        let what = format!("round {round}, {edits:?}");
        let answer = project.xtask(&["--json", "image", "build"]).succeeds();
        let event = answer.events().into_iter().find(|event| event["image"] == "app").unwrap();
        let fingerprint = event["fingerprint"].as_str().unwrap().to_owned();
        let before = known.insert(format!("{wanted:?}"), fingerprint.clone());
        let status = if before.is_some() { "fresh" } else { "built" };
        assert_eq!(event["status"], status, "{what}: {event}");
        assert_eq!(*before.as_ref().unwrap_or(&fingerprint), fingerprint, "{what}");
        let image = format!("{}/app:f-{fingerprint}", project.name);
        let found = unpacked(&image, |root| tree::snapshot(root, Modes::Exact));
        assert_same(&found, &wanted, &what);
        let again = project.xtask(&["--json", "image", "build"]).succeeds().images();
        assert_eq!(again, ["app fresh"], "{what}");
    }
    let fingerprints: std::collections::BTreeSet<_> = known.values().collect();
    assert_eq!(fingerprints.len(), known.len(), "two trees have one fingerprint");
}

/// Edits a tree at random times until told to stop; how many of the edits fell into the time in
/// which a build has its directory, from the copying to the last label.
fn edit_until(stop: &AtomicBool, chance: &mut Chance, project: &Project) -> usize {
    let root = project.path("app");
    let builds = project.path(".stevedore/build");
    let is_building = || fs::read_dir(&builds).into_iter().flatten().flatten().next().is_some();
    let (mut edits, mut during) = (0, 0);
    let most = 1 + chance.below(12);
    while !stop.load(Ordering::Relaxed) && edits < most {
        std::thread::sleep(Duration::from_millis(chance.below(400) as u64));
        let before = is_building();
        let kind = kind_of_edit(chance);
        let there = tree::snapshot(&root, Modes::Settled);
        let done = tree::edit(chance, &root, &there, kind);
        edits += usize::from(done);
        during += usize::from(done && before && is_building());
    }
    during
}

#[test]
fn an_edit_during_a_build_never_reaches_an_image_that_claims_otherwise() {
    campaign!();
    let mut chance = Chance::new("edits during a build");
    let project = project(&mut chance);
    let root = project.path("app");
    let (mut edits, mut rounds, mut proved) = (0, 0, std::collections::BTreeSet::new());
    let wanted_edits = size(8, 200);
    while edits < wanted_edits {
        rounds += 1;
        let there = tree::snapshot(&root, Modes::Settled);
        tree::edit(&mut chance, &root, &there, Edit::SameSizeSameTime);
        let stop = AtomicBool::new(false);
        let answer = std::thread::scope(|scope| {
            let editor = scope.spawn(|| edit_until(&stop, &mut chance, &project));
            let answer = project.xtask(&["image", "build"]);
            stop.store(true, Ordering::Relaxed);
            edits += editor.join().unwrap();
            answer
        });
        assert!([0, 1].contains(&answer.code), "round {rounds}: {answer:?}");
        prove_tags(&project, &mut proved, rounds);
        if rounds % 4 == 0 || edits >= wanted_edits {
            project.xtask(&["image", "build"]).succeeds();
            let wanted = tree::snapshot(&root, Modes::Settled);
            let image = project.reference("app");
            let found = unpacked(&image, |root| tree::snapshot(root, Modes::Exact));
            assert_same(&found, &wanted, &format!("round {rounds}, when all is quiet"));
            prove_tags(&project, &mut proved, rounds);
        }
    }
}

/// Every image hashes to the fingerprint that its tag claims.
///
/// Only the tree was edited, so the rest of the inputs is that of the last record.
fn prove_tags(project: &Project, proved: &mut std::collections::BTreeSet<String>, round: usize) {
    let filter = format!("reference={}/app:f-*", project.name);
    let tags = docker(&["image", "ls", "--format", "{{.Tag}}", "--filter", &filter]);
    for tag in tags.lines().filter(|tag| !proved.contains(*tag)).collect::<Vec<_>>() {
        let record = Record::parse(&project.read(".stevedore/dev/inputs/app")).unwrap();
        let image = format!("{}/app:{tag}", project.name);
        let claimed = tag.strip_prefix("f-").unwrap();
        let mut inputs = record.inputs.clone();
        inputs.tree = unpacked(&image, |root| {
            let ignore = Ignore::default();
            let walk = Walk { root, ignore: &ignore, leave_out: None, exact_modes: true };
            walk.read(&StatCache::empty(root), None).unwrap().tree.into()
        });
        assert_eq!(inputs.fingerprint(), claimed, "round {round}: {image} holds something else");
        if record.fingerprint == claimed {
            assert_eq!(record.inputs.tree, inputs.tree, "round {round}: the record of {image}");
        }
    }
    proved.extend(tags.lines().map(str::to_owned));
}

/// Runs a program under a umask.
fn run(umask: &str, directory: &Path, program: &[&str]) {
    let status = Command::new("sh")
        .args(["-c", "umask \"$0\" && exec \"$@\"", umask])
        .args(program)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(status.unwrap().success(), "{program:?}");
}

/// A copy of a project, made in one of the ways that a colleague or a server may use.
fn copied(way: usize, umask: &str, from: &Path, to: &Path) {
    let (source, there) = (from.to_str().unwrap(), to.to_str().unwrap());
    let archive = to.with_extension("tar");
    let tar = archive.to_str().unwrap();
    match way {
        0 => run(umask, from, &["git", "clone", "--quiet", source, there]),
        1 => {
            fs::create_dir(to).unwrap();
            run(umask, from, &["git", "archive", "--output", tar, "HEAD"]);
            run(umask, to, &["tar", "--extract", "--no-same-permissions", "--file", tar]);
            fs::remove_file(archive).unwrap();
        }
        2 => run(umask, from, &["cp", "--recursive", source, there]),
        3 => run(umask, from, &["cp", "--archive", source, there]),
        _ => run(umask, from, &["git", "worktree", "add", "--quiet", "--detach", there]),
    }
}

fn xtask(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("-C")
        .arg(root)
        .args(arguments)
        .env_remove("CI")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", root.display());
    String::from_utf8(output.stdout).unwrap()
}

/// A project in git, with an image: git keeps no empty directory and no special mode.
fn committed(chance: &mut Chance) -> Project {
    let project = project(chance);
    let root = project.path("app");
    let there = tree::snapshot(&root, Modes::Settled);
    for (path, node) in &there {
        let path = tree::at(&root, path);
        match node {
            tree::Node::Directory(_) => {
                fs::write(path.join("kept"), "kept").unwrap();
                tree::set_mode(&path, 0o755);
            }
            tree::Node::File(mode, _) => tree::set_mode(&path, mode & 0o100 | 0o644),
            tree::Node::Symlink(_) => {}
        }
    }
    project.file(".gitignore", ".stevedore\n").file("environments/dev/kept", "");
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    run("022", project.root(), &["git", "init", "--quiet"]);
    run("022", project.root(), &["git", "add", "--all"]);
    let commit = ["git", identity[0], identity[1], identity[2], identity[3]];
    let commit = [&commit[..], &["commit", "--quiet", "--message", "all"]].concat();
    run("022", project.root(), &commit);
    project
}

#[test]
fn a_touch_a_clone_an_archive_another_umask_or_path_never_costs_a_build() {
    campaign!();
    let mut chance = Chance::new("needless rebuilds");
    let project = committed(&mut chance);
    project.xtask(&["image", "build"]).succeeds();
    let fingerprint = project.fingerprint("app");
    let elsewhere = tempfile::tempdir().unwrap();
    let neutral = EDITS.into_iter().filter(|kind| *kind >= Edit::Touch).collect::<Vec<_>>();
    for round in 0..size(30, 1000) {
        let way = chance.below(8);
        let umask = chance.pick(&["000", "002", "022", "027", "077", "007"]);
        let copy = elsewhere.path().join(format!("copy {round}"));
        let (root, what) = if way < 5 {
            copied(way, umask, project.root(), &copy);
            (copy.as_path(), format!("round {round}, way {way}, umask {umask}"))
        } else {
            let kind = chance.pick(&neutral);
            let app = project.path("app");
            let there = tree::snapshot(&app, Modes::Settled);
            tree::edit(&mut chance, &app, &there, kind);
            (project.root(), format!("round {round}, {kind:?}"))
        };
        let found = xtask(root, &["image", "inputs", "app", "--fingerprint"]);
        assert_eq!(found.trim(), fingerprint, "{what}");
        if round % 5 == 0 {
            let plan = xtask(root, &["--json", "plan"]);
            let plan: serde_json::Value = serde_json::from_str(plan.trim()).unwrap();
            assert_eq!(plan["action"], "reuse", "{what}: {plan}");
        }
        if way < 5 {
            fs::remove_dir_all(copy).unwrap();
        }
    }
}
