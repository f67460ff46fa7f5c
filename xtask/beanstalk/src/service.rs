//! The service: the state behind one lock, and the workers that change what runs.
//!
//! A call reads or makes one transaction and returns; what takes time is an [`Operation`] of an
//! environment, done by a thread of its own. Nobody holds the lock while docker works.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::door::Doors;
use crate::drills::Drills;
use crate::engine::Engine;
use crate::health::Seen;
use crate::operations;
use crate::server::answer::Refusal;
use crate::state::log::Log;
use crate::state::{Change, Environment, Event, Instance, Operation, Severity, State, Status};

/// How the server was started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) region: String,
    /// How long an instance may take until it answers on its health path.
    pub(crate) patience: Duration,
    /// A compose file of services that live outside the bundles, one set an environment.
    pub(crate) attached: Option<PathBuf>,
    /// What hooks and commands run in.
    pub(crate) instance_image: String,
    /// How long a minute of `EvaluationTime` lasts.
    pub(crate) minute: Duration,
}

pub(crate) struct Service {
    log: Mutex<Log>,
    pub(crate) directory: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) doors: Doors,
    pub(crate) options: Options,
    pub(crate) drills: Mutex<Drills>,
    /// What the health monitor saw last, by environment.
    pub(crate) seen: Mutex<BTreeMap<String, Seen>>,
    /// Environments whose update is to be given up.
    pub(crate) aborts: Mutex<BTreeSet<String>>,
    /// Logs that were asked for: environment and kind.
    pub(crate) logs: Mutex<BTreeMap<(String, String), Vec<crate::logs::Sample>>>,
}

/// A lock whose holder panicked holds data that was whole before each change.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transaction that is being made: nothing of it happened yet.
pub(crate) struct Draft<'a> {
    log: &'a mut Log,
    changes: Vec<Change>,
}

impl Draft<'_> {
    /// As it was before the transaction.
    pub(crate) fn state(&self) -> &State {
        &self.log.state
    }

    pub(crate) fn put(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(crate) fn environment(&mut self, environment: Environment) {
        self.changes.push(Change::Environment(Box::new(environment)));
    }

    pub(crate) fn event(&mut self, about: &About, severity: Severity, message: String) {
        let date = self.log.next_event();
        let About { application, environment, version, request, platform } = about.clone();
        let (environment_id, environment) = environment.unzip();
        self.changes.push(Change::Event(Event {
            date,
            application,
            environment,
            environment_id,
            version,
            template: None,
            platform,
            request,
            severity,
            message,
        }));
    }
}

/// What an event is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) application: String,
    /// Identifier and name.
    pub(crate) environment: Option<(String, String)>,
    pub(crate) version: Option<String>,
    pub(crate) request: String,
    pub(crate) platform: Option<String>,
}

impl About {
    pub(crate) fn environment(environment: &Environment, request: &str) -> About {
        About {
            application: environment.application.clone(),
            environment: Some((environment.id.clone(), environment.name.clone())),
            version: None,
            request: request.to_owned(),
            platform: Some(environment.platform.clone()),
        }
    }
}

impl Service {
    pub(crate) fn new(
        log: Log,
        directory: PathBuf,
        engine: Engine,
        doors: Doors,
        options: Options,
    ) -> Service {
        Service {
            log: Mutex::new(log),
            directory,
            engine,
            doors,
            options,
            drills: Mutex::default(),
            seen: Mutex::default(),
            aborts: Mutex::default(),
            logs: Mutex::default(),
        }
    }

    pub(crate) fn read<T>(&self, question: impl FnOnce(&State) -> T) -> T {
        question(&locked(&self.log).state)
    }

    /// One transaction: all that the function put into the draft, or nothing when it refuses.
    pub(crate) fn change<T>(
        &self,
        make: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut log = locked(&self.log);
        let mut draft = Draft { log: &mut log, changes: Vec::new() };
        let made = make(&mut draft)?;
        let changes = draft.changes;
        if !changes.is_empty() {
            log.commit(changes)?;
        }
        Ok(made)
    }

    pub(crate) fn environment(&self, id: &str) -> Option<Environment> {
        self.read(|state| state.environments.get(id).cloned())
    }

    /// Changes an environment that is there; what is gone stays gone.
    pub(crate) fn update(&self, id: &str, make: impl FnOnce(&mut Environment)) -> Result<()> {
        self.change(|draft| {
            if let Some(mut environment) = draft.state().environments.get(id).cloned() {
                make(&mut environment);
                draft.environment(environment);
            }
            Ok(())
        })
        .map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    pub(crate) fn update_instance(
        &self,
        environment: &str,
        instance: &str,
        make: impl FnOnce(&mut Instance),
    ) -> Result<()> {
        self.update(environment, |environment| {
            let mut instances = environment.instances.iter_mut();
            if let Some(instance) = instances.find(|it| it.id == instance) {
                make(instance);
            }
        })
    }

    pub(crate) fn tell(&self, about: &About, severity: Severity, message: String) -> Result<()> {
        self.change(|draft| {
            draft.event(about, severity, message);
            Ok(())
        })
        .map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    /// Does the operation of an environment, in a thread of its own.
    pub(crate) fn work(self: &Arc<Self>, id: &str) {
        let (service, id) = (Arc::clone(self), id.to_owned());
        std::thread::spawn(move || operations::run(&service, &id));
    }

    /// Where traffic to an environment goes, as it should be now.
    pub(crate) fn point(&self, environment: &Environment) {
        let gone = environment.status == Status::Terminated;
        let ports: Vec<u16> = environment
            .instances
            .iter()
            .filter(|instance| instance.in_service)
            .filter_map(|instance| self.doors.instance(&instance.id))
            .collect();
        match gone {
            true => self.doors.close(environment.address.port),
            false => self.doors.point(environment.address.port, &ports),
        }
    }

    pub(crate) fn instance_directory(&self, instance: &str) -> PathBuf {
        self.directory.join("instances").join(instance)
    }
}

/// The environment begins an operation: everything that says so, in one transaction.
pub(crate) fn begin(
    draft: &mut Draft<'_>,
    mut environment: Environment,
    status: Status,
    operation: Operation,
    message: String,
) {
    let about = About::environment(&environment, &operation.request);
    environment.status = status;
    environment.updated = crate::state::Moment::now();
    environment.operation = Some(operation);
    draft.environment(environment);
    draft.event(&about, Severity::Info, message);
}
