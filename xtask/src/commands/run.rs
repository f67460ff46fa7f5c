//! `run`: an admin process (factor twelve) in a fresh container, with the image and the settings of
//! the running service.

use std::io::IsTerminal;

use anyhow::Result;

use super::{env, shell, start};
use crate::cli::Run;
use crate::ctx::Ctx;
use crate::tools::compose;

impl Run {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        let (stack, target) = start::existing(ctx, &self.environment)?.with_files()?;
        let service = env::service_or_main(&stack, self.service)?;
        shell::require_running(ctx, &self.environment, &target.project, &service)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        ctx.run_interactive(compose::run(&ctx.sh, &target, &service, terminal, &self.command))
    }
}
