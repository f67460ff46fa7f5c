//! A dry run changes nothing and prints the commands that the real run would run, in order.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::dsl::{Project, engine, free_port};

/// Every path of a project with its mode and contents; what the test itself writes is left out.
fn tree(project: &Project) -> BTreeMap<String, (u32, Vec<u8>)> {
    fn visit(root: &Path, directory: &Path, tree: &mut BTreeMap<String, (u32, Vec<u8>)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if ["calls", "fake"].contains(&name.as_str()) {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            let contents = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            tree.insert(name, (meta.permissions().mode(), contents));
            if meta.is_dir() {
                visit(root, &path, tree);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(project.root(), project.root(), &mut found);
    found
}

/// Whether a call of docker only asks.
fn asks(call: &str) -> bool {
    const QUESTIONS: [&str; 10] = [
        "docker version",
        "docker events",
        "docker buildx version",
        "docker compose version",
        "docker image inspect",
        "docker image ls",
        "docker volume ls",
        "docker container inspect",
        "docker container ls",
        "docker buildx imagetools inspect",
    ];
    let compose = call.starts_with("docker compose ")
        && [" config ", " ps ", " logs "].iter().any(|question| call.contains(question));
    compose || QUESTIONS.iter().any(|question| call.starts_with(question))
}

/// A command without what differs from run to run: ids and private directories.
fn plain(project: &Project, command: &str) -> String {
    let root = project.root().display().to_string();
    let command = command.replace(&root, "<root>").replace(&project.name, "<name>");
    if let Some(operands) = command.strip_prefix("docker image tag ") {
        return format!("docker image tag … {}", operands.rsplit(' ').next().unwrap());
    }
    let mut words: Vec<&str> = command.split(' ').collect();
    for (end, shown) in [
        ("/bake.json", "…/bake.json"),
        ("/seal.json", "…/seal.json"),
        ("/made.json", "…/made.json"),
        ("/image.tar", "…/image.tar"),
    ] {
        words.iter_mut().filter(|word| word.ends_with(end)).for_each(|word| *word = shown);
    }
    for word in &mut words {
        let end = word.find(":building-").unwrap_or(word.len());
        *word = &word[..end];
    }
    words.join(" ")
}

/// The commands that a dry run prints; it changes nothing and only asks.
#[track_caller]
fn dry(project: &Project, arguments: &[&str]) -> Vec<String> {
    let before = tree(project);
    project.calls();
    let answer = project.xtask(&[arguments, &["--dry-run"]].concat()).succeeds();
    let changing: Vec<String> = project.calls().into_iter().filter(|call| !asks(call)).collect();
    assert_eq!(changing, Vec::<String>::new(), "{arguments:?}");
    assert!(tree(project) == before, "{arguments:?} changed the project");
    let lines = answer.stdout.lines().filter_map(|line| line.strip_prefix("$ "));
    let printed: Vec<String> = lines.map(|line| plain(project, line)).collect();

    let answer = project.xtask(&[arguments, &["--dry-run", "--json"]].concat()).succeeds();
    let events = answer.events().into_iter().filter(|event| event["event"] == "command");
    let events = events.map(|event| plain(project, event["command"].as_str().unwrap()));
    let events: Vec<String> = events.collect();
    match arguments {
        // Its epoch is the time of the run.
        ["image", "update"] => assert_eq!(heads(&events, 3), heads(&printed, 3)),
        _ => assert_eq!(events, printed, "{arguments:?} with --json"),
    }
    assert!(tree(project) == before, "{arguments:?} --json changed the project");
    printed
}

/// The changing calls of a real run.
#[track_caller]
fn real(project: &Project, arguments: &[&str]) -> Vec<String> {
    project.calls();
    project.xtask(arguments).succeeds();
    let calls = project.calls().into_iter().filter(|call| !asks(call));
    calls.map(|call| plain(project, &call)).collect()
}

/// A project with a stack and a published port whose external bases are here.
fn stack() -> Project {
    let mut project = Project::with_stack();
    project
        .log_docker()
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {}\n", free_port()))
        .xtask(&["image", "build", "dev", "base"])
        .succeeds();
    project
}

fn heads(commands: &[String], words: usize) -> Vec<String> {
    let head = |command: &String| command.split(' ').take(words).collect::<Vec<_>>().join(" ");
    commands.iter().map(head).collect()
}

const COMPOSE: &str = "docker compose --project-directory . --env-file /dev/null \
    --project-name <name>-dev --file docker/compose.yml --file <root>/.stevedore/dev/images.yml";

#[test]
fn env_init_prints_the_file_it_would_write() {
    let mut project = Project::new();
    project.log_docker().file("environments/dev/.env.example", "KEY=generate:hex32\n");
    assert_eq!(dry(&project, &["env", "init"]), ["write environments/dev/.env"]);
    assert_eq!(project.calls(), Vec::<String>::new());
    let answer = project.xtask(&["env", "init", "--dry-run"]).succeeds();
    assert!(!answer.stderr.contains("created"), "{}", answer.stderr);
    project.xtask(&["env", "init"]).succeeds();
    assert_eq!(dry(&project, &["env", "init"]), Vec::<String>::new());
}

#[test]
fn the_host_engine_prints_its_processes_in_order_also_before_the_first_start() {
    let mut project = Project::new();
    project
        .log_docker()
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {}\n", free_port()))
        .file("environments/dev/.env.example", "KEY=generate:hex32\n")
        .file(
            "environments/dev/Procfile",
            "web: touch web 'two words'\nrelease: touch release\ntest: touch test\nw: touch $KEY\n",
        );
    let dev = ["dev", "--engine", "host"];
    assert_eq!(
        dry(&project, &dev),
        ["write environments/dev/.env", "touch release", "touch web 'two words'", "touch '<KEY>'",]
    );
    let detach = dry(&project, &[&dev[..], &["--detach"]].concat());
    assert_eq!(detach[0], "write environments/dev/.env");
    assert!(
        detach[1].contains(" dev --engine=host --no-watch --no-assets --color=never --port="),
        "{detach:?}"
    );
    assert_eq!(detach.len(), 2);
    assert_eq!(
        dry(&project, &["test", "--engine", "host"]),
        ["write environments/dev/.env", "touch test"]
    );
    assert_eq!(project.calls(), Vec::<String>::new(), "the host engine needs no Docker");
}

/// Debian's packages, as `apt-cache policy` prints them.
const OFFERS: &str = "printf '%s:\n  Candidate: 2.0\n' \
                      docker.io docker-cli docker-buildx docker-compose";

#[test]
fn setup_prints_the_installation() {
    let mut project = Project::new();
    project
        .fake("docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
        .fake("dockerd", "exit 1")
        .fake("mmdebstrap", "exit 1")
        .fake("curl", "exit 1")
        .fake("apt-get", "exit 1")
        .fake("apt-cache", OFFERS);
    let path = project.path("fake").display().to_string();
    project.variable("PATH", &path).variable("DOCKER_HOST", "");
    let printed = dry(&project, &["setup"]);
    let expected = [
        "env DEBIAN_FRONTEND=noninteractive apt-get update --quiet",
        "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet \
         --no-install-recommends --no-remove docker.io docker-cli docker-buildx docker-compose \
         python3-venv",
    ];
    for (printed, expected) in printed.iter().zip(expected) {
        assert!(printed.ends_with(expected), "{printed}");
    }
    assert_eq!(printed.len(), 5, "{printed:?}");
    assert!(printed[2].contains("docker"), "the engine is started: {printed:?}");
    assert!(printed[3].starts_with("python3 -m venv"), "{printed:?}");
    assert!(printed[4].ends_with("awsebcli==3.27.5 awscli"), "{printed:?}");
}

#[test]
fn setup_of_a_machine_that_has_everything_prints_no_command() {
    engine!();
    let mut project = Project::new();
    project.log_docker();
    for program in ["mmdebstrap", "curl", "eb", "aws"] {
        project.fake(program, "exit 1");
    }
    assert_eq!(dry(&project, &["setup"]), Vec::<String>::new());
}

#[test]
fn image_build_prints_what_it_then_runs() {
    engine!();
    let project = stack();
    let printed = dry(&project, &["image", "build"]);
    assert_eq!(real(&project, &["image", "build"]), printed);
    assert_eq!(heads(&printed, 3), ["docker buildx bake", "docker buildx bake", "docker image rm"]);
    assert_eq!(dry(&project, &["image", "build"]), Vec::<String>::new(), "all is fresh");

    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN echo two > /base\n");
    let printed = dry(&project, &["image", "build"]);
    assert!(printed[0].ends_with("--progress plain app base"), "{printed:?}");
    assert_eq!(real(&project, &["image", "build"]), printed);
}

#[test]
fn start_restart_and_stop_print_what_they_then_run() {
    engine!();
    let project = stack();
    project.file("environments/dev/.env.example", "KEY=generate:hex32\n");
    let printed = dry(&project, &["start"]);
    assert_eq!(dry(&project, &["dev", "--engine", "docker", "--detach"]), printed);
    assert_eq!(printed[0], "write environments/dev/.env");
    assert!(printed[1].starts_with("docker volume create --label "), "{}", printed[1]);
    assert_eq!(printed[5], format!("{COMPOSE} up --no-build --remove-orphans --detach"));
    let foreground = dry(&project, &["dev", "--engine", "docker"]);
    assert_eq!(foreground[..5], printed[..5]);
    assert_eq!(foreground[5], format!("{COMPOSE} up --no-build --remove-orphans"));
    assert_eq!(real(&project, &["start"]), printed[1..]);

    let printed = dry(&project, &["restart"]);
    assert_eq!(real(&project, &["restart"]), printed);
    assert_eq!(
        printed,
        [
            format!("{COMPOSE} up --no-build --remove-orphans --detach"),
            format!("{COMPOSE} restart --no-deps"),
        ]
    );
    let printed = dry(&project, &["stop"]);
    assert_eq!(printed, [format!("{COMPOSE} down --remove-orphans")]);
    assert_eq!(real(&project, &["stop"]), printed);

    let printed = dry(&project, &["image", "destroy"]);
    assert_eq!(heads(&printed, 3), ["docker image rm"]);
    let answer = project.xtask(&["image", "destroy", "--dry-run"]).succeeds();
    assert!(!answer.stdout.contains("removed"), "{}", answer.stdout);
    assert_eq!(real(&project, &["image", "destroy"]), printed);
}

#[test]
fn test_prints_what_it_then_runs() {
    engine!();
    let project = stack();
    assert_eq!(dry(&project, &["test"]), Vec::<String>::new(), "there is no stage for it");
    project.file(
        "docker/app/Dockerfile",
        "FROM base AS build\nCOPY . /app\nFROM build AS test\nRUN test -e /app/source.txt\n\
         FROM build\n",
    );
    let printed = dry(&project, &["test"]);
    assert_eq!(real(&project, &["test"]), printed);
    assert_eq!(heads(&printed, 3), ["docker buildx bake", "docker buildx bake", "docker image rm"]);
}

#[test]
fn image_update_prints_each_command_once_and_the_lock_last() {
    engine!();
    let project = stack();
    let printed = dry(&project, &["image", "update"]);
    let mut once = printed.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), printed.len(), "twice the same: {printed:#?}");
    assert_eq!(printed.last().unwrap(), "write docker/stack.lock");
    assert!(printed.iter().any(|command| command.starts_with("docker buildx bake ")));
}
