//! `shell`: a shell inside a running service.

use std::io::IsTerminal;

use anyhow::Result;

use super::env;
use super::start;
use crate::cli::Shell;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose;
use crate::tools::docker_container::Container;

impl Shell {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        let name = &self.environment;
        let existing = start::existing(ctx, name)?;
        let service = match (&existing.stack, self.service) {
            (Some(stack), named) => env::service_or_main(stack, named)?,
            (None, Some(named)) => named,
            (None, None) => {
                let unnamed = || exit::usage("name a service");
                return Err(existing.problem.unwrap_or_else(unnamed));
            }
        };
        require_running(name, &existing.containers, &service)?;
        let terminal = std::io::stdin().is_terminal();
        ctx.run_interactive(compose::shell(&ctx.sh, &existing.target, &service, terminal))
    }
}

/// Refuses when a service does not run, and says what to type.
fn require_running(environment: &str, containers: &[Container], service: &str) -> Result<()> {
    if containers.iter().any(|it| it.service() == service && it.state.status == "running") {
        return Ok(());
    }
    Err(exit::missing(format!(
        "{service} does not run in {environment}; start it with `cargo xtask start {environment}`"
    )))
}
