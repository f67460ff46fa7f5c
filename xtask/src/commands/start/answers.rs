//! Whether a started stack answers where it publishes, and what is done where it does not.
//!
//! A proxy that looks an address up once asks a container that is gone after a restart. So the
//! services in front are restarted once when their page does not answer; after that it is an error.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use super::page::{self, Answer};
use super::startup::Startup;
use super::verdict::Verdict;
use super::watched::Watched;
use super::{Stage, announce, containers, explain_failure};
use crate::ctx::Ctx;
use crate::project::stack::Stack;
use crate::tools::compose;
use crate::tools::docker_container::Container;

/// One page has to begin within this time.
pub(crate) const PAGE_DEADLINE: Duration = Duration::from_secs(5);
/// So long a service may take until it listens, before what stands in front is restarted.
const FRONT_PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for a page that answered before, or whose proxy answers.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a page of which nothing is known: not every port speaks.
const FIRST_PAGE_TIMEOUT: Duration = Duration::from_secs(10);
const ASKS: usize = 4;
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// The wait for pages.
pub(crate) struct Pages<'p> {
    ports: BTreeSet<u16>,
    /// The services that `restart` has started again; nothing for a start.
    restarted: Option<&'p BTreeSet<String>>,
    since: Instant,
    timeout: Duration,
    are_fronts_restarted: bool,
}

/// How far it has come.
pub(crate) enum Step {
    Answers,
    Waiting,
    /// The port that does not answer as it should.
    Late(u16, Answer),
}

impl<'p> Pages<'p> {
    pub(crate) fn new(ports: BTreeSet<u16>, restarted: Option<&'p BTreeSet<String>>) -> Pages<'p> {
        let (since, timeout) = (Instant::now(), FIRST_PAGE_TIMEOUT);
        Pages { ports, restarted, since, timeout, are_fronts_restarted: false }
    }

    /// Asks once, and restarts what stands in front when it is time.
    pub(crate) fn step(&mut self, ctx: &Ctx, stage: &Stage, deadline: Duration) -> Result<Step> {
        // A proxy may have several services behind it, and ask one after the other.
        let asks = if self.restarted.is_some() { ASKS } else { 1 };
        let mut last = None;
        self.ports.retain(|port| {
            let bad = (0..asks).map(|_| page::ask(*port, deadline)).find(|it| !it.is_good());
            last = bad.map(|answer| (*port, answer)).or(last);
            bad.is_some()
        });
        let Some((port, answer)) = last else { return Ok(Step::Answers) };
        if !self.are_fronts_restarted && self.since.elapsed() > FRONT_PATIENCE {
            self.are_fronts_restarted = true;
            let found = containers(ctx, &stage.target.project)?;
            let fronts = self.fronts(&stage.stack, &found, answer);
            if !fronts.is_empty() {
                let names: Vec<String> = fronts.iter().cloned().collect();
                let names = names.join(", ");
                ctx.say(format_args!("{} {answer}; restarting {names}", page::url(port)));
                restart_in_order(ctx, stage, &fronts)?;
                self.since = Instant::now();
            }
        }
        let timeout = if is_gateway_error(answer) { PAGE_TIMEOUT } else { self.timeout };
        Ok(match self.since.elapsed() > timeout {
            true => Step::Late(port, answer),
            false => Step::Waiting,
        })
    }

    /// The services that may still ask containers which are gone.
    fn fronts(&self, stack: &Stack, found: &[Container], answer: Answer) -> BTreeSet<String> {
        let publishes = |it: &&Container| !it.published().is_disjoint(&self.ports);
        let mut fronts: BTreeSet<String> =
            found.iter().filter(publishes).map(|it| it.service().to_owned()).collect();
        let is_gateway_error = is_gateway_error(answer);
        match self.restarted {
            Some(restarted) => {
                fronts.extend(stack.dependents(restarted));
                // It may only need time.
                fronts.retain(|name| is_gateway_error || !restarted.contains(name));
            }
            None => fronts.retain(|name| is_gateway_error && is_older(stack, found, name)),
        }
        let runs = |name: &str| {
            found.iter().any(|it| it.service() == name && it.state.status == "running")
        };
        fronts
            .retain(|name| runs(name) && stack.services.get(name).is_some_and(|it| !it.facts.once));
        fronts
    }
}

/// Whether a proxy says that what is behind it does not answer.
fn is_gateway_error(answer: Answer) -> bool {
    matches!(answer, Answer::Status(_)) && !answer.is_good()
}

/// Whether a service was started before what it depends on; before any service where it names none.
fn is_older(stack: &Stack, found: &[Container], service: &str) -> bool {
    let own = BTreeSet::from([service.to_owned()]);
    let mut others = stack.with_dependencies(&own);
    if others.len() == 1 {
        others = stack.names();
    }
    others.remove(service);
    let now = SystemTime::now();
    let ages = |wanted: &dyn Fn(&str) -> bool| {
        let running = found.iter().filter(|it| it.state.status == "running");
        let ages = running.filter(|it| wanted(it.service())).map(|it| it.up_for(now));
        ages.collect::<Vec<Duration>>()
    };
    let oldest = ages(&|name| name == service).into_iter().max();
    let youngest = ages(&|name| others.contains(name)).into_iter().min();
    oldest.zip(youngest).is_some_and(|(own, other)| own > other)
}

/// Restarts services, each after those that it depends on.
pub(crate) fn restart_in_order(
    ctx: &Ctx,
    stage: &Stage,
    services: &BTreeSet<String>,
) -> Result<()> {
    let groups = stage.stack.in_order(services);
    let is_all = groups.len() == 1 && *services == stage.stack.names();
    let last = groups.len().saturating_sub(1);
    for (number, group) in groups.iter().enumerate() {
        let names: Vec<String> = group.iter().filter(|_| !is_all).cloned().collect();
        ctx.run(compose::restart(&ctx.sh, &stage.target, &names))?;
        let waited_for = stage.stack.waited_for(group);
        if number < last && !ctx.dry_run && !waited_for.is_empty() {
            let failed = Startup::new(ctx, stage).until_ready(Some(&waited_for))?;
            if !failed.is_empty() {
                return Err(explain_failure(ctx, stage, &failed));
            }
        }
    }
    Ok(())
}

/// Waits until the pages answer: the one that does not.
fn wait_for(ctx: &Ctx, stage: &Stage, mut pages: Pages<'_>) -> Result<Option<(u16, Answer)>> {
    let mut watched = None;
    loop {
        match pages.step(ctx, stage, PAGE_DEADLINE)? {
            Step::Answers => return Ok(None),
            Step::Late(port, answer) => return Ok(Some((port, answer))),
            Step::Waiting => {}
        }
        let watched = watched.get_or_insert_with(|| Watched::of(ctx, stage));
        if let Verdict::Failed(failed) = watched.verdict(ctx, true)? {
            return Err(explain_failure(ctx, stage, &failed));
        }
        ctx.pause(ASK_INTERVAL)?;
    }
}

/// Fails where a page does not answer that answered before services were restarted.
pub(crate) fn require_again(
    ctx: &Ctx,
    stage: &Stage,
    ports: BTreeSet<u16>,
    restarted: &BTreeSet<String>,
) -> Result<()> {
    let pages = Pages { timeout: PAGE_TIMEOUT, ..Pages::new(ports, Some(restarted)) };
    match wait_for(ctx, stage, pages)? {
        None => Ok(()),
        Some((port, answer)) => bail!("{}", late(&stage.facts.name, port, answer)),
    }
}

pub(crate) fn late(environment: &str, port: u16, answer: Answer) -> String {
    format!(
        "{environment} runs, but {} {answer}; see `cargo xtask logs {environment}`",
        page::url(port)
    )
}

/// Says where a stack that is ready answers, as soon as it does. A proxy without anything behind it
/// is an error; a port on which nothing speaks is a warning.
pub(crate) fn announce_page(ctx: &Ctx, stage: &Stage) -> Result<()> {
    let name = &stage.facts.name;
    let port = stage.facts.environment.main_port();
    if let Some(port) = port {
        if !is_published(ctx, stage, port)? {
            ctx.say(format_args!("{name} runs; no service publishes port {port}"));
            return Ok(());
        }
        match wait_for(ctx, stage, Pages::new([port].into(), None))? {
            None => {}
            Some((port, answer)) if is_gateway_error(answer) => {
                bail!("{}", late(name, port, answer));
            }
            Some((port, answer)) => {
                ctx.warn(late(name, port, answer));
                return Ok(());
            }
        }
    }
    announce(ctx, name, port)
}

/// Whether a service of the stack answers on a port; one on this machine's network publishes none.
pub(crate) fn is_published(ctx: &Ctx, stage: &Stage, port: u16) -> Result<bool> {
    let found = containers(ctx, &stage.target.project)?;
    Ok(found.iter().any(|it| it.published().contains(&port)) || super::answers(port))
}
