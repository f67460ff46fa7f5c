//! `plan`: what a build would build, reuse or pull, and why; changes nothing.

use std::collections::BTreeMap;

use anyhow::Result;
use fingerprint::short;

use super::image::plan::{self, Planned, Request};
use super::image::{share, unknown};
use crate::cli::{self, Cache};
use crate::ctx::Ctx;

impl cli::Plan {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::question(ctx, &self.environment)?;
        request.paranoid = self.paranoid;
        share::check(&request, self.cache)?;
        let plan = plan::plan(ctx, &request)?;
        let mut counts = BTreeMap::new();
        let mut ask = self.cache != Cache::Off;
        for planned in &plan.images {
            let mut in_registry = false;
            if ask && planned.found.is_none() {
                let answer = share::look(ctx, &request, planned)?;
                ask = answer.is_some();
                in_registry = answer == Some(true);
            }
            let action = action(ctx, &request, planned, self.cache, in_registry)?;
            *counts.entry(action).or_insert(0) += 1;
            show(ctx, planned, action)?;
        }
        let count = |action| counts.get(action).copied().unwrap_or(0);
        let mut line = format!(
            "{} to reuse, {} to pull, {} to build",
            count(REUSE),
            count(PULL),
            count(BUILD)
        );
        if count(UNKNOWN) > 0 {
            line += &format!(", {} unknown until the base images are here", count(UNKNOWN));
        }
        ctx.say(line);
        Ok(())
    }
}

const REUSE: &str = "reuse";
const PULL: &str = "pull";
const BUILD: &str = "build";
const UNKNOWN: &str = "unknown";

/// What a build would do for an image.
///
/// While a base is not here, the fingerprint rests on what docker/stack.lock says of it. Where
/// neither this engine nor the registry has the image under that fingerprint, they may still have
/// it under the one that it turns out to have.
fn action(
    ctx: &Ctx,
    request: &Request,
    planned: &Planned,
    cache: Cache,
    in_registry: bool,
) -> Result<&'static str> {
    if planned.found.is_some() {
        return Ok(REUSE);
    }
    if in_registry {
        return Ok(PULL);
    }
    if planned.unknown_bases.is_empty() {
        return Ok(BUILD);
    }
    let may_exist =
        cache != Cache::Off || unknown::has_builds(ctx, request, &planned.recipe.image)?;
    Ok(if may_exist { UNKNOWN } else { BUILD })
}

fn show(ctx: &Ctx, planned: &Planned, action: &str) -> Result<()> {
    let (image, fingerprint) = (&planned.recipe.image, &planned.fingerprint);
    let until = planned.unknown_until().filter(|_| action == UNKNOWN);
    if ctx.json {
        let reasons = until.map_or_else(|| planned.reasons.clone(), |until| vec![until]);
        return ctx.event(&serde_json::json!({
            "event": "plan", "image": image, "fingerprint": fingerprint,
            "action": action, "reasons": reasons,
        }));
    }
    if let Some(until) = until {
        return ctx.print(format_args!("{image}: {until}"));
    }
    let reason = planned.reason();
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    ctx.print(format_args!("{action:6} {image} {}{reason}", short(fingerprint)))
}
