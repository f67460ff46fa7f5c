//! `image build`: brings the images of an environment up to date, each with its reason.
//!
//! Fresh ones stay, the registry's are pulled where the caller wants that, the rest is built in one
//! call. Afterwards all inputs are read again: who edits during a build gets another one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Result, bail};
use fingerprint::short;
use fingerprint::stage::Moved;

use super::plan::{self, Assets, Plan, Planned, Request};
use super::{builder, external, last, leftovers, share};
use crate::cli::{Cache, ImageBuild};
use crate::commands::assets;
use crate::commands::doctor;
use crate::commands::env::exposed;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::image::check_names;
use crate::tools::bake;
use crate::tools::registry::index::is_same_platform;

/// How many builds follow each other while somebody edits.
const ROUNDS: usize = 3;

impl ImageBuild {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::load(ctx, &self.environment)?;
        request.only = self.images;
        request.paranoid = self.paranoid;
        request.verified = self.verify;
        build(ctx, &mut request, self.cache).map(drop)
    }
}

/// What became of an image.
struct Outcome {
    fingerprint: String,
    status: &'static str,
    reason: String,
    seconds: f64,
}

/// Brings the images up to date: the plan as it is afterwards, with nothing dirty in it.
///
/// A plan names the image of every service by its fingerprint, so what is started next is what
/// was built here.
pub(crate) fn build(ctx: &Ctx, request: &mut Request, cache: Cache) -> Result<Plan> {
    check_names(&request.facts.project, &request.only)?;
    share::check(request, cache)?;
    match request.assets {
        Assets::Required => drop(assets::update(ctx)?),
        Assets::IfPossible => assets::update_if_possible(ctx)?,
        Assets::Later => {}
    }
    request.stale_assets = if ctx.dry_run { assets::stale(ctx)? } else { None };
    let request = &*request;
    let plan = plan::plan(ctx, request)?;
    if request.facts.environment.images.platform.is_some() && plan.dirty().next().is_some() {
        // Where no file says it, the plan has asked for the platform.
        doctor::require_engine(ctx)?;
    }
    let recipes = plan.images.iter().map(|planned| &planned.recipe);
    exposed::refuse_builds(ctx, &request.facts.project, recipes)?;
    let order: Vec<String> =
        plan.images.iter().map(|planned| planned.recipe.image.clone()).collect();
    let mut outcomes = BTreeMap::new();
    let result = rounds(ctx, request, cache, plan, &mut outcomes);
    for image in order {
        if let Some(outcome) = outcomes.get(&image) {
            report(ctx, &image, outcome)?;
        }
    }
    result
}

fn rounds(
    ctx: &Ctx,
    request: &Request,
    cache: Cache,
    mut plan: Plan,
    outcomes: &mut BTreeMap<String, Outcome>,
) -> Result<Plan> {
    // Held from the first look at what a builder left until the last.
    let lock = match plan.dirty().next() {
        Some(_) => Some(ctx.lock("build")?),
        None if leftovers::has_directories(ctx) => ctx.lock_if_free("build")?,
        None => None,
    };
    if let Some(lock) = &lock {
        leftovers::sweep(ctx);
        if lock.waited {
            plan = plan::plan(ctx, request)?;
        }
    }
    let mut refused = BTreeSet::new();
    for round in 1.. {
        let mut pull = |plan: Plan| match cache {
            Cache::Off => Ok(plan),
            Cache::Read | Cache::Write => {
                share::pull_dirty(ctx, request, plan, &mut refused, &mut |planned, seconds| {
                    note(outcomes, [planned], "pulled", seconds);
                })
            }
        };
        plan = pull(plan)?;
        let asked_for = plan.references();
        plan = ensure_externals(ctx, request, plan)?;
        if plan.references() != asked_for {
            // The bases are not what docker/stack.lock says: the registry may have these images.
            plan = pull(plan)?;
        }
        note(outcomes, plan.images.iter().filter(|planned| planned.found.is_some()), "fresh", 0.0);
        if plan.dirty().next().is_none() {
            break;
        }
        if ctx.dry_run && cache != Cache::Off {
            for planned in plan.dirty() {
                if let Some(until) = planned.unknown_until() {
                    let image = &planned.recipe.image;
                    ctx.say(format_args!("{image}: {until}; a build is shown, it may be a pull"));
                }
            }
        }
        if round > ROUNDS {
            let moved: Vec<String> = plan.dirty().map(Planned::reason).collect();
            bail!("the project changes faster than its images are built ({})", moved.join("; "));
        }
        build_dirty(ctx, request, &plan, outcomes)?;
        plan = plan::plan(ctx, request)?;
        for planned in plan.dirty() {
            let (image, reason) = (&planned.recipe.image, planned.reason());
            ctx.say(format_args!("{image} is built again ({reason})"));
        }
    }
    if cache == Cache::Write {
        share::push(ctx, request, &plan, &refused)?;
    }
    last::record_fresh(ctx, request, &plan)?;
    Ok(plan)
}

/// Builds what is dirty. Of what was edited between the look and the copy nothing is built: the
/// next round takes it as it is then.
fn build_dirty(
    ctx: &Ctx,
    request: &Request,
    plan: &Plan,
    outcomes: &mut BTreeMap<String, Outcome>,
) -> Result<()> {
    let mut dirty: Vec<&Planned> = plan.dirty().collect();
    while !dirty.is_empty() {
        let later = dirty.split_off(dirty.len().min(builder::MOST));
        let started = Instant::now();
        let built = builder::build(ctx, request, &dirty);
        let seconds = started.elapsed().as_secs_f64();
        match built {
            Ok(()) => note(outcomes, dirty, "built", seconds),
            Err(error) if error.is::<Moved>() => return Ok(()),
            Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
            Err(error) => {
                let references: Vec<String> =
                    dirty.iter().map(|planned| planned.reference.clone()).collect();
                let there = plan::inspect(ctx, &references).unwrap_or_default();
                let (built, failed): (Vec<&Planned>, Vec<&Planned>) =
                    dirty.into_iter().partition(|planned| there.contains_key(&planned.reference));
                note(outcomes, built, "built", seconds);
                note(outcomes, failed.into_iter().chain(later), "failed", seconds);
                return Err(error);
            }
        }
        dirty = later;
    }
    Ok(())
}

/// Gets the external bases of what is dirty. Once they are here their content is known, and
/// fingerprints may differ.
fn ensure_externals(ctx: &Ctx, request: &Request, plan: Plan) -> Result<Plan> {
    let externals: BTreeSet<&String> =
        plan.dirty().flat_map(|planned| &planned.recipe.externals).collect();
    if let Some(platform) = request.bases().platform.filter(|_| plan.dirty().next().is_some()) {
        check_emulation(ctx, platform)?;
    }
    for name in &externals {
        external::ensure(ctx, name, request.bases())?;
    }
    if let Some(planned) = plan.dirty().next() {
        // All images of a plan are for one platform.
        external::check_platform(ctx, &externals, request.bases(), &planned.inputs.platform)?;
    }
    if ctx.dry_run || externals.is_empty() { Ok(plan) } else { plan::plan(ctx, request) }
}

/// Refuses a platform that the engine neither has nor can emulate, before anything is built for it.
pub(super) fn check_emulation(ctx: &Ctx, platform: &str) -> Result<()> {
    let said = ctx.read(bake::inspect_builder(&ctx.sh, &ctx.docker_context()))?;
    let all = bake::parse_platforms(&said);
    if all.is_empty() || all.iter().any(|it| is_same_platform(it, platform)) {
        return Ok(());
    }
    let architecture = platform.split('/').nth(1).unwrap_or(platform);
    Err(exit::missing(format!(
        "[images] platform of environment.toml is {platform}, and this engine builds for {} only; \
         let it emulate {architecture} (install qemu-user-static, or run `docker run --privileged \
         --rm tonistiigi/binfmt --install {architecture}`), or build on a machine of that platform",
        all.join(", ")
    )))
}

/// Keeps what became of some images. What an earlier round built or pulled is fresh in the next.
fn note<'p>(
    outcomes: &mut BTreeMap<String, Outcome>,
    images: impl IntoIterator<Item = &'p Planned>,
    status: &'static str,
    seconds: f64,
) {
    for planned in images {
        let image = &planned.recipe.image;
        let earlier = outcomes.get(image).map(|outcome| (outcome.status, outcome.seconds));
        if let (Some(("built" | "pulled", _)), "fresh") = (earlier, status) {
            continue;
        }
        let before = earlier.map_or(0.0, |(_, seconds)| seconds);
        let outcome = Outcome {
            fingerprint: planned.fingerprint.clone(),
            status,
            reason: planned.reason(),
            seconds: before + seconds,
        };
        outcomes.insert(image.clone(), outcome);
    }
}

fn report(ctx: &Ctx, image: &str, outcome: &Outcome) -> Result<()> {
    let Outcome { fingerprint, reason, .. } = outcome;
    let status = match (outcome.status, ctx.dry_run) {
        ("built" | "pulled", true) => "dirty",
        (status, _) => status,
    };
    let seconds = if ctx.dry_run { 0.0 } else { (outcome.seconds * 100.0).round() / 100.0 };
    if ctx.json {
        return ctx.event(&serde_json::json!({
            "event": "image", "image": image, "fingerprint": fingerprint,
            "status": status, "reason": reason, "seconds": seconds,
        }));
    }
    let id = short(fingerprint);
    match reason.as_str() {
        "" => ctx.print(format_args!("{status:7} {image} {id}")),
        reason => ctx.print(format_args!("{status:7} {image} {id}: {reason}")),
    }
}
