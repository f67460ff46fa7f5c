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
        let existing = start::existing(ctx, &self.environment)?;
        ctx.run(compose::down(&ctx.sh, &existing.target))?;
        for project in &existing.former {
            ctx.run(compose::down(&ctx.sh, &compose::by_name(project)))?;
        }
        if !ctx.dry_run {
            ctx.say(format_args!("{} is stopped; its data is kept", self.environment));
        }
        Ok(())
    }
}
