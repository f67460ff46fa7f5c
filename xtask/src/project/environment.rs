//! `environments/ENV/environment.toml`: the public facts of an environment.
//!
//! Every key has a default that works locally, so an empty or missing file is valid. A key that
//! is not known is an error: a misspelt setting must not be silently without effect.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::beanstalk::Beanstalk;
use super::parity::Parity;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Environment {
    pub(crate) images: Images,
    pub(crate) registry: Registry,
    pub(crate) release: Release,
    /// Name of a published port -> port of 127.0.0.1. Compose sees `http` as
    /// `STEVEDORE_PORT_HTTP`.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Public settings: compose files may use them, build sections too.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) host: Host,
    pub(crate) gates: Gates,
    pub(crate) parity: Parity,
    pub(crate) beanstalk: Beanstalk,
}

/// Gates besides those that the tool has by itself: name -> a program of this machine with its
/// arguments, run in the project's root and without a shell.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Gates {
    /// For `check`: quick, and without a Docker engine.
    pub(crate) check: BTreeMap<String, String>,
    /// For `ci`.
    pub(crate) ci: BTreeMap<String, String>,
    /// For `ci --full`.
    pub(crate) full: BTreeMap<String, String>,
    /// Programs that these gates need -> the Debian package that `ci` gets them from.
    pub(crate) programs: BTreeMap<String, String>,
    /// How long `ci` may take, in minutes; it is said at its end, and nothing fails for it.
    pub(crate) budget_minutes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Images {
    /// Such as `linux/amd64`; the engine's own when absent.
    pub(crate) platform: Option<String>,
}

/// Where images are shared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registry {
    /// Host, port and path under which the images lie, such as `registry.example.com/team`.
    pub(crate) repository: Option<String>,
}

/// Where releases come from. Only that of the environment that ships counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Release {
    /// The branch that `X.Y.0` is released from; the remote repository's default branch when
    /// absent.
    pub(crate) branch: Option<String>,
}

/// The host engine's differences: what replaces the stack's services where there is no Docker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Host {
    pub(crate) variables: BTreeMap<String, String>,
    /// How long the processes may take to end when they are asked to.
    pub(crate) grace_seconds: u16,
    /// How often in a row a process that fails is started again.
    pub(crate) restarts: u16,
    /// The folder of files that `release` migrates with.
    pub(crate) migrations: Option<PathBuf>,
}

impl Default for Host {
    fn default() -> Host {
        Host { variables: BTreeMap::new(), grace_seconds: 10, restarts: 5, migrations: None }
    }
}

/// The port that `--port` moves and whose address is shown.
pub(crate) const MAIN_PORT: &str = "http";

impl Environment {
    /// Where the environment answers on this machine, when it publishes a main port.
    pub(crate) fn main_port(&self) -> Option<u16> {
        self.ports.get(MAIN_PORT).copied()
    }
}

pub(crate) fn load(path: &Path, name: &str) -> Result<Environment> {
    if !path.exists() {
        return Ok(Environment::default());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {name}"))?;
    parse(&text).with_context(|| format!("can't use {name}"))
}

pub(crate) fn parse(text: &str) -> Result<Environment> {
    let environment: Environment = toml::from_str(text)?;
    if let Some(repository) = &environment.registry.repository {
        check_repository(repository)?;
    }
    if let Some(branch) = &environment.release.branch {
        check_branch(branch)?;
    }
    environment.parity.check()?;
    environment.beanstalk.check()?;
    let gates = &environment.gates;
    for (name, line) in gates.check.iter().chain(&gates.ci).chain(&gates.full) {
        let words = shell_words::split(line).with_context(|| format!("[gates] {name:?}"))?;
        anyhow::ensure!(!words.is_empty(), "[gates] {name:?} names no program");
    }
    for package in gates.programs.values() {
        let inner = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit();
        anyhow::ensure!(
            package.starts_with(inner) && package.chars().all(|it| inner(it) || "+-.".contains(it)),
            "[gates.programs] {package:?} is no name of a Debian package"
        );
    }
    for (name, port) in &environment.ports {
        super::check_name(name)?;
        anyhow::ensure!(*port != 0, "port 0 of [ports] {name} is no fixed port");
    }
    for name in environment.variables.keys().chain(environment.host.variables.keys()) {
        anyhow::ensure!(super::dotenv::is_name(name), "{name:?} is not a variable name");
    }
    Ok(environment)
}

/// Git's rules for the name of a branch (git-check-ref-format), as far as people need them.
fn check_branch(name: &str) -> Result<()> {
    let inner = |c: char| c.is_alphanumeric() || "._-/+#".contains(c);
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with(".lock")
            && !part.ends_with('.')
    };
    anyhow::ensure!(
        name.chars().all(inner)
            && !name.starts_with('-')
            && !name.contains("..")
            && name.split('/').all(part),
        "[release] branch {name:?} is not the name of a branch such as main"
    );
    anyhow::ensure!(
        !crate::release::version::is_branch(name),
        "[release] branch {name:?} is where fixes of one release are made; name the branch that new \
         releases come from, such as main"
    );
    Ok(())
}

/// Docker's rule for the part of an image reference before the image: a host that can be told from
/// a folder (it has a dot or a port, or is `localhost`), then path components.
fn check_repository(repository: &str) -> Result<()> {
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_name = |name: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        !name.is_empty() && name.chars().all(inner) && !name.starts_with(['-', '.'])
    };
    let component = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let ends = |c: char| c.is_ascii_alphanumeric();
        part.chars().all(inner) && part.starts_with(ends) && part.ends_with(ends)
    };
    let host_fits = is_name(name) && (host == "localhost" || host.contains(['.', ':']));
    let port_fits = port.is_empty() && !host.ends_with(':') || port.parse::<u16>().is_ok();
    let path_fits = path.is_empty() && !repository.ends_with('/') || path.split('/').all(component);
    anyhow::ensure!(
        host_fits && port_fits && path_fits,
        "[registry] repository {repository:?} is no HOST[:PORT][/PATH] such as \
         registry.example.com/team"
    );
    Ok(())
}
