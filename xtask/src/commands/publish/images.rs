//! The images of a release in the registry: what lies under their names, and putting them there.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::commands::image::plan::LABEL_FINGERPRINT;
use crate::commands::image::{destroy, identity, plan};
use crate::commands::registry::{self, Registry};
use crate::ctx::Ctx;
use crate::exit;
use crate::release::record::{Image, Record};
use crate::tools::docker;
use crate::tools::registry::{Manifest, digest};

/// The registry's part that belongs to a project.
pub(crate) struct Shelf<'c> {
    ctx: &'c Ctx,
    /// Host and path under which everything of the project lies.
    pub(crate) repository: String,
    pub(crate) registry: Registry<'c>,
}

/// What lies under the name of a released image.
pub(crate) enum There {
    Same(Manifest),
    /// The digest of another configuration.
    Other(String),
    Nothing,
}

impl<'c> Shelf<'c> {
    /// The registry that the released commit names: the same for everybody, whatever is checked
    /// out.
    pub(crate) fn open(ctx: &'c Ctx, record: &Record) -> Result<Shelf<'c>> {
        let repository = record.registry.clone().with_context(|| {
            format!(
                "{version} names no registry; take it back with `cargo xtask release --abort \
                 {version}`, add to environments/{environment}/environment.toml\n  [registry]\n  \
                 repository = \"HOST/PATH\"\n  and release it again",
                version = record.version,
                environment = record.environment
            )
        })?;
        let registry = registry::open(ctx, &repository)?;
        Ok(Shelf { ctx, repository, registry })
    }

    /// The full name of a released image.
    pub(crate) fn name(&self, record: &Record, image: &str) -> String {
        format!("{}/{}:{}", self.repository, path(record, image), record.version)
    }

    /// The name of what lies there, whatever becomes of its tag.
    pub(crate) fn exact_name(&self, record: &Record, image: &str, manifest: &Manifest) -> String {
        format!("{}/{}@{}", self.repository, path(record, image), manifest.digest)
    }

    /// Compares what lies there with the record.
    pub(crate) fn look(&self, record: &Record, image: &str) -> Result<There> {
        self.look_at(record, image, &record.version.to_string())
    }

    /// The same under a tag or a digest.
    fn look_at(&self, record: &Record, image: &str, reference: &str) -> Result<There> {
        let found = self.registry.manifest(&path(record, image), reference, &record.platform)?;
        Ok(match found {
            None => There::Nothing,
            Some(manifest) if manifest.config.digest == record.images[image].config => {
                There::Same(manifest)
            }
            Some(manifest) => There::Other(manifest.config.digest),
        })
    }

    /// Puts images there, each with the ID that it has here. Their names in this engine are written
    /// down first: whoever dies in between leaves them to [`forget_names`].
    pub(crate) fn push(
        &self,
        record: &Record,
        images: &[(String, String)],
        note: &Path,
    ) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = images.iter().map(|(image, _)| self.name(record, image)).collect();
        self.ctx.write_cache(note, names.join("\n").as_bytes())?;
        for ((_, id), name) in images.iter().zip(&names) {
            self.push_one(id, name)?;
        }
        if !self.ctx.dry_run {
            self.ctx.remove_state(note)?;
        }
        Ok(())
    }

    /// The engine leaves out what the registry has of it.
    fn push_one(&self, id: &str, name: &String) -> Result<()> {
        let ctx = self.ctx;
        let bar = ctx.spinner(format!("pushing {name}"));
        if bar.is_hidden() && !ctx.dry_run {
            ctx.say(format_args!("pushing {name}"));
        }
        ctx.run(docker::tag(&ctx.sh, id, name))?;
        let pushed = ctx.run(docker::push(&ctx.sh, name));
        bar.finish_and_clear();
        destroy::remove(ctx, std::slice::from_ref(name))?;
        pushed
    }

    /// Asks the registry for what it has now: the digest of the manifest. The configuration comes
    /// whole, and of every layer the registry says that it has it, with its size.
    pub(crate) fn read_back(&self, record: &Record, image: &str) -> Result<String> {
        self.read_back_at(record, image, &record.version.to_string())
    }

    /// The same of what lies under a tag or a digest.
    pub(crate) fn read_back_at(
        &self,
        record: &Record,
        image: &str,
        reference: &str,
    ) -> Result<String> {
        let name = self.name(record, image);
        let manifest = match self.look_at(record, image, reference)? {
            There::Same(manifest) => manifest,
            There::Other(found) => anyhow::bail!(
                "the registry has {name} with configuration {found} and not with {}: somebody \
                 moved it; release the next version",
                record.images[image].config
            ),
            There::Nothing => anyhow::bail!(
                "the registry does not have {name}; `cargo xtask publish {}` brings it",
                record.version
            ),
        };
        let path = path(record, image);
        let config = self.registry.blob(&path, &manifest.config.digest)?;
        check_config(&config, &record.images[image]).with_context(|| format!("in {name}"))?;
        for layer in &manifest.layers {
            anyhow::ensure!(
                self.registry.has_blob(&path, layer)?,
                "the registry lacks the layer {} of {name}; run the same command again",
                layer.digest
            );
        }
        anyhow::ensure!(
            manifest.layers.len() == record.images[image].layers.len(),
            "the registry's manifest of {name} has {} layers, and the release has {}",
            manifest.layers.len(),
            record.images[image].layers.len()
        );
        Ok(manifest.digest)
    }
}

/// Removes the names of the registry that a publication left in this engine when it was killed. As
/// long as the engine does not answer, they stay noted.
pub(super) fn forget_names(ctx: &Ctx, note: &Path) {
    let Ok(text) = std::fs::read_to_string(note) else { return };
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(found) = plan::inspect(ctx, &names) else { return };
    let names: Vec<String> = found.into_keys().collect();
    if (names.is_empty() || destroy::remove(ctx, &names).is_ok()) && !ctx.dry_run {
        let _ = ctx.remove_state(note);
    }
}

/// Where an image lies below the registry's path.
pub(crate) fn path(record: &Record, image: &str) -> String {
    format!("{}/{image}", record.name)
}

/// That a configuration is the recorded one, and names the recorded layers and what they were built
/// from.
pub(crate) fn check_config(bytes: &[u8], image: &Image) -> Result<()> {
    anyhow::ensure!(digest(bytes) == image.config, "the configuration is another one");
    let config: Value = serde_json::from_slice(bytes).context("the configuration is no JSON")?;
    let named = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    let recorded = image.layers.iter().map(|layer| layer.diff_id.as_str());
    anyhow::ensure!(
        named.iter().map(|it| it.as_str().unwrap_or_default()).eq(recorded),
        "the configuration names other layers than the record"
    );
    let built_from = config["config"]["Labels"][LABEL_FINGERPRINT].as_str().unwrap_or("nothing");
    anyhow::ensure!(
        built_from == image.fingerprint,
        "the image says that it was built from {built_from}, and the record says {}",
        image.fingerprint
    );
    Ok(())
}

/// The ID of a released image in this engine.
pub(crate) fn here(ctx: &Ctx, record: &Record, image: &str) -> Result<Option<String>> {
    match identity::find(ctx, &record.images[image]) {
        // What the registry has needs no engine.
        Err(error) if exit::code(&error) == exit::MISSING => Ok(None),
        found => found,
    }
}
