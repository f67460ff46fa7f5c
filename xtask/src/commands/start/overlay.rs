//! The last overlay of an environment, `.stevedore/ENV/images.yml`: the exact image of every
//! service, and labels by which compose notices what it does not look at.
//!
//! Compose takes a service for unchanged when its secrets and configs have new contents, and when a
//! mounted file was replaced by a different one. A label on the service changes with them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fingerprint::sha256;
use serde_json::{Value, json};

use super::LABEL_ENVIRONMENT;
use crate::commands::env::{self, Facts};
use crate::commands::image::plan::Plan;
use crate::ctx::Ctx;
use crate::project::image;
use crate::project::stack::Stack;
use crate::tools::compose::Target;

/// On containers that see files of this machine: changes with those files.
const LABEL_FILES: &str = "dev.stevedore.files";

pub(super) fn path(ctx: &Ctx, facts: &Facts) -> PathBuf {
    ctx.state().join(&facts.name).join("images.yml")
}

/// Writes it for the images of a plan. `files` is what [`files_of`] says.
pub(super) fn write(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    plan: &Plan,
    files: &BTreeMap<String, String>,
) -> Result<PathBuf> {
    let mut services = BTreeMap::new();
    for (name, service) in &stack.services {
        let image = image::of_service(&facts.project, stack, service);
        let mut entry = json!({"labels": {LABEL_ENVIRONMENT: facts.name}});
        if let Some(token) = files.get(name) {
            entry["labels"][LABEL_FILES] = token.clone().into();
        }
        if let Some(planned) = image.and_then(|image| plan.of(&image)) {
            entry["image"] = planned.reference.clone().into();
            entry["pull_policy"] = "never".into();
        }
        services.insert(name, entry);
    }
    let path = path(ctx, facts);
    let text = serde_json::to_string_pretty(&json!({ "services": services }))?;
    ctx.write_cache(&path, text.as_bytes())?;
    Ok(path)
}

/// Writes it with the images that it names already and the files of now.
pub(super) fn renew(ctx: &Ctx, path: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    let shown = || format!("can't read {}", path.display());
    let text = std::fs::read_to_string(path).with_context(shown)?;
    let mut overlay: Value = serde_json::from_str(&text).with_context(shown)?;
    for (name, service) in overlay["services"].as_object_mut().into_iter().flatten() {
        let Some(labels) = service["labels"].as_object_mut() else { continue };
        labels.remove(LABEL_FILES);
        labels.extend(files.get(name).map(|token| (LABEL_FILES.into(), token.clone().into())));
    }
    ctx.write_cache(path, serde_json::to_string_pretty(&overlay)?.as_bytes())
}

/// Service -> a token of the files that it sees, for those that see some. `filled` is what compose
/// makes of the files with all values.
///
/// Whoever may talk to the engine can read a label, so the token is made with a key that only this
/// checkout has: nobody can try values of a secret until one fits.
pub(super) fn files_of(
    ctx: &Ctx,
    facts: &Facts,
    target: &Target,
    filled: &Value,
) -> Result<BTreeMap<String, String>> {
    let mut tokens = BTreeMap::new();
    for (name, service) in filled["services"].as_object().into_iter().flatten() {
        let mut seen = contents(service, filled, target);
        seen.extend(mounted_files(service));
        if !seen.is_empty() {
            let key = key(ctx, facts)?;
            tokens.insert(name.clone(), sha256(format!("{key}\n{}", seen.join("\n")).as_bytes()));
        }
    }
    Ok(tokens)
}

/// The key of this checkout's tokens, made on first use.
fn key(ctx: &Ctx, facts: &Facts) -> Result<String> {
    let path = ctx.state().join(&facts.name).join("key");
    if let Ok(key) = std::fs::read_to_string(&path)
        && !key.is_empty()
    {
        return Ok(key);
    }
    let key = env::random_hex(64);
    ctx.write_secret(&path, key.as_bytes())?;
    Ok(key)
}

/// A hash for each secret and config of a service.
fn contents(service: &Value, filled: &Value, target: &Target) -> Vec<String> {
    let mut hashes = Vec::new();
    for kind in ["secrets", "configs"] {
        for used in service[kind].as_array().into_iter().flatten() {
            let name = used["source"].as_str().unwrap_or_default();
            let defined = &filled[kind][name];
            let variable = defined["environment"].as_str();
            let value = target.variables.iter().find(|(name, _)| Some(name.as_str()) == variable);
            let hash = match (defined["file"].as_str(), defined["content"].as_str(), value) {
                (Some(file), ..) => of_path(Path::new(file)),
                (_, Some(content), _) => sha256(content.as_bytes()),
                (.., Some((_, value))) => sha256(value.as_bytes()),
                _ => continue,
            };
            hashes.push(format!("{kind} {name} {hash}"));
        }
    }
    hashes
}

/// A hash of a file, or of all files below a directory. Of a file that only the engine may read,
/// when it was last changed.
fn of_path(path: &Path) -> String {
    let found = walkdir::WalkDir::new(path).follow_links(true).sort_by_file_name();
    let files = found.into_iter().flatten().filter(|it| it.file_type().is_file());
    let hashes: Vec<String> = files
        .map(|file| {
            let hash = match std::fs::read(file.path()) {
                Ok(content) => sha256(&content),
                Err(_) => changed(file.path()),
            };
            format!("{} {hash}", file.path().display())
        })
        .collect();
    sha256(hashes.join("\n").as_bytes())
}

fn changed(path: &Path) -> String {
    let meta = std::fs::metadata(path).map(|it| (it.ino(), it.ctime(), it.ctime_nsec()));
    format!("{:?}", meta.ok())
}

/// Which file each mount of a single file is. What is written into it the container sees; when it
/// was replaced, the container still has the old one.
fn mounted_files(service: &Value) -> Vec<String> {
    let mounts = service["volumes"].as_array().into_iter().flatten();
    let sources = mounts.filter(|mount| mount["type"] == "bind");
    let files = sources.filter_map(|mount| {
        let source = mount["source"].as_str()?;
        let meta = std::fs::metadata(source).ok().filter(std::fs::Metadata::is_file)?;
        Some(format!("{source} {} {}", meta.dev(), meta.ino()))
    });
    files.collect()
}
