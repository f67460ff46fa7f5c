//! The dev loop's effects on the Docker engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::effects::{Effect, Rules};
use super::follow::end_of;
use super::live::Live;
use super::{ENVIRONMENT, pages};
use crate::commands::start::{self, Stage};
use crate::ctx::{Ctx, LONG};
use crate::project::image::{Recipe, recipes};
use crate::project::lock;
use crate::tools::docker;

/// Longest wait for a service that was started again to answer.
const ANSWERS: Duration = Duration::from_secs(60);

pub(super) struct Containers<'c> {
    ctx: &'c Ctx,
    stage: Arc<Stage>,
    live: &'c Live,
    recipes: Vec<Recipe>,
    /// Service -> its container.
    ids: BTreeMap<String, String>,
}

impl<'c> Containers<'c> {
    pub(super) fn new(ctx: &'c Ctx, stage: Arc<Stage>, live: &'c Live) -> Result<Containers<'c>> {
        let recipes = recipes_of(ctx, &stage)?;
        Ok(Containers { ctx, stage, live, recipes, ids: BTreeMap::new() })
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        let stack = Some((&self.stage.stack, &self.recipes[..]));
        Rules { environment: ENVIRONMENT, stack, processes: &[] }
    }

    pub(super) fn bring_about(&mut self, group: &[Effect]) -> Result<()> {
        if matches!(group[0], Effect::Stack | Effect::Image(_)) {
            return self.renew(group.iter().all(|effect| *effect == Effect::Stack));
        }
        group.iter().try_for_each(|effect| match effect {
            Effect::Migrate(service) => self.run_again(service),
            Effect::Restart(service) => self.restart(service),
            _ => Ok(()),
        })
    }

    /// Images and settings as they are now; what differs is recreated. Where only settings have
    /// changed, images that would be built in the same way stay.
    fn renew(&mut self, may_keep_images: bool) -> Result<()> {
        let ctx = self.ctx;
        let port = self.stage.facts.environment.main_port();
        let before = may_keep_images.then_some(&self.recipes[..]);
        let mut stage = start::prepare_again(ctx, ENVIRONMENT, port, before)?;
        stage.target.variables.push(self.live.variable());
        self.recipes = recipes_of(ctx, &stage)?;
        self.stage = Arc::new(stage);
        self.ids.clear();
        start::up(ctx, &self.stage, &[])?;
        start::wait_until_healthy(ctx, &self.stage)
    }

    /// Runs a service to its end that has run to its end before.
    fn run_again(&mut self, service: &str) -> Result<()> {
        let id = self.id_of(service)?;
        let answer = self.ctx.ask(docker::start_attached(&self.ctx.sh, &id), LONG)?;
        anyhow::ensure!(answer.status.success(), "{service} failed:\n{}", end_of(&answer));
        Ok(())
    }

    fn restart(&mut self, service: &str) -> Result<()> {
        let ctx = self.ctx;
        let id = self.id_of(service)?;
        let compile = &self.stage.stack.services[service].facts.compile;
        if !compile.is_empty() {
            let answer = ctx.ask(docker::exec(&ctx.sh, &id, compile), LONG)?;
            anyhow::ensure!(answer.status.success(), "{}", end_of(&answer));
        }
        ctx.run(docker::restart(&ctx.sh, &id))?;
        let port = self.stage.facts.environment.main_port();
        match port.filter(|_| self.stage.stack.main().is_none_or(|main| main == service)) {
            Some(port) => pages::wait_for_answer(ctx, port, ANSWERS),
            None => Ok(()),
        }
    }

    fn id_of(&mut self, service: &str) -> Result<String> {
        if self.ids.is_empty() {
            let all = start::containers(self.ctx, &self.stage)?;
            self.ids = all.into_iter().map(|it| (it.service, it.id)).collect();
        }
        let found = self.ids.get(service).cloned();
        found.with_context(|| format!("{service} has no container yet"))
    }
}

fn recipes_of(ctx: &Ctx, stage: &Stage) -> Result<Vec<Recipe>> {
    let lock = lock::load(&ctx.root)?;
    recipes(&stage.facts.project, &stage.stack, &stage.facts.environment, &lock.epoch)
}
