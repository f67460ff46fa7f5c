//! `docker buildx bake`: all dirty images in one call, from a definition in a file.
//!
//! BuildKit schedules, runs in parallel and shares what the images have in common; the definition
//! only says what is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::registry::index::{self, Entry};

#[derive(Debug, Default, Serialize)]
pub(crate) struct Definition {
    pub(crate) target: BTreeMap<String, Target>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Target {
    pub(crate) context: PathBuf,
    /// Always a file: of instructions in the definition itself, buildx leaves copies behind.
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

impl Definition {
    /// The definition as a file. Bake takes every text for a template, and none of ours is one.
    pub(crate) fn text(&self) -> Result<Vec<u8>> {
        let mut value = serde_json::to_value(self)?;
        literal(&mut value);
        Ok(serde_json::to_vec_pretty(&value)?)
    }
}

fn literal(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("${", "$${").replace("%{", "%%{"),
        Value::Array(items) => items.iter_mut().for_each(literal),
        Value::Object(fields) => fields.values_mut().for_each(literal),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `builder` is the engine's own, whose images a build can name; one in a container has none.
pub(crate) fn bake<'s>(
    sh: &'s Shell,
    builder: &str,
    definition: &Path,
    targets: &[String],
) -> Cmd<'s> {
    cmd!(
        sh,
        "docker buildx bake --builder {builder} --file {definition} --progress plain {targets...}"
    )
    // Buildx would give the shell's to the build, where nobody tracks it.
    .env_remove("SOURCE_DATE_EPOCH")
    .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
    // Nobody reads what it would ask git.
    .env("BUILDX_GIT_INFO", "0")
    // Newer builders ask before they read outside the current directory: our links lie there.
    .env("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
}

/// Has the builder write down what each image became, for [`parse_metadata`].
pub(crate) fn with_metadata<'s>(cmd: Cmd<'s>, file: &Path) -> Cmd<'s> {
    cmd.arg("--metadata-file").arg(file)
}

/// ID -> configuration of the images that a builder made.
pub(crate) fn parse_metadata(text: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(rename = "containerimage.digest")]
        id: Option<String>,
        #[serde(rename = "containerimage.config.digest")]
        config: Option<String>,
    }
    let targets: BTreeMap<String, Made> =
        serde_json::from_str(text).context("can't read what the builder wrote of its images")?;
    Ok(targets.into_values().filter_map(|made| made.id.zip(made.config)).collect())
}

/// Asks a builder what it is, in text for people: it has no other answer.
pub(crate) fn inspect_builder<'s>(sh: &'s Shell, builder: &str) -> Cmd<'s> {
    cmd!(sh, "docker buildx inspect {builder}")
}

/// The platforms that a builder has or can emulate.
pub(crate) fn parse_platforms(said: &str) -> Vec<String> {
    let lists = said.lines().filter_map(|line| line.strip_prefix("Platforms:"));
    let platforms = lists.flat_map(|list| list.split(','));
    // Platforms that were set explicitly are marked with `*`.
    platforms.map(|it| it.trim().trim_end_matches('*').to_owned()).collect()
}

/// What a registry has under a reference; fails where none answers.
///
/// Of an image for one platform, buildx 0.13 to 0.29 print a page for people where a format asks
/// for the digest alone.
pub(crate) fn registry_manifest<'s>(sh: &'s Shell, reference: &str) -> Cmd<'s> {
    cmd!(sh, "docker buildx imagetools inspect --format '{{json .Manifest}}' {reference}")
}

/// The answer to [`registry_manifest`].
#[derive(Debug, Deserialize)]
pub(crate) struct Offered {
    /// Of the manifest, or of the index.
    pub(crate) digest: String,
    /// What an index names.
    #[serde(default)]
    manifests: Vec<Entry>,
}

pub(crate) fn parse_offered(stdout: &str) -> Result<Offered> {
    serde_json::from_str(stdout)
        .context("can't read what `docker buildx imagetools inspect` printed")
}

impl Offered {
    /// The digest of the image for a platform, where an index has it.
    pub(crate) fn digest_for(&self, platform: &str) -> Result<&str> {
        let chosen = index::choose(&self.manifests, platform)?;
        Ok(chosen.first().map_or(&self.digest, |entry| &entry.descriptor.digest))
    }
}

/// A step that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Its heading, such as `[app test 4/4] RUN cargo test`.
    pub(crate) step: String,
    /// What its program printed, without BuildKit's numbers and times.
    pub(crate) said: Vec<String>,
    /// BuildKit's own words.
    pub(crate) error: String,
}

/// The steps that failed in a plain log. Those that were only broken off are none of them.
pub(crate) fn failures(log: &[String]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for line in log {
        let Some((number, error)) = line.strip_prefix('#').and_then(|it| it.split_once(" ERROR: "))
        else {
            continue;
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let mark = format!("#{number} ");
        let of_step: Vec<&str> = log.iter().filter_map(|line| line.strip_prefix(&mark)).collect();
        let said = |line: &&str| {
            let (time, text) = line.split_once(' ').unwrap_or((line, ""));
            let is_time = time.contains('.') && time.parse::<f64>().is_ok();
            is_time.then(|| text.to_owned())
        };
        failures.push(Failure {
            step: (*of_step.first().unwrap_or(&"a step")).to_owned(),
            said: of_step.iter().filter_map(said).collect(),
            error: error.to_owned(),
        });
    }
    failures
}

/// The heading of a step in BuildKit's plain log: `#12 [app build 3/5] RUN cargo build` gives
/// `[app build 3/5] RUN cargo build`. Headings of inner housekeeping are left out.
pub(crate) fn step(line: &str) -> Option<&str> {
    let (number, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let counted = rest.split(']').next()?.contains('/');
    (number.bytes().all(|b| b.is_ascii_digit()) && rest.starts_with('[') && counted).then_some(rest)
}
