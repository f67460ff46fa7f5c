//! What takes time: the operations of an environment, from their first event to their last.
//!
//! An operation is found in the state and done from its beginning, whether a call just began it
//! or the server was killed in its middle: each step looks at what is there. Its last transaction
//! makes the new state, ends the operation and tells so, all at once: no event precedes its fact.

mod attached;
mod hooks;
mod instance;
mod policies;
mod task;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use instance::{SAMPLE_VERSION, logs_of};
pub(crate) use task::{Started, start_again};

use crate::health;
use crate::platforms::{self, Kind};
use crate::service::{About, Service, locked};
use crate::settings::{self, PROCESS, Settings};
use crate::stack;
use crate::state::{Deploys, Environment, Instance, Moment, Severity, Status, Work, names};

/// One operation while it is done.
pub(crate) struct Job<'a> {
    pub(crate) service: &'a Arc<Service>,
    pub(crate) id: String,
    request: String,
}

/// What instances are to run.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) version: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) deployment: u64,
    pub(crate) kind: Kind,
    /// Which hooks run: those of a deployment, or of a change of settings.
    pub(crate) deploys: Deploys,
}

/// Does what the environment's operation says.
pub(crate) fn run(service: &Arc<Service>, id: &str) {
    let Some(environment) = service.environment(id) else { return };
    let Some(operation) = environment.operation.clone() else { return };
    let job = Job { service, id: id.to_owned(), request: operation.request };
    let done = match &operation.work {
        Work::Create | Work::Rebuild => job.create(),
        Work::Update(target) => job.update(target),
        Work::Restart => job.restart(),
        Work::Terminate => job.terminate(),
    };
    if let Err(error) = done {
        // The disk or docker: the environment must not stay in the middle for ever.
        let message = format!("Internal failure on this machine: {error:#}");
        let mut end = vec![(Severity::Error, message)];
        end.push((Severity::Error, "Failed to deploy application.".to_owned()));
        job.finish(end, |environment| {
            if environment.status != Status::Terminated {
                environment.status = Status::Ready;
            }
        })
        .ok();
    }
    locked(&service.aborts).remove(id);
}

impl Job<'_> {
    /// As it is now.
    pub(crate) fn environment(&self) -> Result<Environment> {
        match self.service.environment(&self.id) {
            Some(environment) => Ok(environment),
            None => bail!("the environment is gone"),
        }
    }

    pub(crate) fn about(&self) -> Result<About> {
        Ok(About::environment(&self.environment()?, &self.request))
    }

    /// Tells it, unless it was told before the server was killed.
    pub(crate) fn tell(&self, severity: Severity, message: impl Into<String>) -> Result<()> {
        let (message, about) = (message.into(), self.about()?);
        let request = &self.request;
        let told = self.service.read(|state| {
            let own = state.events.iter().rev().filter(|event| event.request == *request);
            own.take(200).any(|event| event.message == message)
        });
        if told { Ok(()) } else { self.service.tell(&about, severity, message) }
    }

    /// The end: events and the new state in one transaction.
    fn finish(
        &self,
        events: Vec<(Severity, String)>,
        make: impl FnOnce(&mut Environment),
    ) -> Result<()> {
        self.service
            .change(|draft| {
                let Some(mut environment) = draft.state().environments.get(&self.id).cloned()
                else {
                    return Ok(());
                };
                make(&mut environment);
                environment.operation = None;
                environment.updated = Moment::now();
                let about = About::environment(&environment, &self.request);
                draft.environment(environment);
                for (severity, message) in events {
                    draft.event(&about, severity, message);
                }
                Ok(())
            })
            .map_err(|refusal| anyhow::anyhow!(refusal.message))
    }

    pub(crate) fn aborted(&self) -> bool {
        locked(&self.service.aborts).contains(&self.id)
    }

    /// What the environment should run when nothing changes.
    fn present(&self, environment: &Environment) -> Result<Wanted> {
        Ok(Wanted {
            version: environment.version.clone(),
            settings: environment.settings.clone(),
            deployment: environment.deployment.max(1),
            kind: kind(&environment.platform)?,
            deploys: Deploys::Version,
        })
    }

    fn create(&self) -> Result<()> {
        let environment = self.environment()?;
        let started = Instant::now();
        let bucket = names::bucket(&environment.region);
        self.tell(
            Severity::Info,
            format!("Using {bucket} as Amazon S3 storage bucket for environment data."),
        )?;
        attached::start(self)?;
        self.tell(
            Severity::Info,
            "Waiting for EC2 instances to launch. This may take a few minutes.",
        )?;
        let wanted = self.present(&environment)?;
        let files = match instance::files(self, &wanted) {
            Ok(files) => files,
            Err(error) => return self.create_failed(&[format!("{error:#}")]),
        };
        self.service.update(&self.id, |it| it.files = files.clone())?;
        let count = settings::instances(&settings::effective(&files, &wanted.settings));
        let there = environment.instances.len();
        let ids = self.launch(count.saturating_sub(there), &wanted)?;
        let all = [environment.instance_ids(), ids].concat();
        let problems = instance::deploy_all(self, &all, &wanted)?;
        if !problems.is_empty() {
            return self.create_failed(&problems);
        }
        self.put_in_service(&all)?;
        let mut after = self.environment()?;
        after.status = Status::Ready;
        after.version = wanted.version.clone();
        health::refresh(self.service, &after)?;
        let seconds = started.elapsed().as_secs();
        let name = environment.name;
        let end = vec![
            (
                Severity::Info,
                format!(
                    "Environment health has transitioned from Pending to Ok. Initialization \
                     completed 1 second ago and took {seconds} seconds."
                ),
            ),
            (Severity::Info, format!("Successfully launched environment: {name}")),
        ];
        self.finish(end, |environment| {
            environment.status = Status::Ready;
            environment.deployment = wanted.deployment;
        })
    }

    fn create_failed(&self, problems: &[String]) -> Result<()> {
        self.explain(problems)?;
        let mut after = self.environment()?;
        after.status = Status::Ready;
        health::refresh(self.service, &after)?;
        let text = "Create environment operation is complete, but with errors. For more \
                    information, see troubleshooting documentation.";
        self.finish(vec![(Severity::Error, text.to_owned())], |environment| {
            environment.status = Status::Ready;
            environment.deployment = 1;
        })
    }

    /// What went wrong on the instances, before the event that ends everything.
    fn explain(&self, problems: &[String]) -> Result<()> {
        for problem in problems {
            self.tell(Severity::Error, problem.clone())?;
        }
        Ok(())
    }

    /// New instances, on record before anything of them is made.
    pub(crate) fn launch(&self, count: usize, wanted: &Wanted) -> Result<Vec<String>> {
        let ids: Vec<String> = (0..count).map(|_| names::instance()).collect();
        for id in &ids {
            let instance = Instance {
                id: id.clone(),
                launched: Moment::now(),
                version: wanted.version.clone(),
                deployment: wanted.deployment,
                deployed: Moment::now(),
                result: "In Progress".to_owned(),
                in_service: false,
            };
            self.service.update(&self.id, |it| it.instances.push(instance))?;
            self.tell(Severity::Info, format!("Added instance [{id}] to your environment."))?;
        }
        Ok(ids)
    }

    /// Takes instances away, containers first, then from the record.
    pub(crate) fn take_away(&self, ids: &[String]) -> Result<()> {
        self.take_out_of_service(ids)?;
        for id in ids {
            instance::remove(self.service, id)?;
            self.service.update(&self.id, |it| it.instances.retain(|it| it.id != *id))?;
            self.tell(Severity::Info, format!("Removed instance [{id}] from your environment."))?;
        }
        Ok(())
    }

    /// They get no more requests, and have answered those that they had.
    pub(crate) fn take_out_of_service(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.service.update_instance(&self.id, id, |it| it.in_service = false)?;
        }
        let environment = self.environment()?;
        self.service.point(&environment);
        let settings = settings::effective(&environment.files, &environment.settings);
        let delay = settings::number(&settings, PROCESS, "DeregistrationDelay");
        self.service.doors.drain(ids, Duration::from_secs(delay));
        Ok(())
    }

    pub(crate) fn put_in_service(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            self.service.update_instance(&self.id, id, |it| it.in_service = true)?;
        }
        self.service.point(&self.environment()?);
        Ok(())
    }

    fn restart(&self) -> Result<()> {
        let environment = self.environment()?;
        let wanted = Wanted { deploys: Deploys::Settings, ..self.present(&environment)? };
        let ids = environment.instance_ids();
        let problems = instance::deploy_all(self, &ids, &wanted)?;
        self.explain(&problems)?;
        self.service.point(&self.environment()?);
        let text = match problems.is_empty() {
            true => (Severity::Info, "Application server(s) restarted successfully."),
            false => (Severity::Error, "Failed to restart application server(s)."),
        };
        self.finish(vec![(text.0, text.1.to_owned())], |it| it.status = Status::Ready)
    }

    fn terminate(&self) -> Result<()> {
        let environment = self.environment()?;
        let ids = environment.instance_ids();
        self.take_away(&ids)?;
        attached::remove(self.service, &self.id)?;
        self.service.doors.close(environment.address.port);
        let text = "terminateEnvironment completed successfully.".to_owned();
        self.finish(vec![(Severity::Info, text)], |it| it.status = Status::Terminated)
    }

    /// Waits a moment, unless the operation is given up.
    pub(crate) fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until && !self.aborted() {
            std::thread::sleep(Duration::from_millis(100).min(duration));
        }
    }
}

fn kind(platform: &str) -> Result<Kind> {
    match platforms::of_arn(platform) {
        Some(platform) => Ok(platform.kind),
        None => bail!("the platform {platform} is not simulated"),
    }
}

/// What was there before the server started: environments as they are on record, no containers but
/// theirs, and every operation that was cut off done again.
pub(crate) fn reconcile(service: &Arc<Service>) -> Result<()> {
    service.engine.settle()?;
    let environments: BTreeMap<String, Environment> =
        service.read(|state| state.environments.clone());
    let known: Vec<String> = environments
        .values()
        .filter(|it| it.status != Status::Terminated)
        .flat_map(|it| {
            let attached = std::iter::once(attached::project(&it.id));
            attached.chain(it.instances.iter().map(|it| stack::project_name(&it.id)))
        })
        .collect();
    for project in service.engine.projects()? {
        if !known.contains(&project) {
            service.engine.down(&project)?;
        }
    }
    instance::remove_unknown(service, &environments)?;
    for (id, environment) in &environments {
        if environment.status == Status::Terminated {
            continue;
        }
        reopen(service, environment)?;
        // Before the first call is answered, which would find its address dead.
        if let Some(environment) = service.environment(id) {
            instance::find(service, &environment)?;
        }
        let service = Arc::clone(service);
        let id = id.clone();
        let unfinished = environment.operation.is_some();
        std::thread::spawn(move || {
            if let Some(environment) = service.environment(&id) {
                instance::revive(&service, &environment).ok();
            }
            if unfinished {
                run(&service, &id);
            }
        });
    }
    Ok(())
}

/// The door of an environment, where it was; elsewhere when somebody took its port.
fn reopen(service: &Arc<Service>, environment: &Environment) -> Result<()> {
    if service.doors.open(environment.address.port).is_ok() {
        return Ok(());
    }
    let port = service.doors.open(0)?;
    service.update(&environment.id, |it| it.address.port = port)?;
    let text = format!(
        "Port {} is taken by another program; the environment is at {}.localhost:{port} now.",
        environment.address.port, environment.address.prefix
    );
    service.tell(&About::environment(environment, ""), Severity::Warn, text)
}
