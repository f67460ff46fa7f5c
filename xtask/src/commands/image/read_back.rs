//! Images read back out of the engine, byte for byte: that they are what their names say, and how
//! large each layer is.
//!
//! An engine says of an image what it was told when it got it. The archive that it writes is what
//! everybody else will get; so that is hashed, once for each image.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::leftovers;
use crate::ctx::{Ctx, LONG};
use crate::release::record::Layer;
use crate::tools::docker;

/// What an image is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// `sha256:…` of its configuration.
    pub(crate) config: String,
    pub(crate) layers: Vec<Layer>,
}

/// Longest file of an archive that is kept in memory, in bytes: descriptions, no layers.
const SMALL: u64 = 4 << 20;

/// ID -> parts, for images that are here. What was read once is remembered under its hash.
pub(crate) fn read_back(ctx: &Ctx, ids: &[String]) -> Result<BTreeMap<String, Parts>> {
    let path = |id: &str| ctx.common().join("read-back").join(id.trim_start_matches("sha256:"));
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
    let directory = leftovers::directory(ctx)?;
    let archive = directory.path().join("images.tar");
    let cmd = docker::save(&ctx.sh, &unknown, &archive);
    let shown = cmd.to_string();
    ctx.ask(cmd, LONG)?.success(&shown)?;
    let file = std::fs::File::open(&archive).context("the engine wrote no archive")?;
    let mut all = parse(file).context("can't read the archive that the engine wrote")?;
    for id in unknown {
        let parts = all.remove(&id).with_context(|| {
            format!(
                "the engine's image {id} has another configuration than its name says; remove it \
                 with `docker image rm --force {id}` and run it again (an engine that keeps its \
                 images in containerd's store names them differently: releases need the other one)"
            )
        })?;
        ctx.remember(&path(&id), &serde_json::to_vec(&parts)?);
        found.insert(id, parts);
    }
    Ok(found)
}

/// Configuration -> parts of every image in an archive as `docker image save` writes it.
fn parse(archive: impl Read) -> Result<BTreeMap<String, Parts>> {
    let mut hashes: BTreeMap<String, (String, u64)> = BTreeMap::new();
    let mut small: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        let mut hash = Sha256::new();
        if size <= SMALL {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            hash.update(&bytes);
            small.insert(path.clone(), bytes);
        } else {
            let mut block = vec![0; 256 << 10];
            loop {
                let count = entry.read(&mut block)?;
                if count == 0 {
                    break;
                }
                hash.update(&block[..count]);
            }
        }
        hashes.insert(path, (format!("sha256:{}", hex::encode(hash.finalize())), size));
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        config: String,
        layers: Vec<String>,
    }
    let list = small.get("manifest.json").context("it has no list of images")?;
    let list: Vec<Entry> = serde_json::from_slice(list)?;
    let mut images = BTreeMap::new();
    for Entry { config, layers } in list {
        let text = small.get(&config).with_context(|| format!("{config} is missing"))?;
        let described: Value = serde_json::from_slice(text)?;
        let named = described["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let layers: Result<Vec<Layer>> = layers
            .iter()
            .map(|path| {
                let (diff_id, size) = hashes.get(path).with_context(|| format!("no {path}"))?;
                Ok(Layer { diff_id: diff_id.clone(), size: *size })
            })
            .collect();
        let layers = layers?;
        let held: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = hashes[&config].0.clone();
        anyhow::ensure!(
            named.iter().map(|it| it.as_str().unwrap_or_default()).eq(held),
            "the layers of image {config} are not those that its configuration names"
        );
        images.insert(config.clone(), Parts { config, layers });
    }
    Ok(images)
}
