//! Applications.

use super::{Answer, Call, MOST_APPLICATIONS, check_length, tags};
use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;
use crate::service::{About, begin};
use crate::state::{
    Application, Change, Lifecycle, Moment, Operation, Rule, Severity, State, Status, Work,
};

pub(super) fn describe(call: &Call<'_>) -> Answer {
    let names = call.query.texts("ApplicationNames");
    call.service.read(|state| {
        let wanted = |it: &&Application| names.is_empty() || names.contains(&it.name);
        let found = state.applications.values().filter(wanted);
        let nodes: Vec<Node> = found.map(|it| node(state, it)).collect();
        Ok(Some(Fields::new().list("Applications", nodes.into_iter()).into()))
    })
}

fn node(state: &State, application: &Application) -> Node {
    let from = (application.name.clone(), String::new());
    let versions = state.versions.range(from..);
    let own = versions.take_while(|((name, _), _)| *name == application.name);
    let mut own: Vec<_> = own.map(|(_, version)| version).collect();
    own.sort_by_key(|version| std::cmp::Reverse(version.created));
    Fields::new()
        .with("ApplicationName", application.name.as_str())
        .with("Description", application.description.as_str())
        .with("DateCreated", application.created)
        .with("DateUpdated", application.updated)
        .list("Versions", own.iter().map(|version| version.label.as_str().into()))
        .list("ConfigurationTemplates", application.templates.keys().map(|it| it.as_str().into()))
        .with("ResourceLifecycleConfig", lifecycle_node(&application.lifecycle))
        .into()
}

fn lifecycle_node(lifecycle: &Lifecycle) -> Fields {
    let rule = |rule: &Rule, name: &'static str, default: u32| {
        let limit = if rule.limit == 0 { default } else { rule.limit };
        Fields::new()
            .with("Enabled", rule.enabled)
            .with(name, limit.to_string())
            .with("DeleteSourceFromS3", rule.delete_source)
    };
    Fields::new().maybe("ServiceRole", lifecycle.service_role.as_deref()).with(
        "VersionLifecycleConfig",
        Fields::new()
            .with("MaxCountRule", rule(&lifecycle.count, "MaxCount", 200))
            .with("MaxAgeRule", rule(&lifecycle.age_days, "MaxAgeInDays", 180)),
    )
}

fn lifecycle(query: &Query) -> Result<Lifecycle, Refusal> {
    let rule = |name: &str, limit: &str| -> Result<Rule, Refusal> {
        let rule = query.inner("VersionLifecycleConfig").inner(name);
        Ok(Rule {
            enabled: rule.flag("Enabled")?,
            limit: rule.number(limit, 1_000_000)?.unwrap_or(0) as u32,
            delete_source: rule.flag("DeleteSourceFromS3")?,
        })
    };
    Ok(Lifecycle {
        service_role: query.text("ServiceRole").map(str::to_owned),
        count: rule("MaxCountRule", "MaxCount")?,
        age_days: rule("MaxAgeRule", "MaxAgeInDays")?,
    })
}

pub(crate) fn missing(name: &str) -> Refusal {
    Refusal::invalid(format!("No Application named '{name}' found."))
}

/// A new application; refused when there are too many.
pub(super) fn new(state: &State, name: &str, description: &str) -> Result<Application, Refusal> {
    check_length("applicationName", name, 1, 100)?;
    if state.applications.len() >= MOST_APPLICATIONS {
        return Err(Refusal {
            status: 400,
            code: "TooManyApplicationsException",
            message: format!("You cannot have more than {MOST_APPLICATIONS} Applications."),
        });
    }
    let now = Moment::now();
    Ok(Application {
        name: name.to_owned(),
        description: description.to_owned(),
        created: now,
        updated: now,
        ..Application::default()
    })
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let name = call.query.required("ApplicationName")?;
    call.service.change(|draft| {
        if draft.state().applications.contains_key(name) {
            return Err(Refusal::invalid(format!("Application {name} already exists.")));
        }
        let description = call.query.text("Description").unwrap_or_default();
        let mut application = new(draft.state(), name, description)?;
        application.tags = tags::read(call.query, "Tags")?;
        application.lifecycle = lifecycle(&call.query.inner("ResourceLifecycleConfig"))?;
        let answer = Fields::new().with("Application", node(draft.state(), &application));
        draft.put(Change::Application(application));
        Ok(Some(answer.into()))
    })
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let name = call.query.required("ApplicationName")?;
    call.service.change(|draft| {
        let found = draft.state().applications.get(name).cloned();
        let mut application = found.ok_or_else(|| missing(name))?;
        if let Some(description) = call.query.text("Description") {
            application.description = description.to_owned();
        }
        application.updated = Moment::now();
        let answer = Fields::new().with("Application", node(draft.state(), &application));
        draft.put(Change::Application(application));
        Ok(Some(answer.into()))
    })
}

pub(super) fn update_lifecycle(call: &Call<'_>) -> Answer {
    let name = call.query.required("ApplicationName")?;
    let new = lifecycle(&call.query.inner("ResourceLifecycleConfig"))?;
    call.service.change(|draft| {
        let found = draft.state().applications.get(name).cloned();
        let mut application = found.ok_or_else(|| missing(name))?;
        application.lifecycle = new;
        let answer = Fields::new()
            .with("ApplicationName", name)
            .with("ResourceLifecycleConfig", lifecycle_node(&application.lifecycle));
        draft.put(Change::Application(application));
        Ok(Some(answer.into()))
    })
}

/// Deletes it with its versions; its environments end first, when they may.
pub(super) fn delete(call: &Call<'_>) -> Answer {
    let name = call.query.required("ApplicationName")?;
    let force = call.query.flag("TerminateEnvByForce")?;
    let living = call.service.change(|draft| {
        if !draft.state().applications.contains_key(name) {
            return Err(missing(name));
        }
        let of_it = draft.state().environments.values().filter(|it| it.application == name);
        let living: Vec<_> = of_it.filter(|it| it.status != Status::Terminated).cloned().collect();
        if !living.is_empty() && !force {
            return Err(Refusal {
                status: 400,
                code: "OperationInProgressFailure",
                message: format!(
                    "Unable to delete application {name} because it has running environments."
                ),
            });
        }
        let about = About {
            application: name.to_owned(),
            request: call.request.to_owned(),
            ..About::default()
        };
        let text = "deleteApplication is starting.".to_owned();
        draft.event(&about, Severity::Info, text);
        for environment in &living {
            let operation =
                Operation { request: String::new(), started: Moment::now(), work: Work::Terminate };
            let text = "terminateEnvironment is starting.".to_owned();
            begin(draft, environment.clone(), Status::Terminating, operation, text);
        }
        if living.is_empty() {
            draft.put(Change::NoApplication(name.to_owned()));
            let text = "The application has been deleted successfully.".to_owned();
            draft.event(&about, Severity::Info, text);
        }
        Ok(living)
    })?;
    if !living.is_empty() {
        finish_deletion(call, name, living.into_iter().map(|it| it.id).collect());
    }
    Ok(None)
}

/// The last event comes when the last environment is gone.
fn finish_deletion(call: &Call<'_>, name: &str, ids: Vec<String>) {
    for id in &ids {
        call.service.work(id);
    }
    let (service, request) = (std::sync::Arc::clone(call.service), call.request.to_owned());
    let name = name.to_owned();
    std::thread::spawn(move || {
        let living = || {
            service.read(|state| {
                let mut all = ids.iter().filter_map(|id| state.environments.get(id));
                all.any(|it| it.status != Status::Terminated)
            })
        };
        while living() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let about = About { application: name.clone(), request, ..About::default() };
        let done = service.change(|draft| {
            draft.put(Change::NoApplication(name));
            let text = "The application has been deleted successfully.".to_owned();
            draft.event(&about, Severity::Info, text);
            Ok(())
        });
        drop(done);
    });
}
