//! `shell`: a shell inside a running service.

use std::io::IsTerminal;

use anyhow::Result;

use super::env;
use super::start::{self, Stage};
use crate::cli::Shell;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose;

impl Shell {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        let stage = start::existing(ctx, &self.environment)?;
        let service = env::service_or_main(&stage.stack, self.service)?;
        require_running(ctx, &stage, &service)?;
        let terminal = std::io::stdin().is_terminal();
        ctx.run_interactive(compose::shell(&ctx.sh, &stage.target, &service, terminal))
    }
}

/// Refuses when a service does not run, and says what to type.
pub(crate) fn require_running(ctx: &Ctx, stage: &Stage, service: &str) -> Result<()> {
    let containers = start::containers(ctx, stage)?;
    let runs = |c: &compose::Container| c.service == service && c.state == "running";
    if containers.iter().any(runs) {
        return Ok(());
    }
    let name = &stage.facts.name;
    Err(exit::missing(format!(
        "{service} does not run in {name}; start it with `cargo xtask start {name}`"
    )))
}
