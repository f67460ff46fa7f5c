//! What git would refuse at the end of a release or a publication, found out before its beginning:
//! a name that is in the way, a tag that cannot be signed, pushes that go to a different
//! repository.

use anyhow::{Context, Result};
use semver::Version;

use super::repository::{self, Repository};
use crate::commands::publish::claim;
use crate::ctx::{Ctx, LONG, QUESTION};
use crate::release::version;
use crate::tools::git::{self, References};

/// All of them, each with the command that ends it.
pub(super) fn find(
    ctx: &Ctx,
    repository: &Repository,
    version: &Version,
    commit: &str,
) -> Result<Vec<String>> {
    let mut problems = in_the_way(repository, version);
    problems.extend(signing(ctx, repository, commit)?);
    problems.extend(push_urls(ctx, repository)?);
    Ok(problems)
}

/// Git keeps references like files: where `a/b` is, `a` cannot be.
pub(crate) fn in_the_way(repository: &Repository, version: &Version) -> Vec<String> {
    let mut wanted = vec![format!("refs/tags/{}", version::tag(version))];
    if version::begins_branch(version) {
        wanted.push(format!("refs/heads/{}", version::branch(version)));
    }
    let remote = repository.remote_name();
    let mut problems = Vec::new();
    for name in &wanted {
        for found in conflicts(&repository.here, name) {
            let (kind, short) = kind(found);
            problems.push(format!(
                "git cannot make {} while there is a {kind} {short}; remove it with `git {kind} {} \
                 {short}`, or rename it",
                name.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/"),
                if kind == "tag" { "--delete" } else { "--delete --force" },
            ));
        }
    }
    wanted.push(claim::name(version));
    for name in &wanted {
        for found in conflicts(repository.there(), name) {
            let (kind, short) = kind(found);
            problems.push(format!(
                "{remote} cannot take {name} while it has a {kind} {short}; remove it with `git \
                 push {remote} --delete {found}`, or rename it"
            ));
        }
    }
    problems
}

/// The references that cannot be there together with one.
fn conflicts<'r>(references: &'r References, wanted: &str) -> Vec<&'r str> {
    let is_below =
        |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    let names = references.keys().map(String::as_str);
    names.filter(|name| is_below(name, wanted) || is_below(wanted, name)).collect()
}

/// `branch` or `tag`, and its name as people write it.
fn kind(reference: &str) -> (&'static str, &str) {
    match reference.strip_prefix("refs/tags/") {
        Some(name) => ("tag", name),
        None => ("branch", reference.trim_start_matches("refs/heads/")),
    }
}

/// Where git is told to sign tags, signs something that nothing keeps.
fn signing(ctx: &Ctx, repository: &Repository, commit: &str) -> Result<Option<String>> {
    let answer = ctx.ask(git::signs_tags(&ctx.sh), QUESTION)?;
    if answer.stdout.trim() != "true" {
        return Ok(None);
    }
    let objects = tempfile::tempdir().context("can't create a temporary directory")?;
    let cmd = git::try_to_sign(&ctx.sh, commit, &repository.places, objects.path());
    let answer = ctx.ask(cmd, LONG)?;
    Ok((!answer.status.success()).then(|| {
        format!(
            "git is told to sign tags (tag.gpgSign) and cannot: {}; name a key with `git config \
             user.signingKey KEY`, or `git config tag.gpgSign false`",
            answer.last_lines(3).join("; ")
        )
    }))
}

/// Branches and tags that are pushed have to be where they are read afterwards.
pub(crate) fn push_urls(ctx: &Ctx, repository: &Repository) -> Result<Vec<String>> {
    let Some(remote) = &repository.remote else { return Ok(Vec::new()) };
    let Ok(there) = &remote.references else { return Ok(Vec::new()) };
    let name = &remote.name;
    let url = ctx.read(git::fetch_url(&ctx.sh, name))?.trim().to_owned();
    let pushed = ctx.read(git::push_urls(&ctx.sh, name))?;
    let mut problems = Vec::new();
    for push_url in pushed.lines().filter(|it| *it != url) {
        // One repository may have two addresses, one to read from and one to push to.
        let problem = match repository::references_of(ctx, git::references_at(&ctx.sh, push_url))? {
            Ok(found) if found == *there => continue,
            Ok(_) => "which has different branches or tags".to_owned(),
            Err(words) => format!("which does not answer ({words})"),
        };
        problems.push(format!(
            "{name} is read from {} and pushed to {}, {problem}; `git remote get-url --push {name}` \
             must print the first address: see `git config --get-regexp url`",
            git::without_login(&url),
            git::without_login(push_url)
        ));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_above_and_below_are_in_the_way_and_others_are_not() {
        let references = git::parse_references(
            "1a refs/heads/release-v1.2/foo\n2b refs/heads/release-v1.20\n3c refs/heads/stevedore\n\
             4d refs/tags/v1.2.0/x 1a\n5e refs/tags/v1.2.0\n",
        );
        let check = |wanted: &str| conflicts(&references, wanted);
        assert_eq!(check("refs/heads/release-v1.2"), ["refs/heads/release-v1.2/foo"]);
        assert_eq!(check("refs/heads/stevedore/publish/v1.2.0"), ["refs/heads/stevedore"]);
        assert_eq!(check("refs/tags/v1.2.0"), ["refs/tags/v1.2.0/x"]);
        assert_eq!(check("refs/heads/release-v1.20"), [""; 0]);
    }
}
