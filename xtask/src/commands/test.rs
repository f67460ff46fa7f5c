//! `test`: the gates that need an engine: the app's own tests in the `test` stage of each image,
//! the settings that it reads, and a trial start of the images that ship.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::gate::{Gates, Status};
use super::image::build;
use super::image::builder::BuilderFailed;
use super::image::plan::{self, Plan, Request};
use super::{assets, dev, doctor, env, parity};
use crate::cli::{self, Cache, Engine};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::{Project, dockerfile, image, known};

mod smoke;

/// The stage whose build runs the tests of an image.
const STAGE: &str = "test";
const GATES: [&str; 3] = ["tests", "settings", "smoke"];
/// Changes whenever what the gate on the settings does means something else.
const SETTINGS: &str = "settings 1";

impl cli::Test {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let all = GATES.map(str::to_owned).into();
        self.only.iter().try_for_each(|name| known("gate", name, &all))?;
        match dev::choose_engine(ctx, self.engine)? {
            Engine::Host => dev::test_host(ctx),
            Engine::Docker => {
                let mut gates = Gates::new(ctx);
                run(ctx, &mut gates, &self.environment, &self.only)?;
                gates.finish()
            }
        }
    }
}

/// Runs them; all when `only` is empty.
pub(crate) fn run(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    environment: &str,
    only: &[String],
) -> Result<()> {
    doctor::require_engine(ctx)?;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
    if wanted("tests") {
        tests(ctx, gates)?;
    }
    if !wanted("settings") && !wanted("smoke") {
        return Ok(());
    }
    let project = Project::load(&ctx.root)?;
    if only.is_empty() && !project.environments.contains(environment) {
        ctx.say(format_args!("there is no environment {environment} whose images could be tried"));
        return Ok(());
    }
    let mut request = Request::load(ctx, environment)?;
    let mut built = None;
    let status = gates.run(&format!("images of {environment}"), || {
        let plan = build::build(ctx, &mut request, Cache::Off).map_err(as_gate)?;
        built = Some(plan);
        Ok(Status::Passed)
    })?;
    let Some(plan) = built.filter(|_| status == Status::Passed) else { return Ok(()) };
    if wanted("settings") {
        settings(ctx, gates, &project, &request, &plan)?;
    }
    if wanted("smoke") {
        smoke::run(ctx, gates, request, &plan)?;
    }
    Ok(())
}

/// The `test` stage of every image of dev that has one; `None` where none has.
pub(crate) fn request(ctx: &Ctx) -> Result<Option<Request>> {
    let mut request = Request::load(ctx, dev::ENVIRONMENT)?;
    let mut names = BTreeSet::new();
    for service in request.stack.services.values_mut() {
        let Some(build) = &mut service.build else {
            continue;
        };
        let text = std::fs::read_to_string(ctx.root.join(&build.dockerfile))
            .with_context(|| format!("can't read {}", build.dockerfile))?;
        let has_stage = dockerfile::has_stage(&text, STAGE)
            .map_err(|message| anyhow::anyhow!("{}:{message}", build.dockerfile))?;
        if has_stage {
            build.target = Some(STAGE.into());
            names.extend(image::folder_of(&build.dockerfile));
        }
    }
    // Its records are its own: the dev images are not what was tested here.
    request.facts.name = "test".into();
    request.needs_assets = false;
    request.only = names.into_iter().collect();
    Ok((!request.only.is_empty()).then_some(request))
}

/// Builds the `test` stages: that runs the tests. An image that is there has passed.
fn tests(ctx: &Ctx, gates: &mut Gates<'_>) -> Result<()> {
    let Some(mut request) = request(ctx)? else {
        ctx.say(format_args!("no Dockerfile has a stage `{STAGE}`: nothing to run"));
        return Ok(());
    };
    gates.run(&format!("tests of {}", request.only.join(", ")), || {
        // Part of what is hashed: only after them can an image be told to be there already.
        assets::update_if_possible(ctx)?;
        let before = plan::plan(ctx, &request)?;
        let fresh = before.dirty().next().is_none();
        build::build(ctx, &mut request, Cache::Off).map_err(as_gate)?;
        Ok(if fresh { Status::Reused } else { Status::Passed })
    })?;
    Ok(())
}

/// A failed instruction of an image is a gate that did not pass: tests run in one.
fn as_gate(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<BuilderFailed>() {
        Some(_) => exit::gate(format!("{error:#}")),
        None => error,
    }
}

/// Compares what each image says that it reads with what compose gives it, in every environment.
fn settings(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    project: &Project,
    request: &Request,
    plan: &Plan,
) -> Result<()> {
    let mut stacks = BTreeMap::new();
    for name in &project.environments {
        stacks.insert(name, env::load_stack(ctx, &env::load(ctx, name)?)?);
    }
    let services = request.stack.services.iter();
    for (name, service) in services.filter(|(_, service)| !service.facts.variables.is_empty()) {
        let image = image::of_service(project, &request.stack, service);
        let Some(planned) = image.and_then(|image| plan.of(&image)) else { continue };
        let given: BTreeMap<&String, &BTreeSet<String>> = stacks
            .iter()
            .filter_map(|(environment, stack)| {
                Some((*environment, &stack.services.get(name)?.environment))
            })
            .collect();
        let command = &service.facts.variables;
        let key = format!("{SETTINGS} {} {command:?} {given:?}", planned.id());
        gates.run_once(&format!("settings of {name}"), &key, || {
            let Some(answer) = parity::ask_image(ctx, &planned.id(), command)? else {
                return Ok(());
            };
            let listed = answer.success(&command.join(" "))?;
            let problems = compare_settings(name, &listed, &given);
            match problems.is_empty() {
                true => Ok(()),
                false => Err(exit::problems("the settings do not fit", &problems)),
            }
        })?;
    }
    Ok(())
}

fn compare_settings(
    service: &str,
    listed: &str,
    given: &BTreeMap<&String, &BTreeSet<String>>,
) -> Vec<String> {
    let reads: BTreeMap<&str, bool> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next() == Some("required")))
        })
        .collect();
    let mut problems = Vec::new();
    for (environment, given) in given {
        let lacks = reads.iter().filter(|(name, required)| **required && !given.contains(**name));
        problems.extend(lacks.map(|(name, _)| {
            format!("{environment}: {service} needs {name}, and compose does not give it")
        }));
        let extra = given.iter().filter(|name| !reads.contains_key(name.as_str()));
        problems.extend(extra.map(|name| {
            format!("{environment}: compose gives {service} {name}, which it does not read")
        }));
    }
    problems
}
