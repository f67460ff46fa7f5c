//! `stop`: ends an environment; volumes with a name, and so their data, stay.

use anyhow::Result;

use super::volumes::{self, Unnamed};
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
        let lost = volumes::of(&existing.containers);
        ctx.run(compose::down(&ctx.sh, &existing.target))?;
        for project in &existing.former {
            ctx.run(compose::down(&ctx.sh, &compose::by_name(project)))?;
        }
        if ctx.dry_run {
            return Ok(());
        }
        match lost.is_empty() {
            true => ctx.say(format_args!("{} is stopped; its data is kept", self.environment)),
            false => ctx.say(format_args!(
                "{} is stopped; only what is in volumes with a name is kept",
                self.environment
            )),
        }
        for volume in lost {
            let (Unnamed { service, path }, mend) = (&volume, volume.mend());
            ctx.warn(format_args!("the next start of {service} has an empty {path}; {mend}"));
        }
        Ok(())
    }
}
