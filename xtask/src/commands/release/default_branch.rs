//! The branch that `X.Y.0` is released from: the setting `[release] branch`, or else the default
//! branch of the remote repository.

use anyhow::Result;

use super::SHIPPED;
use super::repository::{self, MAIN, Repository};
use crate::ctx::{Ctx, QUESTION};
use crate::project::environment;
use crate::release::version;
use crate::tools::git;

/// The setting in the files that are checked out.
pub(super) fn setting(ctx: &Ctx) -> Result<Option<String>> {
    let name = settings_file();
    Ok(environment::load(&ctx.root.join(&name), &name)?.release.branch)
}

fn settings_file() -> String {
    format!("environments/{SHIPPED}/environment.toml")
}

/// Its name, which may be missing here; or why it cannot be told. What the default branch itself
/// says counts more than what is checked out.
pub(crate) fn find(ctx: &Ctx, repository: &Repository) -> Result<Result<String, String>> {
    let setting = setting(ctx)?;
    let remote = repository.remote.as_ref().and_then(|remote| remote.default_branch.as_deref());
    let usual = choose(remote, &repository.branches());
    let committed = match &usual {
        Ok(usual) => committed_setting(ctx, repository, usual)?,
        Err(_) => None,
    };
    Ok(match (setting, committed) {
        (Some(here), Some(there)) if here != there => Err(format!(
            "[release] branch is {here:?} in {}, and {there:?} on the default branch; commit the \
             right one on both",
            settings_file()
        )),
        (_, Some(name)) | (Some(name), None) => Ok(name),
        (None, None) => usual,
    })
}

/// The setting as a branch has it.
fn committed_setting(ctx: &Ctx, repository: &Repository, branch: &str) -> Result<Option<String>> {
    let Some(head) = repository.branch(branch) else { return Ok(None) };
    let file = format!("{head}:{}{}", repository.places.prefix, settings_file());
    let answer = ctx.ask(git::blob(&ctx.sh, &file), QUESTION)?;
    if !answer.status.success() {
        return Ok(None);
    }
    // A file that cannot be used is found by a gate, with its line.
    Ok(environment::parse(&answer.stdout).ok().and_then(|found| found.release.branch))
}

fn choose(remote: Option<&str>, here: &[&str]) -> Result<String, String> {
    if let Some(name) = remote {
        return Ok(name.to_owned());
    }
    let usual: Vec<&str> = MAIN.into_iter().filter(|name| here.contains(name)).collect();
    let own: Vec<&str> = here.iter().copied().filter(|name| !version::is_branch(name)).collect();
    match (usual.as_slice(), own.as_slice()) {
        ([name], _) | ([], [name]) => Ok((*name).to_owned()),
        ([], []) => Ok(MAIN[0].to_owned()),
        _ => Err(format!(
            "new releases may come from any of {}; name the branch in {}: [release] branch = {:?}",
            own.join(", "),
            settings_file(),
            own[0]
        )),
    }
}

/// The branch is neither here nor in the remote repository, or not here.
pub(super) fn missing(repository: &Repository, name: &str) -> String {
    let remote = repository.remote_name();
    let there = repository.there();
    if there.contains_key(&format!("refs/heads/{name}")) {
        return format!(
            "the branch {name} is not here; get it with `git fetch {remote} {name}:{name}`"
        );
    }
    if repository.here.is_empty() && there.is_empty() {
        return format!("there is no commit to release from; make the first one on {name}");
    }
    format!(
        "there is no branch {name} to release from, neither here nor in {remote}; name the branch in \
         {}: [release] branch = \"NAME\", or make it with `git branch {name} COMMIT`",
        settings_file()
    )
}

/// The branch that is checked out may be the one that the user means: it is ahead of the one that
/// would be released, and the remote repository does not name a different one.
pub(super) fn checked_out_problem(
    ctx: &Ctx,
    repository: &Repository,
    name: &str,
    commit: &str,
) -> Result<Option<String>> {
    let remote = repository.remote.as_ref().and_then(|remote| remote.default_branch.as_deref());
    let Some(other) = repository.checked_out.as_deref() else { return Ok(None) };
    let is_fix = version::is_branch(name);
    if other == name || version::is_branch(other) || !is_fix && remote.is_some_and(|it| it != other)
    {
        return Ok(None);
    }
    let Some(head) = repository.branch(other) else { return Ok(None) };
    if head == commit || repository::is_ancestor(ctx, commit, head)? != Some(true) {
        return Ok(None);
    }
    if is_fix {
        let begins_there = begins_at(ctx, repository, other, head, commit)?;
        return Ok(begins_there.then(|| {
            format!(
                "{other} is checked out and is ahead of {name}, which fixes come from; run `git \
                 switch {name}` if that is right, or take its commits over with `git branch \
                 --force {name} {other}`"
            )
        }));
    }
    Ok(Some(format!(
        "{other} is checked out and is ahead of {name}, which releases come from; run `git switch \
         {name}` if that is right, or name {other} in {}: [release] branch = \"{other}\"",
        settings_file()
    )))
}

/// Whether a branch was begun at a commit, and not at a later one of the default branch, which
/// contains the commits of releases too.
fn begins_at(
    ctx: &Ctx,
    repository: &Repository,
    branch: &str,
    head: &str,
    commit: &str,
) -> Result<bool> {
    let remote = repository.remote.as_ref().and_then(|remote| remote.default_branch.as_deref());
    let main = remote.map_or_else(|| choose(None, &repository.branches()), |it| Ok(it.to_owned()));
    let Ok(main) = main else { return Ok(false) };
    let Some(main_head) = repository.branch(&main).filter(|_| main != branch) else {
        return Ok(false);
    };
    let base = ctx.ask(git::merge_base(&ctx.sh, main_head, head), QUESTION)?;
    Ok(base.stdout.trim() == commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_repository_counts_more_than_the_usual_names() {
        for (remote, here, expected) in [
            (Some("trunk"), vec!["main", "trunk"], "trunk"),
            (Some("trunk"), vec![], "trunk"),
            (None, vec!["idea", "main"], "main"),
            (None, vec!["idea", "master"], "master"),
            (None, vec!["release-v1.0", "trunk"], "trunk"),
            (None, vec![], "main"),
        ] {
            assert_eq!(choose(remote, &here), Ok(expected.to_owned()), "{here:?}");
        }
    }

    #[test]
    fn of_two_branches_that_may_be_meant_none_is_guessed() {
        for here in [["main", "master"], ["develop", "trunk"]] {
            let problem = choose(None, &here).unwrap_err();
            assert!(problem.contains(&here.join(", ")), "{problem}");
        }
    }
}
