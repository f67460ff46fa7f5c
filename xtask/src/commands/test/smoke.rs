//! The smoke gate: an environment's stack from its images by their IDs; passed when every service
//! is healthy.

use std::collections::BTreeMap;

use anyhow::Result;

use super::trial_start::{self, TrialStart, of_services};
use crate::commands::env;
use crate::commands::gate::{Gates, Status};
use crate::commands::image::identity;
use crate::commands::image::plan::{Plan, Request};
use crate::ctx::Ctx;

/// Changes whenever what this gate does means something else.
const DEFINITION: &str = "smoke 1";

/// Runs the gate for images that were just built.
pub(super) fn run(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    request: Request,
    plan: &Plan,
) -> Result<Status> {
    let ids = plan.ids();
    let (name, key) = name_and_key(&request, &identity::configs_of(ctx, &ids)?);
    let ids = of_services(&request, &ids);
    let Request { facts, stack, .. } = request;
    let failure = format!("{} did not become healthy", facts.name);
    let settings = env::trial_settings(&facts);
    gates.run_once(&name, key.as_deref(), || {
        let files = facts.compose_files();
        let only = Vec::new();
        let start = TrialStart { ctx, facts, stack, ids, settings, files, only, failure };
        trial_start::try_out(ctx, "smoke", vec![start])
    })
}

/// The gate's name, and on what a pass of it counts; `configs` are those of the images.
pub(super) fn name_and_key(
    request: &Request,
    configs: &BTreeMap<String, String>,
) -> (String, Option<String>) {
    let Request { facts, stack, .. } = request;
    let key = trial_start::key(facts, stack, &of_services(request, configs));
    (format!("smoke {}", facts.name), key.map(|key| format!("{DEFINITION} {key}")))
}
