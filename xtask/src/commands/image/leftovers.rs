//! What a run that is killed leaves in the engine, and how the next one finds it.
//!
//! A build has a directory whose name is part of all its images' names until they are finished; a
//! container that only looks into an image has its name in a file that is locked while somebody
//! uses it. Both are written before the engine is asked for anything, so whatever is there and held
//! by nobody is a dead one's.

use std::fs::File;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::{builder, destroy};
use crate::ctx::{Ctx, QUESTION};
use crate::tools::docker;

/// Where builds have their directories, below the tool's state.
const BUILDS: &str = "build";
/// Where the names of containers are, below the tool's state.
const CONTAINERS: &str = "questions";
/// Every name of a container that looks into an image begins like this.
const PREFIX: &str = "stevedore-question-";

/// A directory for one build, or for another large piece of work, gone with this.
pub(super) fn directory(ctx: &Ctx) -> Result<tempfile::TempDir> {
    let parent = ctx.state().join(BUILDS);
    ctx.state_directory(&parent)?;
    let made = tempfile::Builder::new().prefix("build-").tempdir_in(&parent);
    made.context("can't create a directory")
}

/// Where [`directory`] makes them.
pub(super) fn directories(ctx: &Ctx) -> std::path::PathBuf {
    ctx.state().join(BUILDS)
}

/// Whether a build is going on or has left something.
pub(super) fn has_directories(ctx: &Ctx) -> bool {
    std::fs::read_dir(directories(ctx)).is_ok_and(|mut entries| entries.next().is_some())
}

/// Removes what builds left behind that were killed; for who holds the lock.
pub(super) fn sweep(ctx: &Ctx) {
    if ctx.dry_run {
        return;
    }
    sweep_containers(ctx);
    for leftover in std::fs::read_dir(directories(ctx)).into_iter().flatten().flatten() {
        let name = leftover.file_name().to_string_lossy().into_owned();
        // The names first: the directory is what leads to them.
        if remove_names(ctx, &format!("*/*:{}{name}", builder::building_tag(ctx))).is_ok() {
            let _ = std::fs::remove_dir_all(leftover.path());
        }
    }
}

fn remove_names(ctx: &Ctx, pattern: &str) -> Result<()> {
    let listed = ctx.read(docker::list_images(&ctx.sh, &[pattern.to_owned()]))?;
    let names = listed.lines().filter_map(|line| line.split_once(' '));
    let names: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
    if names.is_empty() { Ok(()) } else { destroy::remove(ctx, &names) }
}

/// The name of a container that looks into an image, ours until this is dropped.
pub(super) struct Name {
    pub(super) text: String,
    _file: Option<NamedTempFile>,
}

/// Chooses a name. Nothing is written in a dry run.
pub(super) fn name(ctx: &Ctx) -> Result<Name> {
    if ctx.dry_run {
        return Ok(Name { text: format!("{PREFIX}1"), _file: None });
    }
    sweep_containers(ctx);
    let directory = ctx.common().join(CONTAINERS);
    ctx.state_directory(&directory)?;
    let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&directory);
    let file = file.context("can't create a file")?;
    flock(file.as_file(), FlockOperation::NonBlockingLockExclusive).context("can't lock a file")?;
    let text = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Name { text, _file: Some(file) })
}

/// Removes the containers whose names nobody holds.
fn sweep_containers(ctx: &Ctx) {
    let directory = ctx.common().join(CONTAINERS);
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let free = File::open(entry.path())
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
        let name = entry.file_name().to_string_lossy().into_owned();
        if !free || !name.starts_with(PREFIX) {
            continue;
        }
        let removed = ctx.ask(docker::remove_container(&ctx.sh, &name), QUESTION);
        // One that was never made is gone as well; only an engine that does not answer may have it.
        let gone = removed.is_ok_and(|answer| {
            answer.status.success() || answer.stderr.contains("No such container")
        });
        if gone {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
