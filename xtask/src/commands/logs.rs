//! `logs`: what the services print, with a prefix each.

use anyhow::Result;

use super::{dev, env, start};
use crate::cli::Logs;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose;

impl Logs {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if dev::running_host(ctx, &self.environment)?.is_some() {
            return dev::host_logs(ctx, &self.environment, self.tail, !self.no_follow);
        }
        let stage = start::existing(ctx, &self.environment)?;
        env::check_services(&stage.stack, &self.services)?;
        let cmd = compose::logs(&ctx.sh, &stage.target, !self.no_follow, self.tail, &self.services);
        match ctx.run_shown(cmd, &mut || Ok(())) {
            // Ctrl-C is how one stops looking.
            Err(error) if exit::code(&error) == exit::INTERRUPTED => Ok(()),
            result => result,
        }
    }
}
