//! The claim on a version: a branch of the remote repository, there while somebody publishes it.

use anyhow::Result;
use semver::Version;

use super::references::land;
use crate::commands::release::repository::{self, Repository};
use crate::commands::release::short;
use crate::ctx::{Ctx, LONG};
use crate::release::version;
use crate::tools::git::{self, Change, Reference, References};

/// The branch that claims a version while it is published.
pub(crate) fn name(version: &Version) -> String {
    format!("refs/heads/stevedore/publish/{}", version::tag(version))
}

/// The claim on a version for a commit, which may be there already. Somebody else's is a problem,
/// unless the version is published: then it is too late for it.
pub(super) fn of(
    there: &References,
    version: &Version,
    commit: &str,
    problems: &mut Vec<String>,
) -> Option<Change> {
    let name = name(version);
    let published = there.contains_key(&format!("refs/tags/{}", version::tag(version)));
    let expected = match there.get(&name) {
        Some(found) if found.object == commit => commit.to_owned(),
        _ if published => return None,
        None => String::new(),
        Some(found) => {
            problems.push(format!(
                "{version} is being published by somebody else (their release is {}); when that \
                 will not be finished, remove their claim with `cargo xtask publish --unlock \
                 {version}`",
                short(&found.object)
            ));
            return None;
        }
    };
    Some(Change { source: commit.to_owned(), name, expected })
}

/// The commit of the claim that a release here has made, where it is there.
pub(crate) fn ours<'r>(
    repository: &'r Repository,
    version: &Version,
    tag: &Reference,
) -> Option<&'r str> {
    let claim = &repository.there().get(&name(version))?.object;
    (claim == tag.commit()).then_some(claim)
}

/// Removes our own claim where somebody else has published the version: nobody would finish it.
pub(super) fn give_back(ctx: &Ctx, repository: &Repository, version: &Version) -> Result<()> {
    let tag = format!("refs/tags/{}", version::tag(version));
    let tags = (repository.here.get(&tag), repository.there().get(&tag));
    let (Some(here), Some(there)) = tags else { return Ok(()) };
    match ours(repository, version, here).filter(|_| here.object != there.object) {
        Some(claim) => remove(ctx, repository.remote_name(), version, claim),
        None => Ok(()),
    }
}

/// Removes somebody's claim on a version.
pub(super) fn unlock(ctx: &Ctx, version: &Version) -> Result<()> {
    let places = repository::places(ctx)?;
    let _lock = repository::lock(ctx, &places)?;
    let repository = Repository::observe(ctx, places)?;
    let remote = repository.remote_name();
    let name = name(version);
    let Some(found) = repository.there().get(&name) else {
        ctx.say(format_args!("nobody claims {version} in {remote}"));
        return Ok(());
    };
    let fetched = ctx.ask(git::fetch_object(&ctx.sh, remote, &name), LONG)?;
    let who = ctx.ask(git::who(&ctx.sh, &found.object), LONG)?;
    let who = match fetched.status.success() && who.status.success() {
        true => who.stdout.trim().to_owned(),
        false => short(&found.object).to_owned(),
    };
    ctx.confirm(&format!("remove the claim on {version} of {who}?"))?;
    remove(ctx, remote, version, &found.object)?;
    if !ctx.dry_run {
        ctx.say(format_args!("nobody claims {version} any more"));
    }
    Ok(())
}

pub(crate) fn remove(ctx: &Ctx, remote: &str, version: &Version, object: &str) -> Result<()> {
    let name = name(version);
    let change = Change { source: String::new(), name, expected: object.to_owned() };
    land(ctx, remote, &[change])
}
