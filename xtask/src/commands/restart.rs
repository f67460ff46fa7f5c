//! `restart`: services again, with the images and settings of now.
//!
//! A page that answered before answers afterwards, or the command fails and names it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::start::startup::Startup;
use super::start::{self, Stage, answers, page};
use super::{env, procfile};
use crate::cli::Restart;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::docker_container::Container;

impl Restart {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        if procfile::ask_restart(ctx, name, &self.services)? {
            return Ok(());
        }
        let mut before = start::existing(ctx, name)?;
        let running = std::mem::take(&mut before.containers);
        let (stack, _) = before.with_files()?;
        env::check_services(&stack, &self.services)?;
        if running.is_empty() {
            return Err(exit::missing(format!(
                "{name} does not run; start it with `cargo xtask start {name}`"
            )));
        }
        let published: BTreeSet<u16> = running.iter().flat_map(Container::published).collect();
        let answered = page::answering(&published, answers::PAGE_DEADLINE);
        // Keep the port that `--port` may have chosen: the containers know it.
        let port = published.first().copied().filter(|_| published.len() == 1);
        let stage = start::prepare(ctx, name, port)?;
        let named: BTreeSet<String> = match self.services.is_empty() {
            true => stage.stack.names(),
            false => self.services.iter().cloned().collect(),
        };
        let restarted = stage.stack.restarted_with(&named);
        restart(ctx, &stage, &self.services, &restarted)?;
        if ctx.dry_run {
            return Ok(());
        }
        let now = start::containers(ctx, &stage.target.project)?;
        let published: BTreeSet<u16> = now.iter().flat_map(Container::published).collect();
        let expected = answered.intersection(&published).copied().collect();
        answers::require_again(ctx, &stage, expected, &restarted)?;
        answers::announce_page(ctx, &stage)
    }
}

fn restart(
    ctx: &Ctx,
    stage: &Stage,
    services: &[String],
    restarted: &BTreeSet<String>,
) -> Result<()> {
    let mut startup = Startup::new(ctx, stage);
    let mut failed = startup.up(services)?;
    if failed.is_empty() {
        // What runs once was run by `up`.
        let is_once =
            |name: &String| stage.stack.services.get(name).is_some_and(|it| it.facts.once);
        let lasting = restarted.iter().filter(|name| !is_once(name)).cloned().collect();
        answers::restart_in_order(ctx, stage, &lasting)?;
        if !ctx.dry_run {
            failed = startup.until_ready(None)?;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(start::explain_failure(ctx, stage, &failed)) }
}
