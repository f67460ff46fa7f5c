//! `docker buildx bake`: all dirty images in one call, from a definition in a file.
//!
//! BuildKit schedules, runs in parallel and shares what the images have in common; the definition
//! only says what is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use xshell::{Cmd, Shell, cmd};

#[derive(Debug, Default, Serialize)]
pub(crate) struct Definition {
    pub(crate) target: BTreeMap<String, Target>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) context: PathBuf,
    pub(crate) dockerfile: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Name in `FROM` -> `target:NAME` or `docker-image://REFERENCE`.
    pub(crate) contexts: BTreeMap<String, String>,
    pub(crate) platforms: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) output: Vec<String>,
    pub(crate) secret: Vec<String>,
}

pub(crate) fn bake<'s>(
    sh: &'s Shell,
    definition: &Path,
    metadata: &Path,
    targets: &[String],
) -> Cmd<'s> {
    cmd!(sh, "docker buildx bake --file {definition} --metadata-file {metadata} --progress plain {targets...}")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        // Newer builders ask before they read outside the current directory: our links lie there.
        .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
}

/// The manifest digest that a registry has for a reference; fails where none answers.
pub(crate) fn registry_digest<'s>(sh: &'s Shell, reference: &str) -> Cmd<'s> {
    cmd!(sh, "docker buildx imagetools inspect --format '{{.Manifest.Digest}}' {reference}")
}

#[derive(Debug, Deserialize)]
struct Built {
    #[serde(rename = "containerimage.digest")]
    digest: String,
}

/// Target -> image id, from the metadata file.
pub(crate) fn parse_metadata(text: &str) -> Result<BTreeMap<String, String>> {
    let built: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).context("can't read the metadata of the build")?;
    let mut ids = BTreeMap::new();
    for (target, value) in built {
        if let Ok(Built { digest }) = serde_json::from_value(value) {
            ids.insert(target, digest);
        }
    }
    Ok(ids)
}

/// The heading of a step in BuildKit's plain log: `#12 [app build 3/5] RUN cargo build` gives
/// `[app build 3/5] RUN cargo build`. Headings of inner housekeeping are left out.
pub(crate) fn step(line: &str) -> Option<&str> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let counted = rest.split(']').next()?.contains('/');
    (number.bytes().all(|b| b.is_ascii_digit()) && rest.starts_with('[') && counted).then_some(rest)
}
