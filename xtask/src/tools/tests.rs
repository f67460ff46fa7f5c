//! What is said to each program, word for word, and how its answers are read.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::{Expect, expect};
use xshell::{Cmd, Shell};

use super::registry::index::{is_same_platform, may_be_platform};
use super::{
    apt, assets, bake, cargo, compose, docker, docker_engine, git, mmdebstrap, npm, os_packages,
    shell as shells, tar, words,
};

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
    check(docker_engine::version(sh), expect![[r#"docker version --format "{{json .}}""#]]);
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
        slim: true,
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
            r#"mmdebstrap --variant=minbase --quiet "--aptopt=Acquire::Languages \"none\"" --dpkgopt=path-exclude=/usr/share/doc/* --dpkgopt=path-include=/usr/share/doc/*/copyright --dpkgopt=path-exclude=/usr/share/info/* --dpkgopt=path-exclude=/usr/share/linda/* --dpkgopt=path-exclude=/usr/share/lintian/overrides/* --dpkgopt=path-exclude=/usr/share/locale/* --dpkgopt=path-exclude=/usr/share/man/* --include=gcc,libc6-dev --customize-hook=true trixie /tmp/base.tar "deb http://mirror/debian trixie main" "deb http://mirror/debian trixie-updates main" "deb http://mirror/security trixie-security main""#
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
    let ubuntu = "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\n\
        Suites: noble noble-updates noble-backports\nComponents: main universe\n\n\
        Types: deb\nURIs: http://security.ubuntu.com/ubuntu/\nSuites: noble-security\n\
        Components: main universe\n";
    assert_eq!(find(ubuntu), None);
    let mixed = "deb http://u/ubuntu noble-security main\ndeb http://m/debian trixie main\n";
    assert_eq!(find(mixed), mirrors("http://m/debian", None));
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

#[test]
fn the_asset_pipeline_gets_paths_from_the_projects_root() {
    let mut places = assets::Places {
        program: "/x/target/debug/assets".into(),
        state: ".stevedore/assets".into(),
        sass: "/c/sass".into(),
        esbuild: "/c/esbuild".into(),
        packages: Vec::new(),
        keep: None,
    };
    let sh = &shell();
    check(
        assets::call(sh, &places, "app/assets", "app/dist", &["build", "--dry-run"]),
        expect![
            "/x/target/debug/assets build --dry-run --source app/assets --output app/dist --state .stevedore/assets --sass /c/sass --esbuild /c/esbuild"
        ],
    );
    places.packages = vec![".stevedore/packages/bootstrap@5.3.8".into()];
    places.keep = Some(".stevedore/kept".into());
    check(
        assets::call(sh, &places, "app/assets", "app/dist", &["check"]),
        expect![
            "/x/target/debug/assets check --source app/assets --output app/dist --state .stevedore/assets --sass /c/sass --esbuild /c/esbuild --load-path .stevedore/packages/bootstrap@5.3.8 --keep .stevedore/kept"
        ],
    );
    check(
        cargo::build_program(sh, "assets", Path::new("/x/Cargo.toml"), Path::new("/x/t"), "dev"),
        expect![
            "cargo build --manifest-path /x/Cargo.toml --package xtask --package assets --bin assets --target-dir /x/t --profile dev --locked"
        ],
    );
    let answer = r#"{"event":"assets","status":"built","reason":"r","files":2,"seconds":0.1}"#;
    assert_eq!(assets::parse(answer).unwrap().files, 2);
    assert!(assets::parse("nonsense").is_err());
}

#[test]
fn packages_are_fetched_without_running_anything_of_them() {
    let sh = &shell();
    check(
        npm::pack(sh, "bootstrap@5.3.9", Path::new("/tmp/a b")),
        expect![[
            r#"npm pack bootstrap@5.3.9 --ignore-scripts --json --pack-destination "/tmp/a b""#
        ]],
    );
    check(
        tar::unpack(sh, Path::new("/tmp/x.tgz"), Path::new("/tmp/y")),
        expect![
            "tar --extract --gzip --file /tmp/x.tgz --directory /tmp/y --strip-components 1 --no-same-owner --no-same-permissions"
        ],
    );
    let name = npm::parse_pack(r#"[{"filename":"bootstrap-5.3.9.tgz","size":1}]"#).unwrap();
    assert_eq!(name, "bootstrap-5.3.9.tgz");
    for bad in ["", "[]", r#"[{"filename":"../x.tgz"}]"#] {
        assert!(npm::parse_pack(bad).is_err(), "{bad}");
    }
}

#[test]
fn gates_are_programs_with_words_and_no_shell() {
    let sh = &shell();
    check(
        words(sh, "cargo test --test 'a b' $HOME").unwrap(),
        expect![[r#"cargo test --test "a b" $HOME"#]],
    );
    assert!(words(sh, "").is_err() && words(sh, "'open").is_err());
    check(shells::parse_only(sh, "bash", "a b.sh"), expect![[r#"bash -n "a b.sh""#]]);
    check(
        docker::run_alone(sh, "q", "sha256:1", &["app".into(), "variables".into()]),
        expect![
            "docker container run --rm --init --name q --network none --entrypoint app sha256:1 variables"
        ],
    );
}

#[test]
fn git_reads_releases_out_of_their_tags() {
    let sh = &shell();
    check(
        git::references(sh),
        expect![[
            r#"git for-each-ref "--format=%(objectname) %(refname) %(*objectname)" refs/heads/ refs/tags/ refs/remotes/"#
        ]],
    );
    check(
        git::blob(sh, "refs/tags/v1.0.0:releases/1.0.0.json"),
        expect!["git cat-file blob refs/tags/v1.0.0:releases/1.0.0.json"],
    );
    check(
        git::find_file(sh, "refs/tags/v1.0.0", "releases/1.0.0.json"),
        expect!["git ls-tree --name-only refs/tags/v1.0.0 -- releases/1.0.0.json"],
    );
    check(
        git::subjects(sh, Some("0a"), "1b"),
        expect![[
            r#"git log --no-show-signature --no-decorate --no-color --encoding=UTF-8 "--format=%h %s" --abbrev=12 --end-of-options 0a..1b --"#
        ]],
    );
    check(
        git::places(sh),
        expect![
            "git rev-parse --path-format=absolute --git-common-dir --show-toplevel --is-shallow-repository --show-prefix"
        ],
    );
    let references = git::parse_references("1b refs/heads/main \n2c refs/tags/v1.0.0 1b\n");
    assert_eq!(references["refs/heads/main"].target, None);
    assert_eq!(references["refs/tags/v1.0.0"].target.as_deref(), Some("1b"));
    let places = git::parse_places("/x y/.git\n/x y\ntrue\n\n").unwrap();
    assert_eq!((places.top.as_str(), places.shallow, places.prefix.as_str()), ("/x y", true, ""));
    assert!(git::parse_places("").is_err());
}

#[test]
fn packages_are_what_the_managers_have_written_down() {
    let dpkg = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n\
        Description: a shell\n Version: of no package\n\n\
        Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\n\
        Version: 2.41-12\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: half\nStatus: install ok half-installed\nVersion: 1\n";
    expect![[r#"{"bash": "5.2-1", "libc6:amd64": "2.41-12"}"#]]
        .assert_eq(&format!("{:?}", os_packages::parse_dpkg(dpkg).unwrap()));
    let apk = "C:Q1abc=\nP:musl\nV:1.2.5-r9\nA:x86_64\n\nP:ssl_client\nV:1.37.0-r12\n\n";
    expect![[r#"{"musl": "1.2.5-r9", "ssl_client": "1.37.0-r12"}"#]]
        .assert_eq(&format!("{:?}", os_packages::parse_apk(apk).unwrap()));
    assert!(
        os_packages::parse_dpkg("nonsense\n").is_err()
            && os_packages::parse_apk("P:only\n").is_err()
    );
}

#[test]
fn a_builder_tells_its_platforms_in_text_for_people() {
    let said = "Name:   default\nDriver: docker\n\nNodes:\nName:             default\n\
                Platforms:        linux/amd64*, linux/amd64/v2, linux/386\n\
                Labels:\n org.mobyproject.buildkit.worker.moby.host-gateway-ip: 172.17.0.1\n";
    assert_eq!(bake::parse_platforms(said), ["linux/amd64", "linux/amd64/v2", "linux/386"]);
    assert_eq!(bake::parse_platforms("Name: default\n"), [""; 0]);
    for (one, other, same) in [
        ("linux/arm64", "linux/arm64/v8", true),
        ("linux/arm", "linux/arm/v7", true),
        ("linux/arm/v7", "linux/arm/v6", false),
        ("linux/amd64", "linux/arm64", false),
    ] {
        assert_eq!(is_same_platform(one, other), same, "{one} {other}");
    }
    for (told, platform, may_be) in [
        ("linux/arm", "linux/arm/v6", true),
        ("linux/arm", "linux/arm64", false),
        ("linux/arm64", "linux/arm64/v8", true),
    ] {
        assert_eq!(may_be_platform(told, platform), may_be, "{told} {platform}");
    }
}

#[test]
fn a_builder_writes_down_what_each_image_became() {
    // Docker 26.1 with containerd's store and with the graph driver's; a target without an image.
    let written = r#"{
      "app": {
        "buildx.build.ref": "default/default/fnbbhafwfqk0egqz453fd7e4v",
        "containerimage.config.digest": "sha256:d58d7b24",
        "containerimage.descriptor": {"digest": "sha256:3361e114", "size": 498},
        "containerimage.digest": "sha256:3361e114",
        "image.name": "docker.io/mb/app:1"
      },
      "base": {"containerimage.config.digest": "sha256:b1", "containerimage.digest": "sha256:b1"},
      "received_app": {"buildx.build.ref": "default/default/z18"}
    }"#;
    let made = bake::parse_metadata(written).unwrap();
    let made: Vec<(&str, &str)> = made.iter().map(|(id, it)| (&**id, &**it)).collect();
    assert_eq!(made, [("sha256:3361e114", "sha256:d58d7b24"), ("sha256:b1", "sha256:b1")]);
    assert!(bake::parse_metadata("nonsense").is_err());
}

#[test]
fn the_digest_of_a_manifest_and_of_an_images_in_an_index_is_read() {
    let digest = |number: u8| format!("sha256:{}", format!("{number:02}").repeat(32));
    let image = digest(0);
    let only = format!(
        r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{image}", "size": 4}}"#
    );
    let offered = bake::parse_offered(&only).unwrap();
    assert_eq!((&*offered.digest, offered.digest_for("linux/arm64").unwrap()), (&*image, &*image));
    let entry = |number, architecture: &str| {
        format!(
            r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 4, "digest": "{}",
              "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#,
            digest(number)
        )
    };
    let entries = [entry(1, "amd64"), entry(2, "arm64")].join(",");
    let index = format!(r#"{{"schemaVersion": 2, "digest": "{image}", "manifests": [{entries}]}}"#);
    let offered = bake::parse_offered(&index).unwrap();
    assert_eq!(offered.digest, image);
    assert_eq!(offered.digest_for("linux/arm64").unwrap(), digest(2));
    assert!(bake::parse_offered("Name: x\nDigest: sha256:0\n").is_err());
}

#[test]
fn a_line_of_a_log_is_of_the_service_of_its_container() {
    let services = BTreeMap::from([("some-7".to_owned(), "named".to_owned())]);
    let parse = |line| compose::parse_line(line, &services);
    let time = "2026-11-30T22:14:39.6Z";
    for (line, service, text) in [
        ("app-1   | 2026-11-30T22:14:39.6Z two | three", "app", "two | three"),
        ("some-7  | 2026-11-30T22:14:39.6Z hello", "named", "hello"),
        ("a-b-12  | 2026-11-30T22:14:39.6Z", "a-b", ""),
    ] {
        assert_eq!(parse(line), Some((service, time, text)), "{line}");
    }
    assert_eq!(parse("app-1 exited with code 0"), None);
    assert_eq!(parse("other  | 2026-11-30T22:14:39.6Z its container is not known"), None);
}
