//! Environments: made, listed, described.

use super::versions;
use super::{Answer, Call, MOST_ENVIRONMENTS, applications, check_length, configuration, tags};
use crate::health;
use crate::platforms;
use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;
use crate::service::{Service, begin};
use crate::settings::{self, PROPERTIES};
use crate::state::{Address, Environment, Moment, Operation, State, Status, Work, names};

/// As every action shows it; more fields than the public model has are ignored by it.
pub(crate) fn node(service: &Service, environment: &Environment) -> Node {
    let seen = health::of(service, environment);
    let stack = platforms::of_arn(&environment.platform).map(platforms::Platform::stack);
    let red = crate::drills::is_red(service, &environment.name);
    let (color, level) = match red {
        true => ("Red", "Severe"),
        false => (seen.level.color(), seen.level.name()),
    };
    let name = environment.address.name();
    let updating = matches!(environment.status, Status::Updating);
    Fields::new()
        .with("EnvironmentName", environment.name.as_str())
        .with("EnvironmentId", environment.id.as_str())
        .with("ApplicationName", environment.application.as_str())
        .maybe("VersionLabel", environment.version.as_deref())
        .maybe("SolutionStackName", stack)
        .with("PlatformArn", environment.platform.as_str())
        .maybe("TemplateName", environment.template.as_deref())
        .with("Description", environment.description.as_str())
        .with("EndpointURL", name.as_str())
        .with("CNAME", name.as_str())
        .with("DateCreated", environment.created)
        .with("DateUpdated", environment.updated)
        .with("Status", status(environment.status))
        .with("AbortableOperationInProgress", updating)
        .with("Health", color)
        .with("HealthStatus", level)
        .with("Tier", tier())
        .list("EnvironmentLinks", std::iter::empty())
        .with("EnvironmentArn", names::environment_arn(environment))
        .into()
}

pub(super) fn tier() -> Fields {
    Fields::new().with("Name", "WebServer").with("Type", "Standard").with("Version", "1.0")
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Launching => "Launching",
        Status::Updating => "Updating",
        Status::Ready => "Ready",
        Status::Terminating => "Terminating",
        Status::Terminated => "Terminated",
    }
}

pub(super) fn describe(call: &Call<'_>) -> Answer {
    let query = call.query;
    let (ids, wanted) = (query.texts("EnvironmentIds"), query.texts("EnvironmentNames"));
    let application = query.text("ApplicationName");
    let version = query.text("VersionLabel");
    let deleted = query.flag("IncludeDeleted")?;
    let back_to = query.moment("IncludedDeletedBackTo")?.unwrap_or_default();
    let found: Vec<Environment> = call.service.read(|state| {
        let matches = |it: &&Environment| {
            let shown = it.status != Status::Terminated || deleted && it.updated >= back_to;
            shown
                && application.is_none_or(|name| name == it.application)
                && version.is_none_or(|label| it.version.as_deref() == Some(label))
                && (ids.is_empty() || ids.contains(&it.id))
                && (wanted.is_empty() || wanted.contains(&it.name))
        };
        state.environments.values().filter(matches).cloned().collect()
    });
    let nodes = found.iter().map(|it| node(call.service, it));
    Ok(Some(Fields::new().list("Environments", nodes).into()))
}

/// The environment that a call names, by identifier or name.
///
/// # Errors
///
/// When there is none, or the call names none.
pub(super) fn find(state: &State, query: &Query, prefix: &str) -> Result<Environment, Refusal> {
    let id = query.text(&format!("{prefix}EnvironmentId"));
    let name = query.text(&format!("{prefix}EnvironmentName"));
    let found = match (id, name) {
        (Some(id), _) => state.environments.get(id).cloned(),
        (None, Some(name)) => state.environment(name).cloned(),
        (None, None) => {
            return Err(Refusal {
                status: 400,
                code: "MissingParameter",
                message: "Either environment id or environment name must be specified.".into(),
            });
        }
    };
    found.ok_or_else(|| {
        let (kind, value) = match id {
            Some(id) => ("EnvironmentId", id),
            None => ("EnvironmentName", name.unwrap_or_default()),
        };
        Refusal::invalid(format!("No Environment found for {kind} = '{value}'."))
    })
}

/// # Errors
///
/// When something is being done to it, or it is gone.
pub(super) fn ready(environment: &Environment) -> Result<(), Refusal> {
    match environment.status {
        Status::Ready => Ok(()),
        _ => Err(Refusal::invalid(format!(
            "Environment named {} is in an invalid state for this operation. Must be Ready.",
            environment.name
        ))),
    }
}

fn taken(state: &State, prefix: &str) -> bool {
    let mut living = state.environments.values().filter(|it| it.status != Status::Terminated);
    living.any(|it| it.address.prefix == prefix)
}

fn valid_prefix(prefix: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    prefix.len() <= 63
        && prefix.chars().all(plain)
        && !prefix.starts_with('-')
        && !prefix.ends_with('-')
        && !prefix.is_empty()
}

pub(super) fn check_name(call: &Call<'_>) -> Answer {
    let prefix = call.query.required("CNAMEPrefix")?.to_ascii_lowercase();
    let free = call.service.read(|state| !taken(state, &prefix)) && valid_prefix(&prefix);
    let answer = Fields::new().with("Available", free);
    Ok(Some(answer.with("FullyQualifiedCNAME", format!("{prefix}.localhost")).into()))
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let (query, service) = (call.query, call.service);
    let application = query.required("ApplicationName")?;
    let id = names::environment();
    let name = query.text("EnvironmentName").unwrap_or(&id).to_owned();
    check_length("environmentName", &name, 4, 40)?;
    if !valid_prefix(&name) {
        return Err(Refusal::invalid(format!(
            "Value {name} at 'EnvironmentName' failed to satisfy constraint: Member must contain \
             only letters, digits, and the dash character and may not start or end with a dash"
        )));
    }
    // Before the state is locked; it is closed again when something is wrong.
    let port = service.doors.open(0).map_err(Refusal::from)?;
    let made = service.change(|draft| {
        let state = draft.state();
        if !state.applications.contains_key(application) {
            return Err(applications::missing(application));
        }
        if state.environment(&name).is_some() {
            return Err(Refusal::invalid(format!("Environment {name} already exists.")));
        }
        let living = state.environments.values().filter(|it| it.status != Status::Terminated);
        if living.count() >= MOST_ENVIRONMENTS {
            return Err(Refusal {
                status: 400,
                code: "TooManyEnvironmentsException",
                message: format!("You cannot have more than {MOST_ENVIRONMENTS} environments."),
            });
        }
        let mut environment = new(call, state, &id, &name)?;
        environment.address.port = port;
        let operation = Operation {
            request: call.request.to_owned(),
            started: Moment::now(),
            work: Work::Create,
        };
        let text = "createEnvironment is starting.".to_owned();
        begin(draft, environment, Status::Launching, operation, text);
        Ok(())
    });
    if let Err(refusal) = made {
        service.doors.close(port);
        return Err(refusal);
    }
    let answer = service.environment(&id).map(|it| node(service, &it));
    service.work(&id);
    Ok(answer)
}

/// What a call describes, with the weaker settings that it names.
fn new(call: &Call<'_>, state: &State, id: &str, name: &str) -> Result<Environment, Refusal> {
    let query = call.query;
    let application = query.required("ApplicationName")?;
    let source = configuration::source(call, state, application)?;
    let platform = match platforms::named(query)? {
        Some(platform) => platform.arn(call.region),
        None => source.platform.ok_or_else(|| {
            Refusal::invalid("Unable to determine base for template pack (no solution stack)")
        })?,
    };
    let mut settings = source.settings;
    settings::change(&mut settings, query)?;
    // An empty property is none when an environment is made.
    if let Some(properties) = settings.get_mut(PROPERTIES) {
        properties.retain(|_, value| !value.is_empty());
    }
    let version = query.text("VersionLabel").map(str::to_owned).or(source.version);
    if let Some(label) = &version {
        versions::find(state, application, label)?;
    }
    let prefix = query.text("CNAMEPrefix").unwrap_or(name).to_ascii_lowercase();
    if !valid_prefix(&prefix) || taken(state, &prefix) {
        let text = format!("DNS name ({prefix}.localhost) is not available.");
        return Err(Refusal::invalid(text));
    }
    let now = Moment::now();
    Ok(Environment {
        id: id.to_owned(),
        name: name.to_owned(),
        application: application.to_owned(),
        description: query.text("Description").unwrap_or_default().to_owned(),
        region: call.region.to_owned(),
        platform,
        version,
        template: query.text("TemplateName").map(str::to_owned),
        status: Status::Launching,
        address: Address { prefix, port: 0 },
        created: now,
        updated: now,
        settings,
        files: settings::Settings::new(),
        tags: tags::read(query, "Tags")?,
        instances: Vec::new(),
        deployment: 1,
        operation: None,
    })
}

pub(super) fn resources(call: &Call<'_>) -> Answer {
    let environment = call.service.read(|state| find(state, call.query, ""))?;
    let group = format!("awseb-{}-stack-AWSEBAutoScalingGroup", environment.id);
    let empty = std::iter::empty;
    let instances = environment.instances.iter();
    let resources = Fields::new()
        .with("EnvironmentName", environment.name.as_str())
        .list("AutoScalingGroups", std::iter::once(Fields::new().with("Name", group).into()))
        .list("Instances", instances.map(|it| Fields::new().with("Id", it.id.as_str()).into()))
        .list("LaunchConfigurations", empty())
        .list("LaunchTemplates", empty())
        // None, so that `eb` does not ask services that are not here.
        .list("LoadBalancers", empty())
        .list("Triggers", empty())
        .list("Queues", empty());
    Ok(Some(Fields::new().with("EnvironmentResources", resources).into()))
}
