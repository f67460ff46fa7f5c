//! Law 7: no secret leaves. Not in argv, output, files of the checkout, image history or layers.

use crate::dsl::{Project, docker, engine};

const SECRET: &str = "5ecre7-5ecre7-5ecre7";

#[test]
fn a_secret_reaches_its_container_and_nothing_else() {
    engine!();
    let mut project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {TOKEN: '${TOKEN}'}, x-stevedore: {main: true}}",
        )])
        .file("environments/dev/.env.example", "TOKEN=required:secret\n")
        .dotenv(format!("TOKEN={SECRET}\n"));
    project.log_docker();
    let mut said = String::new();
    for arguments in [
        vec!["--verbose", "start"],
        vec!["--dry-run", "start"],
        vec!["--json", "status"],
        vec!["env", "show"],
        vec!["--json", "env", "show"],
        vec!["env", "check"],
        vec!["doctor"],
        vec!["logs", "--no-follow"],
    ] {
        let answer = project.xtask(&arguments);
        said.push_str(&answer.stdout);
        said.push_str(&answer.stderr);
    }
    assert!(said.contains("docker compose"), "verbose shows commands:\n{said}");
    assert!(!said.contains(SECRET), "{said}");
    let calls = project.calls().join("\n");
    assert!(calls.contains("up --no-build"), "{calls}");
    assert!(!calls.contains(SECRET), "{calls}");

    project.xtask(&["run", "printenv", "TOKEN"]).succeeds().prints(SECRET);

    let image = project.reference("app");
    let history = docker(&["image", "history", "--no-trunc", &image]);
    let inspect = docker(&["image", "inspect", &image]);
    assert!(!history.contains(SECRET) && !inspect.contains(SECRET));

    for entry in walkdir::WalkDir::new(project.root()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && !entry.path().ends_with("environments/dev/.env") {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(SECRET), "{}", entry.path().display());
        }
    }
}

#[test]
fn a_secret_cannot_become_a_build_argument() {
    engine!();
    let project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile, \
             args: {TOKEN: '${TOKEN}'}}}",
        )])
        .file("environments/dev/.env.example", "TOKEN=required:secret\n")
        .dotenv(format!("TOKEN={SECRET}\n"));
    let answer = project.xtask(&["image", "build"]).exits(1);
    let says = "build argument TOKEN of docker/app: $TOKEN has no value in [variables]";
    assert!(!answer.says(says).stderr.contains(SECRET));
}

#[test]
fn what_is_set_in_the_callers_shell_does_not_win_over_the_file() {
    engine!();
    let mut project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {MODE: '${MODE}', \
             VERSION: '${STEVEDORE_VERSION:-none}', MAYBE: '${MAYBE:-none}'}, x-stevedore: {main: true}}",
        )])
        .file("environments/dev/.env.example", "MODE=from-the-file\nMAYBE=optional:\n")
        .dotenv("MODE=from-the-file\n");
    project
        .variable("MODE", "from-the-shell")
        .variable("STEVEDORE_VERSION", "from-the-shell")
        .variable("MAYBE", "from-the-shell")
        .variable("COMPOSE_PROJECT_NAME", "something-else");
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "printenv", "MODE"]).succeeds().prints("from-the-file");
    project.xtask(&["run", "printenv", "VERSION", "MAYBE"]).succeeds().prints("none\nnone\n");
}
