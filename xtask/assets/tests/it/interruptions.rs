//! Builds that are killed, and builds that meet.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::compilers::compilers;
use crate::dsl::{Answer, Entry, Project, Running, program};

/// Enough to write that a kill can come in between.
fn large(project: &Project, round: usize) {
    for number in 0..30 {
        project
            .file(&format!("text{number}.txt"), format!("{round} {number}\n").repeat(3000))
            .file(&format!("s{number}.scss"), format!(".a{round}{{top:{number}px}}"));
    }
}

/// The manifest names files that are there and whole.
fn manifest_holds(project: &Project, when: &str) {
    use base64::Engine as _;
    use sha2::Digest as _;
    let text = std::fs::read(project.path("dist/manifest.json")).expect(when);
    let manifest: BTreeMap<String, Entry> = serde_json::from_slice(&text).expect(when);
    for (source, entry) in manifest {
        let path = project.path("dist").join(&entry.file);
        let bytes = std::fs::read(path).unwrap_or_else(|_| panic!("{when}: no file of {source}"));
        let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha384::digest(&bytes));
        assert_eq!(entry.integrity, format!("sha384-{hash}"), "{when}: {source}");
    }
}

#[test]
fn a_killed_build_leaves_a_manifest_that_holds_and_the_next_mends_all() {
    let project = Project::with_everything();
    large(&project, 0);
    project.build();
    large(&project, 1);
    let started = Instant::now();
    project.build();
    let whole = started.elapsed();
    let mut random = u64::from(std::process::id()) | 1;
    let mut killed = 0;
    for round in 2..32 {
        large(&project, round);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let pause = whole.as_micros() as u64 * (random % 1000) / 1000;
        let mut build = Running::start(project.command(&["build"]));
        std::thread::sleep(Duration::from_micros(pause));
        build.signal(Signal::KILL);
        killed += usize::from(build.ends().is_some());
        manifest_holds(&project, &format!("killed after {pause} of {} µs", whole.as_micros()));
    }
    assert!(killed > 10, "only {killed} of 30 builds were killed");
    project.build();
    manifest_holds(&project, "at the end");
    let fresh = Project::with_everything();
    large(&fresh, 31);
    fresh.build();
    assert!(project.dist() == fresh.dist(), "nothing of the killed ones is left");
    assert_eq!(project.state(), "fresh   dist");
    let left: Vec<String> = crate::dsl::tree(&project.path("state"))
        .into_keys()
        .filter(|name| name.rsplit('/').next().unwrap().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "in the state directory: {left:?}");
}

#[test]
fn a_file_is_put_into_its_place_and_never_written_over() {
    let project = Project::with_everything();
    project.build();
    let before = project.output("manifest.json");
    // The same file under another name: who has it open sees what this one sees.
    std::fs::hard_link(project.path("dist/manifest.json"), project.path("opened")).unwrap();
    project.file("note.txt", "another").build();
    assert_ne!(project.output("manifest.json"), before);
    assert_eq!(std::fs::read(project.path("opened")).unwrap(), before);
}

#[test]
fn builds_that_meet_come_one_after_the_other() {
    let project = Project::with_everything();
    large(&project, 0);
    let answers = std::thread::scope(|scope| {
        let run = || Answer::of(project.command(&["build"]), project.root()).succeeds();
        let builds: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect::<Vec<_>>()
    });
    let built = answers.iter().filter(|answer| answer.stdout.starts_with("built")).count();
    let fresh = answers.iter().filter(|answer| answer.stdout == "fresh   dist\n").count();
    assert_eq!((built, fresh), (1, 3), "{answers:?}");
    manifest_holds(&project, "after all of them");
}

#[test]
fn a_compiler_that_dies_leaves_the_last_good_output_and_its_last_words() {
    let project = Project::with_everything();
    project.build();
    let (dist, (sass, esbuild)) = (project.dist(), compilers());
    // The real ones, ended a moment after their start.
    let dying =
        |real: &Path| format!("#!/bin/sh\nexec timeout --signal=KILL 0.005 {real:?} \"$@\"\n");
    let place = |path: &str, text: &str| {
        let path = project.path(path);
        crate::dsl::write(&path, text.as_bytes());
        crate::dsl::mode(&path, 0o755);
        path
    };
    let src = sass.join("dart-sass/src");
    place("dying/dart-sass/src/dart", &dying(&src.join("dart")));
    std::os::unix::fs::symlink(
        src.join("sass.snapshot"),
        project.path("dying/dart-sass/src/sass.snapshot"),
    )
    .unwrap();
    let wrapper = dying(esbuild).replace("exec", "case $1 in --version) exec {real};; esac; exec");
    let wrapper = wrapper.replace("{real}", &format!("{esbuild:?}"));
    let dying_esbuild = place("dying/bin/esbuild", &wrapper);
    for (sass, esbuild, words) in [
        (project.path("dying"), esbuild.clone(), "dart-sass"),
        (sass.clone(), dying_esbuild, "esbuild"),
    ] {
        project.file("style.scss", format!("/* {words} */.a{{top:0}}"));
        let compilers = (sass, esbuild);
        let mut command = program(&["build"], ["src", "dist", "state"], &compilers);
        command.current_dir(project.root());
        let answer = Answer::of(command, project.root());
        assert_eq!(answer.code, 1, "{}", answer.stderr);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
        assert!(project.dist() == dist, "{words}");
    }
    project.build();
    assert!(project.dist() != dist);
}
