//! The archive that `docker image save` writes, read to the last byte: what an image is made of.
//!
//! An engine with the graph driver's store calls an image by the digest of its configuration, and
//! writes layers as they are. One with containerd's store calls it by the digest of its manifest,
//! or of an index of manifests, and writes layers as it got them, mostly compressed. The layout is
//! that of the OCI image specification, with `manifest.json` of the older format beside it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::registry::index;
use super::registry::unpack::{Hashing, Packing, measure, packing, unpack};
use crate::release::record::Layer;

#[cfg(test)]
mod tests;

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// `sha256:…` of its configuration.
    pub(crate) config: String,
    pub(crate) layers: Vec<Layer>,
}

/// Longest file of an archive that is kept in memory, in bytes: descriptions, no layers.
const SMALL: u64 = 4 << 20;

/// A file of the archive.
struct File {
    /// Its own bytes, packed or not.
    as_it_is: Layer,
    /// What it holds, where it is compressed.
    unpacked: Option<Layer>,
    /// Its bytes, where they are few.
    bytes: Vec<u8>,
}

/// The parts of images by the names that an engine gave them: the digest of a configuration, a
/// manifest or an index.
///
/// # Errors
///
/// The archive is damaged, lacks one of the images, or holds something else than a name says.
pub(crate) fn parse(archive: impl Read, ids: &[String]) -> Result<BTreeMap<String, Parts>> {
    let contents = Contents::read(archive)?;
    let part = |id: &String| {
        let parts = contents.image(id).with_context(|| format!("in image {id}"))?;
        Ok((id.clone(), parts))
    };
    ids.iter().map(part).collect()
}

/// The configurations of images by the names that an engine gave them. Docker 26.1 leaves out the
/// layers and the configuration of an index of which it has one platform: only what describes it is
/// read.
///
/// # Errors
///
/// The archive is damaged, or does not describe one of the images.
pub(crate) fn configs(archive: impl Read, ids: &[String]) -> Result<BTreeMap<String, String>> {
    let contents = Contents::read(archive)?;
    let config = |id: &String| {
        let config = match contents.found(id).with_context(|| format!("in image {id}"))? {
            Found::Config(config) => config,
            Found::Manifest(manifest) => manifest.config.digest,
        };
        Ok((id.clone(), config))
    };
    ids.iter().map(config).collect()
}

/// What an engine's name of an image leads to.
enum Found {
    /// The digest of a configuration.
    Config(String),
    Manifest(Manifest),
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// All files of an archive.
struct Contents {
    by_path: BTreeMap<String, File>,
    /// Digest -> path.
    paths: BTreeMap<String, String>,
}

/// A part of an image as its manifest names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
}

/// An image in `manifest.json`: paths of its configuration and its layers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    layers: Vec<String>,
}

impl Contents {
    fn read(archive: impl Read) -> Result<Contents> {
        let mut contents = Contents { by_path: BTreeMap::new(), paths: BTreeMap::new() };
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let file = read_file(entry).with_context(|| format!("in {path}"))?;
            contents.paths.insert(file.as_it_is.diff_id.clone(), path.clone());
            contents.by_path.insert(path, file);
        }
        Ok(contents)
    }

    fn by_digest(&self, digest: &str) -> Option<&File> {
        self.by_path.get(self.paths.get(digest)?)
    }

    /// A description as JSON.
    fn described(&self, digest: &str) -> Result<Value> {
        let file = self.by_digest(digest).with_context(|| format!("{digest} is missing"))?;
        serde_json::from_slice(&file.bytes).with_context(|| format!("can't read {digest}"))
    }

    fn found(&self, id: &str) -> Result<Found> {
        let described = self.described(id)?;
        if described.get("manifests").is_some() {
            return self.found(&self.chosen(&described)?);
        }
        if described.get("rootfs").is_some() {
            return Ok(Found::Config(id.to_owned()));
        }
        serde_json::from_value(described).context("it is not an image").map(Found::Manifest)
    }

    fn image(&self, id: &str) -> Result<Parts> {
        let manifest = match self.found(id)? {
            Found::Config(config) => return self.by_config(&config),
            Found::Manifest(manifest) => manifest,
        };
        let layers = manifest.layers.iter().map(|descriptor| {
            let digest = &descriptor.digest;
            let file =
                self.by_digest(digest).with_context(|| format!("layer {digest} is missing"))?;
            match (packing(&descriptor.media_type)?, &file.unpacked) {
                (Packing::None, _) => Ok(file.as_it_is.clone()),
                (_, Some(unpacked)) => Ok(unpacked.clone()),
                _ => bail!("layer {digest} can't be unpacked"),
            }
        });
        self.checked(&manifest.config.digest, layers.collect::<Result<_>>()?)
    }

    /// The image of an index that is here. An engine may have one platform of many, and describes
    /// in `manifest.json` which one it means.
    fn chosen(&self, index: &Value) -> Result<String> {
        let all: Vec<index::Entry> =
            serde_json::from_value(index["manifests"].clone()).context("can't read its index")?;
        let images = all.iter().filter(|entry| entry.is_image());
        let digests = images.map(|entry| entry.descriptor.digest.as_str());
        let mut here: Vec<&str> =
            digests.filter(|digest| self.paths.contains_key(*digest)).collect();
        if here.len() > 1 {
            let meant: Vec<String> = self.entries()?.into_iter().map(|it| it.config).collect();
            let is_meant = |digest: &&str| {
                let config = self.described(digest).ok();
                let config = config.as_ref().and_then(|it| it["config"]["digest"].as_str());
                config.and_then(|it| self.paths.get(it)).is_some_and(|path| meant.contains(path))
            };
            here.retain(is_meant);
        }
        match here[..] {
            [one] => Ok(one.to_owned()),
            [] => bail!("the archive has no image of its index"),
            _ => bail!("the archive has several images of its index, and does not say which"),
        }
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let list = self.by_path.get("manifest.json").context("it has no list of images")?;
        serde_json::from_slice(&list.bytes).context("can't read its list of images")
    }

    /// An image by its configuration: its layers are those that `manifest.json` lists.
    fn by_config(&self, config: &str) -> Result<Parts> {
        let is_it = |entry: &Entry| {
            self.by_path.get(&entry.config).is_some_and(|it| it.as_it_is.diff_id == config)
        };
        let entry = self.entries()?.into_iter().find(is_it).context("it is not in the list")?;
        let file = |path: &String| {
            let file = self.by_path.get(path).with_context(|| format!("{path} is missing"))?;
            Ok(file.as_it_is.clone())
        };
        self.checked(config, entry.layers.iter().map(file).collect::<Result<_>>()?)
    }

    /// That a configuration names these layers.
    fn checked(&self, config: &str, layers: Vec<Layer>) -> Result<Parts> {
        let described = self.described(config)?;
        let named = described["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let held = layers.iter().map(|layer| layer.diff_id.as_str());
        ensure!(
            named.iter().map(|it| it.as_str().unwrap_or_default()).eq(held),
            "the layers are not those that its configuration {config} names"
        );
        Ok(Parts { config: config.to_owned(), layers })
    }
}

/// Reads a file once: its own digest, and that of what it holds.
fn read_file(entry: impl Read) -> Result<File> {
    let mut reader = BufReader::with_capacity(256 << 10, Hashing::new(entry));
    // Something else can begin like this: whether it is compressed, its manifest says.
    let packing = match reader.fill_buf()? {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        _ => Packing::None,
    };
    let unpacked = match packing {
        Packing::None => None,
        packing => measure(unpack(packing, &mut reader), || Ok(())).ok(),
    };
    let mut bytes = Vec::new();
    if unpacked.is_none() {
        reader.by_ref().take(SMALL).read_to_end(&mut bytes)?;
    }
    std::io::copy(&mut reader, &mut std::io::sink())?;
    let as_it_is = reader.into_inner().into_layer();
    if as_it_is.size > SMALL {
        bytes = Vec::new();
    }
    Ok(File { as_it_is, unpacked, bytes })
}
