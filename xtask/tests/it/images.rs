//! `image build|list|destroy`: one call, all results, nothing half done.

use crate::dsl::{Project, docker, engine};

#[test]
fn dirty_images_are_built_in_one_call() {
    engine!();
    let mut project = Project::with_stack();
    project.log_docker();
    project.xtask(&["image", "build"]).succeeds();
    let bakes: Vec<String> =
        project.calls().into_iter().filter(|call| call.contains("buildx bake")).collect();
    // One builds both, one labels both.
    assert_eq!(bakes.len(), 2, "{bakes:?}");
    assert!(bakes[0].contains("bake.json") && bakes[1].contains("seal.json"), "{bakes:?}");
    assert!(bakes[0].ends_with(" app base"), "{bakes:?}");
}

#[test]
fn a_named_image_is_built_with_its_bases_only() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/other/Dockerfile", "FROM base\n").compose(&[
        ("app", "{build: {context: app, dockerfile: ../docker/app/Dockerfile}}"),
        ("other", "{build: {context: docker/other}}"),
    ]);
    let images = project.xtask(&["--json", "image", "build", "dev", "other"]).succeeds().images();
    assert_eq!(images, ["base built: never built here", "other built: never built here"]);
}

#[test]
fn a_failed_build_shows_the_builders_words_and_records_nothing() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/app/Dockerfile", "FROM base\nRUN echo so sorry >&2 && exit 7\n");
    let answer = project.xtask(&["--json", "image", "build"]).exits(1);
    let failed = ["base failed: never built here", "app failed: never built here"];
    assert_eq!(answer.images(), failed);
    answer.says("so sorry").says("exit code: 7");
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list, ["base dirty: never built here", "app dirty: never built here"]);
    project.file("docker/app/Dockerfile", "FROM base\n");
    project.xtask(&["image", "build"]).succeeds();
}

#[test]
fn each_image_is_one_event_with_its_fields() {
    engine!();
    let project = Project::with_stack();
    for status in ["built", "fresh"] {
        for event in project.xtask(&["--json", "image", "build"]).succeeds().events() {
            assert_eq!(event["event"], "image");
            assert_eq!(event["status"], status);
            assert_eq!(event["fingerprint"].as_str().unwrap().len(), 64);
            assert!(event["reason"].is_string() && event["seconds"].is_number(), "{event}");
        }
    }
}

#[test]
fn destroy_removes_what_the_environment_uses_and_nothing_else() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.xtask(&["image", "destroy", "dev", "app"]).succeeds().prints("removed <name>/app:f-");
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list, ["base fresh", "app dirty: the image is gone"]);
    project.xtask(&["image", "destroy"]).succeeds();
    project.xtask(&["image", "destroy"]).succeeds().says("none of these images is here");
    let left = docker(&["image", "ls", "--quiet", &format!("{}/*", project.name)]);
    assert_eq!(left, "");
}

#[test]
fn destroy_removes_what_was_built_last_even_after_an_edit() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.file("app/source.txt", "edited\n");
    project.xtask(&["image", "destroy"]).succeeds();
    assert_eq!(docker(&["image", "ls", "--quiet", &format!("{}/*", project.name)]), "");
}

#[test]
fn a_base_that_cannot_be_had_says_what_can_be_done() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/base/Dockerfile", "FROM example.invalid/nothing:1\n");
    project
        .xtask(&["image", "build"])
        .exits(4)
        .says("no registry answers for example.invalid/nothing:1")
        .says("only debian:SUITE and rust:VERSION-SUITE");
}

#[test]
fn a_base_made_here_is_kept_and_used_again() {
    engine!();
    let mut project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project.fake("mmdebstrap", "echo \"made again\" >&2; exit 1");
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN echo again > /base\n");
    project.xtask(&["image", "build"]).succeeds();
}

#[test]
fn an_image_for_one_user_and_one_for_another_can_be_built_at_once() {
    engine!();
    let projects: Vec<Project> = (0..3).map(|_| Project::with_stack()).collect();
    std::thread::scope(|scope| {
        for project in &projects {
            scope.spawn(|| project.xtask(&["image", "build"]).succeeds());
        }
    });
    let images: std::collections::BTreeSet<String> =
        projects.iter().map(|project| project.fingerprint("app")).collect();
    assert_eq!(images.len(), 1, "equal inputs have one fingerprint");
}
