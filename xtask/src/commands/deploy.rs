//! `deploy`: takes a published release to an environment of Elastic Beanstalk.
//!
//! Observe, plan, verify, execute. Everything that can be known is asked first, and all problems
//! are told at once. Then the log takes the environment, the service keeps the settings and gets
//! the bundle, and one update changes version and settings together. What counts as its end is what
//! the service says of the environment, not what a program that we called says of itself.
//!
//! Whoever dies leaves an entry without a verdict; the same command finds it and goes on from what
//! the service says.

use std::path::PathBuf;

use anyhow::{Context, Result};
use semver::Version;

use super::bundle;
use super::release::repository::{self, Repository};
use crate::cli;
use crate::ctx::{Ctx, Lock, QUESTION};
use crate::exit;
use crate::project::{self, beanstalk::Beanstalk};
use crate::release;
use crate::release::deployment::{Outcome, Target};
use crate::tools::git::{self, Places};

mod client;
pub(crate) mod data;
pub(crate) mod execute;
pub(crate) mod log;
pub(crate) mod plan;
mod promotion;
pub(crate) mod service;
pub(crate) mod settings;
mod verdict;
mod watch;

use execute::{Plan, Told};
use log::Ledger;
use plan::Step;
use service::{Change, Service};

/// The bundle's file, in the directory that `eb` works in.
pub(crate) const ARTIFACT: &str = "bundle.zip";

impl cli::Deploy {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        if self.unlock {
            return unlock(ctx, name);
        }
        if self.attach {
            return self.look_on(ctx);
        }
        let (places, _lock) = begin(ctx, name)?;
        let repository = Repository::observe(ctx, places)?;
        let proven = self.from.as_ref().map(|from| promotion::proven(ctx, &repository, from));
        let proven = proven.transpose()?;
        let version = match (&self.version, &proven) {
            (Some(version), _) => version.clone(),
            (None, Some(proven)) => proven.version.clone(),
            (None, None) => return Err(exit::usage("name a version")),
        };
        let bundle = bundle::make(ctx, &version, name, &artifact(ctx, name))?;
        check_published(&repository, &version)?;
        anyhow::ensure!(
            bundle.target.prereleases || !release::version::is_prerelease(&version),
            "{version} is a prerelease, and {name} takes none; deploy a release, or release with \
             `prereleases = true` below [beanstalk] in environments/{name}/environment.toml"
        );
        if let (Some(from), Some(proven)) = (&self.from, &proven) {
            anyhow::ensure!(
                proven.images == bundle.images,
                "{from} runs other images of {version} than those that the registry has now; \
                 `cargo xtask release verify {version}` says what is wrong"
            );
        }
        let service = Service::open(ctx, name, &bundle.target)?;
        let mut ledger = Ledger::read(ctx, &repository, name)?;
        match plan::deploy(ctx, &service, &ledger, &bundle, self.create)? {
            Step::Done(environment) => {
                already(ctx, name, &version, &bundle.label, Some(&environment.cname))
            }
            Step::Attach => {
                ctx.say(format_args!("somebody deploys {version} to {name}; looking on"));
                let told = Told { before: None, by_us: false };
                execute::follow(ctx, &service, &mut ledger, &told, self.patience)
            }
            Step::Deploy(plan) => {
                ctx.confirm(&question(&service, &ledger, &plan))?;
                execute::execute(ctx, &service, &mut ledger, &plan, self.patience)
            }
        }
    }

    fn look_on(&self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        project::check_name(name)?;
        let repository = Repository::observe(ctx, repository::places(ctx)?)?;
        let mut ledger = Ledger::read(ctx, &repository, name)?;
        anyhow::ensure!(
            ledger.log.open().is_some(),
            "nothing is being deployed to {name}; `cargo xtask status {name}` says what runs"
        );
        let service = Service::open(ctx, name, &recorded(ctx, &ledger)?)?;
        plan::check_target(&service, &ledger)?;
        // Who was killed here has it no more; who is at it in another terminal has.
        let lock = ctx.lock_file_if_free(&lock_path(&repository.places, name))?;
        let is_mine = ledger.log.open().is_some_and(|open| open.owner == ledger.owner);
        let told = Told { before: None, by_us: is_mine && lock.is_some() };
        execute::follow(ctx, &service, &mut ledger, &told, self.patience)
    }
}

/// Says that there is nothing to do.
pub(crate) fn already(
    ctx: &Ctx,
    name: &str,
    version: &Version,
    label: &str,
    address: Option<&str>,
) -> Result<()> {
    if ctx.json {
        return ctx.event(&serde_json::json!({
            "event": "deployment", "environment": name, "version": version, "label": label,
            "verdict": "already", "running": label, "address": address,
        }));
    }
    let address = address.map(|it| format!(", http://{it}")).unwrap_or_default();
    ctx.print(format_args!("{name} runs {version} already ({label}){address}"))
}

/// Where the repository is, and the lock of an environment among those who deploy from it.
pub(crate) fn begin(ctx: &Ctx, environment: &str) -> Result<(Places, Lock)> {
    project::check_name(environment)?;
    let places = repository::places(ctx)?;
    let path = lock_path(&places, environment);
    let lock = ctx.lock_file(&path, &format!("another deployment to {environment} from here"))?;
    Ok((places, lock))
}

/// The same for who ends what goes on: a deployment in another terminal is not waited for, and
/// finds out by the log that it was given up.
pub(crate) fn begin_at_once(ctx: &Ctx, environment: &str) -> Result<(Places, Option<Lock>)> {
    project::check_name(environment)?;
    let places = repository::places(ctx)?;
    let lock = ctx.lock_file_if_free(&lock_path(&places, environment))?;
    Ok((places, lock))
}

fn lock_path(places: &Places, environment: &str) -> PathBuf {
    repository::directory(places).join(format!("deploy-{environment}.lock"))
}

/// Fails where the tag of a release is not in the remote repository as it is here: others could not
/// roll back to it.
fn check_published(repository: &Repository, version: &Version) -> Result<()> {
    let name = format!("refs/tags/{}", release::version::tag(version));
    let (here, there) = (repository.here.get(&name), repository.there().get(&name));
    anyhow::ensure!(
        there.is_some_and(|there| here.is_some_and(|here| here.object == there.object)),
        "{version} is not in {}; `cargo xtask publish {version}` brings it",
        repository.remote_name()
    );
    Ok(())
}

fn artifact(ctx: &Ctx, environment: &str) -> PathBuf {
    ctx.state().join("deploy").join(environment).join(ARTIFACT)
}

/// Where the environment is, by the last line of its log, and with which profile: whatever is
/// checked out.
pub(crate) fn recorded(ctx: &Ctx, ledger: &Ledger<'_>) -> Result<project::beanstalk::Target> {
    let name = &ledger.environment;
    let Some(last) = ledger.log.0.last() else {
        return Err(exit::usage(format!(
            "nothing was ever deployed to {name}; `cargo xtask deploy VERSION --env {name}` does"
        )));
    };
    let tag = release::version::tag(&last.version);
    let facts = format!("refs/tags/{tag}:./environments/{name}/environment.toml");
    let found = ctx.ask(git::blob(&ctx.sh, &facts), QUESTION)?;
    // A release without that file has the defaults, as one has that is not here.
    let text = if found.status.success() { found.stdout } else { String::new() };
    let facts = project::environment::parse(&text).with_context(|| facts.clone())?.beanstalk;
    let Target { application, environment, region, .. } = last.target.clone();
    let region = (!last.target.is_local()).then_some(region);
    let (application, environment) = (Some(application), Some(environment));
    Beanstalk { application, environment, region, ..facts }.target("", name)
}

fn unlock(ctx: &Ctx, name: &str) -> Result<()> {
    let (places, _lock) = begin_at_once(ctx, name)?;
    let repository = Repository::observe(ctx, places)?;
    let mut ledger = Ledger::read(ctx, &repository, name)?;
    let Some(open) = ledger.log.open() else {
        ctx.say(format_args!("nobody deploys to {name}"));
        return Ok(());
    };
    let number = open.number;
    ctx.confirm(&format!(
        "give up the deployment of {} to {name} by {} since {}?",
        open.version, open.by.name, open.begun
    ))?;
    ledger.end(number, Outcome::Abandoned, Some(format!("given up by {}", ledger.person.name)))?;
    if !ctx.dry_run {
        ctx.say(format_args!("{name} is free"));
    }
    Ok(())
}

fn question(service: &Service<'_>, ledger: &Ledger<'_>, plan: &Plan) -> String {
    let runs = plan.environment.as_ref().map(|it| it.version_label.as_deref());
    let runs = match runs {
        None => "which is to be made".to_owned(),
        Some(runs) => format!("which runs {}", runs.unwrap_or("nothing")),
    };
    format!(
        "deploy {} ({}) to {}, {runs}?\n  {}{}",
        plan.version,
        plan.label,
        ledger.environment,
        place(service),
        changes(&plan.change)
    )
}

/// Where the environment is, for people.
pub(crate) fn place(service: &Service<'_>) -> String {
    let target = &service.target;
    let account = match service.local {
        true => "the local Elastic Beanstalk".to_owned(),
        false => format!("account {}, region {}", target.account, target.region),
    };
    format!("{account}: application {}, environment {}", target.application, target.environment)
}

/// The settings that change, for people.
pub(crate) fn changes(change: &Change) -> String {
    match change.is_empty() {
        true => String::new(),
        false => format!("\n  settings: {}", change.names().join(", ")),
    }
}
