//! The compose files of a project: which of them are read, what compose would refuse later, and
//! which services run one image.

use crate::dsl::{Project, docker, engine};

/// A project whose services are built from `FROM base`, each line as compose has it.
fn project(services: &[(&str, &str)]) -> Project {
    let project = Project::with_stack();
    let dockerfile = "FROM base\nRUN echo new > /version\nCMD [\"sleep\", \"infinity\"]\n";
    project.file("docker/app/Dockerfile", dockerfile).compose(services);
    // `check` asks git for the shell scripts.
    project.in_git();
    project
}

const QUICK: &str = "init: true, stop_grace_period: 1s";

// --- one image ------------------------------------------------------------------------------

/// What each running service has in /version.
fn versions(project: &Project, services: &[&str]) -> Vec<String> {
    let version = |service: &&str| {
        let container = format!("{}-dev-{service}-1", project.name);
        docker(&["exec", &container, "cat", "/version"]).trim().to_owned()
    };
    services.iter().map(version).collect()
}

#[test]
fn a_service_without_a_build_runs_what_the_service_with_its_name_builds() {
    engine!();
    let project = project(&[]);
    project.compose(&[("app", &format!("{{build: {{context: docker/app}}, {QUICK}}}"))]);
    project.xtask(&["image", "build"]).succeeds();
    // An image of that name from an earlier time.
    let name = format!("{}/shared:dev", project.name);
    project.file(
        "old/Dockerfile",
        format!(
            "FROM {}\nRUN echo old > /version\nCMD [\"sleep\", \"infinity\"]\n",
            project.reference("app")
        ),
    );
    let directory = project.path("old").display().to_string();
    docker(&["build", "--quiet", "--tag", &name, &directory]);
    for (web, worker) in [
        (name.clone(), name.clone()),
        (name.clone(), format!("docker.io/{name}")),
        (format!("{}/shared:${{TAG}}", project.name), name.clone()),
        ("n".into(), "docker.io/library/n:latest".into()),
    ] {
        project.file("environments/dev/environment.toml", "[variables]\nTAG = \"dev\"\n").compose(
            &[
                ("web", &format!("{{build: {{context: docker/app}}, image: '{web}', {QUICK}}}")),
                ("worker", &format!("{{image: '{worker}', {QUICK}, labels: {{t: '${{TAG}}'}}}}")),
            ],
        );
        project.xtask(&["check"]).succeeds();
        project.xtask(&["start"]).succeeds();
        assert_eq!(versions(&project, &["web", "worker"]), ["new", "new"], "{web} {worker}");
    }
}

#[test]
fn services_that_name_one_image_and_would_run_two_are_refused() {
    engine!();
    let web = |image: &str| format!("{{build: {{context: docker/app}}, image: '{image}'}}");
    let worker = |image: &str| format!("{{image: '{image}'}}");
    for (web, worker, says) in [
        (
            web("acme/app:dev"),
            worker(&format!("acme/app:dev@sha256:{}", "0".repeat(64))),
            "service worker: `image: acme/app:dev@sha256:",
        ),
        (
            web("acme/app:dev"),
            worker("acme/app:${WHICH}"),
            "the value of a variable decides whether `image: acme/app:${WHICH}` is what web builds",
        ),
        (
            web("acme/app"),
            "{build: {context: docker/base}, image: 'docker.io/acme/app:latest'}".into(),
            "services web and worker build docker/app/Dockerfile and docker/base/Dockerfile under \
             one name",
        ),
        (
            web("acme/app"),
            worker("NAME/app:other"),
            "nothing builds `image: <name>/app:other`; the image of docker/app is",
        ),
    ] {
        let project = project(&[]);
        let worker = worker.replace("NAME", &project.name);
        project
            .file("environments/dev/.env.example", "WHICH=dev\n")
            .file("environments/dev/compose.yml", "services: {web: {labels: {t: '${WHICH}'}}}\n")
            .compose(&[("web", &web), ("worker", &worker)]);
        project.xtask(&["check"]).exits(3).says(says);
        let answer = project.xtask(&["start"]).exits(1).says(says);
        assert!(!answer.stdout.contains("built"), "{}", answer.stdout);
        project.xtask(&["image", "build"]).exits(1).says(says);
    }
}

#[test]
fn an_image_that_only_a_value_of_dotenv_names_is_compared_before_a_build() {
    engine!();
    let project = project(&[
        ("web", "{build: {context: docker/app}, image: 'acme/app:dev'}"),
        ("worker", "{image: '${IMAGE}'}"),
    ]);
    project.file("environments/dev/.env.example", "IMAGE=required:secret\n");
    project.dotenv("IMAGE=docker.io/acme/app:dev\n");
    let answer = project.xtask(&["start"]).exits(1);
    let answer =
        answer.says("whether `image: ${IMAGE}` is what web builds as `image: acme/app:dev`");
    assert!(!answer.stderr.contains("docker.io") && !answer.stdout.contains("built"));
    project.xtask(&["check"]).succeeds();
}

// --- what compose refuses -------------------------------------------------------------------

/// Every command that would build refuses the project first, with the same words.
#[track_caller]
fn refused(app: &str, more: &str, says: &[&str]) {
    let keys = if app.is_empty() { String::new() } else { format!(", {app}") };
    let project = project(&[
        ("app", &format!("{{build: {{context: docker/app}}{keys}}}")),
        ("mail", "{build: {context: docker/app}, profiles: [dev]}"),
    ]);
    project.file("docker/compose.yml", project.read("docker/compose.yml") + more);
    for (command, code) in [("check", 3), ("start", 1), ("dev", 1), ("test dev --only smoke", 3)] {
        let answer = project.xtask(&command.split(' ').collect::<Vec<_>>()).exits(code);
        assert!(!answer.stdout.contains("built"), "{command}: {}", answer.stdout);
        says.iter().fold(answer, |answer, text| answer.says(text));
    }
}

#[test]
fn a_service_behind_a_profile_that_another_needs_is_refused_before_anything_is_built() {
    engine!();
    let says = "service app: depends_on: mail is behind the profile dev, which is not started";
    refused("depends_on: [mail]", "", &[says, "remove its `profiles`"]);
    refused("network_mode: 'service:mail'", "", &["network_mode: mail is behind the profile dev"]);
    refused(
        "links: ['none:m'], pid: 'service:none'",
        "",
        &[
            "service app: links: there is no service none; known: app, mail",
            "service app: pid: there is no service none",
        ],
    );
    let project = project(&[
        (
            "app",
            "{build: {context: docker/app}, init: true, depends_on: {mail: {condition: \
             service_started, required: false}}}",
        ),
        ("mail", "{build: {context: docker/app}, profiles: [dev]}"),
    ]);
    project.xtask(&["check"]).succeeds();
    project.xtask(&["start"]).succeeds();
}

#[test]
fn what_nothing_defines_is_refused_before_anything_is_built() {
    engine!();
    refused(
        "volumes: ['dta:/data'], networks: [front], secrets: [key], configs: [conf]",
        "",
        &[
            "service app: volumes: dta is not defined; add it under the top-level `volumes:`",
            "networks: front is not defined",
            "secrets: key is not defined",
            "configs: conf is not defined",
        ],
    );
    refused(
        "depends_on: [other]",
        "  other: {image: redis, depends_on: [app]}\n",
        &["the services need each other in a circle: app → other → app"],
    );
}

#[test]
fn a_value_that_only_the_filled_in_form_shows_is_refused_before_anything_is_built() {
    engine!();
    refused("ports: ['99999:80']", "", &["Invalid hostPort: 99999"]);
    refused("mem_limit: lots", "", &["'services[app].mem_limit': invalid size: 'lots'"]);
    refused("healthcheck: {test: x, interval: soon}", "", &["invalid duration \"soon\""]);
    refused("", "  other: {image: 'Redis:8'}\n", &["`image: Redis:8` is not an image reference"]);
}

#[test]
fn a_value_of_dotenv_that_compose_refuses_is_not_shown_when_it_is_a_secret() {
    engine!();
    let project = project(&[(
        "app",
        "{build: {context: docker/app}, mem_limit: '${MEMORY}', ports: ['127.0.0.1:${PORT}:80']}",
    )]);
    let schema = "MEMORY=required:secret\nPORT=required:\n";
    project.file("environments/dev/.env.example", schema);
    // Made-up values say nothing of the real ones.
    project.xtask(&["check"]).succeeds();
    project.dotenv("MEMORY=hunter2\nPORT=8080\n");
    for command in [&["start"][..], &["env", "check"], &["dev"]] {
        let answer = project.xtask(command).exits(1).says("invalid size: '(of MEMORY)'");
        assert!(!answer.stderr.contains("hunter2"), "{}", answer.stderr);
        assert!(!answer.stdout.contains("built"), "{}", answer.stdout);
    }
    project.dotenv("MEMORY=64m\nPORT=70000\n");
    project.xtask(&["start"]).exits(1).says("Invalid hostPort: 70000").says("env check dev");
}

#[test]
fn a_file_of_a_secret_that_is_missing_is_named_before_anything_is_built() {
    engine!();
    let project = project(&[("app", "{build: {context: docker/app}, secrets: [key]}")]);
    let text = project.read("docker/compose.yml");
    project.file("docker/compose.yml", text.clone() + "secrets: {key: {file: ./keys/key}}\n");
    project.xtask(&["check"]).succeeds();
    let answer = project.xtask(&["start"]).exits(1);
    let answer = answer.says("secrets: the file of key, keys/key, is missing");
    assert!(!answer.stdout.contains("built"), "{}", answer.stdout);
    project.file("docker/compose.yml", text + "secrets: {key: {environment: TOKEN}}\n");
    project.xtask(&["start"]).exits(1).says("the compose files use ${TOKEN}, which is neither in");
}

// --- names of files -------------------------------------------------------------------------

#[test]
fn compose_yaml_is_read_like_compose_yml() {
    engine!();
    let project = project(&[("app", &format!("{{build: {{context: docker/app}}, {QUICK}}}"))]);
    let text = project.read("docker/compose.yml");
    std::fs::remove_file(project.path("docker/compose.yml")).unwrap();
    project.file("docker/compose.yaml", text);
    let overlay = "services: {app: {hostname: from-the-overlay}}\n";
    project.file("environments/dev/compose.yaml", overlay);
    project.xtask(&["check"]).succeeds();
    project.xtask(&["start"]).succeeds();
    let container = format!("{}-dev-app-1", project.name);
    assert_eq!(docker(&["exec", &container, "hostname"]), "from-the-overlay\n");
    let run = ["run", "dev", "app", "--", "hostname"];
    project.xtask(&run).succeeds().prints("from-the-overlay");
}

#[test]
fn a_compose_file_that_would_not_be_read_is_an_error() {
    engine!();
    for (file, says) in [
        ("docker/compose.yaml", "both docker/compose.yml and docker/compose.yaml are there"),
        ("docker/docker-compose.yml", "docker/docker-compose.yml is not read; move what it says"),
        (
            "environments/dev/docker-compose.yaml",
            "move what it says to environments/dev/compose.yml",
        ),
        ("environments/dev/compose.override.yml", "compose.override.yml is not read"),
        ("docker/docker-compose.override.yaml", "docker-compose.override.yaml is not read"),
        ("environments/dev/environment.yml", "the file is environments/dev/environment.toml"),
        ("environments/dev/environments.toml", "the file is environments/dev/environment.toml"),
    ] {
        let project = project(&[("app", "{build: {context: docker/app}}")]);
        project.file(file, "{}\n");
        project.xtask(&["check"]).exits(3).says(says);
        project.xtask(&["image", "build"]).exits(1).says(says);
        project.xtask(&["start"]).exits(1).says(says);
    }
}
