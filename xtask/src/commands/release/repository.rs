//! What git has, here and in the remote repository, and the files of one commit in a place of
//! their own.
//!
//! A release is made from a clone that borrows the repository's objects, not from a linked working
//! tree: that would be registered in the user's repository, run its hooks, and could not be had in
//! a dry run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use semver::Version;
use xshell::Cmd;

use super::contents::{self, Needed};
use super::default_branch;
use crate::commands::assets;
use crate::ctx::{Ctx, LONG, Lock, QUESTION, REGISTRY};
use crate::exit;
use crate::release::record::Person;
use crate::release::version;
use crate::tools::git::{self, Places, References};

/// What the default branch is called where nothing says so, the likelier name first.
pub(super) const MAIN: [&str; 2] = ["main", "master"];
/// The remote repository where none is set for a branch.
pub(super) const REMOTE: &str = "origin";

pub(crate) struct Repository {
    pub(crate) places: Places,
    pub(crate) here: References,
    pub(crate) remote: Option<Remote>,
    /// The branch that is checked out.
    pub(crate) checked_out: Option<String>,
    /// When it was looked at.
    since: SystemTime,
}

pub(crate) struct Remote {
    pub(crate) name: String,
    /// What it has, or why it did not say.
    pub(crate) references: Result<References, String>,
    pub(crate) default_branch: Option<String>,
}

/// Where the repository is that holds the project.
pub(crate) fn places(ctx: &Ctx) -> Result<Places> {
    let answer = ctx.ask(git::places(&ctx.sh), QUESTION)?;
    if !answer.status.success() {
        if answer.stderr.contains("dubious ownership") {
            return Err(exit::usage(format!(
                "git refuses this repository, since it belongs to a different user; trust it with \
                 `git config --global --add safe.directory {}`",
                refused_directory(&answer.stderr).unwrap_or("DIRECTORY")
            )));
        }
        return Err(exit::usage(format!(
            "releases are made from commits, and git says: {}\n  begin with `git init`",
            answer.stderr.trim()
        )));
    }
    git::parse_places(&answer.stdout)
}

/// The directory in git's words about an owner that it does not trust.
fn refused_directory(words: &str) -> Option<&str> {
    Some(words.split_once("repository at '")?.1.split_once("'\n")?.0)
}

/// Where the tool keeps what belongs to all checkouts of a repository.
pub(crate) fn directory(places: &Places) -> PathBuf {
    Path::new(&places.common).join("stevedore")
}

/// Waits until nobody else releases or publishes from this repository.
pub(crate) fn lock(ctx: &Ctx, places: &Places) -> Result<Lock> {
    let path = directory(places).join("lock");
    ctx.lock_file(&path, "another release from this repository")
}

impl Repository {
    /// Asks git, and the remote repository once.
    pub(crate) fn observe(ctx: &Ctx, places: Places) -> Result<Repository> {
        let since = SystemTime::now();
        let here = git::parse_references(&ctx.read(git::references(&ctx.sh))?);
        let head = ctx.ask(git::checked_out(&ctx.sh), QUESTION)?;
        let checked_out = head.status.success().then(|| head.stdout.trim().to_owned());
        let mut repository = Repository { places, here, remote: None, checked_out, since };
        repository.remote = Repository::find_remote(ctx)?;
        Ok(repository)
    }

    /// Removes the lock on a branch or tag of ours that a git left which was killed. Nobody else of
    /// us is here, and no living git holds one as long as we have been.
    pub(crate) fn break_lock(&self, ctx: &Ctx, reference: &str) -> Result<()> {
        let path = Path::new(&self.places.common).join(format!("{reference}.lock"));
        let made = std::fs::metadata(&path).and_then(|found| found.modified());
        match made.is_ok_and(|made| made < self.since) {
            true => ctx.remove_state(&path),
            false => Ok(()),
        }
    }

    /// The remote repository of the branch that releases come from, as far as that can be told
    /// without asking one; `origin` where there is none.
    pub(super) fn usual_remote(ctx: &Ctx) -> Result<String> {
        Ok(Repository::remote_here(ctx)?.unwrap_or(REMOTE.to_owned()))
    }

    fn remote_here(ctx: &Ctx) -> Result<Option<String>> {
        let listed = ctx.read(git::remotes(&ctx.sh))?;
        let names: Vec<&str> = listed.lines().collect();
        // What is wrong with the setting is said where it is used.
        let setting = default_branch::setting(ctx).ok().flatten();
        let head = ctx.ask(git::checked_out(&ctx.sh), QUESTION)?.stdout;
        let branches = setting.as_deref().into_iter().chain(MAIN).chain([head.trim()]);
        for branch in branches.filter(|branch| !branch.is_empty()) {
            let set = ctx.ask(git::remote_of(&ctx.sh, branch), QUESTION)?.stdout;
            if names.contains(&set.trim()) {
                return Ok(Some(set.trim().to_owned()));
            }
        }
        let wanted = names.iter().find(|name| **name == REMOTE).or(names.first());
        Ok(wanted.map(|name| (*name).to_owned()))
    }

    fn find_remote(ctx: &Ctx) -> Result<Option<Remote>> {
        let Some(name) = Repository::remote_here(ctx)? else { return Ok(None) };
        let name = name.as_str();
        let said = ask_remote(ctx, git::remote_references(&ctx.sh, name))?;
        let default_branch = said.as_ref().ok().and_then(|said| git::parse_default_branch(said));
        let references = said.map(|said| git::parse_references(&said));
        Ok(Some(Remote { name: name.to_owned(), references, default_branch }))
    }

    /// The names of all branches here.
    pub(crate) fn branches(&self) -> Vec<&str> {
        self.here.keys().filter_map(|name| name.strip_prefix("refs/heads/")).collect()
    }

    /// The head of a branch.
    pub(crate) fn branch(&self, name: &str) -> Option<&str> {
        self.here.get(&format!("refs/heads/{name}")).map(|it| it.object.as_str())
    }

    /// What the remote repository has; nothing where there is none or where it did not answer.
    pub(crate) fn there(&self) -> &References {
        static NOTHING: References = References::new();
        let remote = self.remote.as_ref().and_then(|remote| remote.references.as_ref().ok());
        remote.unwrap_or(&NOTHING)
    }

    /// All versions that are taken, here or there: the tags with such names, of whatever kind.
    pub(crate) fn versions(&self) -> Vec<Version> {
        let names = self.here.keys().chain(self.there().keys());
        let versions: BTreeSet<Version> =
            names.filter_map(|name| version::of_tag(name.strip_prefix("refs/tags/")?)).collect();
        versions.into_iter().collect()
    }

    /// Whether the tag of a version is here or there, whatever it is.
    pub(crate) fn has_tag(&self, version: &Version) -> bool {
        let name = format!("refs/tags/{}", version::tag(version));
        self.here.contains_key(&name) || self.there().contains_key(&name)
    }

    /// A tag that is lightweight here, while the remote repository has the release: some CI systems
    /// fetch the tag that a job runs for in this way.
    pub(crate) fn stale_tag(&self, version: &Version) -> Option<String> {
        let tag = version::tag(version);
        let name = format!("refs/tags/{tag}");
        let (here, there) = (self.here.get(&name)?, self.there().get(&name)?);
        (here.target.is_none() && there.target.is_some()).then(|| {
            let remote = self.remote_name();
            format!(
                "tag {tag} is lightweight here, and a release in {remote}; get it with `git fetch \
                 --force {remote} tag {tag}`"
            )
        })
    }

    pub(crate) fn remote_name(&self) -> &str {
        self.remote.as_ref().map_or(REMOTE, |remote| &remote.name)
    }
}

/// What a remote repository has, or its own words when it does not answer.
pub(crate) fn remote_references(ctx: &Ctx, remote: &str) -> Result<Result<References, String>> {
    references_of(ctx, git::remote_references(&ctx.sh, remote))
}

/// The same of what a command prints.
pub(super) fn references_of(ctx: &Ctx, cmd: Cmd<'_>) -> Result<Result<References, String>> {
    Ok(ask_remote(ctx, cmd)?.map(|said| git::parse_references(&said)))
}

fn ask_remote(ctx: &Ctx, cmd: Cmd<'_>) -> Result<Result<String, String>> {
    match ctx.ask(cmd, REGISTRY) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
        Err(error) => Ok(Err(format!("{error:#}"))),
        Ok(answer) if answer.status.success() => Ok(Ok(answer.stdout)),
        Ok(answer) => Ok(Err(answer.stderr.trim().to_owned())),
    }
}

/// Whether a commit is part of another's history; `None` when one of them is not here.
pub(crate) fn is_ancestor(ctx: &Ctx, older: &str, newer: &str) -> Result<Option<bool>> {
    let answer = ctx.ask(git::is_ancestor(&ctx.sh, older, newer), QUESTION)?;
    Ok(match answer.status.code() {
        Some(0) => Some(true),
        Some(1) => Some(false),
        _ => None,
    })
}

/// Who makes releases here; `Err` with what to type where git is not told.
pub(crate) fn person(ctx: &Ctx) -> Result<Result<Person, String>> {
    let answer = ctx.ask(git::identity(&ctx.sh), QUESTION)?;
    if !answer.status.success() {
        return Ok(Err("git does not know who you are; `git config user.name NAME` and `git \
                       config user.email ADDRESS` tell it, or in a CI job \
                       GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL"
            .into()));
    }
    let (name, email) = git::parse_identity(&answer.stdout)?;
    Ok(Ok(Person { name, email }))
}

/// The files of one commit, gone with this.
pub(crate) struct Tree {
    /// The project in it.
    pub(crate) ctx: Ctx,
    directory: PathBuf,
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What is left is removed by the next release.
        let _ = std::fs::remove_dir_all(&self.directory);
        if !self.ctx.dry_run {
            let _ = std::fs::remove_dir_all(assets::kept(self.ctx.state()));
        }
    }
}

/// What the tree of a release is for, and below which directory of the state it lies.
pub(super) const RELEASE: &str = "release";

/// Removes what a killed one left of its tree; nobody else has one while we hold the lock.
pub(super) fn clear(ctx: &Ctx, purpose: &str) -> Result<()> {
    let kept = assets::kept(&ctx.common().join(purpose));
    for part in [tree_of(ctx, purpose), kept] {
        if part.exists() {
            ctx.remove_state(&part)?;
        }
    }
    Ok(())
}

fn tree_of(ctx: &Ctx, purpose: &str) -> PathBuf {
    ctx.common().join(purpose).join("tree")
}

/// Checks a commit out into a place of its own, below the tool's state; outside of the project
/// when nothing there may be changed.
pub(crate) fn check_out(ctx: &Ctx, places: &Places, commit: &str, purpose: &str) -> Result<Tree> {
    check_out_part(ctx, places, commit, purpose, Needed::All)
}

/// The same for a caller that needs only a part of what does not lie in the commit itself.
pub(crate) fn check_out_part(
    ctx: &Ctx,
    places: &Places,
    commit: &str,
    purpose: &str,
    needed: Needed,
) -> Result<Tree> {
    let state = ctx.common().join(purpose);
    let directory = match ctx.dry_run {
        true => tempfile::tempdir().context("can't create a directory")?.keep().join("tree"),
        false => tree_of(ctx, purpose),
    };
    if !ctx.dry_run {
        clear(ctx, purpose)?;
    }
    ctx.state_directory(&state)?;
    let cleanup = if ctx.dry_run { directory.parent().unwrap_or(&directory) } else { &directory };
    let mut tree =
        Tree { ctx: ctx.at(directory.clone(), state)?, directory: cleanup.to_path_buf() };
    for cmd in [
        git::clone_shared(&ctx.sh, &places.common, &directory),
        git::check_out(&ctx.sh, &directory, commit),
    ] {
        let shown = cmd.to_string();
        ctx.ask(cmd, LONG)?.success(&shown).with_context(|| format!("can't check out {commit}"))?;
    }
    contents::complete(ctx, places, &directory, needed)?;
    let root = directory.join(&places.prefix);
    anyhow::ensure!(
        root.join("docker").is_dir() && root.join("environments").is_dir(),
        "commit {commit} holds no docker/ and environments/; commit them"
    );
    tree.ctx = ctx.at(root.canonicalize()?, tree.ctx.state().to_path_buf())?;
    Ok(tree)
}
