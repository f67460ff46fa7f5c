//! The static files of the release before, in the images of the next: pages that it has served find
//! theirs while another one takes its place.
//!
//! They are built again from its commit, and taken when they are what its record says. A release
//! whose assets are those of the release before keeps what that one keeps, so that its images are
//! the same; otherwise what was kept once goes.

use anyhow::Result;
use semver::Version;

use super::collect;
use super::repository::{self, Repository};
use super::schema::PREVIOUS;
use crate::commands::{assets, releases};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::assets::{OUTPUT, SOURCE};
use crate::release::record::Record;

/// Builds the assets of a release in its tree, and has those of the release before stay beside
/// them. Which ones only a build can tell, so a dry run leaves them out.
pub(super) fn keep(
    ctx: &Ctx,
    repository: &Repository,
    tree: &Ctx,
    previous: Option<&Version>,
) -> Result<()> {
    if previous.is_none() || !tree.root.join(SOURCE).is_dir() || ctx.dry_run {
        return Ok(());
    }
    assets::update(tree)?;
    let Some(old) = last_with_others(ctx, repository, tree, previous)? else { return Ok(()) };
    ctx.say(format_args!("the assets of {}, for pages that it has served", old.version));
    let before = repository::check_out(ctx, &repository.places, &old.commit, PREVIOUS)?;
    let made = assets::update(&before.ctx).and_then(|_| collect::assets(&before.ctx));
    match made {
        // Another machine could have it.
        Err(error) if [exit::INTERRUPTED, exit::MISSING].contains(&exit::code(&error)) => {
            return Err(error);
        }
        Ok(made) if made == old.assets => {}
        _ => {
            ctx.warn(format_args!(
                "the assets of {} can't be made again as they were, so its pages that are still \
                 open lose theirs when this release takes its place",
                old.version
            ));
            return Ok(());
        }
    }
    std::fs::rename(before.ctx.root.join(OUTPUT), assets::kept(tree.state()))?;
    assets::update(tree).map(drop)
}

/// The newest release before that has other assets than this tree, and has any.
fn last_with_others(
    ctx: &Ctx,
    repository: &Repository,
    tree: &Ctx,
    previous: Option<&Version>,
) -> Result<Option<Record>> {
    let current = collect::assets(tree)?;
    let mut next = previous.cloned();
    // One that is not fetched is an error of `load`; one that was taken back is nowhere.
    while let Some(version) = next.filter(|version| repository.has_tag(version)) {
        let record = releases::load(ctx, &version)?;
        if record.assets != current {
            return Ok((!record.assets.is_empty()).then_some(record));
        }
        next = record.previous;
    }
    Ok(None)
}
