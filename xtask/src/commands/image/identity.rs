//! What an image is, whichever store an engine keeps it in.
//!
//! The graph driver's store calls an image by the digest of its configuration; containerd's calls
//! it by the digest of its manifest, or of an index of manifests, which differs from registry to
//! registry and from compression to compression. Records, gates and comparisons name the
//! configuration, which is the same everywhere and names the layers. Commands name an image to the
//! engine by the engine's own ID. Here is the way from one to the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::leftovers;
use super::plan::{self, LABEL_FINGERPRINT};
use crate::commands::doctor;
use crate::ctx::{Ctx, LONG, QUESTION};
use crate::release::record::Image;
use crate::tools::docker_archive::{self, Parts};
use crate::tools::registry::is_digest;
use crate::tools::{docker, docker_engine};

/// What an image is made of, by the IDs that the engine has for images: read out of the engine,
/// byte for byte, since the engine only repeats what it was given with the image. What was read
/// once is remembered under its ID, which is a hash of all of it.
pub(crate) fn parts(ctx: &Ctx, ids: &[String]) -> Result<BTreeMap<String, Parts>> {
    let path = |id: &str| file_of(ctx, "read-back", id);
    let mut found = BTreeMap::new();
    let mut unknown: Vec<String> = Vec::new();
    for id in ids {
        let known = std::fs::read(path(id)).ok();
        match known.and_then(|bytes| serde_json::from_slice::<Parts>(&bytes).ok()) {
            Some(parts) => drop(found.insert(id.clone(), parts)),
            None if unknown.contains(id) => {}
            None => unknown.push(id.clone()),
        }
    }
    if unknown.is_empty() {
        return Ok(found);
    }
    ctx.say(format_args!("reading {} images back", unknown.len()));
    let read = read(ctx, &unknown, docker_archive::parse)?;
    for (id, parts) in read {
        if !ctx.dry_run {
            ctx.remember(&path(&id), &serde_json::to_vec(&parts)?);
        }
        found.insert(id, parts);
    }
    Ok(found)
}

/// Has the engine write images as an archive, and reads it.
fn read<T>(
    ctx: &Ctx,
    ids: &[String],
    parse: impl FnOnce(File, &[String]) -> Result<BTreeMap<String, T>>,
) -> Result<BTreeMap<String, T>> {
    // Nothing is written in a dry run, and what an image is may be asked for all the same.
    let directory = if ctx.dry_run { tempfile::tempdir()? } else { leftovers::directory(ctx)? };
    let archive = directory.path().join("images.tar");
    let cmd = docker::save(&ctx.sh, ids, &archive);
    let shown = cmd.to_string();
    ctx.ask(cmd, LONG)?.success(&shown)?;
    let file = File::open(&archive).context("the engine wrote no archive")?;
    parse(file, ids).with_context(|| {
        format!(
            "an image in this engine is damaged; remove it with `docker image rm --force {}`, and \
             run the same command again",
            ids.join(" ")
        )
    })
}

/// The configuration of each image, by the IDs that the engine has for them. What is not an ID yet,
/// in a dry run, stays what it is.
pub(crate) fn configs(ctx: &Ctx, ids: &[String]) -> Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    let mut unknown = Vec::new();
    let is_another_digest = ids.iter().any(|id| is_digest(id)) && is_in_containerd(ctx)?;
    for id in ids {
        let config = match is_another_digest && is_digest(id) {
            true => std::fs::read_to_string(file_of(ctx, CONFIGURATIONS, id)).ok(),
            false => Some(id.clone()),
        };
        match config {
            Some(config) => drop(known.insert(id.clone(), config)),
            None => unknown.push(id.clone()),
        }
    }
    if !unknown.is_empty() {
        for (id, config) in read(ctx, &unknown, docker_archive::configs)? {
            remember(ctx, &id, &config);
            known.insert(id, config);
        }
    }
    Ok(known)
}

/// The configuration of one image.
pub(crate) fn config(ctx: &Ctx, id: &str) -> Result<String> {
    let mut known = configs(ctx, &[id.to_owned()])?;
    known.remove(id).with_context(|| format!("{id} has no configuration"))
}

/// Name -> configuration, from name -> the ID that the engine has.
pub(crate) fn configs_of(
    ctx: &Ctx,
    ids: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let known = configs(ctx, &ids.values().cloned().collect::<Vec<_>>())?;
    Ok(ids.iter().map(|(name, id)| (name.clone(), known[id].clone())).collect())
}

/// Keeps what a builder or a manifest says: that the image with this ID has this configuration.
pub(crate) fn remember(ctx: &Ctx, id: &str, config: &str) {
    if id != config && !ctx.dry_run {
        ctx.remember(&file_of(ctx, CONFIGURATIONS, id), config.as_bytes());
    }
}

/// The ID that the engine has for a recorded image; nothing where it does not have that image.
pub(crate) fn find(ctx: &Ctx, image: &Image) -> Result<Option<String>> {
    let named_so = plan::id_of(ctx, &image.config)?;
    if named_so.is_some() || !is_in_containerd(ctx)? {
        return Ok(named_so);
    }
    let label = format!("{LABEL_FINGERPRINT}={}", image.fingerprint);
    let listed = ctx.ask(docker::images_with_label(&ctx.sh, &label), QUESTION)?;
    let listed = listed.success("docker image ls")?;
    let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
    ids.sort();
    ids.dedup();
    let configs = configs(ctx, &ids)?;
    Ok(ids.into_iter().find(|id| configs.get(id) == Some(&image.config)))
}

/// Digest of a manifest -> that of its configuration, a file for each.
const CONFIGURATIONS: &str = "configurations";

fn file_of(ctx: &Ctx, directory: &str, id: &str) -> PathBuf {
    ctx.common().join(directory).join(id.trim_start_matches("sha256:"))
}

/// Whether the engine keeps its images in containerd's store; it is asked once in a run.
pub(crate) fn is_in_containerd(ctx: &Ctx) -> Result<bool> {
    const LEARNED: &str = "image store";
    let learned = match ctx.learned(LEARNED) {
        Some(learned) => learned,
        None => {
            let answer = ctx.ask(docker_engine::image_store(&ctx.sh), QUESTION)?;
            if !answer.status.success() {
                doctor::require_engine(ctx)?;
            }
            let said = answer.success("docker info")?;
            ctx.learn(LEARNED, said.clone());
            said
        }
    };
    Ok(docker_engine::parse_info(&learned)?.is_in_containerd())
}
