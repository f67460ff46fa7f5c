//! The smoke gate: an environment's stack from its images by their IDs, with made-up secrets and
//! data of its own, beside whatever else runs; passed when every service is healthy.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fingerprint::{sha256, short};
use serde_json::json;

use crate::commands::env;
use crate::commands::gate::{Gates, Status};
use crate::commands::image::plan::{Plan, Request};
use crate::commands::start::{self, Stage};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::image;
use crate::project::stack::Stack;
use crate::tools::compose;

/// Changes whenever what this gate does means something else.
const DEFINITION: &str = "smoke 1";

/// What becomes `!reset null`: a service shares neither ports nor a name with the real stack's.
const RESET: &str = "reset";

/// Runs the gate for images that were just built.
pub(super) fn run(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    request: Request,
    plan: &Plan,
) -> Result<Status> {
    let Request { facts, stack, .. } = request;
    let image = |service| image::of_service(&facts.project, &stack, service);
    let ids: BTreeMap<String, String> = stack
        .services
        .iter()
        .filter_map(|(name, service)| Some((name.clone(), plan.of(&image(service)?)?.id())))
        .collect();
    // What lies in files of this machine, or under a name that moves, may change without a word.
    let is_known = ids.len() == stack.services.len() && !stack.host_files;
    let mut key = format!("{DEFINITION} {} {} {ids:?}\n", facts.name, stack.hash);
    key += &facts.schema.text;
    for (name, value) in &facts.environment.variables {
        key += &format!("{name}={value}\n");
    }
    let name = format!("smoke {}", facts.name);
    let gate = || {
        if !stack.shared.is_empty() {
            let title = "a trial start would touch what it does not own";
            return Err(exit::problems(title, &stack.shared));
        }
        let _lock = ctx.lock("smoke")?;
        let settings = env::trial_settings(&facts);
        let mut target = start::target(ctx, &facts, &stack, settings)?;
        let checkout = sha256(ctx.root.as_os_str().as_encoded_bytes());
        target.project = format!("{}-smoke-{}-{}", stack.name, facts.name, short(&checkout));
        let overlay = ctx.state().join(&facts.name).join("smoke.yml");
        let text = overlay_text(&stack, &ids, &target.project)?;
        ctx.write_cache(&overlay, text.as_bytes())?;
        target.files.push(overlay);
        try_out(ctx, &Stage { facts, stack, target })
    };
    match is_known {
        true => gates.run_once(&name, &key, gate),
        false => gates.run(&name, || gate().map(|()| Status::Passed)),
    }
}

/// Which image each service runs, and nothing that it would share with the real stack.
fn overlay_text(stack: &Stack, ids: &BTreeMap<String, String>, project: &str) -> Result<String> {
    let mut services = BTreeMap::new();
    for name in stack.services.keys() {
        let mut service = json!({"restart": "no", "ports": RESET, "container_name": RESET});
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

/// Starts the stack, waits for its health, and removes all of it whatever came of that.
fn try_out(ctx: &Ctx, stage: &Stage) -> Result<()> {
    // What a run left behind that was killed.
    ctx.run(compose::down_with_volumes(&ctx.sh, &stage.target))?;
    let started = ctx.run(compose::up_detached(&ctx.sh, &stage.target, &[]));
    let result = if ctx.dry_run { Ok(()) } else { verdict(ctx, stage, started) };
    let interrupted = ctx.interrupted();
    if interrupted {
        ctx.clear_interrupt();
    }
    let ended = ctx.run(compose::down_with_volumes(&ctx.sh, &stage.target));
    if interrupted {
        return Err(exit::interrupted());
    }
    // What the gate found comes before what its end has to say.
    result.and(ended)
}

fn verdict(ctx: &Ctx, stage: &Stage, started: Result<()>) -> Result<()> {
    let problems = match &started {
        Ok(()) => start::until_healthy(ctx, stage)?,
        Err(_) => match start::look(ctx, stage)? {
            start::Progress::Failed(problems) => problems,
            _ => return started,
        },
    };
    if problems.is_empty() {
        return Ok(());
    }
    let log = start::log_of(ctx, stage, &problems);
    Err(exit::gate(format!(
        "{log}\n{} did not become healthy: {}",
        stage.facts.name,
        problems.join("; ")
    )))
}
