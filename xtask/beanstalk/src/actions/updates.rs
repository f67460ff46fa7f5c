//! What changes an environment that is there.

use super::{Answer, Call, configuration, environments, versions};
use crate::platforms;
use crate::server::answer::Refusal;
use crate::service::{About, begin, locked};
use crate::settings::{self, PROPERTIES};
use crate::state::{Deploys, Environment, Moment, Operation, Severity, Status, Target, Work};

pub(super) fn update(call: &Call<'_>) -> Answer {
    let (query, service) = (call.query, call.service);
    let id = service.change(|draft| {
        let mut environment = environments::find(draft.state(), query, "")?;
        if query.text("ApplicationName").is_some_and(|name| name != environment.application) {
            return Err(super::applications::missing(
                query.text("ApplicationName").unwrap_or_default(),
            ));
        }
        environments::ready(&environment)?;
        let target = target(call, draft.state(), &environment)?;
        if let Some(description) = query.text("Description") {
            environment.description = description.to_owned();
        }
        let id = environment.id.clone();
        let operation = Operation {
            request: call.request.to_owned(),
            started: Moment::now(),
            work: Work::Update(target),
        };
        let text = "Environment update is starting.".to_owned();
        begin(draft, environment, Status::Updating, operation, text);
        Ok(id)
    })?;
    let answer = service.environment(&id).map(|it| environments::node(service, &it));
    service.work(&id);
    Ok(answer)
}

fn target(
    call: &Call<'_>,
    state: &crate::state::State,
    environment: &Environment,
) -> Result<Target, Refusal> {
    let query = call.query;
    let version = query.text("VersionLabel");
    if let Some(label) = version {
        versions::find(state, &environment.application, label)?;
    }
    let source = configuration::source(call, state, &environment.application)?;
    let mut settings = environment.settings.clone();
    settings::merge(&mut settings, &source.settings);
    settings::change(&mut settings, query)?;
    let named = platforms::named(query)?.map(|it| it.arn(call.region));
    let platform = named.or(source.platform).unwrap_or_else(|| environment.platform.clone());
    let of = |settings: &settings::Settings| settings.get(PROPERTIES).cloned().unwrap_or_default();
    let deploys = match version {
        Some(_) => Deploys::Version,
        None if platform != environment.platform => Deploys::Version,
        None if of(&settings) != of(&environment.settings) => Deploys::Settings,
        None => Deploys::Nothing,
    };
    Ok(Target {
        version: version.map(str::to_owned).or_else(|| environment.version.clone()),
        settings,
        platform,
        template: query
            .text("TemplateName")
            .map(str::to_owned)
            .or_else(|| environment.template.clone()),
        deployment: environment.deployment + u64::from(deploys != Deploys::Nothing),
        deploys,
    })
}

pub(super) fn abort(call: &Call<'_>) -> Answer {
    let service = call.service;
    let query = call.query;
    let given_up = service.change(|draft| {
        let named = query.text("EnvironmentId").or(query.text("EnvironmentName")).is_some();
        let environment = match named {
            true => environments::find(draft.state(), query, "")?,
            false => {
                let mut all = draft.state().environments.values();
                let found = all.find(|it| it.status == Status::Updating).cloned();
                found.ok_or_else(|| Refusal::invalid("No environment is being updated."))?
            }
        };
        let name = &environment.name;
        let Some(operation) = &environment.operation else {
            return Err(not_updating(name));
        };
        if environment.status != Status::Updating {
            return Err(not_updating(name));
        }
        let about = About::environment(&environment, &operation.request);
        let text = "Environment update is aborting.".to_owned();
        draft.event(&about, Severity::Info, text);
        Ok(environment.id)
    })?;
    locked(&service.aborts).insert(given_up);
    Ok(None)
}

fn not_updating(name: &str) -> Refusal {
    Refusal::invalid(format!(
        "Environment named {name} is in an invalid state for this operation. Must be Updating."
    ))
}

pub(super) fn terminate(call: &Call<'_>) -> Answer {
    let service = call.service;
    let id = start(call, Work::Terminate, Status::Terminating, "terminateEnvironment")?;
    let answer = service.environment(&id).map(|it| environments::node(service, &it));
    service.work(&id);
    Ok(answer)
}

pub(super) fn restart(call: &Call<'_>) -> Answer {
    let id = start(call, Work::Restart, Status::Updating, "restartAppServer")?;
    call.service.work(&id);
    Ok(None)
}

fn start(call: &Call<'_>, work: Work, status: Status, action: &str) -> Result<String, Refusal> {
    call.service.change(|draft| {
        let environment = environments::find(draft.state(), call.query, "")?;
        environments::ready(&environment)?;
        let id = environment.id.clone();
        let operation =
            Operation { request: call.request.to_owned(), started: Moment::now(), work };
        begin(draft, environment, status, operation, format!("{action} is starting."));
        Ok(id)
    })
}

/// A terminated environment comes back, one that runs is made anew.
pub(super) fn rebuild(call: &Call<'_>) -> Answer {
    let service = call.service;
    let id = service.change(|draft| {
        let mut environment = environments::find(draft.state(), call.query, "")?;
        if environment.status != Status::Terminated {
            environments::ready(&environment)?;
        }
        let state = draft.state();
        let name = environment.name.clone();
        if environment.status == Status::Terminated && state.environment(&name).is_some() {
            return Err(Refusal::invalid(format!("Environment {name} already exists.")));
        }
        if let Some(label) = &environment.version {
            versions::find(state, &environment.application, label)?;
        }
        let mut living = state.environments.values().filter(|it| it.status != Status::Terminated);
        let same = |it: &Environment| {
            it.id != environment.id && it.address.prefix == environment.address.prefix
        };
        if living.any(same) {
            let prefix = &environment.address.prefix;
            let text = format!("DNS name ({prefix}.localhost) is not available.");
            return Err(Refusal::invalid(text));
        }
        let door = service.doors.open(environment.address.port);
        environment.address.port = match door {
            Ok(port) => port,
            Err(_) => service.doors.open(0)?,
        };
        let id = environment.id.clone();
        let operation = Operation {
            request: call.request.to_owned(),
            started: Moment::now(),
            work: Work::Rebuild,
        };
        let text = "rebuildEnvironment is starting.".to_owned();
        begin(draft, environment, Status::Launching, operation, text);
        Ok(id)
    })?;
    service.work(&id);
    Ok(None)
}

/// The addresses of two environments are exchanged, in one step.
pub(super) fn swap(call: &Call<'_>) -> Answer {
    let service = call.service;
    service.change(|draft| {
        let mut one = environments::find(draft.state(), call.query, "Source")?;
        let mut other = environments::find(draft.state(), call.query, "Destination")?;
        environments::ready(&one)?;
        environments::ready(&other)?;
        if one.id == other.id || one.application != other.application {
            return Err(Refusal::invalid(
                "The source and the destination must be two environments of one application.",
            ));
        }
        let text = "swapEnvironmentCNAMEs is starting.".to_owned();
        draft.event(&About::environment(&one, call.request), Severity::Info, text);
        std::mem::swap(&mut one.address, &mut other.address);
        let now = Moment::now();
        (one.updated, other.updated) = (now, now);
        // Before anybody can read that it happened.
        service.point(&one);
        service.point(&other);
        let text = format!(
            "Completed swapping CNAMEs for environments '{}' and '{}'.",
            one.name, other.name
        );
        let (about, about_other) =
            (About::environment(&one, call.request), About::environment(&other, call.request));
        draft.environment(one);
        draft.environment(other);
        draft.event(&about, Severity::Info, text.clone());
        draft.event(&about_other, Severity::Info, text);
        Ok(())
    })?;
    Ok(None)
}
