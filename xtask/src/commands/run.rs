//! `run`: an admin process (factor twelve) in a fresh container, with the image and the settings of
//! a service. The service itself may have done its work and ended; the stack has to be started.

use std::io::IsTerminal;

use anyhow::Result;

use super::env;
use super::start;
use crate::cli::Run;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::Stack;
use crate::tools::compose;

impl Run {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        let (stack, target) = start::existing(ctx, &self.environment)?.with_files()?;
        let service = env::service_or_main(&stack, self.service)?;
        require_started(ctx, &self.environment, &stack, &target.project)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        ctx.run_interactive(compose::run(&ctx.sh, &target, &service, terminal, &self.command))
    }
}

/// Refuses when nothing of the stack runs, and says what to type. A stack whose services all do
/// their work and end counts as started while their containers are there.
fn require_started(ctx: &Ctx, name: &str, stack: &Stack, project: &str) -> Result<()> {
    let containers = start::containers(ctx, project)?;
    let all_end = stack.services.values().all(|service| service.facts.once);
    let runs = |state: &str| all_end || matches!(state, "running" | "restarting");
    if containers.iter().any(|container| runs(&container.state.status)) {
        return Ok(());
    }
    Err(exit::missing(format!("{name} does not run; start it with `cargo xtask start {name}`")))
}
