//! `parity`: what two environments have differently, and whether that is meant.
//!
//! Images are compared by the packages that they really hold, environments by the names of their
//! settings. Versions of the app do not count: both are built from the same sources.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::env::Facts;
use super::gate::{Gates, Status};
use super::image::build;
use super::image::plan::{Plan, Request};
use crate::cli::{self, Cache};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::parity::{Packages, Side, differences};
use crate::tools::docker;

/// How many differences of one reason are shown one by one.
const SHOWN: usize = 3;
/// What a shell and the engine answer for a program that is not there.
const NO_PROGRAM: [Option<i32>; 2] = [Some(126), Some(127)];

impl cli::Parity {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        compare(ctx, &self.one, &self.other).map(drop)
    }
}

/// The comparison as a gate.
pub(crate) fn gate(ctx: &Ctx, gates: &mut Gates<'_>, one: &str, other: &str) -> Result<Status> {
    gates.run(&format!("parity {one} {other}"), || compare(ctx, one, other))
}

fn compare(ctx: &Ctx, one: &str, other: &str) -> Result<Status> {
    let (one, other) = (read(ctx, one)?, read(ctx, other)?);
    if ctx.dry_run {
        return Ok(Status::Passed);
    }
    let found = differences(&one.side(), &other.side());
    let (mut allowed, mut refused) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
    for difference in found {
        if ctx.json {
            ctx.event(&serde_json::json!({
                "event": "difference", "words": difference.words,
                "allowed": difference.reason.is_some(), "reason": difference.reason,
            }))?;
        }
        match difference.reason {
            Some(reason) => allowed.entry(reason).or_default().push(difference.words),
            None => refused.push(difference.words),
        }
    }
    for (reason, differences) in &allowed {
        let shown = differences[..differences.len().min(SHOWN)].join("; ");
        let more = differences.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        ctx.say(format_args!("allowed ({reason}): {shown}{more}"));
    }
    let unused =
        one.facts.environment.parity.allow.iter().chain(&other.facts.environment.parity.allow);
    for allowance in unused.filter(|it| !allowed.contains_key(&it.reason)) {
        ctx.warn(format_args!("[[parity.allow]] is not needed any more: {}", allowance.reason));
    }
    let names = format!("{} and {}", one.facts.name, other.facts.name);
    if refused.is_empty() {
        ctx.say(format_args!("{names} have the same packages and keys, but for what is allowed"));
        return Ok(Status::Passed);
    }
    let hint = "make them the same, or allow each with a reason: [[parity.allow]] in \
                environment.toml";
    refused.push(hint.to_owned());
    let problems = exit::problems(&format!("{names} differ"), &refused);
    Err(exit::gate(format!("{problems:#}")))
}

/// One environment, with what its images hold.
struct Read {
    facts: Facts,
    packages: Packages,
    keys: BTreeSet<String>,
}

impl Read {
    fn side(&self) -> Side<'_> {
        Side {
            name: &self.facts.name,
            packages: &self.packages,
            keys: &self.keys,
            parity: &self.facts.environment.parity,
        }
    }
}

fn read(ctx: &Ctx, environment: &str) -> Result<Read> {
    let mut request = Request::load(ctx, environment)?;
    let plan = build::build(ctx, &mut request, Cache::Off)?;
    let packages = packages(ctx, &plan)?;
    let facts = request.facts;
    let public = facts.environment.variables.keys();
    let keys = public.chain(facts.schema.variables.keys()).cloned().collect();
    Ok(Read { facts, packages, keys })
}

fn packages(ctx: &Ctx, plan: &Plan) -> Result<Packages> {
    let mut all = Packages::new();
    for planned in &plan.images {
        let Some(found) = &planned.found else { continue };
        all.insert(planned.recipe.image.clone(), packages_of(ctx, &found.id)?);
    }
    Ok(all)
}

/// Package -> version of an image; none for an image without dpkg.
pub(crate) fn packages_of(ctx: &Ctx, image: &str) -> Result<BTreeMap<String, String>> {
    let cmd = docker::packages(&ctx.sh, image);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, QUESTION * 2)?;
    if NO_PROGRAM.contains(&answer.status.code()) {
        return Ok(BTreeMap::new());
    }
    let listed = answer.success(&shown)?;
    let pair = |line: &str| {
        let (name, version) = line.split_once(' ').context("dpkg printed no version")?;
        Ok((name.to_owned(), version.to_owned()))
    };
    listed.lines().map(pair).collect()
}
