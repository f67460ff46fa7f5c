//! The verdict on a stack: ready, not yet, or failed, and why.
//!
//! One pure function judges all replicas of all services by what `docker container inspect` says:
//! state, exit code, restarts, health. `start`, `restart`, `dev`, `status` and the trial starts of
//! the gates share it.
//!
//! - A service with a health check, in a compose file or in the image, is ready when it is healthy.
//! - One without is ready when it has run for [`SETTLE`].
//! - A service that runs once is ready when it has ended with exit code 0.
//! - A container that the engine has restarted has to run for [`STEADY`] as well. One that has
//!   ended again after its third restart, or is not ready so long after it, has failed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::tools::docker_container::Container;

/// A container without a health check has to run for so long.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// So long the engine itself wants a container to run before a restart counts as the first again.
pub(crate) const STEADY: Duration = Duration::from_secs(10);
/// After so many restarts in vain a container has failed.
const MAX_RESTARTS: u32 = 3;

/// What the compose files want of a service.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// It does its work and ends.
    pub(crate) once: bool,
    pub(crate) replicas: usize,
}

/// What is found about a service, in words that begin with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) service: String,
    pub(crate) text: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ready,
    /// What is not ready, and how it is.
    Waiting(Vec<Finding>),
    /// What is wrong.
    Failed(Vec<Finding>),
}

/// The texts of findings, in one line.
pub(crate) fn joined(findings: &[Finding], separator: &str) -> String {
    findings.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(separator)
}

/// How one container stands.
enum Standing {
    Ready,
    Waiting(String),
    Failed(String),
}

/// Judges a stack. `is_up`: compose has made all containers that it is going to make.
pub(crate) fn judge(
    wanted: &BTreeMap<String, Wanted>,
    containers: &[Container],
    now: SystemTime,
    is_up: bool,
) -> Verdict {
    let (mut waiting, mut failed) = (Vec::new(), Vec::new());
    for (service, wanted) in wanted.iter().filter(|(_, wanted)| wanted.replicas > 0) {
        let own: Vec<&Container> =
            containers.iter().filter(|container| container.service() == service).collect();
        let finding = |text| Finding { service: service.clone(), text };
        let (found, replicas) = (own.len(), wanted.replicas);
        if found < replicas && !is_up {
            waiting.push(finding(format!("{service} (not started)")));
        } else if found < replicas {
            failed.push(finding(match replicas {
                1 => format!("{service} has no container"),
                _ => format!("{service} has {found} of {replicas} containers"),
            }));
        }
        for container in own {
            let name = if replicas > 1 { container.replica() } else { service.clone() };
            match standing(container, wanted.once, now) {
                Standing::Ready => {}
                Standing::Waiting(how) => waiting.push(finding(format!("{name} ({how})"))),
                Standing::Failed(how) => failed.push(finding(format!("{name} {how}"))),
            }
        }
    }
    match (failed.is_empty(), waiting.is_empty()) {
        (false, _) => Verdict::Failed(failed),
        (true, true) => Verdict::Ready,
        (true, false) => Verdict::Waiting(waiting),
    }
}

/// Whether the engine has restarted a container and nobody knows yet what comes of it.
pub(crate) fn is_undecided(container: &Container, wanted: &Wanted, now: SystemTime) -> bool {
    let is_restarted = container.restarts > 0 || container.state.status == "restarting";
    is_restarted && matches!(standing(container, wanted.once, now), Standing::Waiting(_))
}

/// Whether a container does not stay up.
pub(crate) fn is_looping(container: &Container, now: SystemTime) -> bool {
    let is_up = container.state.status == "running" && container.up_for(now) >= STEADY;
    matches!(container.state.status.as_str(), "running" | "restarting")
        && container.restarts > 0
        && !is_up
}

fn standing(container: &Container, once: bool, now: SystemTime) -> Standing {
    let state = &container.state;
    match state.status.as_str() {
        "exited" if once && state.exit_code == 0 => Standing::Ready,
        "created" | "exited" | "dead" if !state.error.is_empty() => {
            Standing::Failed(format!("can't start: {}", first_line(&state.error)))
        }
        "exited" | "dead" => Standing::Failed(ended(container, once)),
        "paused" => Standing::Failed(format!(
            "is paused; `docker container unpause {}` continues it",
            container.name()
        )),
        "restarting" if container.restarts > MAX_RESTARTS => {
            Standing::Failed(looping(container, once))
        }
        "restarting" => Standing::Waiting(restarted("restarting", container.restarts)),
        "running" => running(container, once, now),
        other => Standing::Waiting(other.to_owned()),
    }
}

fn running(container: &Container, once: bool, now: SystemTime) -> Standing {
    let (up, restarts) = (container.up_for(now), container.restarts);
    let needed = match (restarts, container.health()) {
        (0, Some(_)) => Duration::ZERO,
        (0, None) => SETTLE,
        _ => STEADY,
    };
    let how = match container.health() {
        Some("unhealthy") => return Standing::Failed(unhealthy(container)),
        None | Some("healthy" | "none" | "") if !once && up >= needed => return Standing::Ready,
        Some("starting") => "starting",
        _ => "running",
    };
    let is_late = restarts >= MAX_RESTARTS && up >= STEADY && !once;
    if restarts > MAX_RESTARTS && up < STEADY || is_late {
        return Standing::Failed(looping(container, once));
    }
    Standing::Waiting(restarted(how, restarts))
}

/// With the words of the check, which are in no log.
fn unhealthy(container: &Container) -> String {
    match first_line(container.last_probe()) {
        "" => "is unhealthy".to_owned(),
        line => format!("is unhealthy; its health check printed: {line}"),
    }
}

fn restarted(how: &str, restarts: u32) -> String {
    match restarts {
        0 => how.to_owned(),
        1 => format!("{how}, restarted once"),
        _ => format!("{how}, restarted {restarts} times"),
    }
}

fn ended(container: &Container, once: bool) -> String {
    let state = &container.state;
    let restarts = match container.restarts {
        0 => String::new(),
        1 => " after 1 restart".into(),
        number => format!(" after {number} restarts"),
    };
    let why = match state.exit_code {
        _ if state.out_of_memory => ": it ran out of memory",
        0 if !once => "; if it is to end, mark it `x-stevedore: {once: true}`",
        _ => "",
    };
    format!("ended with exit code {}{restarts}{why}", state.exit_code)
}

fn looping(container: &Container, once: bool) -> String {
    let state = &container.state;
    let times = container.restarts;
    if state.status != "restarting" {
        return format!("does not stay up: {times} restarts");
    }
    let why = match state.exit_code {
        _ if state.out_of_memory => ": it ran out of memory",
        0 if once => "; give it `restart: on-failure`",
        0 => "; if it is to end, mark it `x-stevedore: {once: true}`, with `restart: on-failure`",
        _ => "",
    };
    let error = match first_line(&state.error) {
        "" => String::new(),
        error => format!(": {error}"),
    };
    let code = state.exit_code;
    format!("does not stay up: {times} restarts, last exit code {code}{why}{error}")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
