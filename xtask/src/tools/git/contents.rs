//! git and what a commit only points at: submodules, and files that go through a filter.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use xshell::{Cmd, Shell};

use super::{alone, git};

/// Everything in the commit of a tree that we checked out.
pub(crate) fn tree<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(tree).args(["ls-tree", "-r", "-z", "HEAD"])
}

/// Path -> commit of the submodules in what [`tree`] prints.
pub(crate) fn parse_submodules(stdout: &str) -> BTreeMap<String, String> {
    let entries = stdout.split('\0').filter_map(|entry| entry.split_once('\t'));
    let pinned = entries.filter_map(|(facts, path)| {
        Some((path.to_owned(), facts.strip_prefix("160000 commit ")?.to_owned()))
    });
    pinned.collect()
}

/// What `.gitmodules` says.
pub(crate) fn named_submodules<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(tree).args([
        "config",
        "--null",
        "--file",
        ".gitmodules",
        "--get-regexp",
        r"^submodule\..*\.(path|url)$",
    ])
}

/// A submodule as `.gitmodules` names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Submodule {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// Path -> submodule, of those that have an address.
pub(crate) fn parse_named_submodules(stdout: &str) -> BTreeMap<String, Submodule> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in stdout.split('\0').filter_map(|entry| entry.split_once('\n')) {
        let Some(key) = key.strip_prefix("submodule.") else { continue };
        if let Some(name) = key.strip_suffix(".path") {
            paths.insert(name, value);
        } else if let Some(name) = key.strip_suffix(".url") {
            urls.insert(name, value);
        }
    }
    let named = paths.into_iter().filter_map(|(name, path)| {
        let url = (*urls.get(name)?).to_owned();
        Some((path.to_owned(), Submodule { name: name.to_owned(), url }))
    });
    named.collect()
}

/// Exit code 0 where a repository has a commit.
pub(crate) fn has_commit<'s>(sh: &'s Shell, repository: &Path, commit: &str) -> Cmd<'s> {
    let commit = format!("{commit}^{{commit}}");
    // Its own setting may name a working tree that is gone.
    let places = [OsStr::new("--git-dir"), repository.as_os_str()];
    let tree = [OsStr::new("--work-tree"), repository.as_os_str()];
    alone(sh).args(places).args(tree).args(["cat-file", "-e", &commit])
}

/// The repository of a checkout, whatever its `.git` is.
pub(crate) fn repository_of<'s>(sh: &'s Shell, checkout: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(checkout).args(["rev-parse", "--absolute-git-dir"])
}

/// The address that this repository has for a submodule instead of that of `.gitmodules`.
pub(crate) fn url_of_submodule<'s>(sh: &'s Shell, name: &str) -> Cmd<'s> {
    alone(sh).args(["config", "--get", &format!("submodule.{name}.url")])
}

/// Makes an empty repository of our own.
pub(crate) fn create<'s>(sh: &'s Shell, directory: &Path) -> Cmd<'s> {
    alone(sh).args(["init", "--quiet", "--template="]).arg(directory)
}

/// The setting that gives a repository of our own its remote one. The address may hold a password,
/// so it is written into a file and is never an argument.
pub(crate) fn remote_setting(url: &str) -> String {
    let url = url.replace('\\', r"\\").replace('"', "\\\"");
    format!("[remote \"origin\"]\n\turl = \"{url}\"\n")
}

/// Gets one commit for a repository of our own.
pub(crate) fn fetch_commit<'s>(sh: &'s Shell, own: &Path, commit: &str) -> Cmd<'s> {
    let fetch = ["fetch", "--quiet", "--depth", "1", "--no-tags", "origin", commit];
    alone(sh).arg("-C").arg(own).args(fetch)
}

/// Whether a server answered [`fetch_commit`] that it gives branches and tags only.
pub(crate) fn gives_no_commits(stderr: &str) -> bool {
    ["not our ref", "unadvertised object", "no such remote ref", "couldn't find remote ref"]
        .iter()
        .any(|words| stderr.contains(words))
}

/// Gets every branch and tag for a repository of our own.
pub(crate) fn fetch_all<'s>(sh: &'s Shell, own: &Path) -> Cmd<'s> {
    let fetch = ["fetch", "--quiet", "--tags", "origin", "refs/heads/*:refs/there/*"];
    alone(sh).arg("-C").arg(own).args(fetch)
}

/// Exit code 0 where some `.gitattributes` of a tree has a filter.
pub(crate) fn mentions_filters<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    let grep = ["grep", "--cached", "--quiet", "--fixed-strings", "-e", "filter", "--"];
    alone(sh).arg("-C").arg(tree).args(grep).args([".gitattributes", "**/.gitattributes"])
}

/// The files of a tree, each ended by a NUL.
pub(crate) fn files_of<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(tree).args(["ls-files", "-z"])
}

/// Which filter each of the files has that it reads.
pub(crate) fn filters<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(tree).args(["check-attr", "-z", "--stdin", "filter"])
}

/// Path -> filter, of those that have one.
pub(crate) fn parse_filters(stdout: &str) -> BTreeMap<String, String> {
    let fields: Vec<&str> = stdout.split('\0').collect();
    let filters = fields.chunks_exact(3).filter(|it| !["unspecified", "unset"].contains(&it[2]));
    filters.map(|it| (it[0].to_owned(), it[2].to_owned())).collect()
}

/// Where Git LFS keeps the files of a repository, from the repository's own directory.
pub(crate) fn lfs_storage<'s>(sh: &'s Shell, repository: &Path) -> Cmd<'s> {
    git(sh).arg("--git-dir").arg(repository).args(["config", "--get", "lfs.storage"])
}

/// Gets what a commit needs into the storage of Git LFS.
pub(crate) fn lfs_fetch<'s>(
    sh: &'s Shell,
    repository: &Path,
    remote: &str,
    commit: &str,
) -> Cmd<'s> {
    git(sh).arg("--git-dir").arg(repository).args(["lfs", "fetch", remote, commit])
}

/// The commit of a tree.
pub(crate) fn head_of<'s>(sh: &'s Shell, tree: &Path) -> Cmd<'s> {
    alone(sh).arg("-C").arg(tree).args(["rev-parse", "HEAD"])
}
