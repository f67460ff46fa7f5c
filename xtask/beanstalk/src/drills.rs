//! Failure drills: what a tool must bear with the real service, on demand.
//!
//! `POST /local/drill` with a form: `slow=MILLISECONDS`, `throttle=COUNT`, `stuck=ENVIRONMENT`,
//! `red=ENVIRONMENT`, `expired=true`; `clear=true` ends all of them. Loopback only, and it changes
//! no data.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::operations::Job;
use crate::server::answer::Refusal;
use crate::server::query::Query;
use crate::service::{Service, locked};

#[derive(Clone, Debug, Default)]
pub(crate) struct Drills {
    /// Each answer waits so long.
    pub(crate) slow: Duration,
    /// So many calls are throttled.
    throttle: usize,
    /// Updates of these environments never end by themselves.
    stuck: BTreeSet<String>,
    /// These environments are red although they are ready.
    red: BTreeSet<String>,
    expired: bool,
}

/// Sets a drill, and answers with all that are set.
///
/// # Errors
///
/// When a value is no number, or nothing that is known is named.
pub(crate) fn set(service: &Service, query: &Query) -> Result<String, Refusal> {
    const MOST: usize = 1_000_000;
    let mut drills = locked(&service.drills);
    if query.flag("clear")? {
        *drills = Drills::default();
    }
    if let Some(milliseconds) = query.number("slow", MOST)? {
        drills.slow = Duration::from_millis(milliseconds as u64);
    }
    drills.throttle = query.number("throttle", MOST)?.unwrap_or(drills.throttle);
    drills.stuck.extend(query.text("stuck").map(str::to_owned));
    drills.red.extend(query.text("red").map(str::to_owned));
    if query.text("expired").is_some() {
        drills.expired = query.flag("expired")?;
    }
    Ok(format!("{drills:?}\n"))
}

/// What a call gets instead of its answer.
pub(crate) fn refuse(service: &Service) -> Result<(), Refusal> {
    let mut drills = locked(&service.drills);
    if drills.expired {
        return Err(Refusal {
            status: 403,
            code: "ExpiredToken",
            message: "The security token included in the request is expired".to_owned(),
        });
    }
    if drills.throttle > 0 {
        drills.throttle -= 1;
        let message = "Rate exceeded".to_owned();
        return Err(Refusal { status: 400, code: "Throttling", message });
    }
    Ok(())
}

pub(crate) fn is_red(service: &Service, name: &str) -> bool {
    locked(&service.drills).red.contains(name)
}

impl Service {
    /// A deployment that is stuck ends when it is aborted, or the drill does.
    pub(crate) fn drill(&self, id: &str, job: &Job<'_>) -> Result<()> {
        let Some(environment) = self.environment(id) else { return Ok(()) };
        while locked(&self.drills).stuck.contains(&environment.name) {
            if job.aborted() {
                bail!("The deployment was aborted.");
            }
            job.pause(Duration::from_millis(200));
        }
        Ok(())
    }
}
