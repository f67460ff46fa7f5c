//! What an environment got on Elastic Beanstalk: by the log as this clone has last seen it, or,
//! with `--drift`, compared with what the service says now.

use anyhow::Result;
use serde_json::json;

use crate::commands::deploy;
use crate::commands::deploy::log::{self, Ledger};
use crate::commands::deploy::service::Service;
use crate::commands::deploy::settings;
use crate::commands::release::repository::{self, Repository};
use crate::commands::releases;
use crate::ctx::Ctx;
use crate::exit;
use crate::release::deployment::{Deployment, Log};

/// The last lines of the log, without a network.
pub(super) fn show(ctx: &Ctx, environment: &str) -> Result<()> {
    match log::last_seen(ctx, environment) {
        Ok(Some(log)) => tell(ctx, environment, &log),
        // Outside of a repository, or before the first deployment, there is nothing to say.
        Ok(None) => Ok(()),
        Err(error) => {
            ctx.warn(format_args!("the deployment log of {environment} can't be read: {error:#}"));
            Ok(())
        }
    }
}

fn tell(ctx: &Ctx, environment: &str, log: &Log) -> Result<()> {
    let Some(last) = log.0.last() else { return Ok(()) };
    if ctx.json {
        let mut event = serde_json::to_value(last)?;
        event["event"] = "deployment".into();
        event["environment"] = environment.into();
        event["current"] = json!(log.current().map(|it| &it.version));
        return ctx.event(&event);
    }
    if let Some(current) = log.current() {
        let since = current.verdict.as_ref().map_or("", |it| &it.ended);
        ctx.print(format_args!(
            "  deployed: {} ({}) since {since}, by {}, to {}/{}",
            current.version,
            current.label,
            current.by.name,
            current.target.application,
            current.target.environment
        ))?;
    }
    if log.current() != Some(last) {
        ctx.print(format_args!("  last:     {}", line(last)))?;
    }
    Ok(())
}

/// A deployment in one line.
fn line(deployment: &Deployment) -> String {
    let Deployment { kind, version, begun, by, .. } = deployment;
    let verdict = match &deployment.verdict {
        None => format!("goes on since {begun}"),
        Some(verdict) => {
            let reason = verdict.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            format!("{} at {}{reason}", verdict.result.word(), verdict.ended)
        }
    };
    format!("{} {version} by {} {verdict}", kind.verb(), by.name)
}

/// Compares what runs with what the log says; fails when they differ.
pub(super) fn drift(ctx: &Ctx, environment: &str) -> Result<()> {
    let repository = Repository::observe(ctx, repository::places(ctx)?)?;
    let ledger = Ledger::read(ctx, &repository, environment)?;
    tell(ctx, environment, &ledger.log)?;
    let Some(current) = ledger.log.current() else {
        return Err(exit::usage(format!("nothing succeeded in {environment} yet")));
    };
    let service = Service::open(ctx, environment, &deploy::recorded(ctx, &ledger)?)?;
    deploy::plan::check_target(&service, &ledger)?;
    let found = differences(ctx, &service, current)?;
    for difference in &found {
        match ctx.json {
            true => ctx.event(&json!({"event": "drift", "difference": difference}))?,
            false => ctx.print(format_args!("  drift:    {difference}"))?,
        }
    }
    match found.len() {
        0 => {
            ctx.say(format_args!("{environment} is as deployment {} left it", current.number));
            Ok(())
        }
        number => anyhow::bail!(
            "{environment} differs in {number} ways from its log; `cargo xtask deploy {} --env \
             {environment}` brings back what a release decides",
            current.version
        ),
    }
}

fn differences(ctx: &Ctx, service: &Service<'_>, current: &Deployment) -> Result<Vec<String>> {
    let Some(now) = service.environment()? else {
        return Ok(vec![format!("there is no environment {}", service.target.environment)]);
    };
    let mut found = Vec::new();
    if now.version_label.as_deref() != Some(current.label.as_str()) {
        let runs = now.version_label.as_deref().unwrap_or("nothing");
        found.push(format!("{runs} runs and not {}", current.label));
    }
    if now.health != "Green" {
        let health = now.health_status.as_deref().unwrap_or(&now.health);
        found.push(format!("it is {} and its health is {health}", now.status));
    }
    for instance in service.instances()? {
        let runs = instance.deployment.and_then(|it| it.version_label).unwrap_or_default();
        if !runs.is_empty() && runs != current.label {
            found.push(format!("the instance {} runs {runs}", instance.instance_id));
        }
    }
    match service.bundle(&current.label)? {
        None => found.push(format!("the service has no bundle {} any more", current.label)),
        Some(there) if there != current.bundle => {
            found.push(format!("the bundle {} has other bytes", current.label));
        }
        Some(_) => {}
    }
    let record = releases::load(ctx, &current.version)?;
    found.extend(deploy::plan::images(ctx, &record, &current.images)?);
    found.extend(other_settings(service, current)?);
    Ok(found)
}

/// Settings that are not those of the deployment; names only.
fn other_settings(service: &Service<'_>, current: &Deployment) -> Result<Vec<String>> {
    let template = &current.settings.template;
    let Some(kept) = service.kept(template)? else {
        return Ok(vec![format!("the service does not keep its settings ({template}) any more")]);
    };
    let now = service.properties()?;
    let mut found = settings::differences(current, &kept, &now);
    for key in now.keys().filter(|key| !kept.contains_key(*key)) {
        let ((namespace, name), environment) = (key, &service.target.environment);
        let remove = service.by_hand(&format!(
            "update-environment --environment-name {environment} --options-to-remove \
             Namespace={namespace},OptionName={name}"
        ));
        found.push(format!("the setting {name} was added, and stays until\n    {remove}"));
    }
    Ok(found)
}
