//! What a running stack keeps and what it notices: volumes without a name, and files of this machine
//! that were replaced under it.

use crate::dsl::{Project, docker, engine};

/// A project with one service that runs until it is stopped, with more keys.
fn project(keys: &str, more: &str) -> Project {
    let project = Project::with_stack();
    let app = format!(
        "{{build: {{context: docker/app}}, command: [sleep, infinity], init: true, \
         stop_grace_period: 1s, x-stevedore: {{main: true}}{keys}}}"
    );
    project.file("docker/app/Dockerfile", "FROM base\n").compose(&[("app", &app)]);
    let text = project.read("docker/compose.yml");
    project.in_git().file("docker/compose.yml", text + more);
    project
}

#[test]
fn a_volume_without_a_name_is_said_to_be_lost_and_one_with_a_name_to_be_kept() {
    engine!();
    let warning = "dev: app loses /data at each stop, since that volume has no name; \
                   name it with `volumes: [\"NAME:/data\"]`";
    let in_the_file = project(", volumes: ['/data']", "");
    in_the_file.xtask(&["check"]).succeeds().says(warning);
    let in_the_image = project("", "");
    in_the_image.file("docker/app/Dockerfile", "FROM base\nVOLUME /data\n");
    for project in [in_the_file, in_the_image] {
        project.xtask(&["start"]).succeeds().says(warning);
        project.xtask(&["run", "true"]).succeeds();
        let stopped = project.xtask(&["stop"]).succeeds();
        assert!(!stopped.stderr.contains("its data is kept"), "{}", stopped.stderr);
        stopped.says("dev is stopped; only what is in volumes with a name is kept").says(
            "the next start of app has an empty /data; name it with `volumes: [\"NAME:/data\"]`",
        );
        let mut dev = project.spawn(&["dev"]);
        dev.until(warning).signal("-INT");
        dev.ends();
    }
    let named = project(", volumes: ['data:/data']", "volumes: {data: {}}\n");
    named.file("docker/app/Dockerfile", "FROM base\nVOLUME /data\n");
    let checked = named.xtask(&["check"]).succeeds();
    let started = named.xtask(&["start"]).succeeds();
    for answer in [checked, started] {
        assert!(!answer.stderr.contains("warning"), "{}", answer.stderr);
    }
    named.xtask(&["run", "--", "touch", "/data/here"]).succeeds();
    named.xtask(&["stop"]).succeeds().says("dev is stopped; its data is kept");
    named.xtask(&["start"]).succeeds();
    named.xtask(&["run", "ls", "/data"]).succeeds().prints("here");
}

/// What the service has at a path, and the label of its files.
fn seen(project: &Project, path: &str) -> (String, String) {
    let container = format!("{}-dev-app-1", project.name);
    let format = "{{index .Config.Labels \"dev.stevedore.files\"}}";
    let label = docker(&["container", "inspect", "--format", format, &container]);
    (docker(&["exec", &container, "cat", path]), label.trim().to_owned())
}

#[test]
fn a_secret_or_config_that_was_replaced_reaches_the_service_with_the_next_start() {
    engine!();
    for (keys, more, path) in [
        (", secrets: [key]", "secrets: {key: {file: ./key}}\n", "/run/secrets/key"),
        (", configs: [{source: key, target: /key}]", "configs: {key: {file: ./key}}\n", "/key"),
        (", volumes: ['./key:/key:ro']", "", "/key"),
    ] {
        let project = project(keys, more);
        project.file("key", "old\n").xtask(&["start"]).succeeds();
        let (content, first) = seen(&project, path);
        assert_eq!((content.as_str(), first.len()), ("old\n", 64));
        project.xtask(&["start"]).succeeds();
        assert_eq!(seen(&project, path).1, first, "nothing changed, so nothing is recreated");
        // As an editor or a deployment of secrets does it: a new file under the old name.
        project.file("key.new", "new\n");
        std::fs::rename(project.path("key.new"), project.path("key")).unwrap();
        project.xtask(&["start"]).succeeds();
        assert_eq!(seen(&project, path).0, "new\n", "{more}");
    }
}

#[test]
fn a_config_in_the_compose_file_reaches_the_service_with_the_next_start() {
    engine!();
    let more = "configs: {key: {content: 'level=${LEVEL}'}}\n";
    let project = project(", configs: [{source: key, target: /key}]", more);
    for level in ["one", "two"] {
        let settings = format!("[variables]\nLEVEL = \"{level}\"\n");
        project.file("environments/dev/environment.toml", settings);
        project.xtask(&["start"]).succeeds();
        assert_eq!(seen(&project, "/key").0, format!("level={level}"));
    }
}

#[test]
fn the_label_of_a_secret_is_made_with_a_key_that_is_nowhere_else() {
    engine!();
    let project = project(", secrets: [key]", "secrets: {key: {file: ./key}}\n");
    project.file("key", "1234\n").xtask(&["start"]).succeeds();
    let token = seen(&project, "/run/secrets/key").1;
    let key = project.path(".stevedore/dev/key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The same content under a different key is a different token.
    std::fs::remove_file(key).unwrap();
    project.xtask(&["start"]).succeeds();
    assert_ne!(seen(&project, "/run/secrets/key").1, token);
}
