//! What a deployment would do, and everything that speaks against it, from what was asked.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::execute::{Plan, Turn};
use super::log::{self, Ledger};
use super::service::{Change, Service};
use super::{data, settings};
use crate::commands::bundle::Bundle;
use crate::commands::publish::images::Shelf;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::dotenv::Variables;
use crate::release::deployment::{self, Deployment, Kind};
use crate::release::record::Record;
use crate::secret::Secret;
use crate::tools::aws::{Environment, Properties};

/// What there is to do.
pub(crate) enum Step {
    /// It runs already, as it should.
    Done(Box<Environment>),
    /// Somebody deploys exactly this.
    Attach,
    Deploy(Box<Plan>),
}

/// How the environment is.
pub(crate) struct Observed {
    pub(crate) environment: Option<Environment>,
    pub(crate) properties: Properties,
}

pub(crate) fn observe(service: &Service<'_>) -> Result<Observed> {
    let environment = service.environment()?;
    let properties = match &environment {
        Some(_) => service.properties()?,
        None => Properties::new(),
    };
    Ok(Observed { environment, properties })
}

/// Plans a deployment of a release; every problem at once.
pub(crate) fn deploy(
    ctx: &Ctx,
    service: &Service<'_>,
    ledger: &Ledger<'_>,
    bundle: &Bundle,
    create: bool,
) -> Result<Step> {
    check_target(service, ledger)?;
    let Observed { environment, properties: now } = observe(service)?;
    let turn = turn(ledger, &bundle.label, environment.as_ref());
    if turn == Whose::SomebodyWhoDoesTheSame {
        return Ok(Step::Attach);
    }
    let mut problems = images(ctx, &bundle.record, &bundle.images)?;
    problems.extend(data::problems(ctx, &ledger.log, &bundle.record)?);
    let is_new = service.local && environment.is_none();
    let values = settings::values(ctx, &ledger.environment, is_new)?;
    let name = &ledger.environment;
    let wanted = settings::wanted(bundle, name, &values, &now, service.local, &mut problems);
    let creation = environment.is_none().then(|| bundle.target.platform_branch.to_string());
    if creation.is_some() && !service.local && !create {
        problems.push(no_environment(service));
    }
    // A dry run has no bundle whose name could be asked for.
    let there = if ctx.dry_run { None } else { service.bundle(&bundle.label)? };
    if there.as_ref().is_some_and(|there| *there != bundle.sha256) {
        problems.push(other_bundle(service, &bundle.label));
    }
    let change = Change::between(&now, &wanted.properties, &ledger.log.names());
    problems.extend(settings::too_much(&now, &change));
    let turn = own_turn(service, name, turn, environment.as_ref()).map_err(|it| problems.push(it));
    let Some(turn) = turn.ok().filter(|_| problems.is_empty()) else {
        let title =
            format!("{} can't be deployed to {}", bundle.record.version, ledger.environment);
        return Err(exit::problems(&title, &problems));
    };
    let (template, keep) = template(service, ledger, &wanted.properties, &turn)?;
    if let Some(environment) = &environment
        && turn == Turn::Free
        && change.is_empty()
        && !keep
        && there.is_some()
        && runs_well(environment, &bundle.label)
        && ledger.log.current().is_some_and(|it| it.label == bundle.label)
    {
        return Ok(Step::Done(Box::new(environment.clone())));
    }
    let settings = wanted.recorded(template);
    let turn = still_ours(turn, ledger, &settings, environment.as_ref());
    Ok(Step::Deploy(Box::new(Plan {
        kind: Kind::Deploy,
        version: bundle.record.version.clone(),
        label: bundle.label.clone(),
        bundle: bundle.sha256.clone(),
        images: bundle.images.clone(),
        artifact: there.is_none().then(|| super::ARTIFACT.to_owned()),
        settings,
        wanted: wanted.properties,
        keep,
        change,
        environment,
        creation,
        attached: attached(ctx, service, bundle, &values, !is_new),
        turn,
    })))
}

pub(crate) fn runs_well(environment: &Environment, label: &str) -> bool {
    environment.is_ready()
        && environment.version_label.as_deref() == Some(label)
        && environment.health == "Green"
}

fn busy_problem(service: &Service<'_>, name: &str, environment: &Environment) -> String {
    let there = &service.target.environment;
    format!(
        "{name} is {}: somebody changes it past this tool; run the same command again when that \
         is over, or end it with\n    {}",
        environment.status,
        service.by_hand(&format!("abort-environment-update --environment-name {there}"))
    )
}

/// That somebody gave another bundle this name.
pub(crate) fn other_bundle(service: &Service<'_>, label: &str) -> String {
    let application = &service.target.application;
    let delete = format!(
        "delete-application-version --application-name {application} --version-label {label}"
    );
    format!(
        "the service has another bundle under {label}: somebody put it there; delete it with\n    \
         {}",
        service.by_hand(&delete)
    )
}

/// Fails where the log is not about this environment, but about one of the same name elsewhere.
pub(crate) fn check_target(service: &Service<'_>, ledger: &Ledger<'_>) -> Result<()> {
    let Some(last) = ledger.log.0.last().filter(|last| last.target != service.target) else {
        return Ok(());
    };
    let show = |it: &deployment::Target| {
        format!("{}/{} in {} of account {}", it.application, it.environment, it.region, it.account)
    };
    anyhow::bail!(
        "the log of {} is about {}, and this would be {}; log in to the right account, or choose \
         the right region in environment.toml",
        ledger.environment,
        show(&last.target),
        show(&service.target)
    )
}

/// Images, each with its full name by digest, that the registry does not give as they were
/// released.
pub(crate) fn images(
    ctx: &Ctx,
    record: &Record,
    images: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let shelf = Shelf::open(ctx, record)?;
    let mut problems = Vec::new();
    for (image, name) in images {
        let digest = name.rsplit_once('@').map_or("", |(_, digest)| digest);
        match shelf.read_back_at(record, image, digest) {
            Ok(_) => {}
            Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
            Err(error) => problems.push(format!("{name}: {error:#}")),
        }
    }
    Ok(problems)
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    Nobodys,
    Ours,
    Stale,
    SomebodyWhoDoesTheSame,
    SomebodyElses(String),
}

/// What is ours to do, or whose turn it is instead.
fn own_turn(
    service: &Service<'_>,
    name: &str,
    whose: Whose,
    environment: Option<&Environment>,
) -> Result<Turn, String> {
    let busy = environment.filter(|it| !it.is_ready() && !it.is_launching());
    match (whose, busy) {
        (Whose::Nobodys, Some(busy)) => Err(busy_problem(service, name, busy)),
        (Whose::Nobodys, None) => Ok(Turn::Free),
        (Whose::Ours, _) => Ok(Turn::Ours),
        (Whose::Stale, _) => Ok(Turn::Stale),
        (Whose::SomebodyElses(problem), _) => Err(problem),
        (Whose::SomebodyWhoDoesTheSame, _) => Err("somebody deploys this very release".into()),
    }
}

fn turn(ledger: &Ledger<'_>, label: &str, environment: Option<&Environment>) -> Whose {
    let Some(open) = ledger.log.open() else { return Whose::Nobodys };
    let updating = environment.is_some_and(Environment::is_updating);
    if open.label == label && open.owner == ledger.owner {
        return Whose::Ours;
    }
    if open.label == label && updating {
        return Whose::SomebodyWhoDoesTheSame;
    }
    if !updating && (open.owner == ledger.owner || open.expires < log::now()) {
        return Whose::Stale;
    }
    Whose::SomebodyElses(taken(ledger, open))
}

pub(crate) fn taken(ledger: &Ledger<'_>, open: &Deployment) -> String {
    format!(
        "{name} is being deployed: {} {}, by {} since {}; `cargo xtask deploy --attach --env \
         {name}` looks on, and `cargo xtask deploy --unlock --env {name}` gives it up (by itself \
         after {})",
        open.kind.verb(),
        open.version,
        open.by.name,
        open.begun,
        open.expires,
        name = ledger.environment,
    )
}

fn no_environment(service: &Service<'_>) -> String {
    let deployment::Target { account, region, application, environment } = &service.target;
    format!(
        "there is no environment {environment} of {application} in {region} of account {account}; \
         --create makes it"
    )
}

/// What a local environment has beside it. Nothing where what runs has to stay as it is: without
/// the secrets that its data know, it would be started again with others.
fn attached(
    ctx: &Ctx,
    service: &Service<'_>,
    bundle: &Bundle,
    values: &Variables,
    exists: bool,
) -> Option<Value> {
    let attached = bundle.attached.as_ref().filter(|_| service.local)?;
    let public = bundle.variables.iter().map(|(name, it)| (name.clone(), Secret::new(it)));
    let mut all = settings::defaults(&bundle.schema);
    all.extend(public);
    all.extend(values.clone());
    let missing = settings::missing(attached, &all);
    if exists && !missing.is_empty() {
        let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
        ctx.say(format_args!(
            "the attached services stay as they are: this checkout has no {}",
            missing.join(", ")
        ));
        return None;
    }
    Some(filled(attached, &all))
}

/// A definition with the values of `.env` in all its texts.
fn filled(value: &Value, values: &Variables) -> Value {
    match value {
        // Compose reads it once more.
        Value::String(text) => settings::fill(text, values).replace('$', "$$").into(),
        Value::Array(items) => items.iter().map(|it| filled(it, values)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, it)| (key.clone(), filled(it, values))).collect()
        }
        other => other.clone(),
    }
}

/// Under which name the service keeps the settings, and whether that is still to be done. Unchanged
/// ones are those of the deployment before.
pub(crate) fn template(
    service: &Service<'_>,
    ledger: &Ledger<'_>,
    wanted: &Properties,
    turn: &Turn,
) -> Result<(String, bool)> {
    let open = ledger.log.open().filter(|_| *turn == Turn::Ours);
    if let Some(current) = ledger.log.current()
        && let Some(kept) = service.kept(&current.settings.template)?
        && settings::agree(&kept, wanted)
    {
        return Ok((current.settings.template.clone(), false));
    }
    let number = open.map_or(ledger.next_number(), |open| open.number);
    Ok((format!("{}-deployment-{number}", service.target.environment), true))
}

/// What was begun here goes on as it was begun; with other settings it is another deployment.
pub(crate) fn still_ours(
    turn: Turn,
    ledger: &Ledger<'_>,
    settings: &deployment::Settings,
    environment: Option<&Environment>,
) -> Turn {
    let same = ledger.log.open().is_some_and(|open| open.settings == *settings);
    let updating = environment.is_some_and(Environment::is_updating);
    if turn == Turn::Ours && !same && !updating { Turn::Stale } else { turn }
}
