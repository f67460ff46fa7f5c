//! What the service knows: applications, versions, environments, objects, events. Plain data; how
//! it outlives a crash is in [`log`].

pub(crate) mod log;
pub(crate) mod names;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// The account that owns everything: `eb` wants digits in an ARN.
pub(crate) const ACCOUNT: &str = "000000000000";

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn now() -> Moment {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Moment(since.unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX))
    }

    pub(crate) fn time(self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(self.0)
    }
}

impl std::fmt::Display for Moment {
    /// As the service writes it: `2026-11-21T08:22:29.748Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339_millis(self.time()).fmt(f)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) templates: BTreeMap<String, Template>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Which versions are deleted by themselves, and when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lifecycle {
    pub(crate) service_role: Option<String>,
    pub(crate) count: Rule,
    pub(crate) age_days: Rule,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) enabled: bool,
    pub(crate) limit: u32,
    pub(crate) delete_source: bool,
}

/// A saved configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) description: String,
    pub(crate) platform: String,
    pub(crate) settings: Settings,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) application: String,
    pub(crate) label: String,
    pub(crate) description: String,
    /// The sample application of the service has none.
    pub(crate) bundle: Option<Place>,
    pub(crate) status: String,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) place: Place,
    /// The file below `objects` that holds it.
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Launching,
    Updating,
    Ready,
    Terminating,
    Terminated,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) application: String,
    pub(crate) description: String,
    pub(crate) region: String,
    pub(crate) platform: String,
    /// What was deployed last with success.
    pub(crate) version: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) status: Status,
    pub(crate) address: Address,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    /// Set on the environment by a call.
    pub(crate) settings: Settings,
    /// Read in `.ebextensions` of the version.
    pub(crate) files: Settings,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) instances: Vec<Instance>,
    /// Counts deployments: the number of the last one.
    pub(crate) deployment: u64,
    pub(crate) operation: Option<Operation>,
}

impl Environment {
    pub(crate) fn instance_ids(&self) -> Vec<String> {
        self.instances.iter().map(|it| it.id.clone()).collect()
    }
}

/// What a browser types; two environments may exchange theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) prefix: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn name(&self) -> String {
        format!("{}.localhost:{}", self.prefix, self.port)
    }
}

/// A simulated machine: the containers of one bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) launched: Moment,
    pub(crate) version: Option<String>,
    pub(crate) deployment: u64,
    pub(crate) deployed: Moment,
    /// `Deployed`, `In Progress` or `Failed`.
    pub(crate) result: String,
    /// Takes part in the traffic.
    pub(crate) in_service: bool,
}

/// What is being done to an environment. It is done again from its beginning when the server was
/// killed meanwhile, so each step must bear to be repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) request: String,
    pub(crate) started: Moment,
    pub(crate) work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    Create,
    Rebuild,
    Update(Target),
    Restart,
    Terminate,
}

/// What an update leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) version: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) platform: String,
    pub(crate) template: Option<String>,
    /// The number of its deployment.
    pub(crate) deployment: u64,
    pub(crate) deploys: Deploys,
}

/// What of an update reaches the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deploys {
    /// A version, perhaps the same again, and settings with it.
    Version,
    Settings,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Severity {
    pub(crate) const ALL: [(&'static str, Severity); 6] = [
        ("TRACE", Severity::Trace),
        ("DEBUG", Severity::Debug),
        ("INFO", Severity::Info),
        ("WARN", Severity::Warn),
        ("ERROR", Severity::Error),
        ("FATAL", Severity::Fatal),
    ];

    pub(crate) fn name(self) -> &'static str {
        Severity::ALL
            .iter()
            .find(|(_, severity)| *severity == self)
            .map_or("INFO", |(name, _)| name)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) date: Moment,
    pub(crate) application: String,
    pub(crate) environment: Option<String>,
    pub(crate) environment_id: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) request: String,
    pub(crate) severity: Severity,
    pub(crate) message: String,
}

/// Everything, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) applications: BTreeMap<String, Application>,
    /// By application and label.
    pub(crate) versions: BTreeMap<(String, String), Version>,
    /// By identifier.
    pub(crate) environments: BTreeMap<String, Environment>,
    pub(crate) objects: BTreeMap<Place, Object>,
    /// Oldest first; no two have one date.
    pub(crate) events: Vec<Event>,
}

/// A line of the log is a list of these: all of them happen, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    Application(Application),
    NoApplication(String),
    Version(Version),
    NoVersion(String, String),
    Environment(Box<Environment>),
    NoEnvironment(String),
    Object(Object),
    NoObject(Place),
    Event(Event),
}

impl State {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Application(it) => drop(self.applications.insert(it.name.clone(), it)),
            Change::NoApplication(name) => {
                self.applications.remove(&name);
                self.versions.retain(|(application, _), _| *application != name);
            }
            Change::Version(it) => {
                self.versions.insert((it.application.clone(), it.label.clone()), it);
            }
            Change::NoVersion(application, label) => {
                self.versions.remove(&(application, label));
            }
            Change::Environment(it) => drop(self.environments.insert(it.id.clone(), *it)),
            Change::NoEnvironment(id) => drop(self.environments.remove(&id)),
            Change::Object(it) => drop(self.objects.insert(it.place.clone(), it)),
            Change::NoObject(place) => drop(self.objects.remove(&place)),
            Change::Event(event) => self.events.push(event),
        }
    }

    /// The changes that make this state out of an empty one.
    pub(crate) fn whole(&self) -> impl Iterator<Item = Change> {
        let applications = self.applications.values().cloned().map(Change::Application);
        let versions = self.versions.values().cloned().map(Change::Version);
        let environments =
            self.environments.values().cloned().map(|it| Change::Environment(Box::new(it)));
        let objects = self.objects.values().cloned().map(Change::Object);
        let events = self.events.iter().cloned().map(Change::Event);
        applications.chain(versions).chain(environments).chain(objects).chain(events)
    }

    /// The environment of this name that is not terminated.
    pub(crate) fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.values().find(|it| it.name == name && it.status != Status::Terminated)
    }
}
