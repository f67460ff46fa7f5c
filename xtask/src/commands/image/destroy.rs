//! `image destroy`: removes the images of an environment from this machine's engine.

use anyhow::Result;

use super::plan;
use crate::cli::ImageDestroy;
use crate::commands::{doctor, env};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::lock;
use crate::tools::docker;

impl ImageDestroy {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let facts = env::load(ctx, &self.environment)?;
        let platform = doctor::require_engine(ctx)?;
        let stack = env::load_stack(ctx, &facts)?;
        let plan = plan::plan(ctx, &facts, &stack, &lock::load(&ctx.root)?, &platform)?;
        // Exactly the named ones: what they are built from may serve other images.
        let known = plan.images.iter().map(|planned| planned.recipe.image.clone()).collect();
        self.images.iter().try_for_each(|name| crate::project::known("image", name, &known))?;
        let wanted = |name: &String| self.images.is_empty() || self.images.contains(name);
        let found = plan.images.iter().filter(|planned| wanted(&planned.recipe.image));
        let found: Vec<(&String, &String)> = found
            .filter_map(|planned| Some((&planned.reference, &planned.found.as_ref()?.id)))
            .collect();
        let mut problems = Vec::new();
        for (reference, id) in &found {
            let answer = ctx.ask(docker::containers_of(&ctx.sh, id), QUESTION)?;
            for container in docker::parse_containers(&answer.stdout)? {
                problems.push(in_use(ctx, reference, &container));
            }
        }
        if !problems.is_empty() {
            return Err(exit::problems("images are in use", &problems));
        }
        if found.is_empty() {
            ctx.say("none of these images is here");
            return Ok(());
        }
        let references: Vec<String> =
            found.iter().map(|(reference, _)| (*reference).clone()).collect();
        ctx.run(docker::remove_images(&ctx.sh, &references))?;
        if ctx.dry_run {
            return Ok(());
        }
        references.iter().try_for_each(|reference| match ctx.json {
            true => ctx.event(&serde_json::json!({"event": "removed", "image": reference})),
            false => ctx.print(format_args!("removed {reference}")),
        })
    }
}

/// Which container uses an image, and the command that stops it.
fn in_use(ctx: &Ctx, reference: &str, container: &docker::Container) -> String {
    let image = reference.split(":f-").next().unwrap_or(reference);
    let name = &container.name;
    let environment = container.label(super::super::start::LABEL_ENVIRONMENT);
    let home = container.label("com.docker.compose.project.working_dir");
    match environment {
        Some(environment) if home == ctx.root.to_str() => {
            format!("{image}: container {name}; stop it with `cargo xtask stop {environment}`")
        }
        Some(environment) => format!(
            "{image}: container {name}; stop it with `cargo xtask -C {} stop {environment}`",
            home.unwrap_or("DIR")
        ),
        None => format!("{image}: container {name}; remove it with `docker rm --force {name}`"),
    }
}
