//! `release`: a version of the whole stack, tested and recorded, here: in this repository, and in
//! this engine.
//!
//! Observe, plan, verify, execute. It is made from one commit in a tree of its own, so nothing that
//! somebody works on is touched. What was tried by the gates is what is recorded, by its digests.
//! The tag comes last: where it is, everything is. `publish` takes it to others.

use anyhow::{Context, Result};
use semver::Version;

use super::gate::{Gates, Status};
use super::image::plan::{Plan, Request};
use super::test::Trial;
use super::{check, doctor, parity, releases, test};
use crate::cli::{self, ReleaseCommand};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::image::of_service;
use crate::project::{Project, known};
use crate::release::journal::Decision;
use crate::release::record;
use crate::release::version::{self, Wanted};
use crate::tools::git;

mod abort;
mod begun;
mod collect;
pub(crate) mod commit;
pub(crate) mod contents;
mod decide;
pub(crate) mod default_branch;
pub(crate) mod git_problems;
mod make;
mod old_assets;
pub(crate) mod repository;
pub(crate) mod schema;
mod space;
pub(crate) mod taken;
mod verify;

use decide::Decided;
pub(crate) use decide::{cannot_list, short};
use repository::Repository;
pub(crate) use verify::commit_problems;

/// The environment whose images ship.
pub(crate) const SHIPPED: &str = "prod";

impl cli::Release {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match (self.command, self.version) {
            (Some(ReleaseCommand::Verify(flags)), _) => verify::verify(ctx, &flags.version),
            (None, version) if self.abort => abort::abort(ctx, version),
            (None, Some(wanted)) => release(ctx, &wanted),
            (None, None) => Err(exit::usage("name a version: cargo xtask release minor")),
        }
    }
}

fn release(ctx: &Ctx, wanted: &Wanted) -> Result<()> {
    let places = repository::places(ctx)?;
    let _lock = repository::lock(ctx, &places)?;
    let begun = begun::list(&places)?;
    let repository = Repository::observe(ctx, places)?;
    let (decision, problems) = match decide::decide(ctx, &repository, wanted, &begun)? {
        Decided::Done(version) => {
            repository::clear(ctx, repository::RELEASE)?;
            return say_done(ctx, &version, "is released already");
        }
        Decided::No(problems) => return Err(exit::problems("nothing can be released", &problems)),
        Decided::Yes(decision, problems) => (decision, problems),
    };
    let version = &decision.version;
    announce(ctx, &repository, &decision, begun.iter().find(|it| it.version == *version))?;
    let tree =
        repository::check_out(ctx, &repository.places, &decision.commit, repository::RELEASE)?;
    let tried = try_out(ctx, &repository, &decision, &tree.ctx, problems)?;
    let lost = taken::problems(ctx, version, &tried)?;
    if !lost.is_empty() {
        return Err(exit::problems(&format!("{version} can't be released"), &lost));
    }
    make::make(ctx, &repository, &decision, &tree.ctx, &tried)?;
    if ctx.dry_run {
        return Ok(());
    }
    say_done(ctx, version, "is released")
}

fn say_done(ctx: &Ctx, version: &Version, words: &str) -> Result<()> {
    if ctx.json {
        return ctx.event(&serde_json::json!({
            "event": "released", "version": version, "tag": version::tag(version),
        }));
    }
    ctx.print(format_args!("{version} {words}"))?;
    ctx.say(format_args!("publish it with `cargo xtask publish {version}`"));
    Ok(())
}

/// Says what will be made, before it takes its time.
fn announce(
    ctx: &Ctx,
    repository: &Repository,
    decision: &Decision,
    begun: Option<&begun::Begun>,
) -> Result<()> {
    let Decision { version, previous, commit, .. } = decision;
    let since = match previous {
        Some(previous) => format!("after {previous}"),
        None => "the first one".into(),
    };
    ctx.say(format_args!("release {version}, {since}, of commit {}", short(commit)));
    if let Some(begun) = begun {
        let done = begun.done();
        let done = if done.is_empty() { "nothing".into() } else { done.join(", ") };
        ctx.say(format_args!("  it was begun before; done then: {done}"));
    }
    let dirty = ctx.ask(git::describe(&ctx.sh), QUESTION)?.stdout;
    if dirty.trim().ends_with("-dirty") {
        ctx.say("  what is changed here and not committed is no part of it");
    }
    if repository.remote.is_none() {
        ctx.say("  no git remote is configured; `publish` needs one: `git remote add origin URL`");
    }
    Ok(())
}

/// What the gates tried, and the names under which it passed.
struct Tried {
    request: Request,
    plan: Plan,
    gates: Vec<record::Gate>,
}

/// Runs every gate on what will ship, in its tree. All problems are in one error, those from before
/// too.
fn try_out(
    ctx: &Ctx,
    repository: &Repository,
    decision: &Decision,
    tree: &Ctx,
    mut problems: Vec<String>,
) -> Result<Tried> {
    let what = format!("{} can't be released", decision.version);
    if let Some(engine) = doctor::engine_in_use(tree).problem() {
        problems.push(engine);
        let error = exit::problems(&what, &problems);
        return Err(exit::missing(format!("{error:#}")));
    }
    if !problems.is_empty() {
        problems.iter().for_each(|problem| ctx.complain(problem));
        ctx.say("  going on to the gates, so that all is named at once; Ctrl-C ends it here");
    }
    let project = Project::load(&tree.root)?;
    known("environment", SHIPPED, &project.environments)
        .context("releases are made of what this environment runs")?;
    match old_assets::keep(ctx, repository, tree, decision.previous.as_ref()) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
        Err(error) => problems.push(format!("{error:#}")),
        Ok(()) => {}
    }
    let mut gates = Gates::new(tree);
    check::own(tree, &mut gates, &project)?;
    let trial = Trial { verified: true, ..Trial::of(SHIPPED) };
    let plan = test::run(tree, &mut gates, &trial)?;
    if let Some(plan) = &plan {
        parity::gate(tree, &mut gates, &project, SHIPPED)?;
        match decision.previous.as_ref().map(|previous| releases::load(ctx, previous)) {
            Some(Ok(previous)) => {
                schema::gate(ctx, &repository.places, tree, &mut gates, &previous, &plan.ids())?;
            }
            // It is named among the problems.
            Some(Err(_)) if !problems.is_empty() => {}
            Some(Err(error)) => problems.push(format!("{error:#}")),
            None => {}
        }
    }
    gates.report()?;
    let request = Request::load(tree, SHIPPED)?;
    problems.extend(foreign_images(&request));
    let mut code = if problems.is_empty() { exit::GATE } else { exit::FAILED };
    let (failed, missing) = (gates.named(Status::Failed), gates.named(Status::Missing));
    if failed.is_empty() && !missing.is_empty() && problems.is_empty() {
        code = exit::MISSING;
    }
    for (named, words) in [(failed, "did not pass"), (missing, "could not run")] {
        problems.extend(named.into_iter().map(|name| match name.starts_with(schema::NAME) {
            true => format!("the gate {name:?} {words} (above)"),
            false => format!(
                "the gate {name:?} {words} (above); try it with `cargo xtask test {SHIPPED}`"
            ),
        }));
    }
    match plan {
        Some(plan) if problems.is_empty() => Ok(Tried { request, plan, gates: gates.passed() }),
        _ => {
            let message = format!("{:#}", exit::problems(&what, &problems));
            Err(exit::Exit { code, message }.into())
        }
    }
}

/// Services that would run what nobody built here, and what no digest names.
fn foreign_images(request: &Request) -> Vec<String> {
    let Request { facts, stack, .. } = request;
    let services = stack.services.iter().filter(|(_, service)| {
        let foreign = of_service(&facts.project, stack, service).is_none();
        let image = service.image.as_deref().unwrap_or_default();
        foreign && !service.facts.attached && !image.contains("@sha256:")
    });
    let problem = |(name, service): (&String, &crate::project::stack::Service)| {
        let image = service.image.as_deref().unwrap_or("no image");
        format!(
            "service {name} runs {image}, whose name can be moved; name it by digest \
             (IMAGE@sha256:…), or build it in docker/{name}"
        )
    };
    services.map(problem).collect()
}
