//! Claim, branch and tag of a release on their way to the remote repository, and what it has then.

use anyhow::{Context, Result};
use semver::Version;

use super::refusal::Refusal;
use crate::commands::release::repository::remote_references;
use crate::commands::release::{cannot_list, short};
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::git::{self, Change};

/// Says to everybody who publishes that it is us.
pub(super) fn claim(ctx: &Ctx, remote: &str, version: &Version, claim: &Change) -> Result<()> {
    let pushed = land(ctx, remote, std::slice::from_ref(claim));
    pushed.map_err(|error| match is_explained(&error) {
        true => error.context(format!("can't claim {version} in {remote}")),
        false => error.context(format!(
            "can't claim {version} in {remote}; somebody else may publish it at this moment, so \
             run the same command again"
        )),
    })
}

/// The last push: branch and tag, and the end of the claim. Where nobody may remove a branch the
/// claim stays; it is then the release's own commit and in nobody's way.
pub(super) fn push(
    ctx: &Ctx,
    remote: &str,
    references: &[Change],
    release: Option<Change>,
) -> Result<()> {
    let mut changes = references.to_vec();
    changes.extend(release.clone());
    if changes.is_empty() {
        return Ok(());
    }
    let mut pushed = land(ctx, remote, &changes);
    if let (Err(error), Some(release)) = (&pushed, release)
        && !references.is_empty()
        && is_refused(&format!("{error:#}"), &release.name)
    {
        // Changes nothing, and is refused when the claim is not ours any more.
        let keep = Change { source: release.expected.clone(), ..release };
        pushed = land(ctx, remote, &[references, &[keep]].concat());
    }
    pushed.with_context(|| format!("{remote} took neither branch nor tag; the images are there"))
}

/// Pushes. Where that fails although all is there as it should be, it is done: an answer may be
/// lost, and the push of a run that was killed may arrive after its end.
pub(crate) fn land(ctx: &Ctx, remote: &str, changes: &[Change]) -> Result<()> {
    let Err(error) = ctx.run(git::push(&ctx.sh, remote, changes)) else { return Ok(()) };
    if exit::code(&error) == exit::INTERRUPTED {
        return Err(error);
    }
    let Ok(there) = remote_references(ctx, remote)? else {
        return Err(explained(ctx, remote, changes, error));
    };
    let is_there = |change: &Change| {
        let found = there.get(&change.name).map_or("", |found| &found.object);
        found == change.source
    };
    if changes.iter().all(is_there) { Ok(()) } else { Err(explained(ctx, remote, changes, error)) }
}

/// What to do about a failed push, among the causes of its error.
#[derive(Debug)]
struct Advice(String);

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn explained(ctx: &Ctx, remote: &str, changes: &[Change], error: anyhow::Error) -> anyhow::Error {
    let names = changes
        .iter()
        .map(|it| it.name.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/"));
    let what = names.collect::<Vec<_>>().join(", ");
    match Refusal::of(ctx, &format!("{error:#}")).advice(&what, remote) {
        Some(advice) => error.context(Advice(advice)),
        None => error,
    }
}

/// Whether the error of [`land`] says what to do: then no other push was in its way.
pub(crate) fn is_explained(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Advice>().is_some()
}

/// Whether the remote repository itself speaks against a change, and not only because of another.
fn is_refused(words: &str, reference: &str) -> bool {
    let name = reference.trim_start_matches("refs/heads/");
    let refused = |line: &str| line.contains("[remote rejected]") && line.contains(name);
    words.lines().any(|line| refused(line) && !line.contains("atomic"))
}

/// What the remote repository says it has now: its word counts, not that of the push.
pub(super) fn confirm(ctx: &Ctx, remote: &str, references: &[Change]) -> Result<()> {
    if references.is_empty() {
        return Ok(());
    }
    let there = remote_references(ctx, remote)?.map_err(|words| {
        exit::missing(format!("after the push: {}", cannot_list(remote, &words)))
    })?;
    for change in references {
        let found = there.get(&change.name).map(|it| it.object.as_str());
        let is_tag = change.name.starts_with("refs/tags/");
        // A branch may have been continued since.
        if found != Some(change.source.as_str()) && (is_tag || found.is_none()) {
            anyhow::bail!(
                "{remote} took the push and has {} at {}, not at {}; look at it with `git \
                 ls-remote {remote}`",
                change.name,
                found.map_or("nothing", short),
                short(&change.source)
            );
        }
    }
    Ok(())
}
