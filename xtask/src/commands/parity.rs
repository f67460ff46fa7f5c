//! `parity`: what two environments have differently, and whether that is meant.
//!
//! Images are compared by the packages that they really hold, environments by the names of their
//! settings. Versions of the app do not count: both are built from the same sources.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fingerprint::{sha256, short};

use super::env::Facts;
use super::gate::{Gates, Status};
use super::image::build;
use super::image::plan::Request;
use crate::cli::{self, Cache};
use crate::ctx::{Answer, Ctx, QUESTION};
use crate::exit;
use crate::project::image;
use crate::project::parity::{Allowance, Packages, Side, differences};
use crate::tools::docker;

/// How many differences of one reason are shown one by one.
const SHOWN: usize = 3;
/// What a shell and the engine answer for a program that is not there.
const NO_PROGRAM: [Option<i32>; 2] = [Some(126), Some(127)];

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

/// The comparison as a gate.
pub(crate) fn gate(ctx: &Ctx, gates: &mut Gates<'_>, one: &str, other: &str) -> Result<Status> {
    gates.run(&format!("parity {one} {other}"), || compare(ctx, one, other))
}

fn compare(ctx: &Ctx, one: &str, other: &str) -> Result<Status> {
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

fn read(ctx: &Ctx, environment: &str) -> Result<Read> {
    let mut request = Request::load(ctx, environment)?;
    let plan = build::build(ctx, &mut request, Cache::Off)?;
    let mut packages = Packages::new();
    for planned in &plan.images {
        let id = planned.id();
        let held = packages_of(ctx, &id)?;
        if held.is_empty() && !ctx.dry_run {
            ctx.warn(format_args!(
                "{} has no list of packages (no dpkg), so it is not compared",
                planned.recipe.image
            ));
        }
        packages.insert(planned.recipe.image.clone(), held);
    }
    let Request { facts, stack, .. } = request;
    let public = facts.environment.variables.keys();
    let mut keys: BTreeSet<String> = public.chain(facts.schema.variables.keys()).cloned().collect();
    for (name, service) in &stack.services {
        keys.extend(service.environment.iter().map(|key| format!("{name}: {key}")));
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

/// Package -> version of an image; none for an image without dpkg.
pub(crate) fn packages_of(ctx: &Ctx, image: &str) -> Result<BTreeMap<String, String>> {
    let answer = ask_image(ctx, image, &docker::LIST_PACKAGES.map(str::to_owned))?;
    let Some(answer) = answer.filter(|answer| !NO_PROGRAM.contains(&answer.status.code())) else {
        return Ok(BTreeMap::new());
    };
    docker::parse_packages(&answer.success("dpkg-query")?)
}

/// Runs a command of an image to its end, in a container that is gone afterwards whatever happens;
/// nothing in a dry run.
pub(crate) fn ask_image(ctx: &Ctx, image: &str, command: &[String]) -> Result<Option<Answer>> {
    let unique = sha256(format!("{} {image} {command:?}", std::process::id()).as_bytes());
    let name = format!("stevedore-question-{}", short(&unique));
    let cmd = docker::run_alone(&ctx.sh, &name, image, command);
    if ctx.dry_run {
        ctx.skip(&cmd.to_string());
        return Ok(None);
    }
    let answer = ctx.ask(cmd, QUESTION * 2);
    if answer.is_err() {
        // Our client has ended; the container may not have.
        let interrupted = ctx.interrupted();
        ctx.clear_interrupt();
        let _ = ctx.ask(docker::remove_container(&ctx.sh, &name), QUESTION);
        if interrupted {
            return Err(exit::interrupted());
        }
    }
    answer.map(Some)
}
