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
        let stage = start::existing(ctx, &self.environment)?;
        let service = env::service_or_main(&stage.stack, self.service)?;
        shell::require_running(ctx, &stage, &service)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        ctx.run_interactive(compose::run(&ctx.sh, &stage.target, &service, terminal, &self.command))
    }
}
