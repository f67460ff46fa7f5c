//! Submodules: from what this repository has of them, or else from their own addresses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::large_files;
use crate::ctx::{Ctx, LONG, QUESTION};
use crate::tools::git::{self, Submodule};

/// Where the submodules of a repository may be.
pub(super) struct Source {
    /// Git's own directories for them.
    pub(super) modules: Vec<PathBuf>,
    /// A checkout of the repository, whose submodules may be checked out too.
    pub(super) checkout: Option<PathBuf>,
    /// The address of the repository: others are relative to it. May be empty.
    pub(super) url: String,
}

/// Fills the submodules of a tree, and theirs. `below` is the way to the tree from the release's.
pub(super) fn complete(
    ctx: &Ctx,
    source: &Source,
    tree: &Path,
    below: &str,
    needed: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let listed = ctx.ask(git::tree(&ctx.sh, tree), QUESTION)?;
    let mut pinned = git::parse_submodules(&listed.stdout);
    pinned.retain(|path, _| needed(&format!("{below}{path}")));
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
        let wanted = Wanted { submodule, path: &path, commit: &commit, directory: &directory };
        let found = find(ctx, source, &wanted).with_context(|| {
            let commit = super::super::short(&commit);
            format!(
                "can't get the submodule {shown} at {commit}; `git submodule update --init \
                 --recursive` must work in a fresh clone"
            )
        })?;
        let files = large_files::Source { repository: &found.repository, remote: "origin" };
        let below = format!("{shown}/");
        large_files::complete(ctx, &files, &directory, &below, needed)?;
        complete(ctx, &found.source, &directory, &below, needed)?;
        // It says where the repository is, which is not a part of a release.
        std::fs::remove_dir_all(directory.join(".git"))
            .with_context(|| format!("can't remove the repository of {shown}"))?;
    }
    Ok(())
}

/// A submodule, and where it goes.
struct Wanted<'w> {
    submodule: &'w Submodule,
    path: &'w str,
    commit: &'w str,
    directory: &'w Path,
}

/// What a submodule was filled from.
struct Found {
    repository: PathBuf,
    /// Of its own submodules.
    source: Source,
}

fn find(ctx: &Ctx, source: &Source, wanted: &Wanted<'_>) -> Result<Found> {
    let Wanted { submodule, path, commit, directory } = *wanted;
    let checkout = source.checkout.as_ref().map(|checkout| checkout.join(path));
    let url = match checkout {
        // The user may have a way of their own to it.
        Some(_) => ctx.ask(git::url_of_submodule(&ctx.sh, &submodule.name), QUESTION)?.stdout,
        None => String::new(),
    };
    let url = match url.trim() {
        "" => resolve(&source.url, &submodule.url)?,
        own => own.to_owned(),
    };
    let mut kept: Vec<PathBuf> =
        source.modules.iter().map(|modules| modules.join(&submodule.name)).collect();
    if let Some(checkout) = checkout.as_ref().filter(|it| it.join(".git").exists()) {
        let answer = ctx.ask(git::repository_of(&ctx.sh, checkout), QUESTION)?;
        kept.extend(answer.status.success().then(|| answer.stdout.trim_end().into()));
    }
    for repository in kept.into_iter().filter(|it| it.is_dir()) {
        let has = ctx.ask(git::has_commit(&ctx.sh, &repository, commit), QUESTION)?;
        if has.status.success() {
            let from = repository.display().to_string();
            run(ctx, git::clone_shared(&ctx.sh, &from, directory))?;
            run(ctx, git::check_out(&ctx.sh, directory, commit))?;
            let source = Source { modules: vec![repository.join("modules")], checkout, url };
            return Ok(Found { repository, source });
        }
    }
    fetch(ctx, wanted, &url)?;
    let repository = directory.join(".git");
    let source = Source { modules: Vec::new(), checkout: None, url };
    Ok(Found { repository, source })
}

/// Gets a submodule from its address.
fn fetch(ctx: &Ctx, wanted: &Wanted<'_>, url: &str) -> Result<()> {
    use std::io::Write;
    let Wanted { path, commit, directory, .. } = *wanted;
    ctx.say(format_args!("getting {path} from {}", git::without_login(url)));
    run(ctx, git::create(&ctx.sh, directory))?;
    let settings = directory.join(".git/config");
    std::fs::File::options()
        .append(true)
        .open(&settings)
        .and_then(|mut file| file.write_all(git::remote_setting(url).as_bytes()))
        .with_context(|| format!("can't write {}", settings.display()))?;
    let cmd = git::fetch_commit(&ctx.sh, directory, commit);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, LONG)?;
    match git::gives_no_commits(&answer.stderr) {
        true => run(ctx, git::fetch_all(&ctx.sh, directory))?,
        false => drop(answer.success(&shown)?),
    }
    run(ctx, git::check_out(&ctx.sh, directory, commit))
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
    let (mut rest, mut sign) = (url, "/");
    loop {
        if let Some(shorter) = rest.strip_prefix("../") {
            let cut = base.rfind(['/', ':']).context("its address leads above its repository")?;
            sign = &base[cut..=cut];
            (base, rest) = (&base[..cut], shorter);
        } else if let Some(shorter) = rest.strip_prefix("./") {
            rest = shorter;
        } else {
            return Ok(format!("{base}{sign}{rest}"));
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
            ("git@example.org:team/shop.git", "../../other/lib", "git@example.org:other/lib"),
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
