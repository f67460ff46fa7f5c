//! Submodules: from what this repository has of them, or else from their own addresses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::large_files;
use crate::commands::release::repository::REMOTE;
use crate::ctx::{Ctx, LONG, QUESTION};
use crate::tools::git::{self, Submodule};

/// Where the submodules of a repository may be.
pub(super) struct Source {
    /// Git's own directory for them.
    pub(super) modules: PathBuf,
    /// A checkout whose submodules may have directories of their own, as old versions of git do it.
    pub(super) checkout: Option<PathBuf>,
    /// The address of the repository: others are relative to it. May be empty.
    pub(super) url: String,
}

/// Fills the submodules of a tree, and theirs. `below` is the way to the tree from the release's.
pub(super) fn complete(ctx: &Ctx, source: &Source, tree: &Path, below: &str) -> Result<()> {
    let listed = ctx.ask(git::tree(&ctx.sh, tree), QUESTION)?;
    let pinned = git::parse_submodules(&listed.stdout);
    if pinned.is_empty() {
        return Ok(());
    }
    let named = ctx.ask(git::named_submodules(&ctx.sh, tree), QUESTION)?;
    let named = git::parse_named_submodules(&named.stdout);
    for (path, commit) in pinned {
        let shown = format!("{below}{path}");
        let Some(submodule) = named.get(&path) else {
            bail!(
                "{shown} is a submodule that .gitmodules does not name, so nobody can tell where it \
                 comes from; name it there, or take its files into this repository"
            );
        };
        let directory = tree.join(&path);
        let found =
            find(ctx, source, submodule, &path, &commit, &directory).with_context(|| {
                format!("can't get the submodule {shown} at {}", super::super::short(&commit))
            })?;
        large_files::complete(ctx, &found.repository, REMOTE, &directory)?;
        complete(ctx, &found.source, &directory, &format!("{shown}/"))?;
        // It says where the repository is, which is no part of a release.
        std::fs::remove_dir_all(directory.join(".git"))
            .with_context(|| format!("can't remove the repository of {shown}"))?;
    }
    Ok(())
}

/// What a submodule was filled from.
struct Found {
    repository: PathBuf,
    /// Of its own submodules.
    source: Source,
}

fn find(
    ctx: &Ctx,
    source: &Source,
    submodule: &Submodule,
    path: &str,
    commit: &str,
    directory: &Path,
) -> Result<Found> {
    let url = resolve(&source.url, &submodule.url)?;
    let checkout = source.checkout.as_ref().map(|checkout| checkout.join(path));
    let own = checkout.as_ref().map(|checkout| checkout.join(".git"));
    let kept = [Some(source.modules.join(&submodule.name)), own];
    for repository in kept.into_iter().flatten().filter(|it| it.is_dir()) {
        let has = ctx.ask(git::has_commit(&ctx.sh, &repository, commit), QUESTION)?;
        if has.status.success() {
            let from = repository.display().to_string();
            run(ctx, git::clone_shared(&ctx.sh, &from, directory))?;
            run(ctx, git::check_out(&ctx.sh, directory, commit))?;
            let source = Source { modules: repository.join("modules"), checkout, url };
            return Ok(Found { repository, source });
        }
    }
    ctx.say(format_args!("getting {path} from {}", git::without_login(&url)));
    run(ctx, git::create(&ctx.sh, directory))?;
    // Not every server gives a commit that is asked for by its hash.
    if run(ctx, git::fetch_commit(&ctx.sh, directory, &url, commit)).is_err() {
        run(ctx, git::fetch_all(&ctx.sh, directory, &url))?;
    }
    run(ctx, git::check_out(&ctx.sh, directory, commit))?;
    let repository = directory.join(".git");
    Ok(Found {
        source: Source { modules: repository.join("modules"), checkout: None, url },
        repository,
    })
}

/// All of this happens in a tree of our own, so a dry run does it too.
fn run(ctx: &Ctx, cmd: xshell::Cmd<'_>) -> Result<()> {
    let shown = cmd.to_string();
    ctx.ask(cmd, LONG)?.success(&shown).map(drop)
}

/// An address in `.gitmodules`, which may be relative to that of its repository (gitmodules(5)).
fn resolve(base: &str, url: &str) -> Result<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Ok(url.to_owned());
    }
    ensure!(!base.is_empty(), "its address {url} is relative, and no remote repository is named");
    let mut base = base.trim_end_matches('/');
    let mut rest = url;
    loop {
        if let Some(shorter) = rest.strip_prefix("../") {
            let cut = base.rfind(['/', ':']).context("its address leads above its repository")?;
            (base, rest) = (&base[..cut], shorter);
        } else if let Some(shorter) = rest.strip_prefix("./") {
            rest = shorter;
        } else {
            return Ok(format!("{base}/{rest}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn relative_addresses_are_those_that_git_makes_of_them() {
        for (base, url, expected) in [
            ("https://example.org/team/shop.git", "../lib.git", "https://example.org/team/lib.git"),
            ("https://example.org/team/shop", "./lib", "https://example.org/team/shop/lib"),
            ("git@example.org:team/shop.git", "../../other/lib", "git@example.org/other/lib"),
            ("/srv/shop.git/", "../lib.git", "/srv/lib.git"),
            ("", "https://example.org/lib", "https://example.org/lib"),
        ] {
            assert_eq!(resolve(base, url).unwrap(), expected);
        }
        assert!(resolve("", "../lib").is_err());
    }

    #[test]
    fn submodules_are_read_with_their_names_and_addresses() {
        let commit = "a".repeat(40);
        let tree = format!("100644 blob {commit}\tx y\0160000 commit {commit}\tlib/a b\0");
        assert_eq!(git::parse_submodules(&tree), BTreeMap::from([("lib/a b".into(), commit)]));
        let named = git::parse_named_submodules(
            "submodule.one.two.path\nlib/a b\0submodule.one.two.url\n../lib\0submodule.x.path\ny\0",
        );
        let expected = Submodule { name: "one.two".into(), url: "../lib".into() };
        assert_eq!(named, BTreeMap::from([("lib/a b".into(), expected)]));
    }
}
