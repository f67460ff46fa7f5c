//! `restart`: services again, with the images and settings of now.

use anyhow::Result;

use super::{env, procfile, start};
use crate::cli::Restart;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose;

impl Restart {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if procfile::ask_restart(ctx, &self.environment, &self.services)? {
            return Ok(());
        }
        let before = start::existing(ctx, &self.environment)?;
        env::check_services(&before.stack, &self.services)?;
        let running = start::containers(ctx, &before)?;
        if running.is_empty() {
            return Err(exit::missing(format!(
                "{name} does not run; start it with `cargo xtask start {name}`",
                name = self.environment
            )));
        }
        // Keep the port that `--port` may have chosen: the containers know it.
        let stage = start::prepare(ctx, &self.environment, published_port(&running))?;
        start::up(ctx, &stage, &self.services)?;
        ctx.run(compose::restart(&ctx.sh, &stage.target, &self.services))?;
        if ctx.dry_run {
            return Ok(());
        }
        start::wait_until_healthy(ctx, &stage)?;
        start::announce(ctx, &self.environment, stage.facts.environment.main_port())
    }
}

/// The port of 127.0.0.1 on which the running environment answers, when it is one port only.
fn published_port(containers: &[compose::Container]) -> Option<u16> {
    let ports: std::collections::BTreeSet<u16> =
        containers.iter().flat_map(compose::Container::published).collect();
    let mut ports = ports.into_iter();
    ports.next().filter(|_| ports.next().is_none())
}
