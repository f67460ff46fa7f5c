//! The smoke gate: an environment's stack from its images by their IDs, with made-up secrets and
//! data of its own, beside whatever else runs; passed when every service is healthy.

use std::collections::BTreeMap;

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
use crate::tools::compose;

/// Changes whenever what this gate does means something else.
const DEFINITION: &str = "smoke 1";

/// What becomes `!reset []`: published ports would collide with those of the real stack.
const NO_PORTS: &str = "no ports";

/// Runs the gate for images that were just built.
pub(super) fn run(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    request: Request,
    plan: &Plan,
) -> Result<Status> {
    let Request { facts, stack, .. } = request;
    let ids: BTreeMap<String, String> = stack
        .services
        .iter()
        .filter_map(|(name, service)| {
            let image = image::of_service(&facts.project, &stack, service)?;
            let id = plan.of(&image)?.found.as_ref()?.id.clone();
            Some((name.clone(), id))
        })
        .collect();
    let mut key = format!("{DEFINITION} {} {ids:?}\n{}", facts.name, facts.schema.text);
    for file in facts.compose_files() {
        key += &std::fs::read_to_string(ctx.root.join(file)).unwrap_or_default();
    }
    for (name, value) in &facts.environment.variables {
        key += &format!("{name}={value}\n");
    }
    let name = format!("smoke {}", facts.name);
    gates.run_once(&name, &key, || {
        let _lock = ctx.lock("smoke")?;
        let settings = env::trial_settings(&facts)?;
        let mut target = start::target(ctx, &facts, &stack, settings)?;
        let checkout = sha256(ctx.root.as_os_str().as_encoded_bytes());
        target.project = format!("{}-smoke-{}-{}", stack.name, facts.name, short(&checkout));
        let overlay = ctx.state().join(&facts.name).join("smoke.yml");
        let text = overlay_text(&ids, &stack.volumes, &target.project)?;
        ctx.write_cache(&overlay, text.as_bytes())?;
        target.files.push(overlay);
        try_out(ctx, &Stage { facts, stack, target })
    })
}

/// Which image each service runs, and nothing that it would share with the real stack.
fn overlay_text(
    ids: &BTreeMap<String, String>,
    volumes: &std::collections::BTreeSet<String>,
    project: &str,
) -> Result<String> {
    let service = |id: &String| {
        json!({
            "image": id, "pull_policy": "never", "restart": "no", "ports": NO_PORTS,
        })
    };
    let services: BTreeMap<&String, _> = ids.iter().map(|(name, id)| (name, service(id))).collect();
    let volumes: BTreeMap<&String, _> =
        volumes.iter().map(|name| (name, json!({"name": format!("{project}_{name}")}))).collect();
    let text = serde_json::to_string_pretty(&json!({"services": services, "volumes": volumes}))?;
    Ok(text.replace(&format!("\"{NO_PORTS}\""), "!reset []"))
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
    ctx.run(compose::down_with_volumes(&ctx.sh, &stage.target))?;
    if interrupted { Err(exit::interrupted()) } else { result }
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
