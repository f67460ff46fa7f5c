//! `release --abort`: takes back what a release made here, as long as nobody else has it.

use anyhow::Result;
use semver::Version;

use super::repository::{self, Repository};
use super::{SHIPPED, begun, schema};
use crate::commands::image::{destroy, plan};
use crate::commands::publish::claim;
use crate::commands::{env, releases};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::Project;
use crate::release::version::{self, Wanted};
use crate::tools::git;

pub(super) fn abort(ctx: &Ctx, wanted: Option<Wanted>) -> Result<()> {
    let places = repository::places(ctx)?;
    let _lock = repository::lock(ctx, &places)?;
    let begun = begun::list(&places)?;
    let version = match (wanted, begun.as_slice()) {
        (Some(Wanted::Exactly(version)), _) => version,
        (None, [one]) => one.version.clone(),
        (None, []) => {
            ctx.say("no release is begun here");
            return Ok(());
        }
        _ => return Err(exit::usage("name the version: cargo xtask release --abort 1.2.3")),
    };
    let repository = Repository::observe(ctx, places)?;
    let tag = format!("refs/tags/{}", version::tag(&version));
    let journal = begun.iter().find(|begun| begun.version == version);
    let record = releases::load(ctx, &version);
    let here = repository.here.get(&tag);
    if let (Some(_), Err(error), None) = (here, &record, journal) {
        anyhow::bail!(
            "{error:#}\n  it is left alone; `git tag --delete {}`",
            version::tag(&version)
        );
    }
    refuse_published(&repository, &version)?;
    if here.is_none() && journal.is_none() {
        ctx.say(format_args!("nothing is here of {version}"));
        return Ok(());
    }
    ctx.confirm(&format!("take {version} back: its tag, its branch and the names of its images?"))?;
    let decision = journal.and_then(|begun| begun.decision().ok());
    let commit = decision.map(|decision| decision.commit);
    let commit = commit.or(record.ok().map(|record| record.commit));
    if let Some(claim) = here.and_then(|here| claim::ours(&repository, &version, here)) {
        claim::remove(ctx, repository.remote_name(), &version, claim)?;
    }
    // The tag, and then the journal, are what another run finds the rest by.
    let branch = version::branch(&version);
    if let Some(commit) = commit
        .filter(|_| version::begins_branch(&version))
        .filter(|commit| repository.branch(&branch) == Some(commit.as_str()))
    {
        remove(ctx, &repository, &format!("refs/heads/{branch}"), &commit)?;
    }
    match remove_names(ctx, &version) {
        // Without an engine there is nothing that could be mistaken for a release.
        Err(error) if exit::code(&error) == exit::MISSING => {
            ctx.warn(format_args!("the names of its images stay: {error:#}"));
        }
        removed => removed?,
    }
    if let Some(here) = here {
        remove(ctx, &repository, &tag, &here.object)?;
    }
    repository::clear(ctx, repository::RELEASE)?;
    repository::clear(ctx, schema::PREVIOUS)?;
    if let Some(journal) = journal {
        ctx.remove_state(&journal.path)?;
    }
    if !ctx.dry_run {
        ctx.say(format_args!("nothing is left of {version} here"));
    }
    Ok(())
}

fn remove(ctx: &Ctx, repository: &Repository, reference: &str, object: &str) -> Result<()> {
    repository.break_lock(ctx, reference)?;
    repository.break_lock(ctx, "packed-refs")?;
    ctx.run(git::remove_reference(&ctx.sh, reference, object))
}

/// What others may have cannot be taken back. Somebody else's release of the same version is none
/// of ours.
fn refuse_published(repository: &Repository, version: &Version) -> Result<()> {
    let Some(remote) = &repository.remote else { return Ok(()) };
    let name = &remote.name;
    let references = match &remote.references {
        Ok(references) => references,
        Err(words) => anyhow::bail!(
            "{name} does not say whether it has {version}; `git ls-remote {name}` must work: {words}"
        ),
    };
    let tag = format!("refs/tags/{}", version::tag(version));
    let (ours, theirs) = (repository.here.get(&tag), references.get(&tag));
    anyhow::ensure!(
        theirs.is_none() || ours.map(|it| &it.object) != theirs.map(|it| &it.object),
        "{version} is published, so it stays; release the next one"
    );
    Ok(())
}

/// Removes the version from the images.
fn remove_names(ctx: &Ctx, version: &Version) -> Result<()> {
    let project = Project::load(&ctx.root)?;
    let name = env::load_stack(ctx, &env::load(ctx, SHIPPED)?)?.name;
    let names: Vec<String> =
        project.images.iter().map(|image| format!("{name}/{image}:{version}")).collect();
    let found: Vec<String> = plan::inspect(ctx, &names)?.into_keys().collect();
    match found.is_empty() {
        true => Ok(()),
        false => destroy::remove(ctx, &found),
    }
}
