//! Secrets on their way out: an `.env` that git would add, or that a build would send to the
//! builder, where `COPY . /` makes it a file of the image.

use anyhow::Result;

use super::Facts;
use crate::commands::image::inputs;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::Project;
use crate::project::image::Recipe;
use crate::tools::git;

/// What git would do with an environment's `.env`, as a problem. Nothing outside of a repository,
/// or where the environment has no variables and so never gets an `.env`.
pub(crate) fn to_git(ctx: &Ctx, facts: &Facts) -> Option<String> {
    if facts.schema.variables.is_empty() && !facts.dotenv_path().exists() {
        return None;
    }
    let name = facts.dotenv_name();
    let ignored = ctx.ask(git::is_ignored(&ctx.sh, &name), QUESTION).ok()?;
    // 0: it is ignored. 128: git is not here, or this is not a repository.
    if ignored.status.code() != Some(1) {
        return None;
    }
    let add = "add the line `/environments/*/.env` to .gitignore";
    let tracked = ctx.ask(git::tracked(&ctx.sh, &name), QUESTION).ok()?;
    Some(match tracked.stdout.trim().is_empty() {
        true => format!("git would add {name}, which holds secrets; {add}"),
        false => format!(
            "git tracks {name}, which holds secrets; {add}, run `git rm --cached {name}`, and \
             replace the secrets that were committed"
        ),
    })
}

/// Says so where an environment is started.
pub(crate) fn warn(ctx: &Ctx, facts: &Facts) {
    if let Some(problem) = to_git(ctx, facts) {
        ctx.warn(problem);
    }
}

/// Builds that would send an `.env` to the builder, as problems. `only_existing` leaves out those
/// that are still to be made.
pub(crate) fn to_builds<'r>(
    ctx: &Ctx,
    project: &Project,
    recipes: impl IntoIterator<Item = &'r Recipe>,
    only_existing: bool,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for recipe in recipes {
        for environment in &project.environments {
            let directory = project.root.join("environments").join(environment);
            let exists = directory.join(".env").exists();
            if !exists && (only_existing || !directory.join(".env.example").exists()) {
                continue;
            }
            let name = format!("environments/{environment}/.env");
            if let Some((ignore_file, path)) = inputs::sends(ctx, recipe, &name)? {
                let pattern =
                    path.replacen(&format!("environments/{environment}/"), "environments/*/", 1);
                problems.push(format!(
                    "the build context of docker/{} contains {name}, which holds secrets; add the \
                     line `{pattern}` to {ignore_file}",
                    recipe.image
                ));
            }
        }
    }
    Ok(problems)
}

/// Refuses builds that would send a secret to the builder.
pub(crate) fn refuse_builds<'r>(
    ctx: &Ctx,
    project: &Project,
    recipes: impl IntoIterator<Item = &'r Recipe>,
) -> Result<()> {
    let problems = to_builds(ctx, project, recipes, true)?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(exit::problems("secrets would get into an image", &problems)),
    }
}
