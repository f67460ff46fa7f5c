//! Law 1 from the other side: the same project in another place, made in another way, by somebody
//! else, finds its images fresh.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::dsl::{Project, docker, engine, file_in_image};

/// Runs a program to its end, which has to be a success.
#[track_caller]
fn run(program: &str, arguments: &[&str], directory: &Path) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
}

/// A project that is built and committed.
fn built() -> Project {
    let project = Project::with_stack();
    project.file("app/run.sh", "#!/bin/sh\n").mode("app/run.sh", 0o755);
    std::os::unix::fs::symlink("run.sh", project.path("app/start")).unwrap();
    project.file(".gitignore", ".stevedore\n");
    project.xtask(&["image", "build"]).succeeds();
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "all"],
    ] {
        run("git", arguments, project.root());
    }
    project
}

#[track_caller]
fn all_is_fresh_in(directory: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["-C", directory.to_str().unwrap(), "plan"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("reuse  base ") && text.contains("\nreuse  app "), "{output:?}");
}

#[test]
fn a_fresh_clone_and_an_archive_at_another_path_are_fresh() {
    engine!();
    let project = built();
    let elsewhere = tempfile::tempdir().unwrap();
    let origin = project.root().to_str().unwrap().to_owned();
    run("git", &["clone", "--quiet", &origin, "clone"], elsewhere.path());
    let clone = elsewhere.path().join("clone");
    // Git keeps no empty directory.
    std::fs::create_dir_all(clone.join("environments/dev")).unwrap();
    all_is_fresh_in(&clone);
    run("git", &["archive", "--output", "all.tar", "HEAD"], &clone);
    let unpacked = elsewhere.path().join("unpacked");
    std::fs::create_dir_all(unpacked.join("environments/dev")).unwrap();
    let archive = clone.join("all.tar");
    run("tar", &["--extract", "--file", archive.to_str().unwrap()], &unpacked);
    all_is_fresh_in(&unpacked);
}

#[test]
fn a_clone_made_under_another_umask_is_fresh_and_builds_the_same_modes() {
    engine!();
    let project = built();
    let elsewhere = tempfile::tempdir().unwrap();
    for umask in [0o000, 0o002, 0o027, 0o077] {
        let clone = elsewhere.path().join(format!("{umask:o}"));
        let mut command = Command::new("git");
        command.args(["clone", "--quiet"]).arg(project.root()).arg(&clone);
        // A child's umask is set by the shell that becomes it.
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("umask {umask:o}; exec \"$0\" \"$@\""));
        shell.arg(command.get_program()).args(command.get_args());
        assert!(shell.status().unwrap().success());
        std::fs::create_dir_all(clone.join("environments/dev")).unwrap();
        all_is_fresh_in(&clone);
    }
    // Built from the strictest of them, the modes in the image are still the usual ones.
    docker(&["image", "rm", "--force", &project.reference("app")]);
    let strict = elsewhere.path().join("77");
    let built = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["-C", strict.to_str().unwrap(), "image", "build"])
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let reference = project.reference("app");
    let list = docker(&[
        "container",
        "run",
        "--rm",
        "--network",
        "none",
        &reference,
        "stat",
        "--format",
        "%a %n",
        "run.sh",
        "source.txt",
        "lib",
    ]);
    assert_eq!(list, "755 run.sh\n644 source.txt\n755 lib\n");
}

#[test]
fn another_user_finds_the_images_fresh() {
    engine!();
    let project = built();
    let socket = Path::new("/var/run/docker.sock");
    let (Ok(meta), true) = (socket.metadata(), rustix::process::geteuid().is_root()) else {
        // Only root can become another user.
        return;
    };
    use std::os::unix::fs::MetadataExt;
    let copy = tempfile::tempdir().unwrap();
    run("cp", &["--recursive", project.root().to_str().unwrap(), "it"], copy.path());
    std::fs::remove_dir_all(copy.path().join("it/.stevedore")).unwrap();
    run("chown", &["--recursive", "65534", "."], copy.path());
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["-C", copy.path().join("it").to_str().unwrap(), "plan"])
        .env("HOME", copy.path())
        .gid(meta.gid())
        .uid(65534)
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("\nreuse  app "), "{output:?}");
        }
        // The binary may lie where only root can read.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}"),
    }
}

#[test]
fn a_branch_switch_that_removes_what_was_built_elsewhere_changes_nothing() {
    engine!();
    let project = built();
    project.file(".gitignore", ".stevedore\napp/dist\n");
    project.file("app/.dockerignore", "dist\n.dockerignore\n").file("app/dist/out.css", "a{}");
    let before = project.xtask(&["--json", "image", "build"]).succeeds();
    assert!(before.code == 0);
    run("git", &["checkout", "--quiet", "-b", "other"], project.root());
    project.file("app/source.txt", "other branch\n");
    let dirty = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(dirty[1], "app built: app/source.txt changed");
    std::fs::remove_dir_all(project.path("app/dist")).unwrap();
    run("git", &["checkout", "--quiet", "app/source.txt"], project.root());
    let back = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(back, ["base fresh", "app fresh"]);
    assert_eq!(file_in_image(&project.reference("app"), "/app/source.txt"), "one\n");
}
