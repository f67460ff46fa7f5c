//! The engine that the docker client talks to: what it is, where it is, what its plugins are.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

use super::{compose, docker};

/// Asks the engine for its version, operating system and architecture.
pub(crate) fn version(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker version --format '{{json .}}'")
}

/// What `docker version` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// An engine of Docker's, or one that passes for it.
    Docker(Server),
    /// Podman's service, or Podman's own client under the name of docker.
    Podman(String),
    /// The engine does not answer.
    Silent,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Server {
    pub(crate) version: String,
    os: String,
    arch: String,
}

impl Server {
    /// Such as `linux/amd64`.
    pub(crate) fn platform(&self) -> String {
        format!("{}/{}", self.os, self.arch)
    }
}

pub(crate) fn parse_version(stdout: &str) -> Result<Version> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Printed {
        client: Option<Client>,
        server: Option<Answer>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Client {
        version: String,
        /// Only Podman's client has this field.
        os_arch: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(default)]
        components: Vec<Component>,
        #[serde(flatten)]
        server: Server,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Component {
        name: String,
    }
    let printed: Printed =
        serde_json::from_str(stdout).context("can't read what `docker version` printed")?;
    if let Some(client) = printed.client.filter(|client| client.os_arch.is_some()) {
        return Ok(Version::Podman(client.version));
    }
    let Some(Answer { components, server }) = printed.server else { return Ok(Version::Silent) };
    Ok(match components.iter().any(|it| it.name.starts_with("Podman")) {
        true => Version::Podman(server.version),
        false => Version::Docker(server),
    })
}

/// Asks the engine how it keeps images and as which users containers run.
pub(crate) fn info(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker info --format '{{json .}}'")
}

/// The same of how it keeps images alone: half the time, since no plugin is asked.
pub(crate) fn image_store(sh: &Shell) -> Cmd<'_> {
    let format = "{\"DriverStatus\": {{json .DriverStatus}}}";
    cmd!(sh, "docker info --format {format}")
}

/// The parts of `docker info` that decide what an engine can do.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    driver: String,
    driver_status: Option<Vec<(String, String)>>,
    security_options: Option<Vec<String>>,
}

pub(crate) fn parse_info(stdout: &str) -> Result<Info> {
    serde_json::from_str(stdout).context("can't read what `docker info` printed")
}

impl Info {
    /// What keeps the images: containerd, or the engine itself by one of its drivers.
    pub(crate) fn image_store(&self) -> &str {
        if self.is_in_containerd() { "containerd" } else { &self.driver }
    }

    /// Whether containerd keeps the images.
    pub(crate) fn is_in_containerd(&self) -> bool {
        let is_snapshotter = |(name, value): &(String, String)| {
            name == "driver-type" && value.starts_with("io.containerd.snapshotter")
        };
        self.driver_status.iter().flatten().any(is_snapshotter)
    }

    /// `rootless` or `userns-remap`, where a container's users are not this machine's.
    pub(crate) fn users(&self) -> Option<&'static str> {
        let has = |wanted: &str| {
            let mut options = self.security_options.iter().flatten();
            options.any(|option| option.split(',').any(|part| part == wanted))
        };
        match () {
            () if has("name=rootless") => Some("rootless"),
            () if has("name=userns") => Some("userns-remap"),
            () => None,
        }
    }
}

/// Asks the client for the address of a context's engine.
pub(crate) fn context_address<'s>(sh: &'s Shell, context: &str) -> Cmd<'s> {
    cmd!(sh, "docker context inspect --format '{{.Endpoints.docker.Host}}' {context}")
}

/// Whether an engine's address leads to another machine: it has a host, and that is not loopback.
pub(crate) fn is_another_machine(address: &str) -> bool {
    let (scheme, rest) = address.split_once("://").unwrap_or(("tcp", address));
    if !["ssh", "tcp", "http", "https"].contains(&scheme) {
        return false;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => place.split(':').next().unwrap_or_default(),
    };
    let is_loopback = match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        // Without a host the client takes localhost.
        Err(_) => host.is_empty() || host == "localhost" || host.ends_with(".localhost"),
    };
    !is_loopback
}

/// A plugin of the client, and the oldest version with which all tests have passed.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: &'static str,
    /// The command that prints its version.
    pub(crate) version: for<'s> fn(&'s Shell) -> Cmd<'s>,
    least: (u32, u32),
}

/// In the order in which they are looked for.
pub(crate) const PLUGINS: [Plugin; 2] = [
    Plugin { name: "buildx", version: docker::buildx_version, least: (0, 13) },
    Plugin { name: "compose", version: compose::version, least: (2, 26) },
];

impl Plugin {
    pub(crate) fn least(&self) -> String {
        format!("{}.{}", self.least.0, self.least.1)
    }

    pub(crate) fn is_too_old(&self, version: &str) -> bool {
        number(version).is_some_and(|number| number < self.least)
    }
}

/// The version in what a plugin prints: its first word that begins with a number, after a `v` in
/// some builds. A build without a number prints none.
pub(crate) fn parse_plugin(stdout: &str) -> Option<&str> {
    let words = stdout.split_whitespace().map(|word| word.strip_prefix('v').unwrap_or(word));
    words.into_iter().find(|word| number(word).is_some())
}

fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let end = minor.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..end].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = r#""Client":{"Version":"28.2.2","ApiVersion":"1.45","Os":"linux",
        "DefaultAPIVersion":"1.50","Arch":"amd64","Context":"default"}"#;

    fn check(server: &str, expected: &Version) {
        let printed = format!("{{{CLIENT},\"Server\":{server}}}");
        assert_eq!(parse_version(&printed).unwrap(), *expected, "{server}");
    }

    #[test]
    fn each_engine_is_known_by_its_components() {
        let server = |version: &str| Server {
            version: version.into(),
            os: "linux".into(),
            arch: "amd64".into(),
        };
        check(
            r#"{"Platform":{"Name":""},"Components":[
                {"Name":"Engine","Version":"26.1.5+dfsg1","Details":{"ApiVersion":"1.45"}},
                {"Name":"containerd","Version":"1.6.20~ds1"},{"Name":"runc","Version":"1.1.5+ds1"}],
                "Version":"26.1.5+dfsg1","ApiVersion":"1.45","Os":"linux","Arch":"amd64"}"#,
            &Version::Docker(server("26.1.5+dfsg1")),
        );
        check(
            r#"{"Platform":{"Name":"linux/amd64/debian-12"},"Components":[
                {"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1"}},
                {"Name":"Conmon","Version":"conmon version 2.1.6, commit: unknown"},
                {"Name":"Engine","Version":"4.3.1","Details":{"ApiVersion":"1.41"}}],
                "Version":"4.3.1","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#,
            &Version::Podman("4.3.1".into()),
        );
        check(
            r#"{"Version":"19.03","Os":"linux","Arch":"amd64"}"#,
            &Version::Docker(server("19.03")),
        );
        check("null", &Version::Silent);
        // Debian's podman-docker.
        let podman = r#"{"Client":{"APIVersion":"4.3.1","Version":"4.3.1","Built":0,
            "OsArch":"linux/amd64","Os":"linux"}}"#;
        assert_eq!(parse_version(podman).unwrap(), Version::Podman("4.3.1".into()));
    }

    #[test]
    fn store_and_users_are_read_from_what_engines_print() {
        for (printed, store, users) in [
            (
                r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],
                    "SecurityOptions":["name=seccomp,profile=builtin"]}"#,
                "overlay2",
                None,
            ),
            (
                r#"{"Driver":"overlayfs","DriverStatus":
                    [["driver-type","io.containerd.snapshotter.v1"]],
                    "SecurityOptions":["name=seccomp,profile=builtin","name=userns"]}"#,
                "containerd",
                Some("userns-remap"),
            ),
            (
                r#"{"Driver":"overlay2","DriverStatus":null,
                    "SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}"#,
                "overlay2",
                Some("rootless"),
            ),
        ] {
            let info = parse_info(printed).unwrap();
            assert_eq!((info.image_store(), info.users()), (store, users));
        }
    }

    #[test]
    fn an_address_with_a_host_that_is_not_loopback_is_another_machine() {
        for (address, expected) in [
            ("", false),
            ("unix:///var/run/docker.sock", false),
            ("unix:///home/a/.docker/desktop/docker.sock", false),
            ("ssh://root@127.0.0.1:22022", false),
            ("ssh://localhost", false),
            ("tcp://127.0.0.1:2376", false),
            ("tcp://[::1]:2376", false),
            ("tcp://:2375", false),
            ("ssh://root@build.example", true),
            ("ssh://build.example:22/run/docker.sock", true),
            ("tcp://docker:2375", true),
            ("tcp://[2001:db8::1]:2376", true),
            ("10.0.0.7:2375", true),
        ] {
            assert_eq!(is_another_machine(address), expected, "{address}");
        }
    }

    #[test]
    fn versions_are_read_from_what_plugins_print() {
        for (printed, expected) in [
            ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3\n", Some("0.13.1+ds1")),
            ("github.com/docker/buildx v0.30.1 9e66234aa13328a5e75b75aa5574e1ca6d6d9c01", {
                Some("0.30.1")
            }),
            ("Docker Compose version 2.26.1-4\n", Some("2.26.1-4")),
            ("Docker Compose version v2.40.3-desktop.1", Some("2.40.3-desktop.1")),
            ("Docker Compose version dev", None),
        ] {
            assert_eq!(parse_plugin(printed), expected);
        }
        let [buildx, compose] = PLUGINS;
        for (plugin, version, expected) in [
            (&buildx, "0.12.1", true),
            (&buildx, "0.13.1+ds1", false),
            (&buildx, "1.0.0", false),
            (&compose, "2.25.9", true),
            (&compose, "2.26.1-4", false),
            (&compose, "5.0.0", false),
        ] {
            assert_eq!(plugin.is_too_old(version), expected, "{} {version}", plugin.name);
        }
    }
}
