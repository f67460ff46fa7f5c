//! The branch that `X.Y.0` is released from: the setting `[release] branch`, or else the default
//! branch of the remote repository.

use anyhow::Result;

use super::SHIPPED;
use super::repository::{self, MAIN, Repository};
use crate::ctx::Ctx;
use crate::project::environment;
use crate::release::version;

/// Its name, which may be missing here; or why it cannot be told.
pub(crate) fn find(ctx: &Ctx, repository: &Repository) -> Result<Result<String, String>> {
    let name = format!("environments/{SHIPPED}/environment.toml");
    let setting = environment::load(&ctx.root.join(&name), &name)?.release.branch;
    let remote = repository.remote.as_ref().and_then(|remote| remote.default_branch.as_deref());
    Ok(choose(setting.as_deref(), remote, &repository.branches()))
}

fn choose(setting: Option<&str>, remote: Option<&str>, here: &[&str]) -> Result<String, String> {
    if let Some(name) = setting.or(remote) {
        return Ok(name.to_owned());
    }
    let usual: Vec<&str> = MAIN.into_iter().filter(|name| here.contains(name)).collect();
    let own: Vec<&str> = here.iter().copied().filter(|name| !version::is_branch(name)).collect();
    match (usual.as_slice(), own.as_slice()) {
        ([name], _) | ([], [name]) => Ok((*name).to_owned()),
        ([], []) => Ok(MAIN[0].to_owned()),
        _ => Err(format!(
            "the remote repository names no default branch, and here are {}; name the one to \
             release from in environments/{SHIPPED}/environment.toml:\n    [release]\n    branch = \
             \"{}\"",
            own.join(", "),
            own[0]
        )),
    }
}

/// What is checked out may be the branch that is meant: it is ahead of the one that would be
/// released, and nothing but a setting or a habit speaks for that one.
pub(super) fn checked_out_problem(
    ctx: &Ctx,
    repository: &Repository,
    name: &str,
    commit: &str,
) -> Result<Option<String>> {
    let remote = repository.remote.as_ref().and_then(|remote| remote.default_branch.as_deref());
    let Some(other) = repository.checked_out.as_deref() else { return Ok(None) };
    if other == name || version::is_branch(other) || remote.is_some_and(|it| it != other) {
        return Ok(None);
    }
    let Some(head) = repository.branch(other) else { return Ok(None) };
    if head == commit || repository::is_ancestor(ctx, commit, head)? != Some(true) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{other} is checked out and is ahead of {name}, which releases come from; run `git switch \
         {name}` if that is right, or name {other} in environments/{SHIPPED}/environment.toml: \
         [release] branch = \"{other}\""
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_counts_most_then_the_remote_repository_then_the_usual_names() {
        for (setting, remote, here, expected) in [
            (Some("production"), Some("develop"), vec!["develop", "production"], "production"),
            (None, Some("trunk"), vec!["main", "trunk"], "trunk"),
            (None, Some("trunk"), vec![], "trunk"),
            (None, None, vec!["idea", "main"], "main"),
            (None, None, vec!["idea", "master"], "master"),
            (None, None, vec!["release-v1.0", "trunk"], "trunk"),
            (None, None, vec![], "main"),
        ] {
            assert_eq!(choose(setting, remote, &here), Ok(expected.to_owned()), "{here:?}");
        }
    }

    #[test]
    fn of_two_branches_that_may_be_meant_none_is_guessed() {
        for here in [["main", "master"], ["develop", "trunk"]] {
            let problem = choose(None, None, &here).unwrap_err();
            assert!(problem.contains(&format!("here are {}", here.join(", "))), "{problem}");
        }
    }
}
