//! The dev loop's effects on the Docker engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use super::effects::{Effect, Rules};
use super::follow::end_of;
use super::{ENVIRONMENT, pages};
use crate::commands::start::verdict::Finding;
use crate::commands::start::{self, Stage};
use crate::ctx::{Ctx, LONG, QUESTION};
use crate::project::image::{Recipe, recipes};
use crate::project::lock;
use crate::tools::{compose, docker};

pub(super) struct Containers<'c> {
    ctx: &'c Ctx,
    stage: Arc<Stage>,
    recipes: Vec<Recipe>,
    /// Service -> its container.
    ids: BTreeMap<String, String>,
    /// Not every project answers HTTP.
    has_answered: bool,
}

impl<'c> Containers<'c> {
    pub(super) fn new(ctx: &'c Ctx, stage: Arc<Stage>) -> Result<Containers<'c>> {
        let recipes = recipes_of(ctx, &stage)?;
        Ok(Containers { ctx, stage, recipes, ids: BTreeMap::new(), has_answered: false })
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        let stack = Some((&self.stage.stack, &self.recipes[..]));
        Rules { environment: ENVIRONMENT, stack, processes: &[], migrations: None }
    }

    pub(super) fn bring_about(&mut self, group: &[Effect]) -> Vec<(Effect, anyhow::Error)> {
        if matches!(group[0], Effect::Stack | Effect::Image(_)) {
            let renewed = self.renew(group.iter().all(|effect| *effect == Effect::Stack));
            return renewed.err().map(|error| (group[0].clone(), error)).into_iter().collect();
        }
        // One that fails keeps no other from its own.
        let mut failed = Vec::new();
        for effect in group {
            let done = match effect {
                Effect::Migrate(service) => self.run_again(service),
                Effect::Restart(service) => self.restart(service),
                _ => Ok(()),
            };
            failed.extend(done.err().map(|error| (effect.clone(), error)));
        }
        failed
    }

    /// Images and settings as they are now; what differs is recreated. Where only settings have
    /// changed, images that would be built in the same way stay.
    fn renew(&mut self, may_keep_images: bool) -> Result<()> {
        let ctx = self.ctx;
        let port = self.stage.facts.environment.main_port();
        let before = may_keep_images.then_some(&self.recipes[..]);
        let stage = start::prepare_again(ctx, ENVIRONMENT, port, before)?;
        self.recipes = recipes_of(ctx, &stage)?;
        self.stage = Arc::new(stage);
        self.ids.clear();
        start::bring_up(ctx, &self.stage)
    }

    /// Runs a service to its end that has run to its end before.
    fn run_again(&mut self, service: &str) -> Result<()> {
        let Some((id, _)) = self.state_of(service)? else { return Ok(()) };
        let answer = self.ctx.ask(docker::start_attached(&self.ctx.sh, &id), LONG)?;
        anyhow::ensure!(answer.status.success(), "{service} failed:\n{}", end_of(&answer));
        Ok(())
    }

    fn restart(&mut self, service: &str) -> Result<()> {
        let ctx = self.ctx;
        let id = match self.state_of(service)? {
            // It starts with the sources as they are then.
            None => return Ok(()),
            Some((_, state)) if state == "created" => return Ok(()),
            Some((id, state)) => {
                self.compile(service, &id, state == "running")?;
                id
            }
        };
        let port = self.stage.facts.environment.main_port();
        let is_main = self.stage.stack.main().is_none_or(|main| main == service);
        let port = port.filter(|_| is_main);
        self.has_answered |= port.is_some_and(pages::answers);
        ctx.run(docker::restart(&ctx.sh, &id))?;
        self.restart_with(service)?;
        let Some(port) = port.filter(|_| self.has_answered) else { return Ok(()) };
        let failed = || {
            let state = ctx.read(docker::state_of(&ctx.sh, &id)).unwrap_or_default();
            (!["running", "created"].contains(&state.trim())).then(|| {
                let problem = format!("{service} is {} after its start", state.trim());
                let failed = Finding { service: service.to_owned(), text: problem.clone() };
                let log = start::log_of(ctx, &self.stage, &[failed]);
                format!("{problem}; see `cargo xtask logs {ENVIRONMENT} {service}`{log}")
            })
        };
        pages::wait_until(ctx, || pages::answers(port), failed)
    }

    /// Restarts what compose restarts with a service: it may ask an address that is gone.
    fn restart_with(&mut self, service: &str) -> Result<()> {
        let mut others = self.stage.stack.restarted_with(&[service.to_owned()].into());
        others.remove(service);
        for other in others {
            if let Some((id, state)) = self.state_of(&other)?
                && state == "running"
            {
                self.ctx.run(docker::restart(&self.ctx.sh, &id))?;
            }
        }
        Ok(())
    }

    /// Compiles sources where the service runs, or beside it where it does not.
    fn compile(&self, service: &str, id: &str, is_running: bool) -> Result<()> {
        let (ctx, target) = (self.ctx, &self.stage.target);
        let command = &self.stage.stack.services[service].facts.compile;
        if command.is_empty() {
            return Ok(());
        }
        if is_running {
            let answer = ctx.ask(docker::exec(&ctx.sh, id, command), LONG)?;
            if answer.status.success() {
                return Ok(());
            }
            let state = ctx.ask(docker::state_of(&ctx.sh, id), QUESTION)?.stdout;
            anyhow::ensure!(state.trim() != "running", "{}", end_of(&answer));
            // It ended meanwhile.
        }
        let answer = ctx.ask(compose::run(&ctx.sh, target, service, false, command), LONG)?;
        anyhow::ensure!(answer.status.success(), "{}", end_of(&answer));
        Ok(())
    }

    /// The container of a service and how it is; nothing where there is none.
    fn state_of(&mut self, service: &str) -> Result<Option<(String, String)>> {
        let ctx = self.ctx;
        // Somebody else may have made others.
        for _ in 0..2 {
            if let Some(id) = self.ids.get(service) {
                let answer = ctx.ask(docker::state_of(&ctx.sh, id), QUESTION)?;
                if answer.status.success() {
                    return Ok(Some((id.clone(), answer.stdout.trim().to_owned())));
                }
            }
            let all = start::containers(ctx, &self.stage.target.project)?;
            self.ids = all.into_iter().map(|it| (it.service().to_owned(), it.id)).collect();
        }
        Ok(None)
    }
}

fn recipes_of(ctx: &Ctx, stage: &Stage) -> Result<Vec<Recipe>> {
    let lock = lock::load(&ctx.root)?;
    recipes(&stage.facts.project, &stage.stack, &stage.facts.environment, &lock.epoch)
}
