//! What is said to each program, word for word, and how its answers are read.

use std::path::Path;

use expect_test::{Expect, expect};
use xshell::{Cmd, Shell};

use super::{apt, bake, compose, docker, mmdebstrap};

fn check(command: Cmd<'_>, expected: Expect) {
    expected.assert_eq(&command.to_string());
}

fn shell() -> Shell {
    Shell::new().unwrap()
}

fn target() -> compose::Target {
    compose::Target {
        project: "shop-dev".into(),
        files: vec!["docker/compose.yml".into(), "environments/dev/compose.yml".into()],
        variables: vec![("PASSWORD".into(), "never on argv".into())],
        absent: Vec::new(),
    }
}

#[test]
fn docker_commands() {
    let sh = &shell();
    check(docker::version(sh), expect![[r#"docker version --format "{{json .}}""#]]);
    let images = ["a:1".to_owned(), "b:2".to_owned()];
    check(
        docker::inspect_images(sh, &images),
        expect![[
            r#"docker image inspect --format "[{{json .Id}},{{json .RepoTags}},{{json .Size}},{{json .Os}},{{json .Architecture}},{{json .Config}},{{json .RootFS}}]" a:1 b:2"#
        ]],
    );
    check(docker::remove_images(sh, &images), expect!["docker image rm a:1 b:2"]);
    check(
        docker::import(sh, Path::new("/tmp/a b.tar"), "x:1", &["CMD [\"bash\"]"]),
        expect![[r#"docker image import --change "CMD [\"bash\"]" "/tmp/a b.tar" x:1"#]],
    );
}

#[test]
fn an_engine_of_our_own_touches_no_other_directory() {
    let directories = docker::EngineDirectories {
        data: Path::new("/x/data"),
        run: Path::new("/x/run"),
        socket: Path::new("/x/docker.sock"),
    };
    check(
        docker::dockerd(&shell(), Some(&directories)),
        expect![
            "dockerd --data-root /x/data --exec-root /x/run/exec --pidfile /x/run/dockerd.pid --host unix:///x/docker.sock"
        ],
    );
}

#[test]
fn compose_commands_hold_no_value_of_a_variable() {
    let sh = &shell();
    check(
        compose::up_detached(sh, &target(), &["app".into()]),
        expect![
            "docker compose --project-directory . --env-file /dev/null --project-name shop-dev --file docker/compose.yml --file environments/dev/compose.yml up --no-build --remove-orphans --detach app"
        ],
    );
    check(
        compose::run(sh, &target(), "app", false, &["ls".into(), "-l".into()]),
        expect![
            "docker compose --project-directory . --env-file /dev/null --project-name shop-dev --file docker/compose.yml --file environments/dev/compose.yml run --rm --no-deps --no-TTY --entrypoint=ls app -l"
        ],
    );
    check(
        compose::config(sh, &target().files),
        expect![
            "docker compose --project-directory . --env-file /dev/null --file docker/compose.yml --file environments/dev/compose.yml config --no-interpolate --no-path-resolution --format json"
        ],
    );
}

#[test]
fn apt_commands_ask_nothing() {
    let sh = &shell();
    check(
        apt::install(sh, false, &["docker.io"]),
        expect![
            "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends --no-remove docker.io"
        ],
    );
    check(
        apt::update(sh, true),
        expect!["sudo env DEBIAN_FRONTEND=noninteractive apt-get update --quiet"],
    );
}

#[test]
fn mmdebstrap_takes_the_machines_mirrors() {
    let base = mmdebstrap::Base {
        suite: "trixie",
        packages: &["gcc", "libc6-dev"],
        hooks: vec!["true".into()],
        epoch_seconds: 7,
    };
    let mirrors = mmdebstrap::Mirrors {
        main: "http://mirror/debian".into(),
        security: Some("http://mirror/security".into()),
    };
    check(
        mmdebstrap::build(&shell(), &base, &mirrors, Path::new("/tmp/base.tar")),
        expect![[
            r#"mmdebstrap --variant=minbase --quiet "--aptopt=Acquire::Languages \"none\"" --include=gcc,libc6-dev --customize-hook=true trixie /tmp/base.tar "deb http://mirror/debian trixie main" "deb http://mirror/debian trixie-updates main" "deb http://mirror/security trixie-security main""#
        ]],
    );
}

#[test]
fn mirrors_are_found_in_both_formats_of_apt_sources() {
    let find = |text: &str| apt::mirrors(&[text.to_owned()]);
    let mirrors = |main: &str, security: Option<&str>| {
        Some(mmdebstrap::Mirrors { main: main.into(), security: security.map(str::to_owned) })
    };
    let stanzas = "Types: deb\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\n\nTypes: deb\n# why\nURIs: http://m/sec\nSuites: bookworm-security\n\
        Components: main\n";
    assert_eq!(find(stanzas), mirrors("http://m/debian", Some("http://m/sec")));
    let lines = "# old\ndeb [arch=amd64 signed-by=/k] http://m/debian trixie main contrib\n";
    assert_eq!(find(lines), mirrors("http://m/debian", None));
    let others = "deb https://other.example/apt cloud-bookworm main\n\n\
        Types: deb\nURIs: https://other.example/node\nSuites: nodistro\nComponents: main\n";
    assert_eq!(find(others), None);
}

#[test]
fn build_steps_are_told_from_housekeeping() {
    let step = |line| bake::step(line).unwrap_or("-").to_owned();
    assert_eq!(step("#12 [app build 3/5] RUN cargo build"), "[app build 3/5] RUN cargo build");
    assert_eq!(step("#2 [app internal] load build definition from Dockerfile"), "-");
    assert_eq!(step("#12 0.5 [info] 1/2"), "-");
    assert_eq!(step("ERROR: failed"), "-");
}

#[test]
fn a_registry_of_images_is_read_by_tag() {
    let json = r#"["sha256:1",["a:1"],5,"linux","amd64",{"Labels":{"dev.stevedore.k":"v"},"Env":["A=1"]},{"Layers":["x"]}]"#;
    let images = docker::parse_images(json).unwrap();
    assert_eq!(images[0].label("dev.stevedore.k"), Some("v"));
    let relabelled = json.replace("\"v\"", "\"w\"").replace("sha256:1", "sha256:2");
    let relabelled = docker::parse_images(&relabelled).unwrap();
    assert_eq!(images[0].content(), relabelled[0].content(), "our labels and ids do not count");
    for (from, to) in [("A=1", "A=2"), ("dev.stevedore.k", "k"), ("\"Env\"", "\"Healthcheck\"")] {
        let other = docker::parse_images(&json.replace(from, to)).unwrap();
        assert_ne!(images[0].content(), other[0].content(), "{to}");
    }
}

#[test]
fn a_failed_step_is_told_with_its_own_words_only() {
    let log = "#1 [internal] load build definition\n#5 [app test 2/2] RUN sh /test.sh\n\
               #6 [app build 1/1] RUN make\n#6 0.100 compiling\n#5 0.210 one\n#5 0.220 two words\n\
               #5 0.230\n#6 CANCELED\n#5 ERROR: process \"/bin/sh -c sh /test.sh\" did not complete \
               successfully: exit code: 9\n------\n > [app test 2/2] RUN sh /test.sh:\n0.210 one";
    let log: Vec<String> = log.lines().map(str::to_owned).collect();
    let failures = bake::failures(&log);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].step, "[app test 2/2] RUN sh /test.sh");
    assert_eq!(failures[0].said, ["one", "two words", ""]);
    assert!(failures[0].error.ends_with("exit code: 9"));
}
