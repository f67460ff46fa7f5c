//! Images shared through a registry, under the tags that stand for their fingerprints.
//!
//! An entry is trusted no further than the right to push it: what comes from there is looked at
//! like any image of this machine before it counts, and a release builds for itself.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result};

use super::destroy;
use super::plan::{self, Plan, Planned, Request};
use crate::cli::Cache;
use crate::ctx::{Ctx, REGISTRY};
use crate::exit;
use crate::tools::{bake, docker};

/// Refuses to share where the environment names no registry.
pub(crate) fn check(request: &Request, cache: Cache) -> Result<()> {
    if cache == Cache::Off || request.facts.environment.registry.repository.is_some() {
        return Ok(());
    }
    Err(exit::usage(format!(
        "environments/{}/environment.toml names no registry; add\n  [registry]\n  repository = \
         \"HOST/PATH\"",
        request.facts.name
    )))
}

/// The name of an image in the registry.
fn remote(request: &Request, planned: &Planned) -> String {
    let repository = request.facts.environment.registry.repository.as_deref().unwrap_or_default();
    format!("{repository}/{}", planned.reference)
}

/// Whether the registry has an image; an error where it does not answer.
fn is_there(ctx: &Ctx, remote: &str) -> Result<bool> {
    let answer = ctx.ask(bake::registry_manifest(&ctx.sh, remote), REGISTRY)?;
    if answer.status.success() {
        return Ok(true);
    }
    let words = answer.stderr.to_lowercase();
    let missing = ["not found", "manifest unknown", "name unknown", "does not exist"];
    if missing.iter().any(|text| words.contains(text)) {
        return Ok(false);
    }
    Err(exit::missing(format!("can't ask the registry for {remote}: {}", answer.stderr.trim())))
}

/// Whether the registry has a planned image; nothing, after a warning, where it does not answer.
pub(crate) fn look(ctx: &Ctx, request: &Request, planned: &Planned) -> Result<Option<bool>> {
    match is_there(ctx, &remote(request, planned)) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
        Err(error) => {
            ctx.warn(format_args!("going on without the registry: {error:#}"));
            Ok(None)
        }
        there => there.map(Some),
    }
}

/// Pulls what is dirty here and lies in the registry: the plan as it is then. A registry that does
/// not answer costs the speed only. `refused` gets the images whose entry is none.
pub(crate) fn pull_dirty(
    ctx: &Ctx,
    request: &Request,
    mut plan: Plan,
    refused: &mut BTreeSet<String>,
    pulled: &mut dyn FnMut(&Planned, f64),
) -> Result<Plan> {
    for planned in plan.images.iter_mut().filter(|planned| planned.found.is_none()) {
        let started = Instant::now();
        let remote = remote(request, planned);
        match look(ctx, request, planned)? {
            Some(true) => {}
            Some(false) => continue,
            None => break,
        }
        ctx.say(format_args!("pulling {}: {}", planned.recipe.image, planned.reason()));
        if let Err(error) = ctx.run(docker::pull(&ctx.sh, &remote)) {
            if exit::code(&error) == exit::INTERRUPTED {
                return Err(error);
            }
            ctx.warn(format_args!("the registry's {} is damaged: {error:#}", planned.recipe.image));
            refused.insert(planned.recipe.image.clone());
            continue;
        }
        if ctx.dry_run {
            ctx.run(docker::tag(&ctx.sh, &remote, &planned.reference))?;
            pulled(planned, 0.0);
            ctx.pretend(&planned.reference);
            planned.pretended = true;
            continue;
        }
        let mut found = plan::inspect(ctx, std::slice::from_ref(&remote))?;
        let image = found.remove(&remote).context("a pulled image is gone again")?;
        let doubt = plan::doubts(planned, &image);
        if doubt.is_none() {
            // Not the name: another checkout may have pulled something else under it by now.
            ctx.run(docker::tag(&ctx.sh, &image.id, &planned.reference))?;
        }
        destroy::remove(ctx, std::slice::from_ref(&remote))?;
        match doubt {
            Some(doubt) => {
                ctx.warn(format_args!("refused the registry's {remote}: an image {doubt}"));
                refused.insert(planned.recipe.image.clone());
            }
            None => {
                pulled(planned, started.elapsed().as_secs_f64());
                planned.found = Some(image);
                planned.reasons.clear();
            }
        }
    }
    if request.verified {
        // Only what was built here can have been verified here.
        return plan::plan(ctx, request);
    }
    Ok(plan)
}

/// Pushes what the registry lacks, and over what was refused.
pub(crate) fn push(
    ctx: &Ctx,
    request: &Request,
    plan: &Plan,
    refused: &BTreeSet<String>,
) -> Result<()> {
    for planned in &plan.images {
        let remote = remote(request, planned);
        if !refused.contains(&planned.recipe.image) && is_there(ctx, &remote)? {
            continue;
        }
        ctx.say(format_args!("pushing {}", planned.recipe.image));
        ctx.run(docker::tag(&ctx.sh, &planned.reference, &remote))?;
        let pushed = ctx.run(docker::push(&ctx.sh, &remote));
        destroy::remove(ctx, std::slice::from_ref(&remote))?;
        pushed?;
    }
    Ok(())
}
