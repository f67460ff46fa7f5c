//! Carries a deployment out: a straight line, each step of which first looks at what is there, so
//! that the same command can go on wherever the one before was killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use semver::Version;
use serde_json::json;

use super::log::{self, Ledger};
use super::service::{Change, Service};
use super::verdict::{self, Verdict};
use super::watch::{Watched, watch};
use crate::cli::Patience;
use crate::commands::beanstalk;
use crate::ctx::Ctx;
use crate::exit;
use crate::release::deployment::{self, Deployment, Kind, Outcome};
use crate::tools::aws::{Environment, Properties};

/// What comes before and behind the time that a deployment itself may take: a new environment, a
/// slow upload. Then nobody waits for its owner any more.
const MARGIN: Duration = Duration::from_secs(60 * 60);
/// For a new environment to be ready.
const LAUNCH: Duration = Duration::from_secs(20 * 60);
const PAUSE: Duration = Duration::from_secs(2);

/// What is to be done, after everything that can be asked was asked.
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    pub(crate) label: String,
    /// Hexadecimal SHA-256.
    pub(crate) bundle: String,
    pub(crate) images: BTreeMap<String, String>,
    /// The bundle's file, where the service does not have it.
    pub(crate) artifact: Option<String>,
    pub(crate) wanted: Properties,
    pub(crate) settings: deployment::Settings,
    /// The service does not keep these settings yet.
    pub(crate) keep: bool,
    pub(crate) change: Change,
    pub(crate) environment: Option<Environment>,
    /// The platform branch of an environment that is to be made.
    pub(crate) creation: Option<String>,
    /// What a local environment has beside it, with its secrets.
    pub(crate) attached: Option<serde_json::Value>,
    pub(crate) turn: Turn,
}

/// Whose the environment is by the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody's.
    Free,
    /// Ours: the same deployment was begun here and not ended.
    Ours,
    /// That of somebody who did not come back.
    Stale,
}

impl Plan {
    fn entry(
        &self,
        ledger: &Ledger<'_>,
        service: &Service<'_>,
        patience: Patience,
    ) -> Result<Deployment> {
        let last = service.events(None)?.pop();
        let minutes = Duration::from_secs(patience.timeout_minutes * 60);
        Ok(Deployment {
            schema: deployment::SCHEMA.into(),
            number: ledger.next_number(),
            kind: self.kind,
            version: self.version.clone(),
            label: self.label.clone(),
            bundle: self.bundle.clone(),
            images: self.images.clone(),
            settings: self.settings.clone(),
            target: service.target.clone(),
            by: ledger.person.clone(),
            owner: ledger.owner.clone(),
            begun: log::now(),
            expires: log::in_future(minutes + MARGIN),
            // What is told of an environment by its name, is told of one of that name before, too.
            after: last.map(|event| event.event_date),
            verdict: None,
        })
    }
}

pub(crate) fn execute(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &mut Ledger<'_>,
    plan: &Plan,
    patience: Patience,
) -> Result<()> {
    if let Some(number) = ledger.open_number().filter(|_| plan.turn == Turn::Stale) {
        let reason = Some("whoever began it did not come back".into());
        ledger.end(number, Outcome::Abandoned, reason)?;
    }
    if plan.kind == Kind::Rollback {
        let number = if plan.turn == Turn::Ours { ledger.open_number() } else { None };
        ledger.note(number.unwrap_or(ledger.next_number()))?;
    }
    if plan.turn != Turn::Ours {
        ledger.begin(plan.entry(ledger, service, patience)?)?;
    }
    let number = ledger.open_number().context("the deployment that was begun is not in the log")?;
    if ctx.dry_run {
        tell_service(ctx, service, ledger, plan)?;
        return ledger.end(number, Outcome::Succeeded, None);
    }
    let before = match is_told(service, ledger, plan)? {
        true => None,
        false => match tell_service(ctx, service, ledger, plan) {
            Ok(before) => before,
            Err(error) => return not_begun(ctx, service, ledger, plan, number, error),
        },
    };
    let told = Told { before: before.as_deref(), by_us: true };
    follow(ctx, service, ledger, &told, patience)
}

/// Whether a run of ours that was killed had come as far as the update.
fn is_told(service: &Service<'_>, ledger: &Ledger<'_>, plan: &Plan) -> Result<bool> {
    let (Some(environment), Some(open), Turn::Ours) =
        (&plan.environment, ledger.log.open(), &plan.turn)
    else {
        return Ok(false);
    };
    if environment.is_updating() {
        return Ok(true);
    }
    let runs = environment.version_label.as_deref() == Some(plan.label.as_str());
    let events = service.events(open.after.as_deref())?;
    Ok((runs && plan.change.is_empty()) || verdict::gave_up(&events))
}

/// Everything up to the one call that changes the environment: when it was last changed before.
fn tell_service(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &mut Ledger<'_>,
    plan: &Plan,
) -> Result<Option<String>> {
    if let Some(attached) = &plan.attached {
        let path = beanstalk::attached(ctx).join(format!("{}.json", service.target.environment));
        ctx.write_secret(&path, attached.to_string().as_bytes())?;
    }
    let environment = match (&plan.environment, &plan.creation) {
        // Whoever had it made was killed.
        (Some(environment), _) if environment.is_launching() => until_ready(ctx, service)?,
        (Some(environment), _) => Some(environment.clone()),
        (None, Some(platform)) => {
            service.create(platform)?;
            if ctx.dry_run { None } else { until_ready(ctx, service)? }
        }
        (None, None) => None,
    };
    let id = environment.as_ref().map_or("<id>", |it| it.environment_id.as_str());
    if plan.keep {
        keep(service, plan, id)?;
    }
    if let Some(artifact) = &plan.artifact {
        let description = format!("{} {}", plan.kind.verb(), plan.version);
        service.upload(artifact, &plan.label, &description)?;
        let there = if ctx.dry_run { None } else { service.bundle(&plan.label)? };
        anyhow::ensure!(
            ctx.dry_run || there.as_ref() == Some(&plan.bundle),
            "the service has another bundle under {} than the one that was uploaded",
            plan.label
        );
    }
    // All that took its time: who had it may have been given up meanwhile.
    if let Some(number) = ledger.open_number().filter(|_| !ctx.dry_run)
        && !ledger.goes_on(number)?
    {
        anyhow::bail!(
            "somebody gave this deployment up; `cargo xtask status {}` says who has it now",
            ledger.environment
        );
    }
    let submitted = service.submit(&plan.label, &plan.change);
    if let Err(error) = submitted {
        // Its word does not count: the service may have taken it all the same.
        if !has_taken(service, plan).unwrap_or(false) {
            return Err(error.context("Elastic Beanstalk did not take the deployment"));
        }
    }
    Ok(environment.map(|it| it.date_updated))
}

/// Whether the service is at it, or has done it already.
fn has_taken(service: &Service<'_>, plan: &Plan) -> Result<bool> {
    let Some(now) = service.environment()? else { return Ok(false) };
    let before = plan.environment.as_ref();
    let changed = before.is_none_or(|before| before.date_updated != now.date_updated);
    let runs = now.version_label.as_deref() == Some(plan.label.as_str());
    if now.is_updating() || !runs || !changed {
        return Ok(now.is_updating());
    }
    // The settings that came with it tell it from what somebody else has changed.
    Ok(plan.change.is_empty() || super::settings::agree(&service.properties()?, &plan.wanted))
}

/// The service copies the settings of the environment; only what is new in them is sent. A template
/// of this name may be one of a run that was killed, with other settings.
fn keep(service: &Service<'_>, plan: &Plan, id: &str) -> Result<()> {
    let template = &plan.settings.template;
    match service.kept(template)? {
        Some(kept) if super::settings::agree(&kept, &plan.wanted) => Ok(()),
        Some(_) => {
            service.forget(template)?;
            service.keep(template, id, &plan.change.set)
        }
        None => service.keep(template, id, &plan.change.set),
    }
}

fn until_ready(ctx: &Ctx, service: &Service<'_>) -> Result<Option<Environment>> {
    let name = &service.target.environment;
    let bar = ctx.spinner(format!("making the environment {name}"));
    let started = Instant::now();
    loop {
        let environment = service.environment()?.context("the new environment is not there")?;
        if environment.is_ready() {
            bar.finish_and_clear();
            return Ok(Some(environment));
        }
        anyhow::ensure!(
            started.elapsed() < LAUNCH && environment.is_launching(),
            "the new environment {name} is {} and not ready; look with\n  {}",
            environment.status,
            service.by_hand(&format!("describe-events --environment-name {name}"))
        );
        ctx.pause(PAUSE)?;
    }
}

/// Where the service was not told, the environment is free again. Where that cannot be found out,
/// it is not.
fn not_begun(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &mut Ledger<'_>,
    plan: &Plan,
    number: u64,
    error: anyhow::Error,
) -> Result<()> {
    if ctx.interrupted() {
        ctx.clear_interrupt();
    }
    match has_taken(service, plan) {
        Ok(false) => {
            ledger.end(number, Outcome::NotBegun, Some(first_line(&error)))?;
            ledger.forget_note();
        }
        Ok(true) | Err(_) => ctx.warn(format_args!(
            "Elastic Beanstalk may have taken the deployment; `cargo xtask deploy --attach --env \
             {}` looks",
            ledger.environment
        )),
    }
    Err(error)
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}

/// How the service was told of what is looked at.
pub(crate) struct Told<'t> {
    /// When it had last changed the environment before; nothing where nobody here knows.
    pub(crate) before: Option<&'t str>,
    /// False where whoever does it may still be on the way there.
    pub(crate) by_us: bool,
}

/// Looks on until there is a verdict, writes it down and says it.
pub(crate) fn follow(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &mut Ledger<'_>,
    told: &Told<'_>,
    patience: Patience,
) -> Result<()> {
    let Some(open) = ledger.log.open().cloned() else { return Ok(()) };
    let name = ledger.environment.clone();
    let watched = Watched {
        label: &open.label,
        before: told.before,
        after: open.after.as_deref(),
        may_still_begin: !told.by_us && open.expires > log::now(),
    };
    let again = format!("`cargo xtask deploy --attach --env {name}` looks on again");
    let (verdict, environment) = match watch(ctx, service, &watched, patience) {
        Ok(found) => found,
        Err(error) if exit::code(&error) == exit::INTERRUPTED => {
            ctx.warn(format_args!("looking away; the deployment goes on, and {again}"));
            return Err(error);
        }
        Err(error) => {
            let code = exit::code(&error);
            let message = format!(
                "{error:#}\n  {again}, and `cargo xtask rollback --env {name}` gives it up"
            );
            return Err(exit::Exit { code, message }.into());
        }
    };
    let problem = match verdict {
        Verdict::Failed(problem) => Some(problem),
        Verdict::Succeeded | Verdict::Waiting if told.before.is_some() => None,
        Verdict::Succeeded | Verdict::Waiting => other_settings(service, &open)?,
    };
    let result = if problem.is_none() { Outcome::Succeeded } else { Outcome::Failed };
    ledger.end(open.number, result, problem.clone())?;
    let reported = report(ctx, ledger, &open, environment.as_ref(), problem);
    ledger.forget_note();
    reported
}

/// Its version may have run before it: then only the settings tell that it began.
fn other_settings(service: &Service<'_>, open: &Deployment) -> Result<Option<String>> {
    let found = match service.kept(&open.settings.template)? {
        Some(kept) => super::settings::differences(open, &kept, &service.properties()?),
        None => vec!["the service does not keep them".into()],
    };
    Ok((!found.is_empty()).then(|| format!("its settings are not in use: {}", found.join(", "))))
}

fn report(
    ctx: &Ctx,
    ledger: &Ledger<'_>,
    deployment: &Deployment,
    environment: Option<&Environment>,
    problem: Option<String>,
) -> Result<()> {
    let name = &ledger.environment;
    let Deployment { version, label, .. } = deployment;
    let none = Environment::default();
    let found = environment.unwrap_or(&none);
    let health = found.health_status.as_deref().unwrap_or(&found.health);
    if ctx.json {
        ctx.event(&json!({
            "event": "deployment", "environment": name, "version": version, "label": label,
            "verdict": if problem.is_some() { "failed" } else { "succeeded" }, "reason": problem,
            "running": found.version_label, "status": found.status, "health": health,
            "address": found.cname,
        }))?;
    }
    match problem {
        None if ctx.json => Ok(()),
        None => ctx.print(format_args!(
            "{name} runs {version} ({label}): {}, {health}, http://{}",
            found.status, found.cname
        )),
        Some(problem) => {
            let back = ledger.log.current().filter(|it| it.label != *label);
            let back = back.map_or(String::new(), |it| {
                format!("\n  `cargo xtask rollback --env {name}` brings {} back", it.version)
            });
            anyhow::bail!("{name} did not get {version}: {problem}{back}")
        }
    }
}
