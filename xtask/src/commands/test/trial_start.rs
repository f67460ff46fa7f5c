//! A trial start, for gates: stacks from images by their IDs, with made-up secrets and data of
//! their own, beside whatever else runs. Nothing is left of it, whatever came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use fingerprint::{sha256, short};
use serde_json::json;

use crate::commands::doctor;
use crate::commands::env::Facts;
use crate::commands::image::plan::Request;
use crate::commands::start::{self, Stage, verdict};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::Stack;
use crate::project::{image, outside};
use crate::tools::compose;

/// What becomes `!reset null`: a service shares neither ports nor a name with the real stack's.
const RESET: &str = "reset";

/// A stack that is to become healthy.
pub(crate) struct TrialStart<'c> {
    /// The tree in which compose runs.
    pub(crate) ctx: &'c Ctx,
    pub(crate) facts: Facts,
    pub(crate) stack: Stack,
    /// Service -> the ID of the image that it runs.
    pub(crate) ids: BTreeMap<String, String>,
    pub(crate) settings: BTreeMap<String, String>,
    /// What compose reads.
    pub(crate) files: Vec<PathBuf>,
    /// Only these services, and what they depend on; all when it is empty.
    pub(crate) only: Vec<String>,
    /// What to say before the services that did not become healthy.
    pub(crate) failure: String,
}

/// Service -> what its image is called, from image -> what it is called.
pub(crate) fn of_services(
    request: &Request,
    images: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let Request { facts, stack, .. } = request;
    let image = |service| image::of_service(&facts.project, stack, service);
    let services = stack.services.iter();
    services
        .filter_map(|(name, it)| Some((name.clone(), images.get(&image(it)?)?.clone())))
        .collect()
}

/// On what a healthy start counts, by the configuration of each service's image; nothing where
/// that cannot be told, since what lies in files of this machine, or under a name that moves, may
/// change without a word.
pub(crate) fn key(
    facts: &Facts,
    stack: &Stack,
    configs: &BTreeMap<String, String>,
) -> Option<String> {
    let is_known = configs.len() == stack.services.len() && !stack.host_files;
    let mut key = format!("{} {} {configs:?}\n{}", facts.name, stack.hash, facts.schema.text);
    for (name, value) in &facts.environment.variables {
        key += &format!("{name}={value}\n");
    }
    is_known.then_some(key)
}

/// Starts one stack after the other in one compose project, each on the data of the one before.
/// `name` is the gate's.
pub(crate) fn try_out(ctx: &Ctx, name: &str, starts: Vec<TrialStart<'_>>) -> Result<()> {
    refuse_what_is_shared(&starts)?;
    let _lock = ctx.lock(name)?;
    let Some(first) = starts.first() else { return Ok(()) };
    let checkout = sha256(ctx.root.as_os_str().as_encoded_bytes());
    let project = format!("{}-{name}-{}-{}", first.stack.name, first.facts.name, short(&checkout));
    let mut steps = Vec::new();
    for (number, start) in (1..).zip(starts) {
        let file = if number == 1 { format!("{name}.yml") } else { format!("{name}-{number}.yml") };
        let overlay = ctx.state().join(&start.facts.name).join(file);
        steps.push(step(start, &project, overlay)?);
    }
    let last = &steps[steps.len() - 1];
    let down = || last.ctx.run(compose::down_with_volumes(&last.ctx.sh, &last.stage.target));
    // What a run left behind that was killed.
    down()?;
    let result = steps.iter().try_for_each(until_healthy);
    let interrupted = ctx.interrupted();
    if interrupted {
        ctx.clear_interrupt();
    }
    let ended = down();
    if interrupted {
        return Err(exit::interrupted());
    }
    // What the gate found comes before what its end has to say.
    result.and(ended)
}

/// Refuses stacks that would touch what they do not own.
fn refuse_what_is_shared(starts: &[TrialStart<'_>]) -> Result<()> {
    let (mut problems, mut files_here) = (BTreeSet::new(), BTreeSet::new());
    for TrialStart { ctx, facts, stack, settings, files, .. } in starts {
        if ctx.dry_run && files.iter().any(|file| !ctx.root.join(file).exists()) {
            // A real run writes it before.
            continue;
        }
        let name = stack.name.clone();
        let mut target = start::target(ctx, facts, stack, name, settings.clone());
        target.files.clone_from(files);
        let parse = |text: String| serde_json::from_str(&text).context("compose printed no JSON");
        let filled = parse(ctx.read(compose::filled_config(&ctx.sh, &target))?)?;
        let shown = parse(ctx.read(compose::config(&ctx.sh, files))?)?;
        problems.extend(outside::shared(&filled, &shown));
        files_here.extend(outside::files(&filled, &shown));
        problems.extend(mixed_env_files(stack));
    }
    let elsewhere = starts.first().and_then(|start| doctor::another_machine(start.ctx));
    if let Some(address) = elsewhere.filter(|_| !files_here.is_empty()) {
        let title =
            format!("the Docker engine at {address} is on another machine, without these files");
        return Err(exit::problems(&title, &Vec::from_iter(files_here)));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems.into_iter().collect();
    Err(exit::problems("a trial start would touch what it does not own", &problems))
}

/// An environment's `.env`: a trial start has made-up values instead.
fn is_secret(path: &str) -> bool {
    path.starts_with("environments/") && path.ends_with("/.env")
}

/// Services whose real secrets can't be left out of a trial start, as problems: compose only takes
/// all files under `env_file` away, or none.
fn mixed_env_files(stack: &Stack) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, service) in &stack.services {
        let secret = service.env_files.keys().find(|path| is_secret(path));
        if let Some(secret) = secret.filter(|_| service.env_files.len() > 1) {
            problems.push(format!(
                "service {name} gets the secrets of {secret}; list the variables under \
                 `environment:`, as `NAME: ${{NAME}}`"
            ));
        }
    }
    problems
}

/// A trial start with everything that compose needs.
struct Step<'c> {
    ctx: &'c Ctx,
    stage: Stage,
    only: Vec<String>,
    failure: String,
}

fn step<'c>(start: TrialStart<'c>, project: &str, overlay: PathBuf) -> Result<Step<'c>> {
    let TrialStart { ctx, facts, mut stack, ids, settings, files, only, failure } = start;
    let text = overlay_text(&facts, &stack, &ids, project, &settings)?;
    ctx.write_cache(&overlay, text.as_bytes())?;
    let mut target = start::target(ctx, &facts, &stack, project.to_owned(), settings);
    target.files = [files, vec![overlay]].concat();
    // Only these are waited for.
    stack.services.retain(|name, _| only.is_empty() || only.contains(name));
    Ok(Step { ctx, stage: Stage { facts, stack, target, assets_follow: false }, only, failure })
}

/// Which image each service runs, and nothing that it would share with the real stack.
fn overlay_text(
    facts: &Facts,
    stack: &Stack,
    ids: &BTreeMap<String, String>,
    project: &str,
    settings: &BTreeMap<String, String>,
) -> Result<String> {
    let mut services = BTreeMap::new();
    for (name, found) in &stack.services {
        let mut service = json!({"ports": RESET, "container_name": RESET});
        if ["always", "unless-stopped"].contains(&found.restart.as_str()) {
            // What a killed run has left is not started again with the engine.
            service["restart"] = "on-failure".into();
        }
        if found.env_files.keys().any(|path| is_secret(path)) {
            // Names that the service gets by `environment` too are filled in there.
            let own = facts.schema.variables.keys().filter(|it| !found.environment.contains(*it));
            let made_up: BTreeMap<&String, &String> =
                own.filter_map(|name| settings.get_key_value(name)).collect();
            service["env_file"] = RESET.into();
            service["environment"] = json!(made_up);
        }
        if let Some(id) = ids.get(name) {
            service["image"] = id.clone().into();
            service["pull_policy"] = "never".into();
        }
        services.insert(name, service);
    }
    let own = |name: &String| json!({"name": format!("{project}_{name}")});
    let all = |names: &BTreeSet<String>| -> BTreeMap<String, _> {
        names.iter().map(|name| (name.clone(), own(name))).collect()
    };
    let (volumes, networks) = (all(&stack.volumes), all(&stack.networks));
    let text = serde_json::to_string_pretty(
        &json!({"services": services, "volumes": volumes, "networks": networks}),
    )?;
    Ok(text.replace(&format!("\"{RESET}\""), "!reset null"))
}

fn until_healthy(step: &Step<'_>) -> Result<()> {
    let Step { ctx, stage, only, failure } = step;
    let failed = start::try_up(ctx, stage, only)?;
    if failed.is_empty() {
        return Ok(());
    }
    let log = start::log_of(ctx, stage, &failed);
    Err(exit::gate(format!("{failure}: {}{log}", verdict::joined(&failed, "; "))))
}
