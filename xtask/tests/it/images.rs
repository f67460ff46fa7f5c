//! `image build|list|destroy`: one call, all results, nothing half done.

use crate::dsl::{Project, docker, engine};
use crate::registry::Registry;

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
fn an_image_that_no_service_needs_is_built_when_it_is_named() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/tool/Dockerfile", "FROM base\nRUN echo tool > /tool\n");
    project.xtask(&["doctor"]).prints("images: app, base, tool");
    let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
    assert_eq!(images, ["base built: never built here", "app built: never built here"]);
    let images = project.xtask(&["--json", "image", "build", "dev", "tool"]).succeeds().images();
    assert_eq!(images, ["base fresh", "tool built: never built here"]);
    project.xtask(&["image", "why", "tool"]).succeeds().prints("fresh ");
    project.xtask(&["image", "inputs", "tool"]).succeeds().prints("docker/tool/Dockerfile");
    let removed = project.xtask(&["image", "destroy", "dev", "tool"]).succeeds();
    assert!(removed.stdout.starts_with("removed <name>/tool:f-"), "{}", removed.stdout);
    assert_eq!(removed.stdout.lines().count(), 1, "not its base: {}", removed.stdout);
    let says = "\"tol\" is not an image of this project; known: app, base, tool";
    project.xtask(&["image", "build", "dev", "tol"]).exits(2).says(says);
}

#[test]
fn a_failed_build_shows_the_builders_words_and_records_nothing() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/app/Dockerfile", "FROM base\nRUN echo so sorry >&2 && exit 7\n");
    let answer = project.xtask(&["--json", "image", "build"]).exits(1);
    assert_eq!(answer.images()[1], "app failed: never built here");
    answer.says("so sorry").says("exit code: 7");
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list[1], "app dirty: never built here");
    project.file("docker/app/Dockerfile", "FROM base\n");
    project.xtask(&["image", "build"]).succeeds();
}

#[test]
fn an_image_that_was_done_before_another_failed_is_kept() {
    engine!();
    let project = Project::with_stack();
    project
        .file("docker/good/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .file("docker/app/Dockerfile", "FROM base\nRUN sleep 4 && exit 7\n")
        .compose(&[
            ("app", "{build: {context: app, dockerfile: ../docker/app/Dockerfile}}"),
            ("good", "{build: {context: docker/good}}"),
        ]);
    let images = project.xtask(&["--json", "image", "build"]).exits(1).images();
    let expected = ["app failed: never built here", "good built: never built here"];
    assert_eq!(images[1..], expected, "{images:?}");
    assert_eq!(names(&project, "building-*"), "", "a name that claims nothing stays");
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list[2], "good fresh");
}

/// References of a project's images with such a tag.
fn names(project: &Project, tag: &str) -> String {
    let filter = format!("reference={}/*:{tag}", project.name);
    docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &filter])
}

#[test]
fn who_waits_for_a_build_of_the_same_images_builds_nothing() {
    engine!();
    let mut project = Project::with_stack();
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN sleep 2\n");
    project.log_docker();
    std::thread::scope(|scope| {
        let two = [0, 1].map(|_| scope.spawn(|| project.xtask(&["image", "build"]).succeeds()));
        let said = two.map(|one| one.join().unwrap().stderr).concat();
        assert_eq!(said.matches("building app: never built here").count(), 1, "{said}");
    });
    let built = project.calls().iter().filter(|call| call.contains("bake.json")).count();
    assert_eq!(built, 1);
}

#[test]
fn a_killed_build_leaves_nothing_that_the_next_does_not_sweep() {
    engine!();
    let project = Project::with_stack();
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN sleep 20\n");
    let mut build = project.spawn(&["image", "build"]);
    build.until("RUN sleep 20").signal("-KILL");
    build.ends();
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\n");
    project.xtask(&["image", "build"]).succeeds();
    let left = std::fs::read_dir(project.path(".stevedore/build")).unwrap().count();
    assert_eq!((left, names(&project, "building-*").as_str()), (0, ""));
}

#[test]
fn another_builder_that_the_user_has_chosen_is_not_used() {
    engine!();
    let mut project = Project::with_stack();
    project.variable("BUILDX_BUILDER", "nowhere");
    project.xtask(&["image", "build"]).succeeds();
}

#[test]
fn an_engine_that_does_not_answer_is_not_taken_for_one_without_images() {
    let mut project = Project::with_stack();
    project.file("environments/dev/environment.toml", "[images]\nplatform = \"linux/amd64\"\n");
    project.variable("DOCKER_HOST", "unix:///nowhere/docker.sock");
    for question in [&["plan"][..], &["image", "list"], &["image", "build"]] {
        project.xtask(question).exits(4).says("no Docker engine answers");
    }
}

#[test]
fn a_base_of_one_platform_from_a_registry_is_pinned_by_its_digest() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let project = Project::with_stack();
    let base = format!("{}/team/base:1", registry.address);
    let push = |text: &str| {
        project.file("team/Dockerfile", "FROM scratch\nCOPY text /\n").file("team/text", text);
        let directory = project.path("team").display().to_string();
        docker(&["build", "--quiet", "--provenance=false", "--tag", &base, &directory]);
        docker(&["image", "push", "--quiet", &base]);
        docker(&["image", "rm", &base]);
    };
    let forget = || {
        let readable = base.replace(['.', ':', '/'], "-");
        let pattern = format!("reference=stevedore.invalid/external:{readable}-*");
        let id = docker(&["image", "ls", "--quiet", "--no-trunc", "--filter", &pattern]);
        docker(&["image", "rm", "--force", id.trim()]);
    };
    push("one");
    project.file("docker/base/Dockerfile", format!("FROM {base}\n"));
    project.xtask(&["image", "update", "dev", "--yes"]).succeeds().says(&format!("pulling {base}"));
    let lock = project.read("docker/stack.lock");
    let digest = lock.split("digest = \"").nth(1).and_then(|it| it.split('"').next()).unwrap();
    assert!(
        registry.get(&format!("/v2/team/base/manifests/{digest}")).starts_with("200"),
        "{lock}"
    );
    let built = project.fingerprint("base");

    // Somebody moves the tag: another machine gets what the lock says all the same.
    push("two");
    project.remove_images();
    forget();
    std::fs::remove_dir_all(project.path(".stevedore")).unwrap();
    project.xtask(&["image", "build"]).succeeds();
    assert_eq!(project.fingerprint("base"), built);
    forget();
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

/// Containerd's store refuses a second image of one name, which the graph driver's store takes.
#[test]
fn a_base_that_a_different_checkout_makes_at_the_same_time_is_used() {
    engine!();
    let mut project = Project::with_own_base();
    let base = project.own_base();
    let archive = project.scratch().join("base.tar").display().to_string();
    let container = docker(&["container", "create", &base, "true"]);
    docker(&["container", "export", "--output", &archive, container.trim()]);
    docker(&["container", "rm", container.trim()]);
    docker(&["image", "rm", "--force", &base]);
    let copy =
        format!("for it in \"$@\"; do case $it in *.tar) cp '{archive}' \"$it\"; esac; done");
    project.fake("mmdebstrap", &copy).fake(
        "docker",
        "\"$real\" \"$@\" || exit\n\
         case \"$*\" in \"image import\"*) echo 'image: already exists' >&2; exit 1; esac",
    );
    let answer = project.xtask(&["image", "build"]).succeeds();
    answer.says("making debian:trixie-slim from this machine's own sources");
    docker(&["image", "rm", "--force", &base]);
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

#[test]
fn an_unfinished_image_is_never_another_builds_too() {
    engine!();
    // The engine removes an image with its last name, also under who builds the same just then.
    let ids = [(); 2].map(|()| {
        let mut project = Project::with_stack();
        let log = project.path("ids").display().to_string();
        let name = &project.name;
        let script = format!(
            "\"$real\" \"$@\" || exit\ncase \"$*\" in *bake.json*) \"$real\" image ls --quiet \
             '{name}/app' > '{log}';; esac"
        );
        project.fake("docker", &script);
        project.xtask(&["image", "build"]).succeeds();
        project.read("ids")
    });
    assert!(!ids[0].is_empty() && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn a_name_that_is_gone_is_removed_whatever_the_engine_says() {
    engine!();
    let mut project = Project::with_stack();
    let script = "\"$real\" \"$@\" || exit\ncase \"$*\" in *image\\ rm*) exit 1;; esac";
    project.fake("docker", script);
    project.xtask(&["image", "build"]).succeeds();
    assert_eq!(names(&project, "building-*"), "");
}
