//! Looks on at an environment until there is a verdict, and tells what happens there.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::service::Service;
use super::verdict::{Facts, Verdict, judge};
use crate::cli::Patience;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::aws::{Environment, Event};

/// Between two looks: AWS counts questions, and the local service does not.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_LOCAL: Duration = Duration::from_millis(300);
/// For so long the service may not answer.
const SILENCE: Duration = Duration::from_secs(180);

/// What is looked at.
pub(crate) struct Watched<'w> {
    pub(crate) label: &'w str,
    /// See [`Facts::before`].
    pub(crate) before: Option<&'w str>,
    /// The time of the last event before, by the service's own clock.
    pub(crate) after: Option<&'w str>,
    /// Somebody is at it, who may not have come as far as to tell the service.
    pub(crate) may_still_begin: bool,
}

/// Everything that one look finds.
struct Look {
    environment: Option<Environment>,
    instances: Vec<crate::tools::aws::Instance>,
    news: Vec<Event>,
}

/// The verdict, with what the environment was then.
///
/// # Errors
///
/// Interrupted, or out of time, or the service does not answer: then nobody knows, and the
/// deployment goes on.
pub(crate) fn watch(
    ctx: &Ctx,
    service: &Service<'_>,
    watched: &Watched<'_>,
    patience: Patience,
) -> Result<(Verdict, Option<Environment>)> {
    let (started, mut ready_since) = (Instant::now(), None::<Instant>);
    let (mut events, mut answered) = (Vec::new(), Instant::now());
    let settle = Duration::from_secs(patience.settle_seconds);
    let name = &service.target.environment;
    let bar = ctx.spinner(format!("{name}: deploying {}", watched.label));
    loop {
        let since = events.last().map(|event: &Event| event.event_date.clone());
        match look(service, since.as_deref().or(watched.after)) {
            Ok(look) => {
                answered = Instant::now();
                for event in &look.news {
                    bar.suspend(|| tell(ctx, event))?;
                }
                events.extend(look.news);
                let is_ready = look.environment.as_ref().is_some_and(|it| it.status == "Ready");
                ready_since = is_ready.then(|| ready_since.unwrap_or_else(Instant::now));
                let facts = Facts {
                    label: watched.label,
                    environment: look.environment.as_ref(),
                    before: watched.before,
                    events: &events,
                    instances: &look.instances,
                    since_told: started.elapsed(),
                    since_ready: ready_since.map_or(Duration::ZERO, |since| since.elapsed()),
                    settle,
                    may_begin_within: if watched.may_still_begin { Duration::MAX } else { settle },
                };
                match judge(&facts) {
                    Verdict::Waiting => {}
                    verdict => return Ok((verdict, look.environment)),
                }
            }
            Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
            Err(error) if is_final(&error) || answered.elapsed() > SILENCE => return Err(error),
            Err(error) => ctx.say(format_args!("no answer, trying again: {error:#}")),
        }
        if started.elapsed() > Duration::from_secs(patience.timeout_minutes * 60) {
            anyhow::bail!(
                "{name} is not done after {} minutes, and nobody knows what will come of it",
                patience.timeout_minutes
            );
        }
        ctx.pause(if service.local { PAUSE_LOCAL } else { PAUSE })?;
    }
}

/// Whether waiting cannot help.
fn is_final(error: &anyhow::Error) -> bool {
    exit::code(error) == exit::MISSING && format!("{error:#}").contains("credentials")
}

fn look(service: &Service<'_>, since: Option<&str>) -> Result<Look> {
    let environment = service.environment()?;
    let is_ready = environment.as_ref().is_some_and(|it| it.status == "Ready");
    // Told before it was ready, or to be told at the next look: none is lost.
    let news = service.events(since)?;
    let instances = if is_ready { service.instances()? } else { Vec::new() };
    Ok(Look { environment, instances, news })
}

fn tell(ctx: &Ctx, event: &Event) -> Result<()> {
    let Event { event_date, severity, message } = event;
    if ctx.json {
        return ctx.event(&json!({
            "event": "service", "time": event_date, "severity": severity, "message": message,
        }));
    }
    let time = event_date.split('T').nth(1).and_then(|time| time.get(..8)).unwrap_or(event_date);
    ctx.say(format_args!("{time} {severity:5} {message}"));
    Ok(())
}
