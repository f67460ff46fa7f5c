//! How the environments are: containers and the health path, asked again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::door::SAMPLE;
use crate::engine::Container;
use crate::operations::{Started, start_again};
use crate::service::{About, Service, locked};
use crate::settings::{self, APPLICATION, PROCESS, Settings};
use crate::state::{Environment, Instance, Moment, Severity, Status};

/// How often everything is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// The colours of the service, each with its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Unknown,
    Ok,
    Info,
    Pending,
    Warning,
    Degraded,
    Severe,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Unknown => "Unknown",
            Level::Ok => "Ok",
            Level::Info => "Info",
            Level::Pending => "Pending",
            Level::Warning => "Warning",
            Level::Degraded => "Degraded",
            Level::Severe => "Severe",
        }
    }

    pub(crate) fn color(self) -> &'static str {
        match self {
            Level::Ok | Level::Info => "Green",
            Level::Warning => "Yellow",
            Level::Degraded | Level::Severe => "Red",
            Level::Unknown | Level::Pending => "Grey",
        }
    }
}

/// What was seen of an environment last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) level: Level,
    pub(crate) causes: Vec<String>,
    pub(crate) at: Moment,
    pub(crate) instances: BTreeMap<String, (Level, Vec<String>)>,
}

/// Asks for ever; ends with the process.
pub(crate) fn watch(service: &Arc<Service>) {
    let mut started = Started::new();
    loop {
        std::thread::sleep(PERIOD);
        // Docker that does not answer is no news about an app.
        if let Ok(containers) = service.engine.containers() {
            let environments = look(service, &containers);
            start_again(service, &environments, &containers, &mut started);
        }
    }
}

fn look(service: &Arc<Service>, containers: &[Container]) -> Vec<Environment> {
    let environments: Vec<Environment> = service.read(|state| {
        let living = state.environments.values().filter(|it| it.status != Status::Terminated);
        living.cloned().collect()
    });
    // One that takes its time must not make the others wait.
    std::thread::scope(|scope| {
        for environment in &environments {
            scope.spawn(|| {
                let seen = see(service, environment, containers);
                remember(service, &environment.id, seen);
            });
        }
    });
    environments
}

fn see(service: &Service, environment: &Environment, containers: &[Container]) -> Seen {
    let settings = settings::effective(&environment.files, &environment.settings);
    let check = Check::of(&settings);
    let mut seen = Seen { at: Moment::now(), ..Seen::default() };
    for instance in &environment.instances {
        let own = containers.iter().filter(|it| it.instance == instance.id);
        let own: Vec<&Container> = own.collect();
        let state = state(service, environment, instance, &own, &check);
        seen.instances.insert(instance.id.clone(), state);
    }
    let levels: Vec<Level> = seen.instances.values().map(|(level, _)| *level).collect();
    let worst = overall(&levels);
    let (count, mut causes) = (seen.instances.len(), Vec::new());
    for (_, instance_causes) in seen.instances.values() {
        for cause in instance_causes {
            if !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
    }
    seen.level = match environment.status {
        Status::Launching if worst != Some(Level::Ok) => Level::Pending,
        Status::Updating => Level::Info.max(worst.unwrap_or_default()),
        Status::Ready if count == 0 => Level::Severe,
        _ => worst.unwrap_or_default(),
    };
    if environment.status == Status::Ready && count == 0 {
        causes.push("There are no instances. Auto Scaling group desired capacity is zero.".into());
    }
    let expected = environment.version.as_deref().unwrap_or_default();
    let wrong =
        environment.instances.iter().filter(|it| it.version.as_deref() != Some(expected)).count();
    if environment.status == Status::Ready && wrong > 0 && count > 0 {
        let of = if wrong == count { "all".into() } else { format!("{wrong} out of {count}") };
        causes.push(format!(
            "Incorrect application version found on {of} instances. Expected version \
             \"{expected}\" (deployment {}).",
            environment.deployment
        ));
        seen.level = seen.level.max(Level::Degraded);
    }
    seen.causes = causes;
    seen
}

/// All bad is severe, a few of many are a warning.
fn overall(levels: &[Level]) -> Option<Level> {
    let bad = levels.iter().filter(|level| **level >= Level::Degraded).count();
    match levels.iter().max() {
        Some(Level::Severe) if bad == levels.len() => Some(Level::Severe),
        Some(Level::Severe) if bad * 4 > levels.len() => Some(Level::Degraded),
        Some(Level::Severe) => Some(Level::Warning),
        other => other.copied(),
    }
}

fn state(
    service: &Service,
    environment: &Environment,
    instance: &Instance,
    own: &[&Container],
    check: &Check,
) -> (Level, Vec<String>) {
    let port = service.doors.instance(&instance.id);
    if port == Some(SAMPLE) {
        return (Level::Ok, Vec::new());
    }
    if instance.result == "In Progress" && environment.status != Status::Ready {
        return (Level::Pending, Vec::new());
    }
    if own.is_empty() {
        return (Level::Severe, vec!["None of the containers is running.".to_owned()]);
    }
    let ended = own.iter().find(|it| !it.running && (it.restarting || it.exit_code != 0));
    if let Some(container) = ended {
        return (
            Level::Severe,
            vec![format!(
                "Container {} is not running (exit code {}).",
                container.service, container.exit_code
            )],
        );
    }
    let Some(port) = port else {
        let text = format!("No container of the instance answers on port {}.", check.port);
        return (Level::Severe, vec![text]);
    };
    match check.ask(port) {
        Ok(()) => (Level::Ok, Vec::new()),
        Err(problem) => (Level::Severe, vec![format!("{problem} (process default).")]),
    }
}

/// Events tell of changes, and of the causes of the new state.
fn remember(service: &Service, id: &str, seen: Seen) {
    let before = locked(&service.seen).insert(id.to_owned(), seen.clone()).unwrap_or_default();
    let Some(environment) = service.environment(id) else { return };
    let first = before.at == Moment::default();
    if first || before.level == seen.level || environment.status != Status::Ready {
        return;
    }
    let severity = match seen.level {
        Level::Severe | Level::Degraded | Level::Warning => Severity::Warn,
        _ => Severity::Info,
    };
    let causes = seen.causes.join(" ");
    let (from, to) = (before.level.name(), seen.level.name());
    let message = format!("Environment health has transitioned from {from} to {to}. {causes}");
    service.tell(&About::environment(&environment, ""), severity, message.trim().to_owned()).ok();
}

/// The state, with the latest knowledge, of an environment that nobody has looked at yet.
pub(crate) fn of(service: &Service, environment: &Environment) -> Seen {
    if environment.status == Status::Terminated {
        return Seen { at: environment.updated, ..Seen::default() };
    }
    let mut seen = locked(&service.seen).get(&environment.id).cloned().unwrap_or_default();
    if seen.at == Moment::default() {
        seen.at = environment.updated;
        seen.level = Level::Pending;
    }
    seen
}

/// Called when an operation ended, so that its end and the health it led to are seen together.
pub(crate) fn refresh(service: &Service, environment: &Environment) -> Result<Level> {
    let containers = service.engine.containers()?;
    let seen = see(service, environment, &containers);
    let level = seen.level;
    locked(&service.seen).insert(environment.id.clone(), seen);
    Ok(level)
}

/// How the load balancer asks an instance.
pub(crate) struct Check {
    pub(crate) port: u16,
    path: String,
    codes: Vec<(u16, u16)>,
    timeout: Duration,
}

impl Check {
    pub(crate) fn of(settings: &Settings) -> Check {
        let older = settings::get(settings, APPLICATION, "Application Healthcheck URL");
        let older = older.split_once(":80").map_or(older, |(_, path)| path);
        let path = settings::get(settings, PROCESS, "HealthCheckPath");
        let path = if path == "/" && older.starts_with('/') { older } else { path };
        let matcher = settings::get(settings, PROCESS, "MatcherHTTPCode");
        let codes = matcher.split(',').filter_map(|part| {
            let (from, to) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            Some((from.parse().ok()?, to.parse().ok()?))
        });
        let codes: Vec<(u16, u16)> = codes.collect();
        let seconds = settings::number(settings, PROCESS, "HealthCheckTimeout").clamp(1, 60);
        let port = settings::number(settings, PROCESS, "Port");
        Check {
            port: u16::try_from(port).unwrap_or(80),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            codes: if codes.is_empty() { vec![(200, 200)] } else { codes },
            timeout: Duration::from_secs(seconds),
        }
    }

    /// # Errors
    ///
    /// What is wrong, in a sentence without its full stop.
    pub(crate) fn ask(&self, port: u16) -> Result<(), String> {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent("ELB-HealthChecker/2.0")
            .build()
            .new_agent();
        let url = format!("http://127.0.0.1:{port}{}", self.path);
        match agent.get(&url).call() {
            Ok(answer) => {
                let code = answer.status().as_u16();
                if self.codes.iter().any(|(from, to)| (*from..=*to).contains(&code)) {
                    return Ok(());
                }
                Err(format!("The health path {} answers {code}", self.path))
            }
            Err(error) => Err(format!("The health path {} does not answer: {error}", self.path)),
        }
    }
}
