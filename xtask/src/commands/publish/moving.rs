//! `publish ENV`: an environment's images as they are now, for colleagues and testers.
//!
//! They lie in the registry under their fingerprints, where every build finds them, and under the
//! environment's name, which moves. Nothing is ever deployed from a name that moves.

use anyhow::{Context, Result};

use crate::cli::Cache;
use crate::commands::image::plan::{Planned, Request};
use crate::commands::image::{build, destroy};
use crate::commands::image::{identity, share};
use crate::commands::registry;
use crate::ctx::Ctx;
use crate::tools::docker;
use crate::tools::registry::Manifest;

pub(super) fn publish(ctx: &Ctx, environment: &str) -> Result<()> {
    let mut request = Request::load(ctx, environment)?;
    share::check(&request, Cache::Write)?;
    let plan = build::build(ctx, &mut request, Cache::Write)?;
    let repository = request.facts.environment.registry.repository.clone().unwrap_or_default();
    let registry = registry::open(ctx, &repository)?;
    for planned in &plan.images {
        let path = format!("{}/{}", request.stack.name, planned.recipe.image);
        let platform = &planned.inputs.platform;
        let moving = registry.manifest(&path, environment, platform)?;
        let name = format!("{repository}/{path}:{environment}");
        let config = identity::config(ctx, &planned.id())?;
        let is_ours = |manifest: &Manifest| manifest.config.digest == config;
        let same = moving.as_ref().is_some_and(is_ours);
        if !same {
            move_name(ctx, planned, &name)?;
        }
        if ctx.dry_run {
            continue;
        }
        let now = registry.manifest(&path, environment, platform)?.filter(is_ours);
        let digest = now.map(|manifest| manifest.digest);
        let digest = digest.with_context(|| {
            format!("the registry took {name} and does not have it now; run it again")
        })?;
        let status = if same { "there" } else { "pushed" };
        match ctx.json {
            true => ctx.event(&serde_json::json!({
                "event": "image", "image": planned.recipe.image, "status": status,
                "fingerprint": planned.fingerprint, "digest": digest,
            }))?,
            false => ctx.print(format_args!("{status:7} {name}@{digest}"))?,
        }
    }
    Ok(())
}

fn move_name(ctx: &Ctx, planned: &Planned, name: &str) -> Result<()> {
    ctx.run(docker::tag(&ctx.sh, &planned.id(), name))?;
    let pushed = ctx.run(docker::push(&ctx.sh, name));
    destroy::remove(ctx, &[name.to_owned()])?;
    pushed
}
