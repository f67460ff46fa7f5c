//! `image pull`: images out of the registry: those that this checkout would build, those that
//! somebody published of an environment, or those of a release, exactly.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use fingerprint::short;

use super::plan::{self, LABEL_FINGERPRINT, LABEL_IMAGE, Planned, Request};
use super::{destroy, identity, share};
use crate::cli::{Cache, ImagePull};
use crate::commands::doctor;
use crate::commands::publish::images::{Shelf, There};
use crate::commands::registry::{self, Registry};
use crate::commands::releases;
use crate::ctx::Ctx;
use crate::exit;
use crate::release::record::Record;
use crate::release::version;
use crate::tools::docker;
use crate::tools::registry::Manifest;

impl ImagePull {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match version::parse(&self.what) {
            Ok(version) => release(ctx, &version, &self.images),
            Err(_) => environment(ctx, &self.what, self.images),
        }
    }
}

/// What a checkout needs, under the fingerprints of its own files; of what nobody has shared, what
/// was published under the environment's name. That is enough for an image whose assets are not
/// made yet, as in a fresh clone: what its own files would give is not known then.
fn environment(ctx: &Ctx, name: &str, images: Vec<String>) -> Result<()> {
    let mut request = Request::question(ctx, name)?;
    request.only = images;
    share::check(&request, Cache::Read)?;
    let plan = plan::plan(ctx, &request)?;
    let plan = share::pull_dirty(ctx, &request, plan, &mut BTreeSet::new(), &mut |_, _| {})?;
    let mut missing = 0;
    let mut registry = None;
    for planned in &plan.images {
        let image = &planned.recipe.image;
        if planned.found.is_some() {
            report(ctx, "here", image, &planned.fingerprint)?;
            continue;
        }
        let repository = request.facts.environment.registry.repository.as_deref();
        if registry.is_none() {
            registry = Some(registry::open(ctx, repository.unwrap_or_default())?);
        }
        let found = match &registry {
            Some(registry) => published(ctx, &request, registry, planned)?,
            None => None,
        };
        match found {
            Some(fingerprint) if planned.waits_for_assets => {
                report(ctx, "pulled", image, &fingerprint)?;
                ctx.say(format_args!(
                    "{image}: this is what was published as {name}; whether this checkout builds \
                     the same {image} is known after `cargo xtask assets build`"
                ));
                continue;
            }
            Some(fingerprint) => report(ctx, "other", image, &fingerprint)?,
            None => report(ctx, "missing", image, &planned.fingerprint)?,
        }
        missing += 1;
    }
    match missing {
        0 => Ok(()),
        _ if ctx.dry_run => Ok(()),
        count => Err(exit::missing(format!(
            "the registry lacks {count} of these images as this checkout would build them; build \
             them with `cargo xtask image build {name}` (what was published from other files is \
             here as IMAGE:{name})"
        ))),
    }
}

fn report(ctx: &Ctx, status: &str, image: &str, fingerprint: &str) -> Result<()> {
    match ctx.json {
        true => ctx.event(&serde_json::json!({
            "event": "image", "image": image, "fingerprint": fingerprint, "status": status,
        })),
        false => ctx.print(format_args!("{status:7} {image} {}", short(fingerprint))),
    }
}

/// Gets what was published under an environment's name, as `IMAGE:ENV`: its fingerprint.
fn published(
    ctx: &Ctx,
    request: &Request,
    registry: &Registry<'_>,
    planned: &Planned,
) -> Result<Option<String>> {
    let environment = &request.facts.name;
    let path = format!("{}/{}", request.stack.name, planned.recipe.image);
    let platform = &planned.inputs.platform;
    let Some(manifest) = registry.manifest(&path, environment, platform)? else { return Ok(None) };
    let repository = request.facts.environment.registry.repository.as_deref().unwrap_or_default();
    let remote = format!("{repository}/{path}@{}", manifest.digest);
    let here = format!("{path}:{environment}");
    ctx.run(docker::pull(&ctx.sh, &remote))?;
    ctx.run(docker::tag(&ctx.sh, &remote, &here))?;
    destroy::remove(ctx, &[remote])?;
    if ctx.dry_run {
        return Ok(None);
    }
    let found = plan::inspect(ctx, std::slice::from_ref(&here))?;
    let image = found.get(&here).context("a pulled image is gone again")?;
    let fingerprint = image.label(LABEL_FINGERPRINT).unwrap_or_default();
    let name = &planned.recipe.image;
    if planned.waits_for_assets
        && image.label(LABEL_IMAGE) == Some(name)
        && plan::is_unchanged(image)
    {
        // Under the name that its inputs give it, a build that comes to the same finds it.
        let own = plan::reference(&request.stack, name, fingerprint);
        ctx.run(docker::tag(&ctx.sh, &image.id, &own))?;
    }
    Ok(Some(fingerprint.to_owned()))
}

/// The images of a release, as they were recorded; their names are its version.
fn release(ctx: &Ctx, version: &semver::Version, only: &[String]) -> Result<()> {
    let record = releases::load(ctx, version)?;
    let known = record.images.keys().cloned().collect();
    only.iter().try_for_each(|image| crate::project::known("image", image, &known))?;
    doctor::require_engine(ctx)?;
    let wanted = |image: &&String| only.is_empty() || only.contains(image);
    let mut shelf = None;
    for image in record.images.keys().filter(wanted) {
        let recorded = &record.images[image];
        let Got { id, pulled } = get(ctx, &record, image, &mut shelf)?;
        if !pulled {
            ctx.run(docker::tag(&ctx.sh, &id, &name_of(&record, image)))?;
        }
        let status = if pulled { "pulled" } else { "here" };
        if !ctx.dry_run {
            report(ctx, status, image, &recorded.fingerprint)?;
        }
    }
    Ok(())
}

/// Pulls what a manifest names, by its digest: the ID that the engine has for it then.
pub(crate) fn fetch(ctx: &Ctx, remote: &str, manifest: &Manifest) -> Result<String> {
    ctx.run(docker::pull(&ctx.sh, remote))?;
    if ctx.dry_run {
        return Ok(format!("<id of {remote}>"));
    }
    identity::remember(ctx, &manifest.digest, &manifest.config.digest);
    let id = plan::id_of(ctx, remote)?;
    id.with_context(|| format!("{remote} is gone again; run the same command once more"))
}

/// What an image of a release is called in this engine.
fn name_of(record: &Record, image: &str) -> String {
    format!("{}/{image}:{}", record.name, record.version)
}

/// An image of a release in this engine.
pub(crate) struct Got {
    /// The engine's; in a dry run it may not be known yet.
    pub(crate) id: String,
    pub(crate) pulled: bool,
}

/// Pulls an image of a release, by digest, where this engine lacks it.
pub(crate) fn get<'c>(
    ctx: &'c Ctx,
    record: &Record,
    image: &str,
    shelf: &mut Option<Shelf<'c>>,
) -> Result<Got> {
    let recorded = &record.images[image];
    if let Some(id) = identity::find(ctx, recorded)? {
        return Ok(Got { id, pulled: false });
    }
    if shelf.is_none() {
        *shelf = Some(Shelf::open(ctx, record)?);
    }
    let shelf = shelf.as_ref().context("no registry")?;
    let There::Same(manifest) = shelf.look(record, image)? else {
        anyhow::bail!(
            "the registry does not have {} as it was released; `cargo xtask release verify {}` \
             says more",
            shelf.name(record, image),
            record.version
        );
    };
    let remote = shelf.exact_name(record, image, &manifest);
    ctx.say(format_args!("pulling {}", shelf.name(record, image)));
    let name = name_of(record, image);
    let id = fetch(ctx, &remote, &manifest)?;
    ctx.run(docker::tag(&ctx.sh, &id, &name))?;
    destroy::remove(ctx, &[remote])?;
    Ok(Got { id, pulled: true })
}
