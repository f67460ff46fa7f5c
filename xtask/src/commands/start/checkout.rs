//! The name that an environment of this checkout has on the engine: its containers, its volumes.
//!
//! The first checkout that starts one has `PROJECT-ENV`, the second `PROJECT-ENV-2`, whichever runs
//! later, so that data stay with the checkout that made them. Who has a name is written on an empty
//! volume, which the engine makes only once however many ask for it. What belonged to a checkout
//! that is gone can be had by the next.

use std::path::Path;

use anyhow::{Result, bail};

use super::{LABEL_HOME, LABEL_PROJECT};
use crate::ctx::Ctx;
use crate::tools::{docker, docker_volume};

/// On the volume: the name without a number, and the checkout that has it.
const LABEL_NAME: &str = "dev.stevedore.name";
const LABEL_CHECKOUT: &str = "dev.stevedore.checkout";
/// What the volume's name has more than the project's; none of compose has a dot there.
const SUFFIX: &str = ".checkout";
/// So many checkouts of a project can be on one engine.
const MOST: usize = 99;

/// A name that somebody has.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    project: String,
    home: String,
}

/// The name that we have, or would get.
pub(crate) fn known(ctx: &Ctx, name: &str) -> Result<String> {
    Ok(choose(ctx, name, &claims(ctx, name)?)?.0)
}

/// The name that we have from now on.
pub(super) fn claim(ctx: &Ctx, name: &str) -> Result<String> {
    for _ in 0..MOST {
        let claims = claims(ctx, name)?;
        let (project, is_ours) = choose(ctx, name, &claims)?;
        if is_ours {
            if let Some(first) = claims.iter().find(|it| it.project == name && project != name) {
                let Claim { home, .. } = first;
                ctx.say(format_args!("{name} is of the checkout {home}; this one is {project}"));
            }
            return Ok(project);
        }
        let volume = format!("{project}{SUFFIX}");
        if claims.iter().any(|it| it.project == project) {
            ctx.run(docker::remove(&ctx.sh, "volume", &["rm"], &[&volume]))?;
        }
        let labels = [
            format!("{LABEL_NAME}={name}"),
            format!("{LABEL_CHECKOUT}={}", ctx.root.display()),
            format!("{LABEL_PROJECT}={project}"),
        ];
        ctx.run(docker_volume::create(&ctx.sh, &volume, &labels))?;
        if ctx.dry_run {
            return Ok(project);
        }
        // Somebody else may have been first: the engine says who has it.
    }
    bail!(
        "{MOST} checkouts have {name} on this engine; \
         `docker volume ls --filter label={LABEL_NAME}={name}` lists them"
    )
}

/// Whether a directory is another checkout that is still there.
pub(crate) fn is_elsewhere(ctx: &Ctx, home: &Path) -> bool {
    // Compose may know the same directory by way of a symlink.
    home.canonicalize().is_ok_and(|home| home != ctx.root)
}

fn claims(ctx: &Ctx, name: &str) -> Result<Vec<Claim>> {
    let found =
        ctx.read(docker_volume::list(&ctx.sh, &format!("{LABEL_NAME}={name}"), LABEL_CHECKOUT))?;
    Ok(found.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Claim> {
    let (volume, home) = line.split_once('\t')?;
    let project = volume.strip_suffix(SUFFIX)?;
    Some(Claim { project: project.to_owned(), home: home.to_owned() })
}

/// Our name, and whether we have it; else the first that nobody has.
fn choose(ctx: &Ctx, name: &str, claims: &[Claim]) -> Result<(String, bool)> {
    let ours = |claim: &&Claim| Path::new(&claim.home) == ctx.root;
    if let Some(ours) = claims.iter().find(ours) {
        return Ok((ours.project.clone(), true));
    }
    let names = (1..=MOST).map(|n| if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
    for project in names {
        let claim = claims.iter().find(|it| it.project == project);
        if !claim.is_some_and(|it| is_elsewhere(ctx, Path::new(&it.home)))
            && !runs_elsewhere(ctx, &project)?
        {
            return Ok((project, false));
        }
    }
    Ok((name.to_owned(), false))
}

/// Whether containers of that name are another checkout's, which has no claim.
fn runs_elsewhere(ctx: &Ctx, project: &str) -> Result<bool> {
    let answer = ctx.read(docker::containers_of_project(&ctx.sh, project))?;
    let containers = docker::parse_containers(&answer)?;
    let homes = containers.iter().filter_map(|container| container.label(LABEL_HOME));
    Ok(homes.into_iter().any(|home| is_elsewhere(ctx, Path::new(home))))
}
