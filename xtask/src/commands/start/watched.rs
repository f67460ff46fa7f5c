//! The containers of a project, asked for again only when they have changed: the engine tells of
//! each change as it happens. A question costs two processes, which matters several times a second.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::startup;
use super::verdict::{self, Verdict, Wanted};
use super::{LABEL_PROJECT, Stage, containers};
use crate::ctx::{self, Ctx};
use crate::supervise::group;
use crate::tools::docker_container::{self, Container};

/// Shortest time between two questions: changes come in bursts.
const BURST: Duration = Duration::from_millis(300);
/// Longest time between two questions. Of some changes nobody tells.
const QUIET: Duration = Duration::from_secs(2);
/// The same where the engine tells of none.
const ASKING: Duration = Duration::from_millis(300);

pub(crate) struct Watched {
    project: String,
    /// What the files want of each service.
    pub(super) wanted: BTreeMap<String, Wanted>,
    /// `docker events`, and what it has printed.
    listener: Option<(Child, File)>,
    /// How much of that, in bytes, was there at the last question.
    told: u64,
    asked: Option<Instant>,
    containers: Vec<Container>,
}

impl Watched {
    pub(crate) fn of(ctx: &Ctx, stage: &Stage) -> Watched {
        let project = stage.target.project.clone();
        let wanted = startup::wanted(&stage.stack, &stage.target.variables);
        let listener = if ctx.dry_run { None } else { listen(ctx, &project).ok() };
        Watched { project, wanted, listener, told: 0, asked: None, containers: Vec::new() }
    }

    /// Judges the stack; `is_up`: compose has made all containers that it is going to make.
    pub(crate) fn verdict(&mut self, ctx: &Ctx, is_up: bool) -> Result<Verdict> {
        self.containers(ctx)?;
        Ok(verdict::judge(&self.wanted, &self.containers, SystemTime::now(), is_up))
    }

    /// As they are now.
    pub(crate) fn look(&mut self, ctx: &Ctx) -> Result<&[Container]> {
        self.asked = None;
        self.containers(ctx)
    }

    /// As they were when they changed last.
    pub(crate) fn containers(&mut self, ctx: &Ctx) -> Result<&[Container]> {
        let told = self.told();
        let is_due = match (self.asked.map(|asked| asked.elapsed()), told) {
            (None, _) => true,
            (Some(since), Some(told)) => since > BURST && told > self.told || since > QUIET,
            (Some(since), None) => since > ASKING,
        };
        if is_due {
            self.told = told.unwrap_or_default();
            self.containers = containers(ctx, &self.project)?;
            self.asked = Some(Instant::now());
        }
        Ok(&self.containers)
    }

    fn told(&mut self) -> Option<u64> {
        let (process, log) = self.listener.as_mut()?;
        let is_up = matches!(process.try_wait(), Ok(None));
        log.metadata().ok().filter(|_| is_up).map(|log| log.len())
    }
}

fn listen(ctx: &Ctx, project: &str) -> Result<(Child, File)> {
    let log = tempfile::tempfile().context("can't create a temporary file")?;
    let cmd = docker_container::events(&ctx.sh, LABEL_PROJECT, project);
    Ok((ctx::beside(cmd, log.try_clone()?)?, log))
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some((process, _)) = &mut self.listener {
            group::kill(process);
        }
    }
}
