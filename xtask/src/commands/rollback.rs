//! `rollback`: brings an earlier deployment back: its images, its bundle and its settings, as they
//! were recorded. Nothing is built, and nothing is believed: each piece is looked at first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::deploy::execute::{self, Plan, Told, Turn};
use super::deploy::log::{self, Ledger};
use super::deploy::plan::{self, Observed};
use super::deploy::service::{Change, Service};
use super::deploy::{ARTIFACT, data, settings};
use super::release::repository::Repository;
use super::{bundle, deploy, releases};
use crate::cli::{self, Patience};
use crate::ctx::Ctx;
use crate::exit;
use crate::release::deployment::{Deployment, Kind, Log, Outcome};
use crate::tools::aws::Properties;

impl cli::Rollback {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        let (places, _lock) = deploy::begin_at_once(ctx, name)?;
        let repository = Repository::observe(ctx, places)?;
        let mut ledger = Ledger::read(ctx, &repository, name)?;
        let service = Service::open(ctx, name, &deploy::recorded(ctx, &ledger)?)?;
        plan::check_target(&service, &ledger)?;
        if let Some(done) = noted(&ledger, self.to.as_ref()) {
            return tell(ctx, &ledger, &done);
        }
        if give_up(ctx, &service, &mut ledger, self.to.as_ref(), self.patience)? {
            ctx.say("this rollback goes on; looking on");
            let told = Told { before: None, by_us: true };
            return execute::follow(ctx, &service, &mut ledger, &told, self.patience);
        }
        let goal = goal(&ledger.log, name, self.to.as_ref())?.clone();
        let plan = plan(ctx, &service, &ledger, &goal)?;
        if is_done(&ledger.log, &plan) {
            return already(ctx, name, &goal);
        }
        ctx.confirm(&question(&service, &ledger, &plan))?;
        execute::execute(ctx, &service, &mut ledger, &plan, self.patience)
    }
}

/// A rollback that ended while whoever made it was killed.
fn noted(ledger: &Ledger<'_>, to: Option<&semver::Version>) -> Option<Deployment> {
    let noted = ledger.noted().filter(|it| to.is_none_or(|to| it.version == *to))?;
    let result = noted.verdict.as_ref()?.result;
    matches!(result, Outcome::Succeeded | Outcome::Failed).then(|| noted.clone())
}

/// What came of it.
fn tell(ctx: &Ctx, ledger: &Ledger<'_>, done: &Deployment) -> Result<()> {
    let told = match done.succeeded() {
        true => already(ctx, &ledger.environment, done),
        false => {
            let reason = done.verdict.as_ref().and_then(|it| it.reason.as_deref());
            Err(anyhow::anyhow!(
                "{} did not get {}: {}\n  the same command looks for an earlier one",
                ledger.environment,
                done.version,
                reason.unwrap_or("nobody knows why")
            ))
        }
    };
    ledger.forget_note();
    told
}

fn already(ctx: &Ctx, name: &str, done: &Deployment) -> Result<()> {
    deploy::already(ctx, name, &done.version, &done.label, None)
}

/// Whether it runs, as the last deployment left it.
fn is_done(log: &Log, plan: &Plan) -> bool {
    let last = log.0.last().filter(|it| it.succeeded());
    last.is_some_and(|it| it.label == plan.label && it.settings == plan.settings)
        && plan.change.is_empty()
        && plan.environment.as_ref().is_some_and(|it| plan::runs_well(it, &plan.label))
}

/// Ends a deployment that goes on: who rolls back will not wait for it. Whether it is this very
/// rollback, of which the service was told.
fn give_up(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &mut Ledger<'_>,
    to: Option<&semver::Version>,
    patience: Patience,
) -> Result<bool> {
    let Some(open) = ledger.log.open().cloned() else { return Ok(false) };
    let updating = |service: &Service<'_>| -> Result<bool> {
        Ok(service.environment()?.is_some_and(|it| it.is_updating()))
    };
    let is_updating = updating(service)?;
    if open.kind == Kind::Rollback
        && open.owner == ledger.owner
        && to.is_none_or(|to| open.version == *to)
    {
        return Ok(is_updating);
    }
    if !is_updating {
        let is_over = open.owner == ledger.owner || open.expires < log::now();
        anyhow::ensure!(is_over, "{}", plan::taken(ledger, &open));
        ledger.end(open.number, Outcome::Abandoned, Some("given up for a rollback".into()))?;
        return Ok(false);
    }
    ctx.confirm(&format!(
        "{} is being deployed by {} since {}; give that up?",
        open.version, open.by.name, open.begun
    ))?;
    service.abort()?;
    ctx.say(format_args!(
        "{} is given up; waiting for what Elastic Beanstalk undoes",
        open.version
    ));
    let started = Instant::now();
    while !ctx.dry_run && updating(service)? {
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(patience.timeout_minutes * 60),
            "Elastic Beanstalk does not come to an end with it; the same command waits again"
        );
        ctx.pause(Duration::from_secs(2))?;
    }
    ledger.end(open.number, Outcome::Failed, Some("given up for a rollback".into()))?;
    Ok(false)
}

/// The deployment to go back to.
fn goal<'l>(
    log: &'l Log,
    environment: &str,
    to: Option<&semver::Version>,
) -> Result<&'l Deployment> {
    let mut succeeded = log.0.iter().rev().filter(|it| it.succeeded());
    let found = match (to, log.0.iter().rev().find(|it| it.may_have_run())) {
        // What was begun and not ended goes on.
        (_, Some(open)) if open.verdict.is_none() => succeeded
            .find(|it| it.label == open.label && it.settings.template == open.settings.template),
        (Some(version), _) => succeeded.find(|it| it.version == *version),
        (None, Some(last)) => succeeded
            .find(|it| it.label != last.label || it.settings.template != last.settings.template),
        (None, None) => None,
    };
    found.ok_or_else(|| {
        let versions: std::collections::BTreeSet<String> =
            log.0.iter().filter(|it| it.succeeded()).map(|it| it.version.to_string()).collect();
        let versions: Vec<String> = versions.into_iter().collect();
        let what = to.map_or("an earlier deployment".to_owned(), ToString::to_string);
        let known = if versions.is_empty() { "nothing".into() } else { versions.join(", ") };
        exit::usage(format!(
            "{what} never succeeded in {environment}, so there is nothing to go back to; \
             succeeded: {known}"
        ))
    })
}

/// Looks at every piece; all problems at once.
fn plan(ctx: &Ctx, service: &Service<'_>, ledger: &Ledger<'_>, goal: &Deployment) -> Result<Plan> {
    let Observed { environment, properties: now } = plan::observe(service)?;
    let record = releases::load(ctx, &goal.version)?;
    let mut problems = data::problems(ctx, &ledger.log, &record)?;
    problems.extend(plan::images(ctx, &record, &goal.images)?);
    let artifact = bundle(ctx, service, goal, &ledger.environment, &mut problems)?;
    let kept = service.kept(&goal.settings.template)?;
    if kept.is_none() {
        problems.push(format!(
            "the service does not keep the settings of deployment {} any more (configuration \
             template {}); `cargo xtask deploy {} --env {}` takes those of .env",
            goal.number, goal.settings.template, goal.version, ledger.environment
        ));
    }
    match &environment {
        Some(it) if it.is_ready() => {}
        Some(it) => problems.push(format!(
            "{} is {}; run the same command again when it is Ready",
            service.target.environment, it.status
        )),
        None => problems.push(format!(
            "there is no environment {}; `cargo xtask deploy {} --env {} --create` makes it",
            service.target.environment, goal.version, ledger.environment
        )),
    }
    let wanted = restored(goal, kept.as_ref().unwrap_or(&Properties::new()), &now);
    let managed = ledger.log.names().difference(&ledger.log.attached()).cloned().collect();
    let change = Change::between(&now, &wanted, &managed);
    problems.extend(settings::too_much(&now, &change).filter(|_| kept.is_some()));
    if !problems.is_empty() {
        let title = format!("{} can't go back to {}", ledger.environment, goal.version);
        return Err(exit::problems(&title, &problems));
    }
    let turn = match ledger.log.open() {
        Some(_) => Turn::Ours,
        None => Turn::Free,
    };
    Ok(Plan {
        kind: Kind::Rollback,
        version: goal.version.clone(),
        label: goal.label.clone(),
        bundle: goal.bundle.clone(),
        images: goal.images.clone(),
        artifact,
        wanted,
        settings: goal.settings.clone(),
        keep: false,
        change,
        environment,
        creation: None,
        attached: None,
        turn,
    })
}

/// The settings as they were kept; what belongs to the data as it is now.
fn restored(goal: &Deployment, kept: &Properties, now: &Properties) -> Properties {
    let of_release = kept.iter().filter(|((_, name), _)| goal.settings.names.contains(name));
    let restored = of_release.map(|(key, value)| {
        let value = match goal.settings.attached.contains(&key.1) {
            true => now.get(key).unwrap_or(value),
            false => value,
        };
        (key.clone(), value.clone())
    });
    restored.collect()
}

/// The bundle is in the service, or can be made again: the same bytes.
fn bundle(
    ctx: &Ctx,
    service: &Service<'_>,
    goal: &Deployment,
    environment: &str,
    problems: &mut Vec<String>,
) -> Result<Option<String>> {
    match service.bundle(&goal.label)? {
        Some(there) if there == goal.bundle => Ok(None),
        Some(_) => {
            problems.push(plan::other_bundle(service, &goal.label));
            Ok(None)
        }
        None => {
            ctx.say(format_args!("the service has no bundle {} any more; making it", goal.label));
            let file = service.directory().join(ARTIFACT);
            let made = bundle::make(ctx, &goal.version, environment, &file)
                .with_context(|| format!("the bundle {} is gone", goal.label))?;
            if made.sha256 != goal.bundle {
                problems.push(format!(
                    "the bundle {} is gone, and this tool would make another one; use the cargo \
                     xtask of that time",
                    goal.label
                ));
            }
            Ok(Some(ARTIFACT.to_owned()))
        }
    }
}

fn question(service: &Service<'_>, ledger: &Ledger<'_>, plan: &Plan) -> String {
    let runs = plan.environment.as_ref().and_then(|it| it.version_label.as_deref());
    format!(
        "roll {name} back to {version} ({label}), from {runs}?\n  {place}{changes}",
        name = ledger.environment,
        version = plan.version,
        label = plan.label,
        runs = runs.unwrap_or("nothing"),
        place = deploy::place(service),
        changes = deploy::changes(&plan.change),
    )
}
