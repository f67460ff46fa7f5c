//! From `docker compose up` to the verdict: containers are looked at while compose works, and after
//! it, until all services are ready or one has failed.
//!
//! Compose itself waits for a dependency without an end where that is restarted again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use indicatif::ProgressBar;

use super::verdict::{self, Finding, Verdict, Wanted};
use super::watched::Watched;
use super::{Stage, containers};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::{Service, Stack};
use crate::tools::compose;
use crate::tools::docker_container::{self, Container};

/// Longest wait for health: a first start may compile the app.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Time passes for the verdict in such steps.
const TICK: Duration = Duration::from_millis(50);
/// When a service has failed, compose may still start the others for so long.
const UP_GRACE: Duration = Duration::from_secs(3);
/// Without a terminal a line says so often what is waited for.
pub(crate) const TELL_INTERVAL: Duration = Duration::from_secs(30);
/// Compose gives up when a dependency ends once; the engine may restart that.
const MAX_UPS: usize = 3;

/// What the files want of each service of a stack, with these variables.
pub(crate) fn wanted(stack: &Stack, variables: &[(String, String)]) -> BTreeMap<String, Wanted> {
    let one = |(name, service): (&String, &Service)| {
        let (once, replicas) = (service.facts.once, stack.replicas(name, variables));
        (name.clone(), Wanted { once, replicas })
    };
    stack.services.iter().map(one).collect()
}

/// The same where the files cannot be read: what has ended with code 0 was to end.
pub(crate) fn as_found(containers: &[Container]) -> BTreeMap<String, Wanted> {
    let one = |container: &Container| {
        let once = container.state.status == "exited" && container.state.exit_code == 0;
        (container.service().to_owned(), Wanted { once, replicas: 1 })
    };
    containers.iter().map(one).collect()
}

/// What is waited for, in one line.
pub(crate) fn waiting_for(waiting: &[Finding]) -> String {
    format!("waiting for {}", verdict::joined(waiting, ", "))
}

pub(crate) struct Startup<'s> {
    ctx: &'s Ctx,
    stage: &'s Stage,
    /// Containers from before, each with the time of its start: while compose works, they are
    /// judged when they have been started again.
    before: BTreeMap<String, String>,
    started: Instant,
    watched: Watched,
    /// Since when a service has failed while compose works.
    failed: Option<Instant>,
    told: Instant,
    bar: ProgressBar,
}

impl<'s> Startup<'s> {
    pub(crate) fn new(ctx: &'s Ctx, stage: &'s Stage) -> Startup<'s> {
        let now = Instant::now();
        let (before, failed) = (BTreeMap::new(), None);
        let watched = Watched::of(ctx, stage);
        let bar = ctx.spinner(format!("starting {}", stage.facts.name));
        Startup { ctx, stage, before, started: now, watched, failed, told: now, bar }
    }

    /// Notes which containers there are. Those that are to be started and do not stay up are
    /// stopped, so that restarts seen later belong to this start.
    fn note_containers(&mut self, services: &[String]) -> Result<()> {
        let (ctx, stage) = (self.ctx, self.stage);
        let mut found = containers(ctx, &stage.target.project)?;
        let named: BTreeSet<String> = services.iter().cloned().collect();
        let named = stage.stack.with_dependencies(&named);
        let is_started = |it: &Container| named.is_empty() || named.contains(it.service());
        let is_looping = |it: &Container| verdict::is_looping(it, SystemTime::now());
        let looping: Vec<String> = found
            .iter()
            .filter(|it| is_started(it) && is_looping(it))
            .map(|it| it.id.clone())
            .collect();
        if !looping.is_empty() {
            ctx.run(docker_container::stop(&ctx.sh, &looping))?;
            found = containers(ctx, &stage.target.project)?;
        }
        self.before = found.into_iter().map(|it| (it.id, it.state.started_at)).collect();
        Ok(())
    }

    /// Starts services in the background, all when none is named, and what they depend on: what
    /// has failed by then.
    pub(crate) fn up(&mut self, services: &[String]) -> Result<Vec<Finding>> {
        let (ctx, stage) = (self.ctx, self.stage);
        self.note_containers(services)?;
        let mut ups = 1;
        loop {
            let mut failed = Vec::new();
            let cmd = compose::up_detached(&ctx.sh, &stage.target, services);
            let started = ctx.run_beside(cmd, &mut || {
                failed = self.failures_beside()?;
                if failed.is_empty() { Ok(()) } else { bail!("a service has failed") }
            });
            let Err(error) = started else { return Ok(Vec::new()) };
            if failed.is_empty() && exit::code(&error) == exit::FAILED {
                self.watched.look(ctx)?;
            }
            let mut is_new = false;
            while failed.is_empty() && exit::code(&error) == exit::FAILED {
                let (judged, now) = (self.judged()?, SystemTime::now());
                match verdict::judge(&self.watched.wanted, &judged, now, false) {
                    Verdict::Failed(found) => failed = found,
                    Verdict::Waiting(waiting) if self.is_undecided(&judged, now) => {
                        failed.extend(self.tell(&waiting).unwrap_or_default());
                        is_new = true;
                        ctx.pause(TICK)?;
                    }
                    _ => break,
                }
            }
            if !failed.is_empty() {
                return Ok(failed);
            }
            if !is_new || ups == MAX_UPS {
                return Err(error);
            }
            ups += 1;
        }
    }

    /// Waits until all services are ready, or only these: what has failed instead.
    pub(crate) fn until_ready(&mut self, only: Option<&BTreeSet<String>>) -> Result<Vec<Finding>> {
        let mut wanted = self.watched.wanted.clone();
        wanted.retain(|name, _| only.is_none_or(|only| only.contains(name)));
        self.watched.look(self.ctx)?;
        loop {
            let found = self.watched.containers(self.ctx)?;
            match verdict::judge(&wanted, found, SystemTime::now(), true) {
                Verdict::Ready => return Ok(Vec::new()),
                Verdict::Failed(failed) => return Ok(failed),
                Verdict::Waiting(waiting) => {
                    if let Some(failed) = self.tell(&waiting) {
                        return Ok(failed);
                    }
                }
            }
            self.ctx.pause(TICK)?;
        }
    }

    /// What has failed while compose works. It is asked ten times a second.
    fn failures_beside(&mut self) -> Result<Vec<Finding>> {
        let judged = self.judged()?;
        let found = match verdict::judge(&self.watched.wanted, &judged, SystemTime::now(), false) {
            Verdict::Ready => Vec::new(),
            Verdict::Failed(failed) => failed,
            Verdict::Waiting(waiting) => self.tell(&waiting).unwrap_or_default(),
        };
        if found.is_empty() {
            self.failed = None;
            return Ok(found);
        }
        let failed = *self.failed.get_or_insert_with(Instant::now);
        Ok(if failed.elapsed() > UP_GRACE { found } else { Vec::new() })
    }

    /// The containers that were made or started since.
    fn judged(&mut self) -> Result<Vec<Container>> {
        let found = self.watched.containers(self.ctx)?;
        let is_new = |it: &&Container| self.before.get(&it.id) != Some(&it.state.started_at);
        // Compose does not start one that is paused.
        Ok(found.iter().filter(|it| is_new(it) || it.state.status == "paused").cloned().collect())
    }

    fn is_undecided(&self, judged: &[Container], now: SystemTime) -> bool {
        judged.iter().any(|container| {
            let wanted = self.watched.wanted.get(container.service());
            wanted.is_some_and(|wanted| verdict::is_undecided(container, wanted, now))
        })
    }

    /// Says what is waited for; what has failed where that takes too long.
    fn tell(&mut self, waiting: &[Finding]) -> Option<Vec<Finding>> {
        if self.started.elapsed() > HEALTH_TIMEOUT {
            let minutes = HEALTH_TIMEOUT.as_secs() / 60;
            let late = |it: &Finding| Finding {
                service: it.service.clone(),
                text: format!("{} is not ready after {minutes} minutes", it.text),
            };
            return Some(waiting.iter().map(late).collect());
        }
        let message = waiting_for(waiting);
        if self.bar.is_hidden() && self.told.elapsed() > TELL_INTERVAL {
            self.told = Instant::now();
            self.ctx.say(&message);
        }
        self.bar.set_message(message);
        None
    }
}

impl Drop for Startup<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
