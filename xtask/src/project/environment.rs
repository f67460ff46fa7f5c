//! `environments/ENV/environment.toml`: the public facts of an environment.
//!
//! Every key has a default that works locally, so an empty or missing file is valid. A key that
//! is not known is an error: a misspelt setting must not be silently without effect.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Environment {
    pub(crate) images: Images,
    /// Name of a published port -> port of 127.0.0.1. Compose sees `http` as
    /// `STEVEDORE_PORT_HTTP`.
    pub(crate) ports: BTreeMap<String, u16>,
    /// Public settings: compose files may use them, build sections too.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) host: Host,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Images {
    /// Such as `linux/amd64`; the engine's own when absent.
    pub(crate) platform: Option<String>,
}

/// The host engine's differences: what replaces the stack's services where there is no Docker.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Host {
    pub(crate) variables: BTreeMap<String, String>,
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
    for (name, port) in &environment.ports {
        super::check_name(name)?;
        anyhow::ensure!(*port != 0, "port 0 of [ports] {name} is no fixed port");
    }
    for name in environment.variables.keys().chain(environment.host.variables.keys()) {
        anyhow::ensure!(super::dotenv::is_name(name), "{name:?} is not a variable name");
    }
    Ok(environment)
}
