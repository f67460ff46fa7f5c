//! `run`: an admin process (factor twelve) in a fresh container, with the image and the settings of
//! a service. The service itself may have done its work and ended; the stack has to be started.

use std::io::IsTerminal;

use anyhow::Result;

use super::doctor;
use super::env;
use super::start;
use crate::cli::Run;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::Stack;
use crate::tools::compose;
use crate::tools::docker_container::Container;

impl Run {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        if env::load(ctx, &self.environment).is_ok() {
            // What is wrong with the files is told below.
            doctor::require_engine_for_a_start(ctx)?;
        }
        let mut existing = start::existing(ctx, &self.environment)?;
        let containers = std::mem::take(&mut existing.containers);
        let (stack, target) = existing.with_files()?;
        let service = env::service_or_main(&stack, self.service)?;
        require_started(&self.environment, &stack, &containers)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        ctx.run_interactive(compose::run(&ctx.sh, &target, &service, terminal, &self.command))
    }
}

/// Refuses when nothing of the stack runs, and says what to type. A stack whose services all do
/// their work and end counts as started while their containers are there.
fn require_started(name: &str, stack: &Stack, containers: &[Container]) -> Result<()> {
    let all_end = stack.services.values().all(|service| service.facts.once);
    let runs = |state: &str| all_end || matches!(state, "running" | "restarting");
    if containers.iter().any(|container| runs(&container.state.status)) {
        return Ok(());
    }
    Err(exit::missing(format!("{name} does not run; start it with `cargo xtask start {name}`")))
}
