//! git: which commits, branches and tags there are, here and in the remote repository, and making
//! new ones without touching what somebody works on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

mod contents;
mod remote;

pub(crate) use contents::*;
pub(crate) use remote::*;

/// Variables by which a hook, or the caller's shell, would lead git to a different repository.
/// Those that add settings (`GIT_CONFIG_COUNT`, `GIT_CONFIG_PARAMETERS`) stay: CI jobs give
/// identity and access that way.
const STEERING: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
];

/// git in this repository: in English, and without a question on the terminal.
fn git(sh: &Shell) -> Cmd<'_> {
    let mut cmd = cmd!(sh, "git").env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    cmd = cmd.env("GIT_NO_REPLACE_OBJECTS", "1");
    for name in STEERING {
        cmd = cmd.env_remove(name);
    }
    cmd
}

/// git that runs no program of the user's own: neither hooks nor a monitor of files.
fn alone(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
}

/// The same where files come out of commits: every byte of them, whatever the user's settings and
/// machine would make of line ends, attributes and links.
fn exact(sh: &Shell) -> Cmd<'_> {
    alone(sh)
        .args(["-c", "core.autocrlf=false", "-c", "core.eol=lf"])
        .args(["-c", "core.attributesFile=/dev/null", "-c", "core.symlinks=true"])
        .env("GIT_ATTR_NOSYSTEM", "1")
}

/// The files that git knows, each ended by a NUL.
pub(crate) fn list_files(sh: &Shell) -> Cmd<'_> {
    alone(sh).args(["ls-files", "-z"])
}

/// Whether git ignores a path, by its exit code: 0 it does, 1 it does not, 128 for anything else.
pub(crate) fn is_ignored<'s>(sh: &'s Shell, path: &str) -> Cmd<'s> {
    alone(sh).args(["check-ignore", "--quiet", "--", path])
}

/// The path itself when git tracks it, else nothing.
pub(crate) fn tracked<'s>(sh: &'s Shell, path: &str) -> Cmd<'s> {
    alone(sh).args(["ls-files", "--", path])
}

/// The commit of the checkout, with `-dirty` when files differ from it.
pub(crate) fn describe(sh: &Shell) -> Cmd<'_> {
    alone(sh).args(["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"])
}

/// Where the repository lies, whether it is shallow, and where in it we are.
pub(crate) fn places(sh: &Shell) -> Cmd<'_> {
    git(sh)
        .args(["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-toplevel"])
        .args(["--is-shallow-repository", "--show-prefix"])
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// What all its checkouts have in common.
    pub(crate) common: String,
    pub(crate) top: String,
    pub(crate) shallow: bool,
    /// The way from its top to here, with a slash at the end; empty at the top.
    pub(crate) prefix: String,
}

pub(crate) fn parse_places(stdout: &str) -> Result<Places> {
    let lines: Vec<&str> = stdout.split('\n').collect();
    let [common, top, shallow, prefix, ..] = lines[..] else {
        anyhow::bail!("`git rev-parse` printed {stdout:?}");
    };
    Ok(Places {
        common: common.to_owned(),
        top: top.to_owned(),
        shallow: shallow == "true",
        prefix: prefix.to_owned(),
    })
}

/// Every branch and tag of this repository.
pub(crate) fn references(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["for-each-ref", "--format=%(objectname) %(refname) %(*objectname)"]).args([
        "refs/heads/",
        "refs/tags/",
        "refs/remotes/",
    ])
}

/// Name of a reference -> what it names.
pub(crate) type References = BTreeMap<String, Reference>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// A commit, or an annotated tag.
    pub(crate) object: String,
    /// What an annotated tag is of.
    pub(crate) target: Option<String>,
}

impl Reference {
    /// The commit at its end.
    pub(crate) fn commit(&self) -> &str {
        self.target.as_ref().unwrap_or(&self.object)
    }
}

/// Reads `OBJECT NAME [TARGET]` lines, and those of `ls-remote`: `OBJECT<tab>NAME`, in which
/// `NAME^{}` is the target. What is not below `refs/` is left out.
pub(crate) fn parse_references(stdout: &str) -> References {
    let mut references = References::new();
    for line in stdout.lines() {
        let mut words = line.split_whitespace();
        let (Some(object), Some(name)) = (words.next(), words.next()) else { continue };
        if object == "ref:" || !name.starts_with("refs/") {
            continue;
        }
        if let Some(tag) = name.strip_suffix("^{}") {
            if let Some(reference) = references.get_mut(tag) {
                reference.target = Some(object.to_owned());
            }
            continue;
        }
        let target = words.next().map(str::to_owned);
        references.insert(name.to_owned(), Reference { object: object.to_owned(), target });
    }
    references
}

/// The branch that is checked out; fails where none is.
pub(crate) fn checked_out(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["symbolic-ref", "--quiet", "--short", "HEAD"])
}

/// `true` where git signs every annotated tag.
pub(crate) fn signs_tags(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["config", "--type=bool", "--get", "tag.gpgSign"])
}

/// Signs a commit that is kept in `objects` only, as tags are signed.
pub(crate) fn try_to_sign<'s>(
    sh: &'s Shell,
    commit: &str,
    places: &Places,
    objects: &Path,
) -> Cmd<'s> {
    git(sh)
        .args(["commit-tree", "-S", "-m", "can this be signed?", &format!("{commit}^{{tree}}")])
        .env("GIT_OBJECT_DIRECTORY", objects)
        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", format!("{}/objects", places.common))
}

/// Who commits: `NAME <EMAIL> SECONDS ZONE`; fails where git is not told.
pub(crate) fn identity(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["var", "GIT_COMMITTER_IDENT"])
}

/// Name and address.
pub(crate) fn parse_identity(stdout: &str) -> Result<(String, String)> {
    let words = stdout.split_once(" <").and_then(|(name, rest)| {
        let (email, _) = rest.split_once('>')?;
        Some((name.to_owned(), email.to_owned()))
    });
    words.with_context(|| format!("`git var` printed {stdout:?}"))
}

pub(crate) fn version(sh: &Shell) -> Cmd<'_> {
    git(sh).arg("--version")
}

/// Exit code 0: yes; 1: no; any other: one of them is not here.
pub(crate) fn is_ancestor<'s>(sh: &'s Shell, older: &str, newer: &str) -> Cmd<'s> {
    git(sh).args(["merge-base", "--is-ancestor", older, newer])
}

/// The newest commit that two have in common.
pub(crate) fn merge_base<'s>(sh: &'s Shell, one: &str, other: &str) -> Cmd<'s> {
    git(sh).args(["merge-base", one, other])
}

/// Subjects of the commits behind `older` up to `newer`, newest first; of all without `older`.
pub(crate) fn subjects<'s>(sh: &'s Shell, older: Option<&str>, newer: &str) -> Cmd<'s> {
    let range = older.map_or(newer.to_owned(), |older| format!("{older}..{newer}"));
    git(sh).args(["log", "--no-show-signature", "--no-decorate", "--no-color"]).args([
        "--encoding=UTF-8",
        "--format=%h %s",
        "--abbrev=12",
        "--end-of-options",
        &range,
        "--",
    ])
}

/// Reads paths and prints those that git ignores, a NUL byte between two.
pub(crate) fn ignored(sh: &Shell) -> Cmd<'_> {
    git(sh).args(["check-ignore", "-z", "--stdin"])
}

/// The bytes of an object, such as `v1.0.0:releases/1.0.0.json`.
pub(crate) fn blob<'s>(sh: &'s Shell, object: &str) -> Cmd<'s> {
    git(sh).args(["cat-file", "blob", object])
}

/// The path again where a tree holds it, and nothing where it does not.
pub(crate) fn find_file<'s>(sh: &'s Shell, tree: &str, path: &str) -> Cmd<'s> {
    git(sh).args(["ls-tree", "--name-only", tree, "--", path])
}

/// A commit or a tag as it is stored.
pub(crate) fn object<'s>(sh: &'s Shell, kind: &str, object: &str) -> Cmd<'s> {
    git(sh).args(["cat-file", kind, object])
}

/// Which files two commits have differently, each ended by a NUL.
pub(crate) fn changed_files<'s>(sh: &'s Shell, one: &str, other: &str) -> Cmd<'s> {
    alone(sh).args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", one, other])
}

/// A repository of its own that borrows the objects of this one and neither hooks nor settings. The
/// git that reads this one is told that it is safe: a CI job says so of the work tree only.
pub(crate) fn clone_shared<'s>(sh: &'s Shell, repository: &str, directory: &Path) -> Cmd<'s> {
    let safe = format!("safe.directory={repository}");
    let reader = shell_words::join(["git", "-c", &safe, "upload-pack"]);
    exact(sh)
        .args(["-c", "protocol.file.allow=always", "clone", "--quiet", "--shared"])
        .args(["--no-reject-shallow", "--template=", "--no-checkout", "--no-tags"])
        .args(["--upload-pack", &reader, "--", repository])
        .arg(directory)
}

/// Fills a clone with the files of a commit. The filters of `.gitattributes` are programs that this
/// user's settings name: none of those is read.
pub(crate) fn check_out<'s>(sh: &'s Shell, directory: &Path, commit: &str) -> Cmd<'s> {
    let checkout = ["checkout", "--quiet", "--no-recurse-submodules", "--detach", commit];
    exact(sh)
        .arg("-C")
        .arg(directory)
        .args(checkout)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_CONFIG_COUNT")
        .env_remove("GIT_CONFIG_PARAMETERS")
}

/// Changes files as a patch says, or takes that back.
pub(crate) fn apply<'s>(sh: &'s Shell, directory: &Path, patch: &Path, reverse: bool) -> Cmd<'s> {
    let reverse = reverse.then_some("--reverse");
    exact(sh).arg("-C").arg(directory).arg("apply").args(reverse).arg("--").arg(patch)
}

/// Keeps a file as an object: its name.
pub(crate) fn store<'s>(sh: &'s Shell, file: &Path) -> Cmd<'s> {
    git(sh).args(["hash-object", "-w", "--no-filters", "--"]).arg(file)
}

/// Fills an index of our own with a commit's files.
pub(crate) fn read_tree<'s>(sh: &'s Shell, index: &Path, commit: &str) -> Cmd<'s> {
    alone(sh).args(["read-tree", commit]).env("GIT_INDEX_FILE", index)
}

/// Adds files, each a path and an object, to an index of our own.
pub(crate) fn update_index<'s>(sh: &'s Shell, index: &Path, files: &[(String, String)]) -> Cmd<'s> {
    let infos = files.iter().map(|(path, object)| format!("100644,{object},{path}"));
    alone(sh)
        .args(["update-index", "--add"])
        .args(infos.flat_map(|info| ["--cacheinfo".to_owned(), info]))
        .env("GIT_INDEX_FILE", index)
}

/// Keeps an index of our own as a tree: its name.
pub(crate) fn write_tree<'s>(sh: &'s Shell, index: &Path) -> Cmd<'s> {
    alone(sh).arg("write-tree").env("GIT_INDEX_FILE", index)
}

/// Who made a commit or a tag, and when.
pub(crate) struct Signature<'p> {
    pub(crate) name: &'p str,
    pub(crate) email: &'p str,
    /// Seconds since 1970.
    pub(crate) seconds: u64,
}

fn signed<'s>(cmd: Cmd<'s>, by: &Signature<'_>) -> Cmd<'s> {
    let date = format!("@{} +0000", by.seconds);
    cmd.env("GIT_AUTHOR_NAME", by.name)
        .env("GIT_AUTHOR_EMAIL", by.email)
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_NAME", by.name)
        .env("GIT_COMMITTER_EMAIL", by.email)
        .env("GIT_COMMITTER_DATE", date)
}

/// Makes a commit that no branch names: its name.
pub(crate) fn commit_tree<'s>(
    sh: &'s Shell,
    tree: &str,
    parent: Option<&str>,
    message: &Path,
    by: &Signature<'_>,
) -> Cmd<'s> {
    let parent = parent.into_iter().flat_map(|parent| ["-p", parent]);
    signed(git(sh).arg("commit-tree").args(parent).arg("-F").arg(message).arg(tree), by)
}

/// Makes a branch that must not be there yet.
pub(crate) fn create_branch<'s>(sh: &'s Shell, branch: &str, commit: &str) -> Cmd<'s> {
    let reference = format!("refs/heads/{branch}");
    git(sh).args(["update-ref", &reference, commit, ""])
}

/// Removes a reference that must still name this object.
pub(crate) fn remove_reference<'s>(sh: &'s Shell, reference: &str, object: &str) -> Cmd<'s> {
    git(sh).args(["update-ref", "-d", reference, object])
}

/// Makes an annotated tag; signed where git is told to.
pub(crate) fn annotate<'s>(
    sh: &'s Shell,
    tag: &str,
    commit: &str,
    message: &Path,
    by: &Signature<'_>,
) -> Cmd<'s> {
    signed(git(sh).args(["tag", "--annotate", "--cleanup=verbatim", "--file"]), by)
        .arg(message)
        .args([tag, commit])
}

/// Who made a commit, and when.
pub(crate) fn who<'s>(sh: &'s Shell, commit: &str) -> Cmd<'s> {
    git(sh).args(["show", "--no-patch", "--no-show-signature", "--format=%an <%ae>, %cI", commit])
}

/// Makes a repository without files, as a remote one is.
pub(crate) fn create_bare<'s>(sh: &'s Shell, directory: &Path) -> Cmd<'s> {
    alone(sh).args(["init", "--quiet", "--bare", "--template="]).arg(directory)
}

/// A clone of our own: another remote repository, and who works in it.
pub(crate) fn configure<'s>(sh: &'s Shell, clone: &Path, key: &str, value: &str) -> Cmd<'s> {
    alone(sh).arg("-C").arg(clone).args(["config", key, value])
}

/// Makes a branch at a commit in a clone of our own, and its files those of that.
pub(crate) fn begin_branch<'s>(sh: &'s Shell, clone: &Path, branch: &str, at: &str) -> Cmd<'s> {
    exact(sh).arg("-C").arg(clone).args(["checkout", "--quiet", "-B", branch, at])
}

/// Goes to a branch that is there, in a clone of our own.
pub(crate) fn check_out_branch<'s>(sh: &'s Shell, clone: &Path, branch: &str) -> Cmd<'s> {
    exact(sh).arg("-C").arg(clone).args(["checkout", "--quiet", branch])
}

/// Gives a clone of our own the files of a commit, on the branch that it is on.
pub(crate) fn take_files<'s>(sh: &'s Shell, clone: &Path, commit: &str) -> Cmd<'s> {
    exact(sh).arg("-C").arg(clone).args(["read-tree", "--reset", "-u", commit])
}

/// Commits every file of a clone of our own.
pub(crate) fn commit_all<'s>(sh: &'s Shell, clone: &Path, message: &str) -> Cmd<'s> {
    exact(sh).arg("-C").arg(clone).args([
        "commit",
        "--quiet",
        "--all",
        "--allow-empty",
        "--message",
        message,
    ])
}

/// Where git's own file of this name is, whatever kind of checkout this is; from its directory.
pub(crate) fn own_file<'s>(sh: &'s Shell, name: &str) -> Cmd<'s> {
    git(sh).args(["rev-parse", "--git-path", name])
}
