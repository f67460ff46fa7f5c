//! `start`, `stop`, `restart`, `status`, `logs`, `shell`, `run`: a stack in real containers.

use crate::dsl::{Project, docker, engine, free_port, get, wait_until};

/// A stack whose `app` serves its own files on `$STEVEDORE_PORT_HTTP` and keeps data in a volume.
fn served() -> (Project, u16) {
    let project = Project::with_stack();
    let port = free_port();
    project
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"))
        .file("app/index.html", "hello\n")
        .file("docker/app/Dockerfile", SERVER)
        .compose(&[("app", APP)])
        .file("environments/dev/compose.yml", "volumes: {data: {}}\n");
    (project, port)
}

const SERVER: &str = "FROM base\n\
    RUN apt-get update && apt-get install --yes --no-install-recommends busybox\n\
    COPY . /app\nWORKDIR /app\n";
const APP: &str = "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
    command: [busybox, httpd, -f, -vv, -p, '8080'], stop_grace_period: 1s, \
    ports: ['127.0.0.1:${STEVEDORE_PORT_HTTP}:8080'], volumes: ['data:/data'], \
    healthcheck: {test: [CMD, busybox, wget, -q, -O, /dev/null, 'http://127.0.0.1:8080/'], \
    interval: 1s, start_period: 30s, start_interval: 200ms}, x-stevedore: {main: true}}";

#[test]
fn a_started_environment_answers_and_a_stopped_one_keeps_its_data() {
    engine!();
    let (project, port) = served();
    let url = format!("dev answers on http://127.0.0.1:{port}/");
    project.xtask(&["start"]).succeeds().prints(&url);
    assert!(get(port, "/").unwrap().1.ends_with("hello\n"));
    let status = project.xtask(&["status"]).succeeds().prints("engine docker").prints("(healthy)");
    let image = project.reference("app").replace(&project.name, "<name>");
    assert!(status.stdout.contains(&image), "a name that can be pasted: {}", status.stdout);
    project.xtask(&["run", "--", "busybox", "sh", "-c", "echo kept > /data/file"]).succeeds();
    project.xtask(&["stop"]).succeeds().says("its data is kept");
    assert!(get(port, "/").is_none());
    let filter = format!("label=com.docker.compose.project={}-dev", project.name);
    assert_eq!(docker(&["container", "ls", "--all", "--quiet", "--filter", &filter]), "");

    project.xtask(&["dev", "--detach"]).succeeds().prints(&url);
    project.xtask(&["run", "cat", "/data/file"]).succeeds().prints("kept");
    project.xtask(&["stop"]).succeeds();
    project.xtask(&["stop"]).succeeds();
}

#[test]
fn dev_shows_the_log_and_ctrl_c_stops_what_it_started() {
    engine!();
    let (project, port) = served();
    let mut dev = project.spawn(&["dev"]);
    dev.until("dev answers on");
    get(port, "/a-path-that-is-logged").unwrap();
    dev.until("a-path-that-is-logged");
    assert!(dev.output().contains("app-1"), "each line has its service:\n{}", dev.output());
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
    let filter = format!("label=com.docker.compose.project={}-dev", project.name);
    assert_eq!(docker(&["container", "ls", "--all", "--quiet", "--filter", &filter]), "");
}

#[test]
fn dev_leaves_running_what_ran_before() {
    engine!();
    let (project, port) = served();
    project.xtask(&["start"]).succeeds();
    let mut dev = project.spawn(&["dev"]);
    dev.until("dev answers on");
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
    assert!(dev.output().contains("dev ran before and goes on"), "{}", dev.output());
    assert!(get(port, "/").is_some());
}

#[test]
fn the_port_on_the_command_line_wins_and_restart_keeps_it() {
    engine!();
    let (project, port) = served();
    let other = free_port();
    let argument = other.to_string();
    project.xtask(&["start", "--port", &argument]).succeeds().prints(&format!(":{other}/"));
    assert!(get(port, "/").is_none());
    project.file("app/index.html", "changed\n");
    project.xtask(&["restart"]).succeeds().prints(&format!(":{other}/"));
    assert!(get(other, "/").unwrap().1.ends_with("changed\n"), "restart builds what changed");
}

#[test]
fn a_port_in_use_names_its_owner_and_the_way_out() {
    engine!();
    let (project, port) = served();
    let owner = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let next = port + 1;
    project
        .xtask(&["start"])
        .exits(1)
        .says(&format!("port {port} is in use by"))
        .says(&format!("(process {})", std::process::id()))
        .says(&format!("--port {next}"));
    drop(owner);
    let name = format!("{}-squatter", project.name);
    let publish = format!("127.0.0.1:{port}:1");
    project.xtask(&["image", "build"]).succeeds();
    let image = project.reference("app");
    docker(&[
        "run",
        "--rm",
        "--detach",
        "--name",
        &name,
        "--publish",
        &publish,
        &image,
        "sleep",
        "infinity",
    ]);
    let answer = project.xtask(&["start"]);
    docker(&["container", "rm", "--force", &name]);
    answer.exits(1).says(&format!("port {port} is in use by container <name>-squatter"));
}

#[test]
fn a_service_that_never_becomes_healthy_is_an_error_with_its_log() {
    engine!();
    let project = Project::with_stack();
    project.compose(&[(
        "app",
        "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
         command: [sh, -c, 'echo no database here; sleep infinity'], stop_grace_period: 1s, \
         healthcheck: {test: [CMD, 'false'], interval: 200ms, retries: 2}}",
    )]);
    project
        .xtask(&["start"])
        .exits(1)
        .says("app is unhealthy")
        .says("no database here")
        .says("cargo xtask logs dev")
        .says("cargo xtask stop dev");
}

#[test]
fn a_service_that_ends_is_an_error_and_one_that_should_is_not() {
    engine!();
    let service = |command: &str, more: &str| {
        format!(
            "{{build: {{context: app, dockerfile: ../docker/app/Dockerfile}}, \
             command: {command}, {more}}}"
        )
    };
    let project = Project::with_stack();
    let once = service("['true']", "x-stevedore: {once: true}");
    let app = service("[sleep, infinity]", "init: true, stop_grace_period: 1s");
    project.compose(&[("once", &once), ("app", &app)]);
    project.xtask(&["start"]).succeeds();
    project.compose(&[("once", &service("['false']", "x-stevedore: {once: true}")), ("app", &app)]);
    project.xtask(&["start"]).exits(1).says("once ended with exit code 1");
}

#[test]
fn logs_are_shown_with_the_service_in_front() {
    engine!();
    let (project, port) = served();
    project.xtask(&["start"]).succeeds();
    get(port, "/logged").unwrap();
    wait_until("the log line", || {
        let log = project.xtask(&["logs", "--no-follow", "--tail", "50"]).succeeds().stdout;
        log.lines().any(|line| line.contains("app-1") && line.contains("/logged"))
    });
    let mut follow = project.spawn(&["logs"]);
    follow.until("/logged").signal("-INT");
    assert_eq!(follow.ends(), 0, "looking at a log has no other end");
    // Compose 2.26 clears the line of a terminal before each, in files and pipes too.
    assert!(!follow.output().contains('\u{1b}'), "{:?}", follow.output());

    let overlay = format!("services: {{app: {{container_name: {}-mine}}}}\n", project.name);
    project.file("environments/dev/compose.yml", overlay + "volumes: {data: {}}\n");
    project.xtask(&["start"]).succeeds();
    get(port, "/again").unwrap();
    wait_until("the log line as an event", || {
        let log = project.xtask(&["--json", "logs", "--no-follow"]).succeeds();
        let mut events = log.events().into_iter();
        events.any(|it| it["service"] == "app" && it["text"].as_str().unwrap().contains("/again"))
    });
}

#[test]
fn shell_and_run_reach_the_main_service_or_the_named_one() {
    engine!();
    let (project, _) = served();
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "dev", "app", "--", "pwd"]).succeeds().prints("/app");
    project.xtask(&["run", "dev", "--", "pwd"]).succeeds().prints("/app");
    project.xtask(&["run", "--", "sh", "-c", "exit 7"]).exits(7);
    // Only the first two dashes are ours.
    let echo = project.xtask(&["run", "dev", "app", "--", "printf", "%s,", "--", "-v"]);
    assert_eq!(echo.succeeds().stdout, "--,-v,");
    let echo = project.xtask(&["run", "--", "printf", "%s,", "--", "-v"]).succeeds();
    assert_eq!(echo.stdout, "--,-v,");
    let echo = project.xtask(&["run", "printf", "%s,", "-v"]).succeeds();
    assert_eq!(echo.stdout, "-v,");
    project.xtask(&["shell"]).succeeds();
    let known = "\"ap\" is not a service of this project; known: app";
    project.xtask(&["shell", "dev", "ap"]).exits(2).says(known);
}

/// The same project in another directory; its containers and volumes go with the test.
fn second_checkout(project: &Project) -> Project {
    let mut other = Project::for_containers();
    for path in ["docker", "app", "environments"] {
        let copied = std::process::Command::new("cp")
            .args(["--recursive", "--no-target-directory"])
            .args([project.path(path), other.path(path)])
            .status();
        assert!(copied.unwrap().success());
    }
    other.name.clone_from(&project.name);
    other
}

#[test]
fn two_checkouts_run_beside_each_other_with_names_ports_and_data_of_their_own() {
    engine!();
    let (first, port) = served();
    let name = "<name>-dev";
    let second = second_checkout(&first);
    let home = first.root().display().to_string();
    let mark = |project: &Project, text: &str| {
        let line = format!("cat /data/mark; echo {text} > /data/mark");
        project.xtask(&["run", "--", "sh", "-c", &line]).stdout
    };
    first.xtask(&["start"]).succeeds().prints(&format!(":{port}/"));
    mark(&first, "first");

    let others = second.xtask(&["start"]).succeeds();
    let taken =
        format!("port {port} is in use by container {name}-app-1 of the checkout {home}; this is ");
    let other = others.stderr.split(&taken).nth(1).unwrap_or_else(|| panic!("{}", others.stderr));
    let other: u16 = other.lines().next().unwrap().parse().unwrap();
    assert_ne!(other, port);
    let others = others.says(&format!("{name} is of the checkout {home}; this one is {name}-2"));
    others.prints(&format!("dev answers on http://127.0.0.1:{other}/"));
    assert_eq!(mark(&second, "second"), "", "each has its own data");
    second.xtask(&["status"]).succeeds().prints(&format!(":{other}/"));
    second.file("app/index.html", "changed\n");
    second.xtask(&["restart"]).succeeds().prints(&format!(":{other}/"));
    assert!(get(other, "/").unwrap().1.ends_with("changed\n"));
    let fixed = second.xtask(&["start", "--port", &port.to_string()]);
    fixed.exits(1).says(&format!("port {port} is in use by container"));

    // Which one runs first tomorrow changes nothing.
    first.xtask(&["stop"]).succeeds();
    assert!(get(port, "/").is_none() && get(other, "/").is_some());
    second.xtask(&["restart"]).succeeds();
    assert_eq!(mark(&second, "again"), "second\n");
    first.xtask(&["start"]).succeeds();
    assert_eq!(mark(&first, "again"), "first\n");
    second.xtask(&["stop"]).succeeds();
    first.xtask(&["status"]).succeeds().prints("(healthy)");
}

#[test]
fn what_a_checkout_had_that_is_gone_can_be_had_by_the_next() {
    engine!();
    let (project, _) = served();
    let name = format!("{}-dev", project.name);
    let volume = format!("{name}.checkout");
    let claimed = || docker(&["volume", "ls", "--quiet", "--filter", &format!("name={volume}")]);
    project.xtask(&["start", "--dry-run"]).succeeds().prints("docker volume create");
    assert_eq!(claimed(), "");
    let gone = format!("dev.stevedore.checkout={}", project.path("nowhere").display());
    let label = format!("dev.stevedore.name={name}");
    docker(&["volume", "create", "--label", &label, "--label", &gone, &volume]);
    let answer = project.xtask(&["start"]).succeeds();
    assert!(!answer.stderr.contains("is of the checkout"), "{}", answer.stderr);
    let format = "{{index .Labels \"dev.stevedore.checkout\"}}";
    let home = docker(&["volume", "inspect", "--format", format, &volume]);
    assert_eq!(home.trim(), project.root().display().to_string());
}

#[test]
fn an_overlay_adds_to_our_own_facts_instead_of_replacing_them() {
    engine!();
    let (project, _) = served();
    project.file(
        "environments/dev/compose.yml",
        "services: {app: {x-stevedore: {attached: true}}}\nvolumes: {data: {}}\n",
    );
    project.xtask(&["start"]).succeeds();
    // `main` stands in docker/compose.yml only.
    project.xtask(&["run", "true"]).succeeds();
}

#[test]
fn a_failed_dependency_shows_its_own_log() {
    engine!();
    let project = Project::with_stack();
    let service = |command: &str, more: &str| {
        format!(
            "{{build: {{context: app, dockerfile: ../docker/app/Dockerfile}}, init: true, \
             command: {command}, stop_grace_period: 1s, {more}}}"
        )
    };
    let once = service("[sh, -c, 'echo cannot migrate; exit 3']", "x-stevedore: {once: true}");
    let app = service(
        "[sleep, infinity]",
        "depends_on: {once: {condition: service_completed_successfully}}",
    );
    project.compose(&[("once", &once), ("app", &app)]);
    project
        .xtask(&["start"])
        .exits(1)
        .says("once ended with exit code 3")
        .says("cannot migrate")
        .says("cargo xtask stop dev");
}

#[test]
fn what_runs_can_be_stopped_whatever_became_of_its_settings() {
    engine!();
    let (project, port) = served();
    project.xtask(&["start"]).succeeds();
    project.file("environments/dev/.env.example", "NEW=required:secret\n");
    project.xtask(&["status"]).succeeds().prints("(healthy)");
    project.xtask(&["stop"]).succeeds();
    assert!(get(port, "/").is_none());
}

#[test]
fn leftover_containers_do_not_count_as_running_before() {
    engine!();
    let (project, port) = served();
    project.xtask(&["start"]).succeeds();
    let mut dev = project.spawn(&["dev"]);
    dev.until("dev answers on").signal("-TERM");
    assert_eq!(dev.ends(), 130);
    assert!(get(port, "/").is_some());
    docker(&["container", "stop", &format!("{}-dev-app-1", project.name)]);
    // Only a stopped container is left: what dev starts now it also stops.
    let mut dev = project.spawn(&["dev"]);
    dev.until("dev answers on").signal("-INT");
    assert_eq!(dev.ends(), 130);
    assert!(get(port, "/").is_none());
}

#[test]
fn run_makes_a_container_of_any_service_while_the_stack_runs() {
    engine!();
    let service = |keys: &str| format!("{{build: {{context: docker/app}}, init: true, {keys}}}");
    let project = Project::with_stack();
    project.file("docker/app/Dockerfile", "FROM base\n").compose(&[
        ("app", &service("command: [sleep, infinity], stop_grace_period: 1s")),
        ("init", &service("command: ['true'], x-stevedore: {once: true}")),
        ("mail", &service("profiles: [dev, more]")),
    ]);
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "dev", "init", "--", "echo", "hello"]).succeeds().prints("hello");
    // It works, too, when somebody has removed the container.
    docker(&["container", "rm", "--force", &format!("{}-dev-init-1", project.name)]);
    project.xtask(&["run", "dev", "init", "--", "echo", "hello"]).succeeds().prints("hello");
    let behind = "the service mail is behind the profiles dev, more, which are not started";
    for command in [
        &["run", "dev", "mail", "--", "id"][..],
        &["shell", "dev", "mail"],
        &["logs", "dev", "mail"],
        &["restart", "dev", "mail"],
    ] {
        project.xtask(command).exits(2).says(behind);
    }
    project.xtask(&["shell", "dev", "init"]).exits(4).says("init does not run in dev");
    project.xtask(&["stop"]).succeeds();
    let says = "dev does not run; start it with `cargo xtask start dev`";
    project.xtask(&["run", "dev", "init", "--", "id"]).exits(4).says(says);
}
