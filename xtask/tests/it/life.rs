//! The life of a stack: releases, a security fix, a new app, a hotfix on an older branch, and what
//! colleagues and testers get of it.

use std::process::Command;

use crate::apt_repository::{AptRepository, PACKAGE};
use crate::dsl::{Project, docker, engine, file_in_image};
use crate::faulty::Faulty;
use crate::registry::Registry;
use crate::shop::Shop;

/// Moves the stack's epoch by hand: the same external base under another time. `image update` does
/// more, and makes a new base of today's mirror, which a test cannot hold still.
fn update_stack(shop: &Shop, epoch: &str) {
    let lock = shop.project.read("docker/stack.lock");
    let old = lock.split('"').nth(1).unwrap().to_owned();
    shop.project.file("docker/stack.lock", lock.replace(&old, epoch));
    let name = |epoch: &str| {
        let unique = fingerprint::sha256(format!("debian:trixie-slim {epoch}").as_bytes());
        format!("stevedore.invalid/external:debian-trixie-slim-{}", &unique[..12])
    };
    docker(&["image", "tag", &name(&old), &name(epoch)]);
}

/// Events of one kind that `diff` prints.
fn diff(shop: &Shop, old: &str, new: &str, event: &str) -> Vec<serde_json::Value> {
    let answer = shop.project.xtask(&["--json", "diff", old, new]).succeeds();
    answer.events().into_iter().filter(|found| found["event"] == event).collect()
}

#[test]
fn a_security_fix_a_new_app_and_a_hotfix_each_change_what_they_say_and_nothing_else() {
    engine!();
    let (apt, registry) = (AptRepository::start(), Registry::start(&Project::with_stack()));
    let faulty = Faulty::in_front_of(&registry.address);
    let shop = Shop::new(&faulty.address);
    apt.publish("1.0-1");
    let base = format!("FROM debian:trixie-slim\nARG STACK_EPOCH\n{}", apt.instruction());
    shop.project.file("docker/base/Dockerfile", base);
    shop.commit("a stack with a package");
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds().prints("1.0.0 is published");

    // The fix of one package, on the branch of 1.0; main has gone on meanwhile.
    apt.publish("1.0-2");
    shop.project.file("app/source.txt", "two\n");
    shop.commit("a new app");
    shop.git(&["checkout", "--quiet", "release-v1.0"]);
    update_stack(&shop, "2026-01-01T00:00:01Z");
    shop.commit("the fix of a package");
    shop.release("1.0.1").succeeds();
    shop.publish("1.0.1").succeeds();
    let packages = diff(&shop, "1.0.0", "1.0.1", "package");
    assert_eq!(packages.len(), 1, "{packages:#?}");
    assert_eq!(packages[0]["package"], PACKAGE);
    assert_eq!((&packages[0]["old"], &packages[0]["new"]), (&"1.0-1".into(), &"1.0-2".into()));
    shop.project.xtask(&["diff", "1.0.0", "1.0.1"]).succeeds().prints(PACKAGE);

    // The app moves on main, and stays on the stack that main has.
    shop.git(&["checkout", "--quiet", "main"]);
    shop.release("minor").succeeds().prints("1.1.0 is released");
    shop.publish("1.1.0").succeeds();
    assert_eq!(diff(&shop, "1.0.0", "1.1.0", "package"), Vec::<serde_json::Value>::new());
    let commits = diff(&shop, "1.0.0", "1.1.0", "commit");
    assert!(commits.iter().any(|it| it["subject"] == "a new app"), "{commits:?}");

    // A hotfix of 1.0, after 1.1 is out.
    shop.git(&["checkout", "--quiet", "release-v1.0"]);
    shop.project.file("app/source.txt", "one, mended\n");
    shop.commit("a hotfix");
    shop.git(&["checkout", "--quiet", "main"]);
    shop.release("1.0.2").succeeds();
    shop.publish("1.0.2").succeeds();
    assert_eq!(diff(&shop, "1.0.1", "1.0.2", "package"), Vec::<serde_json::Value>::new());
    assert_eq!(shop.record("1.0.2")["previous"], "1.0.1");
    let list = shop.project.xtask(&["releases"]).succeeds();
    let order: Vec<&str> =
        list.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(order, ["1.1.0", "1.0.2", "1.0.1", "1.0.0"]);

    // Nothing is left to do, so nothing is sent.
    let references = shop.references();
    faulty.uploaded();
    for version in ["1.0.0", "1.0.1", "1.1.0", "1.0.2"] {
        shop.publish(version).succeeds().prints("is published already");
    }
    assert_eq!(faulty.uploaded(), 0);
    assert_eq!(shop.references(), references);

    // Each can be had again, as it was.
    shop.forget_images();
    for (version, source, package) in [("1.0.0", "one\n", "1.0-1"), ("1.0.1", "one\n", "1.0-2")] {
        shop.project.xtask(&["image", "pull", version]).succeeds().prints("pulled  app");
        let name = format!("{}/app:{version}", shop.project.name);
        assert_eq!(file_in_image(&name, "/app/source.txt"), source);
        assert_eq!(file_in_image(&name, "/usr/share/demo/version"), package);
    }
    shop.project.xtask(&["release", "verify", "1.0.1"]).succeeds();
}

#[test]
fn colleagues_get_exactly_the_images_that_somebody_published_of_an_environment() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let faulty = Faulty::in_front_of(&registry.address);
    let shop = Shop::new(&registry.address);
    let settings = format!("[registry]\nrepository = \"{}/team\"\n", faulty.address);
    shop.project.file("environments/dev/environment.toml", settings);
    shop.commit("a registry for dev");
    let published = shop.project.xtask(&["publish", "dev"]).succeeds();
    assert!(published.stdout.contains("pushed"), "{}", published.stdout);
    let (reference, fingerprint) = (shop.project.reference("app"), shop.project.fingerprint("app"));
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &reference]);
    faulty.uploaded();
    shop.project.xtask(&["publish", "dev"]).succeeds().prints("there ");
    assert_eq!(faulty.uploaded(), 0, "nothing has changed");

    // A colleague with the same files gets the very images.
    shop.forget_images();
    shop.project.xtask(&["image", "pull", "dev"]).succeeds().prints("here    app");
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &reference]), id);

    // One with other files gets them under the environment's name, and is told.
    shop.forget_images();
    shop.project.file("app/source.txt", "a colleague's\n");
    let answer = shop.project.xtask(&["image", "pull", "dev"]).exits(4);
    let other = format!("other   app {}", &fingerprint[..12]);
    answer.prints(&other).says("cargo xtask image build dev");
    let name = format!("{}/app:dev", shop.project.name);
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &name]), id);
    assert_eq!(file_in_image(&name, "/app/source.txt"), "one\n");
}

#[test]
fn a_release_pushed_from_one_clone_is_continued_from_another() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    let other = tempfile::tempdir().unwrap();
    let clone = other.path().join("clone").display().to_string();
    let remote = shop.remote().display().to_string();
    shop.git(&["clone", "--quiet", &remote, &clone]);
    let xtask = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["-C", &clone]).args(arguments).env_remove("CI");
        command.env("GIT_COMMITTER_NAME", "Bo").env("GIT_COMMITTER_EMAIL", "bo@example.org");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, words) = xtask(&["release", "1.0.1"]);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("git fetch origin release-v1.0:release-v1.0"), "{words}");
    shop.git(&["-C", &clone, "fetch", "--quiet", "origin", "release-v1.0:release-v1.0"]);
    let (code, words) = xtask(&["release", "1.0.1"]);
    assert_eq!(code, 0, "{words}");
    let (code, words) = xtask(&["publish", "1.0.1", "--yes"]);
    assert_eq!(code, 0, "{words}");

    // The first one does not know of it yet.
    let words = shop.release("1.0.1").exits(1).stderr;
    assert!(words.contains("git fetch origin tag v1.0.1"), "{words}");
    shop.publish("1.0.1").exits(2).says("get it with `git fetch origin tag v1.0.1`");
    shop.git(&["fetch", "--quiet", "origin", "tag", "v1.0.1"]);
    shop.publish("1.0.1").succeeds().prints("is published already");
    assert_eq!(shop.record("1.0.1")["by"]["name"], "Bo");
}
