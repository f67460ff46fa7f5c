//! `image destroy`: removes the images of an environment from this machine's engine.

use anyhow::Result;

use super::builder;
use super::last;
use super::plan::{self, Request};
use crate::cli::ImageDestroy;
use crate::commands::start;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::image::check_names;
use crate::tools::docker;

impl ImageDestroy {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::load(ctx, &self.environment)?;
        check_names(&request.facts.project, &self.images)?;
        request.only.clone_from(&self.images);
        let _lock = ctx.lock("build")?;
        let plan = plan::plan(ctx, &request)?;
        // Exactly the named ones: what they are built from may serve other images.
        let wanted = |name: &String| self.images.is_empty() || self.images.contains(name);
        // Today's inputs may never have been built; what was built last is meant as well.
        let mut references: Vec<String> = Vec::new();
        for planned in plan.images.iter().filter(|planned| wanted(&planned.recipe.image)) {
            let image = &planned.recipe.image;
            let last = last::last_record(ctx, &request.facts.name, image);
            let last = last.map(|last| plan::reference(&request.stack, image, &last.fingerprint));
            references.push(planned.reference.clone());
            references.extend(last.filter(|last| *last != planned.reference));
        }
        let found = plan::inspect(ctx, &references)?;
        let mut problems = Vec::new();
        for (reference, image) in &found {
            let answer = ctx.ask(docker::containers_of(&ctx.sh, &image.id), QUESTION)?;
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
        let mut references: Vec<String> = found.into_keys().collect();
        // What a build left behind that was ended.
        let building = plan.images.iter().filter(|planned| wanted(&planned.recipe.image));
        let tag = builder::building_tag(ctx);
        let name = |image: &str| format!("{}/{image}:{tag}*", request.stack.name);
        let patterns: Vec<String> = building.map(|planned| name(&planned.recipe.image)).collect();
        let listed = ctx.read(docker::list_images(&ctx.sh, &patterns))?;
        let names = listed.lines().filter_map(|line| line.split_once(' '));
        references.extend(names.map(|(_, name)| name.to_owned()));
        remove(ctx, &references)?;
        if ctx.dry_run {
            return Ok(());
        }
        references.iter().try_for_each(|reference| match ctx.json {
            true => ctx.event(&serde_json::json!({"event": "removed", "image": reference})),
            false => ctx.print(format_args!("removed {reference}")),
        })
    }
}

/// Removes names of images. Who else removes the last name of the same image at the same moment
/// makes the engine say of both that it failed; what counts is that the names are gone.
pub(crate) fn remove(ctx: &Ctx, references: &[String]) -> Result<()> {
    let Err(error) = ctx.run(docker::remove_images(&ctx.sh, references)) else { return Ok(()) };
    if exit::code(&error) == exit::INTERRUPTED || !plan::inspect(ctx, references)?.is_empty() {
        return Err(error);
    }
    Ok(())
}

/// Which container uses an image, and the command that stops it.
fn in_use(ctx: &Ctx, reference: &str, container: &docker::Container) -> String {
    let image = reference.split(':').next().unwrap_or(reference);
    let name = &container.name;
    let environment = container.label(start::LABEL_ENVIRONMENT);
    let home = container.label(start::LABEL_HOME);
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
