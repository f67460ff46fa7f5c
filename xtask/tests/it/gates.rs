//! `check`, `test`, `parity`: what must be green, each gate with a line, its failures in their own
//! words, and passes that count again only for the same images and the same gate.

use crate::dsl::{Answer, Project, docker, engine, free_port};

/// An app whose image needs its `test` stage, and an environment `prod` that runs it.
fn project() -> Project {
    let project = Project::with_stack();
    let app = "FROM base AS test\nCOPY test.sh /\nRUN sh /test.sh && mkdir /tested && echo ok > \
               /tested/result\nFROM base AS prod\nRUN --mount=type=bind,from=test,source=/tested,\
               target=/mnt true\nCOPY source.txt /\n";
    project
        .file("docker/app/Dockerfile", app)
        .file("app/test.sh", "echo all is well\n")
        .file("environments/prod/environment.toml", format!("[ports]\nhttp = {}\n", free_port()))
        .file("docker/other/Dockerfile", "FROM base\nRUN echo other > /other\n");
    compose(&project, "test -e /source.txt", "");
    project
}

/// The stack of [`project`]; the health check of `app`, and more keys of that service.
fn compose(project: &Project, health: &str, more: &str) {
    let app = format!(
        "{{build: {{context: app, dockerfile: ../docker/app/Dockerfile, target: prod}}, \
         command: [sleep, infinity], init: true, stop_grace_period: 1s, \
         ports: ['127.0.0.1:${{STEVEDORE_PORT_HTTP:-1}}:80'], volumes: ['data:/data'], \
         healthcheck: {{test: {health}, interval: 200ms, retries: 3}}{more}}}"
    );
    let other = "{build: {context: docker/other}, command: [sleep, infinity], init: true, \
                 stop_grace_period: 1s}";
    let text = format!(
        "name: {}\nservices:\n  app: {app}\n  other: {other}\nvolumes: {{data: {{}}}}\n",
        project.name
    );
    project.file("docker/compose.yml", text);
}

/// `gate status` of each.
fn gates(answer: &Answer) -> Vec<String> {
    let events = answer.events().into_iter().filter(|event| event["event"] == "gate");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    events.map(|event| format!("{}: {}", text(&event["gate"]), text(&event["status"]))).collect()
}

/// Makes a project a git repository that knows all its files.
fn add_to_git(project: &Project) {
    for arguments in [&["init", "--quiet"][..], &["add", "--", "."]] {
        let mut git = std::process::Command::new("git");
        assert!(git.args(arguments).current_dir(project.root()).status().unwrap().success());
    }
}

#[test]
fn a_ci_system_is_told_of_problems_and_gates_in_its_own_words() {
    let mut project = Project::new();
    project.in_git().compose(&[]).file("docker/app/Dockerfile", "FROM\n");
    let lock = std::fs::read_to_string(crate::dsl::repository().join("docker/stack.lock")).unwrap();
    project.file("docker/stack.lock", lock);
    let plain = project.xtask(&["check"]).exits(3);
    assert!(!plain.stderr.contains("::error") && !plain.stderr.contains("section_"), "{plain:?}");
    project.variable("GITHUB_ACTIONS", "true");
    let marked = project.xtask(&["check", "--json"]).exits(3);
    marked.events();
    assert!(
        marked.stderr.contains("\n::error file=docker/app/Dockerfile,line=1::"),
        "{}",
        marked.stderr
    );
    // The project may lie below the top of its repository.
    let (top, name) = (project.root().parent().unwrap(), project.root().file_name().unwrap());
    let (top, name) = (top.display().to_string(), name.display().to_string());
    project.variable("GITHUB_WORKSPACE", &top);
    let below = format!("::error file={name}/docker/app/Dockerfile,line=1::");
    project.xtask(&["check"]).exits(3).says(&below);
    project.variable("GITHUB_ACTIONS", "false").variable("GITLAB_CI", "true");
    let folded = project.xtask(&["check"]).exits(3);
    let places = ["section_start:", ":Dockerfiles[collapsed=true]\r", "section_end:", "error: "];
    let places = places.map(|words| folded.stderr.find(words).expect(words));
    assert!(places.is_sorted(), "the problem is not folded away: {}", folded.stderr);
}

/// Containers and volumes that a smoke gate of a project has left.
fn left_by_smoke(project: &Project) -> String {
    let name = format!("name={}-smoke", project.name);
    docker(&["container", "ls", "--all", "--quiet", "--filter", &name])
        + &docker(&["volume", "ls", "--quiet", "--filter", &name])
        + &docker(&["network", "ls", "--quiet", "--filter", &name])
}

#[test]
fn a_failing_test_fails_the_image_that_ships_with_its_own_words() {
    engine!();
    let project = project();
    project.file("app/test.sh", "echo one and one is three >&2; exit 9\n");
    let answer = project.xtask(&["--json", "image", "build", "prod"]).exits(1);
    assert!(answer.images().contains(&"app failed: never built here".into()), "{answer:?}");
    answer.says("error: can't build the images\n  one and one is three\n[").says("exit code: 9");
    let answer = project.xtask(&["--json", "test"]).exits(3).says("one and one is three");
    assert_eq!(gates(&answer), ["tests of app: failed", "images of prod: failed"]);
    answer.says("did not pass: tests of app, images of prod");
    let answer = project.xtask(&["check"]).exits(3);
    answer.says("not a git repository").says("did not pass: shell scripts");
    add_to_git(&project);
    let answer = project.xtask(&["--json", "ci", "--yes"]).exits(3).says("one and one is three");
    assert!(gates(&answer).contains(&"tests of app: failed".into()), "{answer:?}");
    project.file("app/test.sh", "exit 0\n");
    let answer = project.xtask(&["--json", "ci", "--yes"]).succeeds().says("everything passed");
    assert!(gates(&answer).contains(&"parity dev prod: passed".into()), "{answer:?}");
}

#[test]
fn mending_a_test_runs_again_what_depends_on_it_and_nothing_else() {
    engine!();
    let project = project();
    project.xtask(&["test"]).succeeds();
    project.file("app/test.sh", "exit 9\n").xtask(&["test"]).exits(3);
    project.file("app/test.sh", "exit 0\n");
    let answer = project.xtask(&["--json", "test"]).succeeds();
    let images = answer.images();
    assert!(images.contains(&"base fresh".into()), "{images:?}");
    assert!(images.contains(&"other fresh".into()), "{images:?}");
    assert!(images.iter().any(|image| image.starts_with("app built")), "{images:?}");
    let passed = ["tests of app: passed", "images of prod: passed", "smoke prod: passed"];
    assert_eq!(gates(&answer), passed);
    let again = ["tests of app: reused", "images of prod: passed", "smoke prod: reused"];
    assert_eq!(gates(&project.xtask(&["--json", "test"]).succeeds()), again);
}

#[test]
fn the_smoke_gate_starts_images_by_id_beside_the_real_stack_and_leaves_nothing() {
    engine!();
    let mut project = project();
    project.xtask(&["start", "prod"]).succeeds();
    project.log_docker().xtask(&["test", "--only", "smoke"]).succeeds();
    project.xtask(&["status", "prod"]).succeeds().prints("healthy");
    let calls = project.calls().join("\n");
    assert!(calls.contains("smoke-prod-"), "{calls}");
    let overlay = project.read(".stevedore/prod/smoke.yml");
    assert!(overlay.contains("\"image\": \"sha256:"), "{overlay}");
    assert!(overlay.contains("\"ports\": !reset null"), "{overlay}");
    assert_eq!(left_by_smoke(&project), "");
}

#[test]
fn a_stack_that_does_not_become_healthy_fails_with_its_log_and_leaves_nothing() {
    engine!();
    let project = project();
    compose(
        &project,
        "'echo no such luck; false'",
        ", entrypoint: [sh, -c, 'echo my last words; sleep 99']",
    );
    for _ in 0..2 {
        // A failure is not remembered.
        let answer = project.xtask(&["--json", "test", "--only", "smoke"]).exits(3);
        assert_eq!(gates(&answer), ["images of prod: passed", "smoke prod: failed"]);
        answer.says("my last words").says("app is unhealthy");
        assert_eq!(left_by_smoke(&project), "");
    }
    compose(&project, "test -e /source.txt", "");
    let answer = project.xtask(&["--json", "test", "--only", "smoke"]).succeeds();
    assert_eq!(gates(&answer), ["images of prod: passed", "smoke prod: passed"]);
}

#[test]
fn a_pass_does_not_count_where_files_of_this_machine_decide() {
    engine!();
    let project = project();
    project.file("conf/health", "good\n");
    compose(&project, "grep good /conf/health", ", read_only: true");
    let text = project.read("docker/compose.yml");
    let mounted = text.replace("'data:/data'", "'./conf:/conf:ro'");
    project.file("docker/compose.yml", &mounted);
    project.xtask(&["test", "--only", "smoke"]).succeeds();
    project.file("conf/health", "bad\n");
    project.xtask(&["test", "--only", "smoke"]).exits(3).says("app is unhealthy");
    project.file("docker/compose.yml", mounted.replace("/conf:ro", "/conf"));
    let answer = project.xtask(&["test", "--only", "smoke"]).exits(3);
    answer.says("service app may write to").says("mount it read-only, or as a volume");
}

/// What compose calls a volume while its variables are not filled in can be the directory of the
/// running database.
#[test]
fn a_trial_start_never_writes_to_data_that_a_variable_or_a_driver_names() {
    engine!();
    let project = project();
    let prod = project.path("data");
    project
        .mkdir("data")
        .file("environments/prod/.env.example", "DB_DATA_LOCATION=./data\nRO=false\n")
        .file("environments/prod/.env", "DB_DATA_LOCATION=./data\nRO=false\n")
        .mode("environments/prod/.env", 0o600);
    compose(&project, "echo trial >> /data/file", "");
    let text = project.read("docker/compose.yml");
    let bound = format!(
        "volumes: {{data: {{driver_opts: {{type: none, o: bind, device: '{}'}}}}}}",
        prod.display()
    );
    for (old, new, problem) in [
        (
            "'data:/data'",
            "'${DB_DATA_LOCATION}:/data'",
            "service app may write to ${DB_DATA_LOCATION} (mounted at /data); mount it read-only",
        ),
        (
            "'data:/data'",
            "{type: bind, source: '${DB_DATA_LOCATION}', target: /data, read_only: '${RO}'}",
            "service app may write to ${DB_DATA_LOCATION} (mounted at /data); mount it read-only",
        ),
        ("volumes: {data: {}}", &bound, "volume data has a driver or driver_opts"),
        ("init: true", "pid: host", "service app uses the processes of this machine"),
        (
            "'data:/data'",
            "'/var/run/docker.sock:/run/docker.sock:ro'",
            "service app can use a socket of this machine in /var/run/docker.sock",
        ),
    ] {
        project.file("docker/compose.yml", text.replacen(old, new, 1));
        let answer = project.xtask(&["--json", "test", "--only", "smoke"]).exits(3).says(problem);
        assert_eq!(gates(&answer)[1], "smoke prod: failed", "{new}");
        assert_eq!(std::fs::read_dir(&prod).unwrap().count(), 0, "{new}");
        assert!(!answer.stderr.contains("./data"), "the value is shown: {}", answer.stderr);
    }
    let volume = "environments/prod/.env.example";
    project.file(volume, "DB_DATA_LOCATION=data\nRO=false\n");
    project.file("docker/compose.yml", text.replace("'data:/data'", "'${DB_DATA_LOCATION}:/data'"));
    project.xtask(&["test", "--only", "smoke"]).succeeds();
    assert_eq!(left_by_smoke(&project), "");
}

#[test]
fn a_trial_start_joins_no_network_of_the_real_stack() {
    engine!();
    let project = project();
    let name = format!("{}-shared", project.name);
    compose(&project, "'true'", ", networks: [shared]");
    let text = project.read("docker/compose.yml");
    project.file("docker/compose.yml", format!("{text}networks: {{shared: {{name: {name}}}}}\n"));
    project.xtask(&["test", "--only", "smoke"]).succeeds();
    let overlay = project.read(".stevedore/prod/smoke.yml");
    assert!(overlay.contains(&format!("\"name\": \"{}-smoke-prod", project.name)), "{overlay}");
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &format!("name={name}")]), "");
    let external = format!("{text}networks: {{shared: {{external: true, name: {name}}}}}\n");
    project.file("docker/compose.yml", external);
    project.xtask(&["test", "--only", "smoke"]).exits(3).says("network shared is external");
}

#[test]
fn a_dry_run_of_the_gates_prints_what_they_would_do_and_starts_nothing() {
    engine!();
    let project = project();
    compose(&project, "'true'", ", x-stevedore: {main: true, variables: [env]}");
    project.xtask(&["image", "build", "prod"]).succeeds();
    let dry = project.xtask(&["test", "--dry-run"]).succeeds();
    let run = "docker container run --rm --init --name stevedore-question-";
    let up = "up --no-build --remove-orphans --detach";
    let down = "down --remove-orphans --volumes";
    for part in [run, up, down] {
        assert!(dry.stdout.contains(part), "{}", dry.stdout);
    }
    assert!(!project.path(".stevedore/gates").exists() && left_by_smoke(&project).is_empty());
    let dry = project.xtask(&["parity", "prod", "prod", "--dry-run"]).succeeds();
    assert!(dry.stdout.contains("docker container create"), "{}", dry.stdout);
}

#[test]
fn an_interrupted_smoke_gate_leaves_nothing() {
    engine!();
    let project = project();
    compose(&project, "'false'", ", entrypoint: [sleep, infinity]");
    // Unhealthy only after a long while.
    let text = project.read("docker/compose.yml").replace("retries: 3", "retries: 900");
    project.file("docker/compose.yml", text);
    project.xtask(&["image", "build", "prod"]).succeeds();
    let mut test = project.spawn(&["test", "--only", "smoke"]);
    test.until("gate: smoke prod");
    crate::dsl::wait_until("the trial stack", || !left_by_smoke(&project).is_empty());
    test.signal("-INT");
    assert_eq!(test.ends(), 130);
    assert_eq!(left_by_smoke(&project), "");
}

#[test]
fn settings_that_an_image_reads_and_is_not_given_are_named_and_the_other_way_round() {
    engine!();
    let project = project();
    let more = ", environment: {GIVEN: x, MISSPELT: y}, x-stevedore: {main: true, variables: \
                [printf, 'GIVEN required\\nNEEDED required\\nOPTIONAL\\n']}";
    compose(&project, "'true'", more);
    let answer = project.xtask(&["--json", "test", "--only", "settings"]).exits(3);
    assert_eq!(gates(&answer), ["images of prod: passed", "settings of app: failed"]);
    answer
        .says("dev: app needs NEEDED, and compose does not give it")
        .says("prod: compose gives app MISSPELT, which it does not read");
    let mended = more.replace("MISSPELT", "NEEDED");
    compose(&project, "'true'", &mended);
    for status in ["passed", "reused"] {
        let answer = project.xtask(&["--json", "test", "--only", "settings"]).succeeds();
        assert_eq!(gates(&answer)[1], format!("settings of app: {status}"));
    }
}

#[test]
fn check_runs_every_gate_and_lists_the_problems_of_each() {
    let project = Project::new();
    let toml = "[variables]\nUNUSED_PUBLIC = \"x\"\n[gates.check]\n\"a: fails\" = \"sh -c 'echo \
                its own words; exit 4'\"\n\"b: passes\" = \"true\"\n\"c: is not here\" = \
                \"no-such-program\"\n";
    project
        .compose(&[("app", "{image: debian, environment: {A: '${UNKNOWN}'}}")])
        .file("docker/stack.lock", Project::with_stack().read("docker/stack.lock"))
        .file("docker/app/Dockerfile", "FROM base\nONBUILD RUN true\n")
        .file("docker/base/Dockerfile", "FROM debian:nowhere\n")
        .file("environments/dev/.env.example", "UNUSED_SECRET=generate:hex32\n")
        .file("environments/dev/environment.toml", toml)
        .file("script", "#!/usr/bin/env bash\nif true; then\n")
        .file("-x", "#!/bin/sh\nif")
        .file("with-options", "#!/bin/bash -eu\nif");
    add_to_git(&project);
    let answer = project.xtask(&["--json", "check"]).exits(3);
    let expected = [
        "Dockerfiles: failed",
        "environment dev: failed",
        "shell scripts: failed",
        "a: fails: failed",
        "b: passes: passed",
        "c: is not here: missing",
    ];
    assert_eq!(gates(&answer), expected);
    answer
        .says("docker/app/Dockerfile:2")
        .says("docker/base/Dockerfile: debian:nowhere does not stand in docker/stack.lock")
        .says("${UNKNOWN}")
        .says("environments/dev/.env.example:1: no compose file uses UNUSED_SECRET")
        .says("environments/dev/environment.toml: no compose file uses UNUSED_PUBLIC")
        .says("script: line 3: syntax error")
        .says("./-x: 2: Syntax error")
        .says("with-options: line 3: syntax error")
        .says("its own words\n`sh -c \"echo its own words; exit 4\"` failed")
        .says("did not pass: Dockerfiles, environment dev, shell scripts, a: fails");
}

#[test]
fn a_gate_that_names_no_program_is_refused_with_its_file() {
    let project = Project::new();
    project.compose(&[("app", "{image: debian}")]);
    for line in ["", "'open"] {
        let toml = format!("[gates.ci]\nlint = \"{line}\"\n");
        project.file("environments/dev/environment.toml", toml);
        project
            .xtask(&["check"])
            .exits(1)
            .says("environments/dev/environment.toml")
            .says("\"lint\"");
    }
}

#[test]
fn a_package_version_or_a_key_that_differs_without_a_reason_fails_parity() {
    engine!();
    let project = project();
    // As an image would look that was built with another version of a package.
    let moved = "FROM base AS dev\nRUN sed --in-place '/^Package: bash$/,/^Version/s/^Version: .*\
                 /Version: 9.9-1/; /^Package: grep$/,/^Status/s/^Status: .*/Status: deinstall ok \
                 config-files/' /var/lib/dpkg/status\n";
    let dockerfile = format!("{moved}{}", project.read("docker/app/Dockerfile"));
    project
        .file("docker/app/Dockerfile", dockerfile)
        .file(
            "environments/dev/compose.yml",
            "services: {app: {build: {target: dev}, environment: {DEBUG: x}}, store: {image: \
             'redis:6'}}\n",
        )
        .file("environments/prod/compose.yml", "services: {store: {image: 'redis:7'}}\n")
        .file("environments/dev/environment.toml", "[variables]\nSENTRY = \"x\"\n");
    project
        .xtask(&["parity", "dev", "prod"])
        .exits(3)
        .says("app: package bash is 9.9-1 in dev and ")
        .says("key SENTRY is in dev and not in prod")
        .says("app: package grep is none in dev and ")
        .says("key app: DEBUG is in dev and not in prod")
        .says("store: package image is redis:6 in dev and redis:7 in prod")
        .says("[[parity.allow]]");
    let allow = "[variables]\nSENTRY = \"x\"\n[[parity.allow]]\nkey = \"SENTRY\"\nreason = \"only \
                 here\"\n[[parity.allow]]\nimage = \"app\"\npackages = [\"ba*\", \"grep\"]\nreason = \"tried \
                 out\"\n[[parity.allow]]\nimage = \"gone\"\nreason = \"only here\"\n\
                 [[parity.allow]]\nkey = \"app: DEBUG\"\nreason = \"to look inside\"\n\
                 [[parity.allow]]\nimage = \"store\"\npackages = [\"image\"]\nreason = \"tried \
                 out\"\n";
    project.file("environments/dev/environment.toml", allow);
    project
        .xtask(&["parity", "dev", "prod"])
        .succeeds()
        .says("allowed (tried out): app: package bash is 9.9-1 in dev")
        .says("[[parity.allow]] is not needed: only here");
}
