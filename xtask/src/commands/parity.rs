//! `parity`: what two environments have differently, and whether that is meant.
//!
//! Images are compared by the packages that they really hold, environments by the names of their
//! settings. Versions of the app do not count: both are built from the same sources.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::dev;
use super::env::Facts;
use super::gate::{Gates, Status};
use super::image::build;
use super::image::packages::packages_of;
use super::image::plan::Request;
use crate::cli::{self, Cache};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::parity::{Allowance, Packages, Side, differences};
use crate::project::{Project, image};
use crate::release::record::{Gate, Packages as Held};

/// How many differences of one reason are shown one by one.
const SHOWN: usize = 3;

impl cli::Parity {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let result = compare(ctx, &self.one, &self.other);
        if ctx.json && !ctx.dry_run {
            let status = if result.is_ok() { "passed" } else { "failed" };
            ctx.event(&serde_json::json!({"event": "parity", "status": status}))?;
        }
        result.map(drop)
    }
}

/// The comparison of an environment with dev as a gate, where the project has both.
pub(crate) fn gate(ctx: &Ctx, gates: &mut Gates<'_>, project: &Project, other: &str) -> Result<()> {
    if let Some(Gate { name, .. }) = expected(project, other) {
        gates.run(&name, || compare(ctx, dev::ENVIRONMENT, other))?;
    }
    Ok(())
}

/// That gate, where there is one.
pub(crate) fn expected(project: &Project, other: &str) -> Option<Gate> {
    let both = [dev::ENVIRONMENT, other].iter().all(|name| project.environments.contains(*name));
    let name = format!("parity {} {other}", dev::ENVIRONMENT);
    both.then_some(Gate { name, fingerprint: None })
}

fn compare(ctx: &Ctx, one: &str, other: &str) -> Result<Status> {
    let (one, other) = (Request::load(ctx, one)?, Request::load(ctx, other)?);
    let (one, other) = (read(ctx, one)?, read(ctx, other)?);
    if ctx.dry_run {
        return Ok(Status::Passed);
    }
    let (one_side, other_side) = (one.side(), other.side());
    let (mut allowed, mut refused) = (Vec::<(&Allowance, Vec<String>)>::new(), Vec::new());
    for difference in differences(&one_side, &other_side) {
        if ctx.json {
            ctx.event(&serde_json::json!({
                "event": "difference", "words": difference.words,
                "allowed": difference.allowed.is_some(),
                "reason": difference.allowed.map(|allowed| &allowed.reason),
            }))?;
        }
        match difference.allowed {
            None => refused.push(difference.words),
            Some(by) => match allowed.iter_mut().find(|(it, _)| std::ptr::eq(*it, by)) {
                Some((_, words)) => words.push(difference.words),
                None => allowed.push((by, vec![difference.words])),
            },
        }
    }
    for (by, differences) in &allowed {
        let shown = differences[..differences.len().min(SHOWN)].join("; ");
        let more = differences.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        ctx.say(format_args!("allowed ({}): {shown}{more}", by.reason));
    }
    for allowance in one_side.parity.allow.iter().chain(&other_side.parity.allow) {
        if !allowed.iter().any(|(by, _)| std::ptr::eq(*by, allowance)) {
            ctx.warn(format_args!("[[parity.allow]] is not needed: {}", allowance.reason));
        }
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

fn read(ctx: &Ctx, mut request: Request) -> Result<Read> {
    let plan = build::build(ctx, &mut request, Cache::Off)?;
    let mut packages = Packages::new();
    for planned in &plan.images {
        let id = planned.id();
        let held = packages_of(ctx, &id)?;
        if let Held::None { reason } = &held
            && !ctx.dry_run
        {
            ctx.warn(format_args!("{} is not compared: {reason}", planned.recipe.image));
        }
        packages.insert(planned.recipe.image.clone(), held.installed().clone());
    }
    let Request { facts, stack, .. } = request;
    let public = facts.environment.variables.keys();
    let mut keys: BTreeSet<String> = public.chain(facts.schema.variables.keys()).cloned().collect();
    for (name, service) in &stack.services {
        keys.extend(service.given().into_iter().map(|key| format!("{name}: {key}")));
        let external = service
            .image
            .as_ref()
            .filter(|_| image::of_service(&facts.project, &stack, service).is_none());
        if let Some(image) = external {
            let itself = BTreeMap::from([("image".to_owned(), image.clone())]);
            packages.insert(name.clone(), itself);
        }
    }
    Ok(Read { facts, packages, keys })
}
