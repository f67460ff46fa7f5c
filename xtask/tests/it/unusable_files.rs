//! What runs can be seen and stopped whatever has become of the project's files: `status`, `logs`
//! and `stop` go by the labels of the containers then.

use crate::dsl::{Project, docker, engine, wait_until};

fn running() -> Project {
    let project = Project::with_stack();
    project.file("environments/dev/.env.example", "KEY=generate:hex32\n").compose(&[(
        "app",
        "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
         command: [sh, -c, 'echo a line of the log; sleep infinity'], stop_grace_period: 1s, \
         environment: {KEY: '${KEY}'}, x-stevedore: {main: true}}",
    )]);
    project.xtask(&["start"]).succeeds();
    project
}

fn containers(project: &Project) -> String {
    let filter = format!("label=com.docker.compose.project={}-dev", project.name);
    docker(&["container", "ls", "--all", "--quiet", "--filter", &filter])
}

/// `status`, `logs` and `stop` work and say in one line what is wrong.
#[track_caller]
fn can_be_seen_and_stopped(project: &Project, says: &str) {
    let warns = |stderr: &str| {
        let line = stderr.lines().find(|it| it.starts_with("warning: using the labels"));
        line.is_some_and(|line| line.contains(says))
    };
    let status = project.xtask(&["status"]).succeeds();
    assert!(warns(&status.stderr), "{}", status.stderr);
    status.prints("  app          Up ");
    // A container may not have written it yet.
    wait_until("the log", || {
        let logs = project.xtask(&["logs", "--no-follow"]).succeeds();
        assert!(warns(&logs.stderr), "{}", logs.stderr);
        logs.stdout.contains("a line of the log")
    });
    project.xtask(&["logs", "dev", "--no-follow", "nobody"]).exits(2).says("known: app");
    assert!(!containers(project).is_empty());
    let stop = project.xtask(&["stop"]).succeeds().says("dev is stopped; its data is kept");
    assert!(warns(&stop.stderr), "{}", stop.stderr);
    assert_eq!(containers(project), "");
    let filter = format!("label=com.docker.compose.project={}-dev", project.name);
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &filter]), "");
}

#[test]
fn a_variable_without_a_value_stands_in_nobody_s_way() {
    engine!();
    let project = running();
    let compose = project.read("docker/compose.yml");
    project.file("docker/compose.yml", compose.replace("'${KEY}'", "'${TOKEN:?give it one}'"));
    can_be_seen_and_stopped(&project, "give it one");
}

#[test]
fn neither_do_broken_files() {
    engine!();
    let project = running();
    for (file, text, says) in [
        ("docker/compose.yml", "name: [\n", "yaml"),
        ("docker/compose.yml", "services: {app: {image: x}}\n", "dev runs as "),
        ("environments/dev/compose.yml", "services: {app: {nope: 1}}\n", "nope"),
        ("environments/dev/environment.toml", "[ports\n", "environment.toml"),
        ("environments/dev/.env.example", "not a line\n", ".env.example"),
        ("environments/dev/.env", "KEY='a' b\n", ".env"),
    ] {
        let path = project.path(file);
        let before = std::fs::read(&path).ok();
        project.file(file, text);
        if file.ends_with(".env") {
            project.mode(file, 0o600);
        }
        can_be_seen_and_stopped(&project, says);
        match before {
            Some(before) => drop(project.file(file, before)),
            None => std::fs::remove_file(path).unwrap(),
        }
        project.xtask(&["start"]).succeeds();
    }
    std::fs::remove_file(project.path("docker/compose.yml")).unwrap();
    can_be_seen_and_stopped(&project, "docker/compose.yml");
}

#[test]
fn an_environment_whose_folder_is_gone_can_be_stopped() {
    engine!();
    let project = running();
    project.mkdir("environments/prod");
    std::fs::rename(project.path("environments/dev"), project.path("gone")).unwrap();
    can_be_seen_and_stopped(&project, "\"dev\" is not an environment");
    project.xtask(&["stop"]).exits(2).says("\"dev\" is not an environment of this project");
    project.mkdir("environments/dev");
}

#[test]
fn a_project_with_another_name_finds_what_runs_under_the_old_one() {
    engine!();
    let project = running();
    let compose = project.read("docker/compose.yml");
    let renamed = compose.replacen(&project.name, &format!("{}x", project.name), 1);
    project.file("docker/compose.yml", renamed);
    can_be_seen_and_stopped(&project, "dev runs as ");
}

#[test]
fn containers_of_a_service_that_is_no_longer_in_the_files_are_seen() {
    engine!();
    let project = running();
    project.compose(&[(
        "web",
        "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, command: [sleep, infinity]}",
    )]);
    let status = project.xtask(&["status"]).succeeds();
    assert!(status.stdout.contains("  app          Up "), "{}", status.stdout);
    status.prints("  web          not running");
    project.xtask(&["stop"]).succeeds();
    assert_eq!(containers(&project), "");
}

#[test]
fn what_needs_the_files_says_what_is_wrong_with_them() {
    engine!();
    let project = running();
    project.file("docker/compose.yml", "name: [\n");
    project.xtask(&["run", "dev", "app", "--", "true"]).exits(1).says("yaml");
    project.xtask(&["restart"]).exits(1).says("yaml");
    project.xtask(&["stop"]).succeeds();
    project.xtask(&["stop"]).exits(1).says("yaml");
}
