//! Versions that the registry has although git knows no such release: a publication was given up,
//! or images were pushed by hand. A published name never moves, so the number is lost, and the next
//! one may follow.

use anyhow::{Result, ensure};
use semver::Version;

use super::repository::Repository;
use super::{SHIPPED, Tried};
use crate::commands::image::identity;
use crate::commands::publish::claim;
use crate::commands::{env, registry};
use crate::ctx::Ctx;
use crate::exit;
use crate::release::version::{self, Wanted};

/// Most rounds of questions: each asks the registry for every image of one or two versions.
const MAX_ROUNDS: usize = 20;

/// The versions that git knows, and the lost numbers that matter for what is wanted. Without a
/// registry that answers at once there are none: `publish` will say so.
///
/// Fails where a number is not lost, but is being published.
pub(super) fn versions(
    ctx: &Ctx,
    repository: &Repository,
    wanted: &Wanted,
) -> Result<Vec<Version>> {
    let mut taken = repository.versions();
    let mut names = None;
    for _ in 0..MAX_ROUNDS {
        let candidates = match wanted {
            Wanted::Exactly(exact) if version::problem(exact, &taken).is_none() => break,
            Wanted::Exactly(exact) => version::candidates(exact, &taken),
            _ => vec![version::choose(wanted, &taken, repository.checked_out.as_deref())],
        };
        let names = match &names {
            Some(names) => names,
            None => match Names::find(ctx)? {
                Some(found) => names.insert(found),
                None => break,
            },
        };
        let mut lost = Vec::new();
        for candidate in candidates {
            if taken.contains(&candidate) {
                continue;
            }
            ensure!(
                !repository.there().contains_key(&claim::name(&candidate)),
                "{candidate} is being published; wait until that is done, or remove a stale claim \
                 with `cargo xtask publish --unlock {candidate}`"
            );
            if names.have(&candidate)? {
                ctx.say(format_args!("the registry has {candidate} already; its number is taken"));
                lost.push(candidate);
            }
        }
        if lost.is_empty() {
            break;
        }
        taken.extend(lost);
    }
    Ok(taken)
}

/// Images that the registry has under the version that is released now, and that are not those that
/// were tested: `publish` could never finish.
pub(super) fn problems(ctx: &Ctx, version: &Version, tried: &Tried) -> Result<Vec<String>> {
    // What is not built in a dry run cannot be compared.
    let names = if ctx.dry_run { None } else { Names::find(ctx)? };
    let Some(names) = names else { return Ok(Vec::new()) };
    let mut problems = Vec::new();
    for planned in &tried.plan.images {
        let path = format!("{}/{}", tried.request.stack.name, planned.recipe.image);
        let platform = &planned.inputs.platform;
        let found = match names.registry.manifest(&path, &version.to_string(), platform) {
            Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
            found => found.ok().flatten(),
        };
        let Some(found) = found else { continue };
        if found.config.digest != identity::config(ctx, &planned.id())? {
            problems.push(format!(
                "the registry has a different {path}:{version} already, and a published name never \
                 moves; {}",
                use_next(version)
            ));
        }
    }
    Ok(problems)
}

/// What to type where a number is lost.
pub(crate) fn use_next(version: &Version) -> String {
    let next = version::next_stage(version).unwrap_or_else(|| match version.patch {
        0 => Version::new(version.major, version.minor + 1, 0),
        patch => Version::new(version.major, version.minor, patch + 1),
    });
    format!("make the next version with `cargo xtask release {next}`")
}

/// The names of this project's images in the registry.
struct Names<'c> {
    registry: registry::Registry<'c>,
    paths: Vec<String>,
}

impl<'c> Names<'c> {
    fn find(ctx: &'c Ctx) -> Result<Option<Names<'c>>> {
        let facts = env::load(ctx, SHIPPED)?;
        let Some(repository) = &facts.environment.registry.repository else { return Ok(None) };
        let stack = env::load_stack(ctx, &facts)?.name;
        match registry::open_at_once(ctx, repository) {
            Ok(registry) => {
                let images = facts.project.images.iter();
                Ok(Some(Names {
                    registry,
                    paths: images.map(|image| format!("{stack}/{image}")).collect(),
                }))
            }
            Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn have(&self, version: &Version) -> Result<bool> {
        for path in &self.paths {
            match self.registry.has_manifest(path, &version.to_string()) {
                Ok(true) => return Ok(true),
                Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
                Ok(false) | Err(_) => {}
            }
        }
        Ok(false)
    }
}
