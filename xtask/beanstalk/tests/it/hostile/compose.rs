//! Compose files that ask for the machine.

use super::raw::{Entry, archive, file, link};
use super::{Case, Target, fails, works};
use crate::app;
use crate::dsl::engine;

/// The good compose file with more lines for its service, and more sections.
fn compose(service: &str, sections: &str) -> String {
    let mut text = app::compose();
    for line in service.lines() {
        text += &format!("    {line}\n");
    }
    text + sections
}

fn bundle(version: &str, compose: &str, more: impl IntoIterator<Item = Entry>) -> Vec<u8> {
    let own = [file("docker-compose.yml", compose), file("version.txt", version)];
    archive(&own.into_iter().chain(more).collect::<Vec<_>>())
}

fn asks(name: &'static str, key: &str, service: &str) -> Case {
    let says = format!("service web asks for {key}, which a local instance does not give");
    fails(name, says, bundle(name, &compose(service, ""), []))
}

fn wrong(name: &'static str, says: &str, service: &str, sections: &str) -> Case {
    fails(name, says, bundle(name, &compose(service, sections), []))
}

/// The service has a volume `data`, which is this one.
fn volume(name: &'static str, says: &str, volume: &str) -> Case {
    let text = app::compose().replace("volumes: [", "volumes: [\"data:/more\", ");
    fails(name, says, bundle(name, &(text + &format!("volumes: {{data: {volume}}}\n")), []))
}

/// The service is in a network `n`, which is this one.
fn network(name: &'static str, says: &str, network: &str) -> Case {
    wrong(name, says, "networks: [n]", &format!("networks: {{n: {network}}}\n"))
}

#[test]
fn a_service_gets_a_container_and_nothing_of_the_machine() {
    engine!();
    let target = Target::docker();
    let host = "asks for the network of the host";
    target.deploy_all(vec![
        asks("privileged", "privileged", "privileged: true"),
        wrong("host-network", host, "network_mode: host", ""),
        asks("others-network", "network_mode", "network_mode: container:another"),
        asks("pid", "pid", "pid: host"),
        asks("others-pid", "pid", "pid: container:another"),
        asks("ipc", "ipc", "ipc: host"),
        asks("uts", "uts", "uts: host"),
        asks("users", "userns_mode", "userns_mode: host"),
        asks("cgroup", "cgroup", "cgroup: host"),
        asks("cgroup-parent", "cgroup_parent", "cgroup_parent: /other"),
        asks("devices", "devices", "devices: [\"/dev/null:/dev/disk\"]"),
        asks("device-rules", "device_cgroup_rules", "device_cgroup_rules: [\"a *:* rwm\"]"),
        asks("runtime", "runtime", "runtime: other"),
        asks("all-capabilities", "cap_add", "cap_add: [ALL]"),
        asks("a-capability", "cap_add", "cap_add: [CAP_SYS_MODULE]"),
        asks("no-profile", "security_opt", "security_opt: [\"seccomp:unconfined\"]"),
        asks("others-volumes", "volumes_from", "volumes_from: [\"container:another\"]"),
        asks("others-links", "external_links", "external_links: [another]"),
        asks(
            "graphics",
            "deploy",
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
        ),
        wrong("replicas", "it has 1000 containers, 50 are allowed", "deploy: {replicas: 1000}", ""),
        wrong("scale", "it has 1000 containers, 50 are allowed", "scale: 1000", ""),
        volume(
            "device-volume",
            "volumes data is a device of this machine",
            "{driver: local, driver_opts: {type: none, o: bind, device: /}}",
        ),
        volume("volume-driver", "volumes data asks for the driver other", "{driver: other}"),
        volume("external-volume", "volumes data is external", "{external: true}"),
        network("host-driver", "networks n asks for the driver host", "{driver: host}"),
        network("lan-driver", "networks n asks for the driver macvlan", "{driver: macvlan}"),
        network(
            "bridge",
            "networks n is a device of this machine",
            "{driver_opts: {com.docker.network.bridge.name: docker0}}",
        ),
        network("external-network", "networks n is external", "{external: true, name: host}"),
    ]);
}

#[test]
fn what_it_mounts_and_publishes_is_of_its_own() {
    engine!();
    let target = Target::docker();
    let canary = target.canary();
    let mount = |name: &'static str, volume: &str| {
        let text = app::compose().replace("volumes: [", &format!("volumes: [\"{volume}\", "));
        works(name, bundle(name, &text, []))
    };
    let plain = |name: &'static str, service: &str, sections: &str| {
        works(name, bundle(name, &compose(service, sections), []))
    };
    let owner = target.server().owner();
    target.deploy_all(vec![
        mount("root", "/:/more"),
        mount("root-in-a-longer-way", "/var/../../:/more"),
        mount("socket", "/var/run/docker.sock:/var/run/docker.sock"),
        mount("etc", "/etc:/more"),
        mount("canary", &format!("{canary}/directory:/more")),
        mount("parent", "../..:/more"),
        mount("parents", "../../../../../../../../../escaped:/more"),
        mount("home", "~/escaped:/more"),
        mount("logs", "${EB_LOG_BASE_DIR}/../../escaped:/more"),
        plain("named", "container_name: beanstalk-somebody-else", ""),
        plain(
            "labels",
            &format!(
                "labels: {{stevedore.beanstalk: x{owner}, \
            stevedore.beanstalk.instance: i-0, com.docker.compose.project: other}}"
            ),
            "",
        ),
        plain(
            "fixed-names",
            "",
            "networks: {default: {name: bridge-of-another}}\n\
            volumes: {v: {name: volume-of-another}}\n",
        ),
        plain("ports", "expose: [\"22\"]", ""),
        plain("restart", "restart: always", ""),
        works(
            "own-properties",
            bundle("own-properties", &app::compose(), [file(".env", "COLOR=bundle\n")]),
        ),
    ]);
    assert_eq!(target.server().page(super::NAME).unwrap(), "own-properties COLOR=bundle\n");
    let ports = app::compose()
        .replace("[\"80:8000\"]", "[\"0.0.0.0:80:8000\", \"22:22\", \"9000-9003:9000-9003\"]");
    target.deploy_all(vec![works("all-addresses", bundle("all-addresses", &ports, []))]);
}

#[test]
fn it_reads_nothing_but_the_bundle() {
    engine!();
    let target = Target::docker();
    let canary = format!("{}/directory/file", target.canary());
    let up = format!("{}{canary}", "../".repeat(30));
    let outside = "is outside the bundle";
    let env = |name: &'static str, path: &str| {
        let text = app::compose().replace("env_file: [.env]", &format!("env_file: [\"{path}\"]"));
        fails(name, outside, bundle(name, &text, []))
    };
    let nested = |name: &'static str, says: &str, section: &str, inner: &str| {
        fails(name, says, bundle(name, &compose("", section), [file("sub/inner.yml", inner)]))
    };
    let evil = format!("services: {{other: {{image: x, env_file: {canary}}}}}");
    let linked = [link("inside", "version.txt"), file("b/docker-compose.yml", "x")];
    let bomb: String =
        (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".into(), |text, level| {
            let before = format!("*a{}, ", level - 1).repeat(9);
            text + &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "))
        });
    let no_yaml = "docker-compose.yml is no YAML that can be read";
    let raw =
        |name: &'static str, says: &str, text: &str| fails(name, says, bundle(name, text, []));
    target.deploy_all(vec![
        env("env-absolute", &canary),
        env("env-parent", &up),
        env("env-variable", "${HOME}/.profile"),
        wrong("env-long-form", outside, &format!("label_file: {canary}"), ""),
        wrong("include", outside, "", &format!("include: [{canary}]\n")),
        wrong(
            "include-long",
            outside,
            "",
            &format!("include: [{{path: [sub/inner.yml, {canary}]}}]\n"),
        ),
        wrong("include-from-afar", outside, "", "include: [\"https://example.invalid/x.git\"]\n"),
        wrong("include-from-ssh", outside, "", "include: [\"git@example.invalid:x.git\"]\n"),
        wrong("include-missing", "sub/inner.yml is missing", "", "include: [sub/inner.yml]\n"),
        nested("nested", outside, "include: [sub/inner.yml]\n", &evil),
        nested(
            "nested-extends",
            outside,
            "  other: {extends: {file: sub/inner.yml, service: other}}\n",
            &evil,
        ),
        nested(
            "directory",
            "project_directory is not",
            "include: [{path: sub/inner.yml, project_directory: /}]\n",
            &evil,
        ),
        nested(
            "itself",
            "",
            "include: [sub/inner.yml]\n",
            "include: [inner.yml]\nservices: {o: {image: x}}\n",
        ),
        wrong("extends", outside, &format!("extends: {{file: {canary}, service: web}}"), ""),
        wrong("secret", outside, "secrets: [s]", &format!("secrets: {{s: {{file: {canary}}}}}\n")),
        wrong("config", outside, "configs: [c]", &format!("configs: {{c: {{file: {up}}}}}\n")),
        wrong("build", "is built from /etc, outside the bundle", "build: /etc", ""),
        wrong("build-parent", "outside the bundle", "build: ../..", ""),
        wrong("build-from-afar", "outside the bundle", "build: https://example.invalid/x.git", ""),
        wrong(
            "build-file",
            "outside the bundle",
            "build: {context: ., dockerfile: /etc/passwd}",
            "",
        ),
        wrong(
            "build-more",
            "outside the bundle",
            "build: {context: ., additional_contexts: {a: /etc}}",
            "",
        ),
        wrong("build-network", "asks for build network", "build: {context: ., network: host}", ""),
        wrong(
            "build-cache",
            "asks for build cache_to",
            "build: {context: ., cache_to: [\"type=local,dest=/escaped\"]}",
            "",
        ),
        wrong(
            "build-tags",
            "asks for build tags",
            "build: {context: ., tags: [\"debian:trixie-slim\"]}",
            "",
        ),
        wrong(
            "build-privileged",
            "asks for build privileged",
            "build: {context: ., privileged: true}",
            "",
        ),
        wrong("build-ssh", "asks for build ssh", "build: {context: ., ssh: [default]}", ""),
        raw("bomb", no_yaml, &(bomb + "services: {web: {image: x}}\n")),
        raw("no-yaml", no_yaml, "services: [\n"),
        raw("two-documents", no_yaml, "services: {}\n---\nservices: {web: {image: x}}\n"),
        raw("a-key-twice", no_yaml, "services: {web: {image: x}}\nservices: {web: {image: y}}\n"),
        raw("a-list", "", "[1, 2]\n"),
        raw("a-number", "", "7\n"),
        raw("empty", "", ""),
        raw("no-service", "", "services: {}\n"),
        raw("deep", no_yaml, &format!("services: {}", "[".repeat(50_000))),
        raw("huge", "docker-compose.yml has more than 1048576 bytes", &"#".repeat(2 << 20)),
        raw("wide", "it has 60 containers, 50 are allowed", &wide()),
        fails(
            "no-text",
            "docker-compose.yml is no text",
            archive(&[file("docker-compose.yml", b"\xff\xfe\x00")]),
        ),
        works("links", bundle("links", &app::compose(), linked)),
    ]);
}

/// Sixty services.
fn wide() -> String {
    let services: Vec<String> = (0..60).map(|it| format!("s{it}: {{image: x}}")).collect();
    format!("services: {{{}}}\n", services.join(", "))
}
