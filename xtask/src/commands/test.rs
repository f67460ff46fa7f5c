//! `test`: the gates that need an engine: the app's own tests in the `test` stage of each image,
//! the settings that it reads, and a trial start of the images that ship.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use fingerprint::sha256;

use super::gate::{self, Gates, Status};
use super::image::build;
use super::image::builder::BuilderFailed;
use super::image::identity;
use super::image::packages::ask_image;
use super::image::plan::{self, Plan, Request};
use super::release::SHIPPED;
use super::{assets, dev, doctor, env, preflight};
use crate::cli::{self, Cache, Engine};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::{Project, dockerfile, image, known};
use crate::release::record;

mod smoke;
pub(crate) mod trial_start;

/// The stage whose build runs the tests of an image.
const STAGE: &str = "test";
const GATES: [&str; 3] = ["tests", "settings", "smoke"];
/// Changes whenever what the gate on the settings does means something else.
const SETTINGS: &str = "settings 1";

impl cli::Test {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let all = GATES.map(str::to_owned).into();
        self.only.iter().try_for_each(|name| known("gate", name, &all))?;
        if let Some(name) = &self.environment {
            Project::load(&ctx.root)?.environment(name)?;
        }
        match dev::choose_engine(ctx, self.engine, doctor::Engine::problem)? {
            Engine::Host => dev::test_host(ctx),
            Engine::Docker => {
                let mut gates = Gates::new(ctx);
                let environment = self.environment.as_deref().unwrap_or(SHIPPED);
                let trial = Trial { only: &self.only, ..Trial::of(environment) };
                run(ctx, &mut gates, &trial)?;
                gates.finish()
            }
        }
    }
}

/// What is tried.
pub(crate) struct Trial<'t> {
    pub(crate) environment: &'t str,
    /// Only these gates; all when it is empty.
    pub(crate) only: &'t [String],
    /// The images count only when their builds were verified.
    pub(crate) verified: bool,
}

impl<'t> Trial<'t> {
    pub(crate) fn of(environment: &'t str) -> Trial<'t> {
        Trial { environment, only: &[], verified: false }
    }
}

/// Runs them: the images that were tried, when it came to that.
pub(crate) fn run(ctx: &Ctx, gates: &mut Gates<'_>, trial: &Trial<'_>) -> Result<Option<Plan>> {
    doctor::require_engine(ctx)?;
    let Trial { environment, only, verified } = *trial;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|it| it == name);
    if wanted("tests") {
        tests(ctx, gates)?;
    }
    if !wanted("settings") && !wanted("smoke") {
        return Ok(None);
    }
    let project = Project::load(&ctx.root)?;
    if only.is_empty() && !project.environments.contains(environment) {
        ctx.say(format_args!("there is no environment {environment} whose images could be tried"));
        return Ok(None);
    }
    let mut request = Request::load(ctx, environment)?;
    request.verified = verified;
    let mut built = None;
    let status = gates.run(&format!("images of {environment}"), || {
        let problems = preflight::problems(ctx, &request.facts, &request.stack)?;
        if !problems.is_empty() {
            let title = format!("{environment} can't start");
            return Err(exit::gate(format!("{:#}", exit::problems(&title, &problems))));
        }
        let plan = build::build(ctx, &mut request, Cache::Off).map_err(as_gate)?;
        built = Some(plan);
        Ok(Status::Passed)
    })?;
    let Some(plan) = built.filter(|_| status == Status::Passed) else { return Ok(None) };
    if wanted("settings") {
        settings(ctx, gates, &project, &request, &plan)?;
    }
    if wanted("smoke") {
        smoke::run(ctx, gates, request, &plan)?;
    }
    Ok(Some(plan))
}

/// The `test` stage of every image of dev that has one; `None` where none has.
pub(crate) fn request(ctx: &Ctx) -> Result<Option<Request>> {
    if !Project::load(&ctx.root)?.environments.contains(dev::ENVIRONMENT) {
        return Ok(None);
    }
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
    request.assets = plan::Assets::IfPossible;
    request.only = names.into_iter().collect();
    Ok((!request.only.is_empty()).then_some(request))
}

/// Builds the `test` stages: that runs the tests. An image that is there has passed.
fn tests(ctx: &Ctx, gates: &mut Gates<'_>) -> Result<()> {
    let Some(mut request) = request(ctx)? else {
        ctx.say(format_args!("no Dockerfile has a stage `{STAGE}`: nothing to run"));
        return Ok(());
    };
    let mut fingerprint = None;
    gates.run(&tests_name(&request), || {
        // Part of what is hashed: only after them can an image be told to be there already.
        assets::update_if_possible(ctx)?;
        let before = plan::plan(ctx, &request)?;
        let fresh = before.dirty().next().is_none();
        let plan = build::build(ctx, &mut request, Cache::Off).map_err(as_gate)?;
        fingerprint = Some(tested(&plan.images));
        Ok(if fresh { Status::Reused } else { Status::Passed })
    })?;
    fingerprint.into_iter().for_each(|fingerprint| gates.identify(fingerprint));
    Ok(())
}

/// A failed instruction of an image is a gate that did not pass: tests run in one.
fn as_gate(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<BuilderFailed>() {
        Some(_) => exit::gate(format!("{error:#}")),
        None => error,
    }
}

/// A service whose image says which variables it reads, and what compose gives it.
struct Settings<'s> {
    service: &'s String,
    command: &'s Vec<String>,
    image: String,
    /// The configuration of that image.
    config: String,
    given: BTreeMap<&'s String, BTreeSet<String>>,
}

impl Settings<'_> {
    fn name(&self) -> String {
        format!("settings of {}", self.service)
    }

    fn key(&self) -> String {
        format!("{SETTINGS} {} {:?} {:?}", self.config, self.command, self.given)
    }
}

/// All of them; `configs` are the configurations of the images.
fn all_settings<'s>(
    ctx: &Ctx,
    project: &'s Project,
    request: &'s Request,
    configs: &BTreeMap<String, String>,
) -> Result<Vec<Settings<'s>>> {
    let mut stacks = BTreeMap::new();
    for name in &project.environments {
        stacks.insert(name, env::load_stack(ctx, &env::load(ctx, name)?)?);
    }
    let services = request.stack.services.iter();
    let settings = services.filter(|(_, service)| !service.facts.variables.is_empty()).filter_map(
        |(name, service)| {
            let image = image::of_service(project, &request.stack, service)?;
            let config = configs.get(&image)?.clone();
            let given = stacks.iter().filter_map(|(environment, stack)| {
                Some((*environment, stack.services.get(name)?.given()))
            });
            let command = &service.facts.variables;
            Some(Settings { service: name, command, image, config, given: given.collect() })
        },
    );
    Ok(settings.collect())
}

/// Compares what each image says that it reads with what compose gives it, in every environment.
fn settings(
    ctx: &Ctx,
    gates: &mut Gates<'_>,
    project: &Project,
    request: &Request,
    plan: &Plan,
) -> Result<()> {
    let ids = plan.ids();
    let configs = identity::configs_of(ctx, &ids)?;
    for settings in all_settings(ctx, project, request, &configs)? {
        gates.run_once(&settings.name(), Some(&settings.key()), || {
            let Some(answer) = ask_image(ctx, &ids[&settings.image], settings.command)? else {
                return Ok(());
            };
            let listed = answer.success(&settings.command.join(" "))?;
            let problems = compare_settings(settings.service, &listed, &settings.given);
            match problems.is_empty() {
                true => Ok(()),
                false => Err(exit::problems("the settings do not fit", &problems)),
            }
        })?;
    }
    Ok(())
}

/// What the gates here would have passed on, had they tried images with these configurations.
pub(crate) fn expected(
    ctx: &Ctx,
    project: &Project,
    shipped: &Request,
    configs: &BTreeMap<String, String>,
    platform: &str,
    contents: &BTreeMap<String, String>,
) -> Result<Vec<record::Gate>> {
    let mut gates = Vec::new();
    if let Some(request) = request(ctx)? {
        let images = plan::from_files(ctx, &request, platform, contents)?;
        let fingerprint = Some(tested(&images));
        gates.push(record::Gate { name: tests_name(&request), fingerprint });
    }
    gates.push(gate::expected(&format!("images of {}", shipped.facts.name), None));
    for settings in all_settings(ctx, project, shipped, configs)? {
        gates.push(gate::expected(&settings.name(), Some(&settings.key())));
    }
    let (name, key) = smoke::name_and_key(shipped, configs);
    gates.push(gate::expected(&name, key.as_deref()));
    Ok(gates)
}

fn tests_name(request: &Request) -> String {
    format!("tests of {}", request.only.join(", "))
}

/// The hash of everything that the tests were run on.
fn tested(images: &[plan::Planned]) -> String {
    let list: Vec<&str> = images.iter().map(|planned| planned.fingerprint.as_str()).collect();
    sha256(list.join("\n").as_bytes())
}

fn compare_settings(
    service: &str,
    listed: &str,
    given: &BTreeMap<&String, BTreeSet<String>>,
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
