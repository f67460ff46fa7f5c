//! `image build`: builds what is not fresh, in one call to the builder, each with its reason.
//!
//! The builder is not trusted with a context: it takes a file for unchanged when name, size and
//! time are the same as in an earlier context of the same name. So every build gets its contexts
//! under a name never used before, and the inputs are read again afterwards: the tag that claims a
//! fingerprint is set last, and only when nothing has moved meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::external;
use super::plan::{self, LABEL_FINGERPRINT, LABEL_IMAGE, Plan, Planned};
use crate::cli::ImageBuild;
use crate::commands::doctor;
use crate::commands::env::{self, Facts};
use crate::ctx::Ctx;
use crate::exit;
use crate::fingerprint::{Inputs, short};
use crate::project::lock::{self, Lock};
use crate::project::stack::Stack;
use crate::tools::{bake, docker};

/// How much of a step's heading is shown, in characters.
const STEP_WIDTH: usize = 100;
/// The secret by which a build step that talks TLS gets this machine's certificates.
const CERTIFICATES: &str = "certificates";

impl ImageBuild {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let facts = env::load(ctx, &self.environment)?;
        doctor::require_engine(ctx)?;
        let stack = env::load_stack(ctx, &facts)?;
        let lock = lock::load(&ctx.root)?;
        build(ctx, &facts, &stack, &lock, &self.images).map(drop)
    }
}

/// Brings the images of an environment up to date: the plan as it is afterwards.
///
/// A plan names the image of every service by its fingerprint, so what is started next is what
/// was built here.
pub(crate) fn build(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    lock: &Lock,
    only: &[String],
) -> Result<Plan> {
    let platform = doctor::require_engine(ctx)?;
    let look = || plan::plan(ctx, facts, stack, lock, &platform)?.select(only);
    let mut plan = look()?;
    if plan.dirty().next().is_some() {
        let externals: BTreeSet<&String> =
            plan.dirty().flat_map(|planned| &planned.recipe.externals).collect();
        for name in &externals {
            external::ensure(ctx, name, lock)?;
        }
        if !ctx.dry_run && !externals.is_empty() {
            // Now that the bases are here their content is known: fingerprints may differ.
            plan = look()?;
        }
    }
    let started = Instant::now();
    let is_dirty = plan.dirty().next().is_some();
    if is_dirty {
        run_builder(ctx, facts, &plan)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    for planned in &plan.images {
        let status = if planned.found.is_some() { "fresh" } else { "built" };
        report(ctx, planned, status, seconds)?;
    }
    if ctx.dry_run || !is_dirty {
        return Ok(plan);
    }
    let plan = look()?;
    if let Some(planned) = plan.dirty().next() {
        let image = &planned.recipe.image;
        bail!("{image} was edited right after the build ({}); run it again", planned.reason);
    }
    Ok(plan)
}

/// One call for all dirty images, then their tags.
fn run_builder(ctx: &Ctx, facts: &Facts, plan: &Plan) -> Result<()> {
    for planned in plan.dirty() {
        ctx.say(format_args!("building {}: {}", planned.recipe.image, planned.reason));
    }
    let workshop = ctx.state().join(&facts.name).join("build");
    if !ctx.dry_run {
        std::fs::create_dir_all(&workshop)
            .with_context(|| format!("can't create {}", ctx.relative(&workshop).display()))?;
    }
    let private = match ctx.dry_run {
        true => None,
        false => Some(tempfile::Builder::new().prefix("context-").tempdir_in(&workshop)?),
    };
    let private_path = private.as_ref().map_or(workshop.as_path(), |private| private.path());
    let mut definition = bake::Definition::default();
    for planned in plan.dirty() {
        let target = target(ctx, plan, planned, private_path)?;
        definition.target.insert(planned.recipe.image.clone(), target);
    }
    let definition_path = private_path.join("bake.json");
    let metadata_path = private_path.join("metadata.json");
    ctx.write_cache(&definition_path, &serde_json::to_vec_pretty(&definition)?)?;
    let targets: Vec<String> = definition.target.keys().cloned().collect();
    let cmd = bake::bake(&ctx.sh, &definition_path, &metadata_path, &targets);
    let bar = ctx.spinner(format!("building {}", targets.join(", ")));
    let mut seen = BTreeSet::new();
    let built = ctx.run_lines(cmd, &mut |line| {
        let step: String = bake::step(line).unwrap_or_default().chars().take(STEP_WIDTH).collect();
        if step.is_empty() || !seen.insert(step.clone()) {
            return;
        }
        bar.set_message(step.clone());
        if bar.is_hidden() {
            ctx.say(format_args!("  {step}"));
        }
    });
    bar.finish_and_clear();
    if let Err(error) = built {
        return Err(explain_failure(ctx, plan, error));
    }
    if ctx.dry_run {
        for planned in plan.dirty() {
            let id = format!("<id of {}>", planned.recipe.image);
            ctx.run(docker::tag(&ctx.sh, &id, &planned.reference))?;
        }
        return Ok(());
    }
    let metadata =
        std::fs::read_to_string(&metadata_path).context("the builder left no metadata")?;
    record(ctx, facts, plan, &bake::parse_metadata(&metadata)?)
}

/// Marks an error as the builder's own: the instructions of an image failed.
#[derive(Debug)]
pub(crate) struct BuilderFailed;

impl std::fmt::Display for BuilderFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("can't build the images")
    }
}

fn explain_failure(ctx: &Ctx, plan: &Plan, error: anyhow::Error) -> anyhow::Error {
    for planned in plan.dirty() {
        let _ = report(ctx, planned, "failed", 0.0);
    }
    if exit::code(&error) == exit::INTERRUPTED {
        return error;
    }
    match doctor::engine(ctx).problem() {
        None => error.context(BuilderFailed),
        Some(problem) => exit::missing(format!(
            "the Docker engine stopped during the build: {problem}; nothing was recorded, so run \
             the same command again"
        )),
    }
}

/// One image's part of the definition, with its context under a name never used before.
fn target(ctx: &Ctx, plan: &Plan, planned: &Planned, private: &Path) -> Result<bake::Target> {
    let recipe = &planned.recipe;
    // The builder looks at the last part of a path only, so that part is the unique one.
    let unique = private.file_name().unwrap_or_default().to_string_lossy();
    let context = private.join(format!("{}-{unique}", recipe.image));
    let instructions = private.join(format!("{}-dockerfile-{unique}", recipe.image));
    if !ctx.dry_run {
        std::os::unix::fs::symlink(ctx.root.join(&recipe.context), &context)?;
        std::fs::create_dir(&instructions)?;
        std::fs::copy(ctx.root.join(&recipe.dockerfile), instructions.join("Dockerfile"))?;
        let ignore = ctx.root.join(format!("{}.dockerignore", recipe.dockerfile));
        if ignore.exists() {
            std::fs::copy(ignore, instructions.join("Dockerfile.dockerignore"))?;
        }
    }
    Ok(definition(ctx, plan, planned, context, instructions.join("Dockerfile")))
}

fn definition(
    ctx: &Ctx,
    plan: &Plan,
    planned: &Planned,
    context: std::path::PathBuf,
    dockerfile: std::path::PathBuf,
) -> bake::Target {
    let recipe = &planned.recipe;
    let mut contexts = BTreeMap::new();
    for base in &recipe.bases {
        let fresh = plan.of(base).filter(|base| base.found.is_some());
        let source = match fresh {
            Some(base) => format!("docker-image://{}", base.reference),
            None => format!("target:{base}"),
        };
        contexts.insert(base.clone(), source);
    }
    for name in &recipe.externals {
        let reference = external::reference(name, &planned.inputs.epoch);
        contexts.insert(name.clone(), format!("docker-image://{reference}"));
    }
    bake::Target {
        context,
        dockerfile,
        target: recipe.target.clone(),
        args: recipe.args.clone(),
        labels: BTreeMap::from([
            (LABEL_IMAGE.to_owned(), recipe.image.clone()),
            (LABEL_FINGERPRINT.to_owned(), planned.fingerprint.clone()),
        ]),
        contexts,
        platforms: vec![planned.inputs.platform.clone()],
        // An image without any name can be cleaned away before it gets the one that counts.
        tags: vec![planned.building.clone()],
        output: vec!["type=docker".into()],
        secret: ctx
            .certificates()
            .map(|path| format!("id={CERTIFICATES},src={}", path.display()))
            .into_iter()
            .collect(),
    }
}

/// Looks at the inputs again; then the tags and the records.
fn record(ctx: &Ctx, facts: &Facts, plan: &Plan, ids: &BTreeMap<String, String>) -> Result<()> {
    for planned in plan.dirty() {
        let (dockerfile, entries) = plan::read_files(ctx, &planned.recipe)?;
        let now = Inputs { dockerfile, entries, ..planned.inputs.clone() };
        if now != planned.inputs {
            bail!(
                "{} was edited during the build ({}); nothing was recorded, so run it again",
                planned.recipe.image,
                plan::difference(&planned.recipe, &planned.inputs, &now)
            );
        }
    }
    for planned in plan.dirty() {
        let image = &planned.recipe.image;
        let id =
            ids.get(image).with_context(|| format!("the builder named no image for {image}"))?;
        ctx.run(docker::tag(&ctx.sh, id, &planned.reference))?;
        let path = plan::record_path(ctx, &facts.name, image);
        ctx.write_cache(&path, &serde_json::to_vec(&planned.inputs)?)?;
    }
    Ok(())
}

fn report(ctx: &Ctx, planned: &Planned, status: &str, seconds: f64) -> Result<()> {
    let seconds = if status == "built" && !ctx.dry_run { seconds } else { 0.0 };
    let image = &planned.recipe.image;
    let status = if ctx.dry_run && status == "built" { "dirty" } else { status };
    if ctx.json {
        return ctx.event(&serde_json::json!({
            "event": "image", "image": image, "fingerprint": planned.fingerprint,
            "status": status, "reason": planned.reason, "seconds": (seconds * 100.0).round() / 100.0,
        }));
    }
    let id = short(&planned.fingerprint);
    match planned.reason.as_str() {
        "" => ctx.print(format_args!("{status:7} {image} {id}")),
        reason => ctx.print(format_args!("{status:7} {image} {id}: {reason}")),
    }
}
