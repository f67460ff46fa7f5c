//! `logs`: what the services print, with a prefix each.

use anyhow::Result;

use super::{dev, env, procfile, start};
use crate::cli::Logs;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose::{self, Lines};

/// Lines of each service to begin with.
const TAIL: u32 = 100;

impl Logs {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if procfile::running(ctx, &self.environment)?.is_some() {
            if self.since.is_some() {
                return Err(exit::usage(
                    "the host engine's log has no times for --since; use --tail".to_owned(),
                ));
            }
            let tail = self.tail.unwrap_or(TAIL);
            return dev::host_logs(ctx, &self.environment, tail, !self.no_follow);
        }
        let stage = start::existing(ctx, &self.environment)?;
        env::check_services(&stage.stack, &self.services)?;
        let lines = Lines {
            follow: !self.no_follow,
            tail: self.tail.or(self.since.is_none().then_some(TAIL)),
            since: self.since,
            parsed: ctx.json,
        };
        let cmd = compose::logs(&ctx.sh, &stage.target, &lines, &self.services);
        let shown = match ctx.json {
            true => ctx.run_lines(cmd, &mut |line| tell(ctx, line)),
            false => ctx.run_shown(cmd, &mut || Ok(())),
        };
        match shown {
            // Ctrl-C is how one stops looking.
            Err(error) if exit::code(&error) == exit::INTERRUPTED => Ok(()),
            result => result,
        }
    }
}

fn tell(ctx: &Ctx, line: &str) {
    match compose::parse_line(line) {
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
