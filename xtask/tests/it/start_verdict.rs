//! What `start` says of containers that do not stay, and when: by their states, their exit codes
//! and their restarts.

use std::time::{Duration, Instant};

use crate::dsl::{Answer, Project, docker, engine, wait_until};

/// Far below the fifteen minutes that a service may take to become healthy.
const SOON: Duration = Duration::from_secs(60);

/// A service of the project's image, which has no health check.
fn service(command: &str, more: &str) -> String {
    format!(
        "{{build: {{context: app, dockerfile: ../docker/app/Dockerfile}}, init: true, \
         stop_grace_period: 1s, command: {command}, {more}}}"
    )
}

fn project(services: &[(&str, String)]) -> Project {
    let project = Project::with_stack();
    let services: Vec<(&str, &str)> =
        services.iter().map(|(name, text)| (*name, text.as_str())).collect();
    project.compose(&services);
    project
}

/// `start` fails soon, first says what failed, and shows its log after that.
#[track_caller]
fn fails_soon(services: &[(&str, String)], problem: &str) -> Answer {
    let project = project(services);
    project.xtask(&["image", "build"]).succeeds();
    let started = Instant::now();
    let answer = project.xtask(&["start"]).exits(1);
    assert!(started.elapsed() < SOON, "{:?}: {}", started.elapsed(), answer.stderr);
    let error = answer.stderr.split("error: ").nth(1).unwrap_or_default();
    let first: Vec<&str> = error.lines().take(2).collect();
    assert_eq!(first[0], "dev did not start:", "{}", answer.stderr);
    assert!(first[1].starts_with(&format!("  {problem}")), "{}", answer.stderr);
    project.xtask(&["status"]).succeeds().prints(&format!("  problem: {problem}"));
    answer
}

const CRASH: &str = "[sh, -c, 'sleep 1; echo no database here; exit 1']";
const HEALTH: &str = "healthcheck: {test: [CMD, test, -e, /nowhere], start_period: 10m}";
/// How often it was restarted by then, and whether its exit code is known, is up to the moment.
const LOOP: &str = "app does not stay up: ";

#[test]
fn a_crash_loop_is_a_failure_and_not_a_service_that_runs() {
    engine!();
    let app = service(CRASH, "restart: always");
    fails_soon(&[("app", app)], LOOP).says("    app-1  | no database here");
}

#[test]
fn a_crash_loop_before_its_health_check_is_one_too() {
    engine!();
    let app = service(CRASH, &format!("restart: unless-stopped, {HEALTH}"));
    fails_soon(&[("app", app)], LOOP).says("    app-1  | no database here");
}

#[test]
fn compose_does_not_wait_for_a_dependency_in_a_crash_loop() {
    engine!();
    let db = service(CRASH, "restart: always, healthcheck: {test: [CMD, 'false'], interval: 1h}");
    let app = service("[sleep, infinity]", "depends_on: {db: {condition: service_healthy}}");
    fails_soon(&[("app", app), ("db", db)], "db does not stay up");
    let once = service("['true']", "restart: always");
    let waits = "depends_on: {once: {condition: service_completed_successfully}}";
    let app = service("[sleep, infinity]", waits);
    fails_soon(&[("app", app), ("once", once)], "once does not stay up: ");
}

#[test]
fn an_end_with_code_0_that_is_restarted_for_ever_is_a_crash_loop() {
    engine!();
    let app = service("[sh, -c, 'exit 0']", "restart: unless-stopped");
    fails_soon(&[("app", app)], LOOP);
}

#[test]
fn restarts_that_the_engine_gives_up_are_a_failure() {
    engine!();
    let app = service("[sh, -c, 'exit 3']", "restart: 'on-failure:2'");
    fails_soon(&[("app", app)], "app ended with exit code 3 after 2 restarts");
}

#[test]
fn one_replica_of_several_that_fails_is_a_failure() {
    engine!();
    // Whichever takes the name first stays.
    let command = "[sh, -c, 'mkdir /shared/first && exec sleep infinity; sleep 1; exit 4']";
    let more = "deploy: {replicas: 2}, volumes: ['shared:/shared']";
    let project = project(&[("app", service(command, more))]);
    project.file("environments/dev/compose.yml", "volumes: {shared: {}}\n");
    let answer = project.xtask(&["start"]).exits(1);
    let says = |replica: u8| format!("\n  app-{replica} ended with exit code 4\n");
    assert!(says(1).len() == says(2).len(), "{}", answer.stderr);
    assert!([1, 2].iter().any(|it| answer.stderr.contains(&says(*it))), "{}", answer.stderr);
}

#[test]
fn a_program_that_is_not_in_the_image_is_named() {
    engine!();
    let app = service("[nowhere]", "restart: always").replace("init: true, ", "");
    fails_soon(&[("app", app)], "app can't start: ").says("\"nowhere\"");
}

#[test]
fn a_container_that_needed_a_restart_and_then_stays_is_fine() {
    engine!();
    let command = "[sh, -c, 'mkdir /first && exit 1; exec sleep infinity']";
    let project = project(&[("app", service(command, "restart: always"))]);
    project.xtask(&["start"]).succeeds().says("dev runs");
    project.xtask(&["status"]).succeeds().prints(", restarted once");
}

#[test]
fn a_health_check_of_the_image_is_waited_for() {
    engine!();
    let project = project(&[("app", service("[sh, -c, 'sleep 4; touch /ok; sleep 99']", ""))]);
    let check = "HEALTHCHECK --interval=1h --start-period=1h --start-interval=1s \
        CMD test -e /ok\n";
    project.file("docker/app/Dockerfile", format!("FROM base\nCOPY . /app\n{check}"));
    project.xtask(&["start"]).succeeds();
    project.xtask(&["status"]).succeeds().prints("(healthy)");
    // A file may switch it off.
    let off = "healthcheck: {disable: true}";
    let app = service("[sleep, infinity]", off);
    project.compose(&[("app", &app)]);
    project.xtask(&["start"]).succeeds();
    let status = project.xtask(&["status"]).succeeds();
    assert!(!status.stdout.contains("health"), "{}", status.stdout);
}

#[test]
fn a_service_without_replicas_is_not_waited_for() {
    engine!();
    let project = project(&[
        ("app", service("[sleep, infinity]", "deploy: {replicas: 0}")),
        ("other", service("[sleep, infinity]", "scale: 2")),
        ("third", service("[sleep, infinity]", "deploy: {replicas: '${COUNT}'}")),
    ]);
    project.file("environments/dev/environment.toml", "[variables]\nCOUNT = \"0\"\n");
    project.xtask(&["start"]).succeeds().says("dev runs");
    let status = project.xtask(&["status"]).succeeds();
    assert!(status.stdout.contains("  other-2 "), "{}", status.stdout);
    assert!(!status.stdout.contains("problem"), "{}", status.stdout);
}

#[test]
fn a_service_whose_end_another_one_waits_for_needs_no_mark() {
    engine!();
    let waits = "depends_on: {migrate: {condition: service_completed_successfully}}";
    let app = service("[sleep, infinity]", waits);
    let project = project(&[("app", app), ("migrate", service("['true']", ""))]);
    project.xtask(&["start"]).succeeds().says("dev runs");
}

#[test]
fn an_end_with_code_0_that_nobody_waits_for_suggests_the_mark() {
    engine!();
    let app = service("[sleep, infinity]", "");
    let says = "job ended with exit code 0; if it is to end, mark it `x-stevedore: {once: true}`";
    fails_soon(&[("app", app), ("job", service("['true']", ""))], says);
}

#[test]
fn a_start_after_a_crash_loop_is_judged_by_its_own_containers() {
    engine!();
    let project = project(&[("app", service(CRASH, "restart: always"))]);
    project.xtask(&["start"]).exits(1);
    project.compose(&[("app", &service("[sleep, infinity]", "restart: always"))]);
    project.xtask(&["start"]).succeeds().says("dev runs");
}

#[test]
fn what_is_waited_for_is_said_without_a_terminal() {
    engine!();
    let check = "healthcheck: {test: [CMD, test, -e, /ok], start_period: 1h, start_interval: 1s}";
    let project = project(&[("app", service("[sleep, infinity]", check))]);
    let mut start = project.spawn(&["start"]);
    start.until("waiting for app (starting)");
    docker(&["container", "exec", &format!("{}-dev-app-1", project.name), "touch", "/ok"]);
    assert_eq!(start.ends(), 0);
    assert!(start.output().contains("dev runs"), "{}", start.output());
}

#[test]
fn a_paused_container_is_not_one_that_runs() {
    engine!();
    let project = project(&[("app", service("[sleep, infinity]", ""))]);
    project.xtask(&["start"]).succeeds();
    let name = format!("{}-dev-app-1", project.name);
    docker(&["container", "pause", &name]);
    let says = "app is paused; `docker container unpause <name>-dev-app-1` continues it";
    project.xtask(&["status"]).succeeds().prints(says);
    project.xtask(&["start"]).exits(1).says(says);
    docker(&["container", "unpause", &name]);
    wait_until("a start", || project.xtask(&["start"]).code == 0);
}

/// What a health check prints is in no log.
#[test]
fn an_unhealthy_service_is_explained_by_its_health_check() {
    engine!();
    let check = "healthcheck: {test: 'echo table users is missing; exit 1', interval: 200ms, \
                 retries: 2}";
    let app = service("[sleep, infinity]", check);
    fails_soon(
        &[("app", app)],
        "app is unhealthy; its health check printed: table users is missing",
    );
}

/// A program that ends until its store is ready is what `restart: on-failure` is for.
#[test]
fn a_trial_start_restarts_what_the_stack_restarts() {
    engine!();
    let retry = "[sh, -c, 'test -e /tried || { touch /tried; exit 1; }; sleep infinity']";
    let project = project(&[("app", service(retry, "restart: on-failure"))]);
    project.file("environments/prod/environment.toml", "");
    project.xtask(&["test", "--only", "smoke"]).succeeds();
    let text = project.read("docker/compose.yml").replace("on-failure", "'no'");
    project.file("docker/compose.yml", text);
    let answer = project.xtask(&["test", "--only", "smoke"]).exits(3);
    answer.says("app ended with exit code 1");
}

/// Migrations that run twice at once break each other.
#[test]
fn a_restart_runs_what_runs_once_exactly_once_more() {
    engine!();
    let app = service(
        "[sleep, infinity]",
        "depends_on: {job: {condition: \
         service_completed_successfully}}, x-stevedore: {main: true}, volumes: ['data:/data']",
    );
    let job = service("[sh, -c, 'echo run >> /data/runs']", "volumes: ['data:/data']");
    let project = project(&[("app", app), ("job", job)]);
    let text = project.read("docker/compose.yml");
    project.file("docker/compose.yml", format!("{text}volumes: {{data: {{}}}}\n"));
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "cat", "/data/runs"]).succeeds().prints("run\n");
    project.xtask(&["restart"]).succeeds();
    let runs = project.xtask(&["run", "cat", "/data/runs"]).succeeds();
    assert_eq!(runs.stdout, "run\nrun\n");
}
