//! The dev loop's effects on the host engine, whose processes belong to a supervisor in another
//! thread: what it has to do is left for it in [`Requests`].

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::effects::{Effect, Rules};
use super::follow::end_of;
use super::{ENVIRONMENT, pages};
use crate::commands::ports;
use crate::commands::procfile::{self, Stage};
use crate::ctx::{Ctx, LONG};
use crate::supervise::Supervisor;

/// Longest wait for a process that was started again to answer.
const ANSWERS: Duration = Duration::from_secs(60);

/// What the supervisor is to do.
#[derive(Default)]
pub(super) struct Requests(Mutex<Wanted>);

#[derive(Default)]
struct Wanted {
    restarts: Vec<String>,
    again: bool,
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
        let wanted = std::mem::take(&mut *self.lock());
        if wanted.again {
            return Err(Again.into());
        }
        wanted.restarts.iter().try_for_each(|name| supervisor.restart(name))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Processes<'p> {
    ctx: &'p Ctx,
    stage: Stage,
    names: Vec<String>,
    requests: &'p Requests,
}

impl<'p> Processes<'p> {
    pub(super) fn new(ctx: &'p Ctx, stage: Stage, requests: &'p Requests) -> Processes<'p> {
        let names = names(&stage);
        Processes { ctx, stage, names, requests }
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { environment: ENVIRONMENT, stack: None, processes: &self.names }
    }

    pub(super) fn bring_about(&mut self, group: &[Effect]) -> Result<()> {
        match &group[0] {
            Effect::Processes => {
                // What can't be used changes nothing.
                let Stage { port, live_reload, .. } = &self.stage;
                self.stage = procfile::read(self.ctx, ENVIRONMENT, *port, live_reload)?;
                self.names = names(&self.stage);
                self.ask(|wanted| wanted.again = true)
            }
            Effect::Restart(_) => {
                self.build()?;
                let restarts = group.iter().filter_map(|effect| match effect {
                    Effect::Restart(name) => Some(name.clone()),
                    _ => None,
                });
                self.ask(|wanted| wanted.restarts.extend(restarts))
            }
            _ => Ok(()),
        }
    }

    /// The Procfile's `build` process, so that what does not compile changes nothing.
    fn build(&self) -> Result<()> {
        let Some(build) = &self.stage.build else { return Ok(()) };
        let (program, arguments) = build.words.split_first().unwrap_or((&build.name, &[]));
        let cmd = self.ctx.sh.cmd(program).args(arguments).envs(&build.variables);
        let answer = self.ctx.ask(cmd, LONG)?;
        anyhow::ensure!(answer.status.success(), "{}", end_of(&answer));
        Ok(())
    }

    /// Waits until it is done, and another process answers.
    fn ask(&self, request: impl FnOnce(&mut Wanted)) -> Result<()> {
        let before = self.stage.port.map(ports::owner_of);
        request(&mut self.requests.lock());
        let is_waiting = || {
            let wanted = self.requests.lock();
            wanted.again || !wanted.restarts.is_empty()
        };
        while is_waiting() && !self.ctx.interrupted() {
            std::thread::sleep(Duration::from_millis(10));
        }
        match self.stage.port.zip(before) {
            Some((port, before)) => pages::wait_for_another(self.ctx, port, &before, ANSWERS),
            None => Ok(()),
        }
    }
}

fn names(stage: &Stage) -> Vec<String> {
    stage.processes.iter().map(|process| process.name.clone()).collect()
}
