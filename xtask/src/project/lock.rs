//! `docker/stack.lock`: the external bases by content, and the update epoch.
//!
//! An input of every image, so nothing of the stack moves by itself: `image update` moves it, and
//! the move is a reviewable diff.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub(crate) const PATH: &str = "docker/stack.lock";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// When the packages of the stack were last brought up to date (RFC 3339, UTC).
    pub(crate) epoch: String,
    /// Image reference of a `FROM` -> what it stood for then.
    #[serde(default)]
    pub(crate) external: BTreeMap<String, External>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct External {
    /// SHA-256 over the layers' diff-ids and the run-time settings of the image.
    pub(crate) content: String,
    /// `sha256:…` of the registry's manifest, when it was pulled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

pub(crate) fn load(root: &Path) -> Result<Lock> {
    let text = std::fs::read_to_string(root.join(PATH))
        .with_context(|| format!("can't read {PATH}; `cargo xtask image update` makes it"))?;
    parse(&text).with_context(|| format!("can't use {PATH}"))
}

pub(crate) fn parse(text: &str) -> Result<Lock> {
    let lock: Lock = toml::from_str(text)?;
    epoch_seconds(&lock.epoch)?;
    Ok(lock)
}

impl Lock {
    pub(crate) fn text(&self) -> Result<String> {
        let body = toml::to_string(self).context("can't write the lock as TOML")?;
        Ok(format!("# Written by `cargo xtask image update`. Commit it.\n\n{body}"))
    }
}

/// Seconds since 1970 of an epoch such as `2026-11-21T09:46:00Z`.
pub(crate) fn epoch_seconds(epoch: &str) -> Result<u64> {
    let time = humantime::parse_rfc3339(epoch).with_context(|| {
        format!("epoch {epoch:?} is not a UTC time such as 2026-11-21T09:46:00Z")
    })?;
    Ok(time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}

/// The epoch of a time, in whole seconds.
pub(crate) fn epoch(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
