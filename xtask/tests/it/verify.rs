//! `image build --verify`: what the builder got is what was hashed, and lies in the image.

use crate::dsl::{Project, docker, engine, file_in_image};

fn verified(project: &Project) -> (Vec<String>, serde_json::Value) {
    let answer = project.xtask(&["--json", "image", "build", "--verify"]).succeeds();
    let event = answer.events().into_iter().find(|event| event["image"] == "app").unwrap();
    (answer.images(), event)
}

#[test]
fn all_that_was_hashed_was_received_and_lies_in_the_image() {
    engine!();
    let project = Project::with_stack();
    project.file("app/.dockerignore", "*.log\n").file("app/a.log", "not there\n");
    let (images, event) = verified(&project);
    assert_eq!(images, ["base built: never built here", "app built: never built here"]);
    assert_eq!(event["event"], "verify");
    // .dockerignore, lib, lib/other.txt, source.txt
    assert_eq!((&event["received"], &event["copied"]), (&4.into(), &3.into()), "{event}");
    assert_eq!(event["not_verifiable"], serde_json::json!([]));
    assert_eq!(verified_again(&project), ["base fresh", "app fresh"]);
}

fn verified_again(project: &Project) -> Vec<String> {
    project.xtask(&["--json", "image", "build", "--verify"]).succeeds().images()
}

#[test]
fn files_that_a_later_step_changes_are_listed_as_not_verifiable() {
    engine!();
    let project = Project::with_stack();
    project.file(
        "docker/app/Dockerfile",
        "FROM base\nWORKDIR /srv\nCOPY source.txt lib ./\nCOPY --chmod=0755 source.txt /bin/tool\n\
         RUN echo changed > other.txt && rm /bin/tool\n",
    );
    let (_, event) = verified(&project);
    assert_eq!(event["copied"], 1, "{event}");
    assert_eq!(event["not_verifiable"], serde_json::json!(["/bin/tool", "/srv/other.txt"]));
    project.file("app/source.txt", "two\n");
    let said = project.xtask(&["image", "build", "--verify"]).succeeds();
    said.says("decides about them (2): /bin/tool, /srv/other");
}

/// The ignore file beside the Dockerfile decides; another in the context is a file like any other.
#[test]
fn the_contexts_own_ignore_file_takes_nothing_from_what_is_looked_at() {
    engine!();
    let project = Project::with_stack();
    project
        .file("docker/app/Dockerfile.dockerignore", "*.log\n")
        .file("app/.dockerignore", "lib\nsource.txt\n");
    let (_, event) = verified(&project);
    assert_eq!((&event["received"], &event["copied"]), (&4.into(), &3.into()), "{event}");
}

#[test]
fn an_image_whose_build_was_not_verified_here_is_built_again() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let first = docker(&["image", "inspect", "--format", "{{.Id}}", &project.reference("app")]);
    let reason = "its build was not verified here";
    let images = verified_again(&project);
    assert_eq!(images, [format!("base built: {reason}"), format!("app built: {reason}")]);
    assert_eq!(verified_again(&project), ["base fresh", "app fresh"]);
    let second = docker(&["image", "inspect", "--format", "{{.Id}}", &project.reference("app")]);
    assert_eq!(first, second, "the same inputs gave another image");
    assert_eq!(file_in_image(&project.reference("app"), "/app/source.txt"), "one\n");
}

#[test]
fn what_was_verified_counts_in_every_environment_and_after_going_back() {
    engine!();
    let project = Project::with_stack();
    project.mkdir("environments/qa");
    project.xtask(&["image", "build", "--verify"]).succeeds();
    let images = project.xtask(&["--json", "image", "build", "qa", "--verify"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app fresh"]);
    project.file("app/source.txt", "two\n").xtask(&["image", "build", "--verify"]).succeeds();
    project.file("app/source.txt", "one\n");
    assert_eq!(verified_again(&project), ["base fresh", "app fresh"]);
}

/// The engine's answer is forged on its way: the builder claims to have received another file.
#[test]
fn a_builder_that_received_something_else_is_found_out() {
    engine!();
    let mut project = Project::with_stack();
    let script = "\"$real\" \"$@\" || exit\ncase \"$*\" in *bake.json*)\n  cd \"$(dirname \
                  \"$6\")\" && mkdir t && echo stale > t/source.txt &&\n  tar --delete --file \
                  received-app.tar source.txt &&\n  tar --append --file received-app.tar \
                  --directory t source.txt;;\nesac";
    project.fake("docker", script);
    let answer = project.xtask(&["--json", "image", "build", "--verify"]).exits(1);
    assert_eq!(answer.images(), ["base failed: never built here", "app failed: never built here"]);
    answer.says("the builder received something else for app").says("source.txt differs");
    let list = docker(&[
        "image",
        "ls",
        "--quiet",
        "--filter",
        &format!("reference={}/*:f-*", project.name),
    ]);
    assert_eq!(list, "", "nothing claims these fingerprints");
}
