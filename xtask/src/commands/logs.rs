//! `logs`: what the services print, with a prefix each.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{dev, procfile, start};
use crate::cli::Logs;
use crate::ctx::{Ctx, cleared};
use crate::exit;
use crate::tools::compose::{self, Lines};

/// Lines of each service to begin with.
const TAIL: u32 = 100;

impl Logs {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match self.show(ctx) {
            // Ctrl-C is how one stops looking.
            Err(error) if exit::code(&error) == exit::INTERRUPTED => Ok(()),
            result => result,
        }
    }

    fn show(self, ctx: &Ctx) -> Result<()> {
        if let Some(running) = procfile::running(ctx, &self.environment)? {
            if self.since.is_some() {
                return Err(exit::usage(
                    "the host engine's log has no times for --since; use --tail".to_owned(),
                ));
            }
            running.check_names(&self.services)?;
            let (tail, follow) = (self.tail.unwrap_or(TAIL), !self.no_follow);
            let mut tell = |line: &str| tell_of_process(ctx, line);
            return dev::host_logs(ctx, &self.environment, &self.services, tail, follow, &mut tell);
        }
        let existing = start::existing(ctx, &self.environment)?;
        existing.check_services(&self.services)?;
        let lines = Lines {
            follow: !self.no_follow,
            tail: self.tail.or(self.since.is_none().then_some(TAIL)),
            since: self.since,
            parsed: ctx.json,
            plain: false,
        };
        let cmd = compose::logs(&ctx.sh, &existing.target, &lines, &self.services);
        match ctx.json {
            true => {
                let services = services(&existing);
                ctx.run_lines(cmd, &mut |line| tell(ctx, cleared(line), &services))
            }
            false => ctx.run_log(cmd, &mut || Ok(())),
        }
    }
}

/// `NAME | TEXT`, or what the tool itself said.
fn tell_of_process(ctx: &Ctx, line: &str) {
    // Who does not read any more is told nothing.
    let _ = match line.split_once('|').filter(|_| ctx.json) {
        Some((name, text)) => {
            let (name, text) = (name.trim(), text.strip_prefix(' ').unwrap_or(text));
            ctx.event(&serde_json::json!({"event": "line", "service": name, "text": text}))
        }
        None if ctx.json => Ok(()),
        None => ctx.print(line),
    };
}

/// What compose calls each container in a log -> its service: the container's name, without the
/// project's where compose has given it.
fn services(existing: &start::Existing) -> BTreeMap<String, String> {
    let project = format!("{}-", existing.target.project);
    let names = existing.containers.iter().map(|container| {
        let name = container.name();
        let name = name.strip_prefix(&project).unwrap_or(name);
        (name.to_owned(), container.service().to_owned())
    });
    names.collect()
}

fn tell(ctx: &Ctx, line: &str, services: &BTreeMap<String, String>) {
    match compose::parse_line(line, services) {
        Some((service, time, text)) => {
            let event = serde_json::json!({
                "event": "line", "service": service, "time": time, "text": text,
            });
            // Who does not read any more is told nothing.
            let _ = ctx.event(&event);
        }
        None => ctx.say(line),
    }
}
