//! The dev loop's effects on the host engine, whose processes belong to a supervisor in another
//! thread: what it has to do is left for it in [`Requests`].

use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::effects::{Effect, Rules};
use super::follow::end_of;
use super::{ENVIRONMENT, pages};
use crate::commands::ports;
use crate::commands::procfile::{self, Stage};
use crate::ctx::{Ctx, LONG};
use crate::supervise::{Supervisor, TICK};

/// What the supervisor is to do, and what becomes of it.
#[derive(Default)]
pub(super) struct Requests(Mutex<Wanted>);

#[derive(Default)]
struct Wanted {
    restarts: Vec<String>,
    /// Others, in place of all.
    again: Option<Stage>,
    /// Whether anything was ever wanted: then what fails may be the fault of a saved file.
    was_asked: bool,
    /// A process has failed since, or all have ended.
    is_failing: bool,
}

/// All processes are to end, since there are others to be run.
#[derive(Debug)]
pub(super) struct Again;

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the processes are other ones now")
    }
}

impl std::error::Error for Again {}

impl Requests {
    /// Called by whoever has the supervisor. Fails with [`Again`].
    pub(super) fn obey(&self, supervisor: &mut Supervisor<'_>) -> Result<()> {
        let mut wanted = self.lock();
        if wanted.again.is_some() {
            return Err(Again.into());
        }
        for name in wanted.restarts.drain(..) {
            // What is no process any more needs no restart.
            let _ = supervisor.restart(&name);
        }
        wanted.is_failing = supervisor.is_failing();
        Ok(())
    }

    /// The other processes that are wanted. All that run are started after this.
    pub(super) fn take(&self) -> Option<Stage> {
        let mut wanted = self.lock();
        wanted.restarts.clear();
        wanted.is_failing = false;
        wanted.again.take()
    }

    pub(super) fn were_made(&self) -> bool {
        self.lock().was_asked
    }

    /// Waits for the next one, where nothing runs any more; false when it is over.
    pub(super) fn wait(&self, ctx: &Ctx) -> bool {
        self.lock().is_failing = true;
        while !ctx.interrupted() {
            if self.lock().is_waiting() {
                return true;
            }
            std::thread::sleep(TICK);
        }
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn is_waiting(&self) -> bool {
        self.again.is_some() || !self.restarts.is_empty()
    }
}

pub(super) struct Processes<'p> {
    ctx: &'p Ctx,
    stage: Stage,
    names: Vec<String>,
    requests: &'p Requests,
    /// Not every project answers HTTP.
    has_answered: bool,
}

impl<'p> Processes<'p> {
    pub(super) fn new(ctx: &'p Ctx, stage: Stage, requests: &'p Requests) -> Processes<'p> {
        let names = names(&stage);
        Processes { ctx, stage, names, requests, has_answered: false }
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        let migrations = self.stage.migrations.as_deref();
        Rules { environment: ENVIRONMENT, stack: None, processes: &self.names, migrations }
    }

    pub(super) fn bring_about(&mut self, group: &[Effect]) -> Result<()> {
        match &group[0] {
            Effect::Processes => {
                // What can't be used, or does not compile, changes nothing.
                let Stage { port, live_reload, .. } = &self.stage;
                let stage = procfile::read(self.ctx, ENVIRONMENT, *port, live_reload)?;
                self.build(&stage)?;
                (self.names, self.stage) = (names(&stage), stage.clone());
                self.ask(|wanted| wanted.again = Some(stage))
            }
            Effect::Restart(_) => {
                self.build(&self.stage)?;
                let restarts = group.iter().filter_map(|effect| match effect {
                    Effect::Restart(name) => Some(name.clone()),
                    _ => None,
                });
                self.ask(|wanted| wanted.restarts.extend(restarts))
            }
            _ => Ok(()),
        }
    }

    /// The Procfile's `build` process.
    fn build(&self, stage: &Stage) -> Result<()> {
        let Some(build) = &stage.build else { return Ok(()) };
        let (program, arguments) = build.words.split_first().unwrap_or((&build.name, &[]));
        let cmd = self.ctx.sh.cmd(program).args(arguments).envs(&build.variables);
        let answer = self.ctx.ask(cmd, LONG)?;
        anyhow::ensure!(answer.status.success(), "{}", end_of(&answer));
        Ok(())
    }

    /// Waits until it is done, and another process answers, where one ever did.
    fn ask(&mut self, request: impl FnOnce(&mut Wanted)) -> Result<()> {
        let port = self.stage.port;
        self.has_answered |= port.is_some_and(pages::answers);
        let before = port.map(ports::owner_of);
        let mut wanted = self.requests.lock();
        request(&mut wanted);
        (wanted.was_asked, wanted.is_failing) = (true, false);
        drop(wanted);
        let is_obeyed = || !self.requests.lock().is_waiting();
        let is_another = || match (port, &before) {
            (Some(port), Some(before)) if self.has_answered => {
                // Not every system tells who it is.
                let is_known = before.contains("(process ");
                (!is_known || ports::owner_of(port) != *before) && pages::answers(port)
            }
            _ => true,
        };
        let failed = || self.requests.lock().is_failing.then(|| "its log is above".to_owned());
        pages::wait_until(self.ctx, || is_obeyed() && is_another(), failed)
    }
}

fn names(stage: &Stage) -> Vec<String> {
    stage.processes.iter().map(|process| process.name.clone()).collect()
}
