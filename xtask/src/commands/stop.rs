//! `stop`: ends an environment; volumes and so the data stay.

use anyhow::Result;

use super::{procfile, start};
use crate::cli::Stop;
use crate::ctx::Ctx;
use crate::tools::compose;

impl Stop {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if procfile::stop(ctx, &self.environment)? {
            return Ok(());
        }
        let stage = start::existing(ctx, &self.environment)?;
        ctx.run(compose::down(&ctx.sh, &stage.target))?;
        if !ctx.dry_run {
            ctx.say(format_args!("{} is stopped; its data is kept", self.environment));
        }
        Ok(())
    }
}
