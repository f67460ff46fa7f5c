//! `diff`: what two releases have differently, from their records and from the history of the app.

use anyhow::Result;

use super::releases;
use crate::cli;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::release::changes::{self, Changes, Commit, Commits};
use crate::release::record::Record;
use crate::release::version;
use crate::tools::git;

impl cli::Diff {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if self.markdown && ctx.json {
            return Err(exit::usage("--markdown and --json are two formats; give one of them"));
        }
        let (old, new) = (version::parse(&self.old), version::parse(&self.new));
        let (old, new) = (old.map_err(exit::usage)?, new.map_err(exit::usage)?);
        let (old, new) = (releases::load(ctx, &old)?, releases::load(ctx, &new)?);
        let changes = compare(ctx, &old, &new)?;
        if ctx.json {
            return changes.events().iter().try_for_each(|event| ctx.event(event));
        }
        let text = if self.markdown { changes.markdown() } else { changes.table() };
        ctx.print(text.trim_end())
    }
}

/// What two releases have differently; commits that this clone lacks are left out, with a warning.
pub(crate) fn compare(ctx: &Ctx, old: &Record, new: &Record) -> Result<Changes> {
    Ok(changes::compare(old, new, commits(ctx, old, new)?))
}

fn commits(ctx: &Ctx, old: &Record, new: &Record) -> Result<Option<Commits>> {
    if old.commit == new.commit {
        return Ok(Some(Commits::default()));
    }
    let places = git::parse_places(&ctx.read(git::places(&ctx.sh))?)?;
    let gained = git::subjects(&ctx.sh, Some(&old.commit), &new.commit);
    let lost = git::subjects(&ctx.sh, Some(&new.commit), &old.commit);
    let answers = ctx.ask_all(vec![gained, lost], QUESTION)?;
    let names = format!("{} and {}", old.version, new.version);
    let fetch = if places.shallow { "git fetch --unshallow --tags" } else { "git fetch --tags" };
    if answers.iter().any(|answer| !answer.status.success()) {
        ctx.warn(format_args!(
            "the commits between {names} are not known: this clone does not hold their history; \
             `{fetch}` gets it"
        ));
        return Ok(None);
    }
    let list = |stdout: &str| stdout.lines().filter_map(commit).collect::<Vec<_>>();
    let commits = Commits { gained: list(&answers[0].stdout), lost: list(&answers[1].stdout) };
    if !places.shallow {
        return Ok(Some(commits));
    }
    // Where history is cut off, two releases can look as if neither contained the other.
    let cut = !commits.gained.is_empty() && !commits.lost.is_empty();
    ctx.warn(format_args!(
        "the commits between {names} {}: this clone is shallow; `{fetch}` gets the rest",
        if cut { "are not known" } else { "may be incomplete" }
    ));
    Ok((!cut).then_some(commits))
}

fn commit(line: &str) -> Option<Commit> {
    let (commit, subject) = line.split_once(' ')?;
    Some(Commit { commit: commit.to_owned(), subject: subject.to_owned() })
}
