//! Files: written whole or not at all, and the tool's own state with its locks.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Ctx;
use crate::exit;

/// What [`Ctx::lock`] gives: the lock lasts as long as this.
pub(crate) struct Lock {
    file: Option<fs::File>,
    /// Somebody else had it, so what was seen before may no longer be so.
    pub(crate) waited: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not only closed: a child of ours that lives on may have it open.
        if let Some(file) = &self.file {
            let _ = rustix::fs::flock(file, rustix::fs::FlockOperation::Unlock);
        }
    }
}

impl Ctx {
    /// Writes a file whole or not at all: a temporary file beside it, fsync, rename.
    pub(crate) fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.write_mode(path, contents, 0o644)
    }

    /// Like [`Ctx::write`], readable by its owner only from its first instant.
    pub(crate) fn write_secret(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.write_mode(path, contents, 0o600)
    }

    /// Like [`Ctx::write`] for what is too large to be held: `fill` writes it. Returns what that
    /// returns; nothing in a dry run.
    pub(crate) fn write_by<T>(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut fs::File) -> Result<T>,
    ) -> Result<Option<T>> {
        let shown = self.relative(path).display().to_string();
        if self.skip(&format!("write {shown}")) {
            return Ok(None);
        }
        write_whole(path, fill, 0o644, true)
            .map(Some)
            .with_context(|| format!("can't write {shown}"))
    }

    /// Writes what can be made again from the rest: not worth a word, nor a place in a dry run, nor
    /// a wait for the disk. Whoever reads it back finds out whether it is whole.
    pub(crate) fn write_cache(&self, path: &Path, contents: &[u8]) -> Result<()> {
        if self.dry_run {
            Ok(())
        } else {
            write_whole(path, |file| Ok(file.write_all(contents)?), 0o644, false)
        }
        .with_context(|| format!("can't write {}", self.relative(path).display()))
    }

    /// Writes what only saves time: where it cannot be written, nothing is lost.
    pub(crate) fn remember(&self, path: &Path, contents: &[u8]) {
        let _ = self.write_cache(path, contents);
    }

    fn write_mode(&self, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
        if self.skip(&format!("write {}", self.relative(path).display())) {
            return Ok(());
        }
        write_whole(path, |file| Ok(file.write_all(contents)?), mode, true)
            .with_context(|| format!("can't write {}", self.relative(path).display()))
    }

    /// Makes a directory of the tool's own state; not in a dry run.
    pub(crate) fn state_directory(&self, path: &Path) -> Result<()> {
        if self.dry_run { Ok(()) } else { create_directory(path) }
            .with_context(|| format!("can't create {}", self.relative(path).display()))
    }

    /// Removes a file or directory of the tool's own state.
    pub(crate) fn remove_state(&self, path: &Path) -> Result<()> {
        let shown = self.relative(path).display().to_string();
        if self.skip(&format!("remove {shown}")) {
            return Ok(());
        }
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.with_context(|| format!("can't remove {shown}"))
    }

    /// Waits until nobody else in this checkout does what `name` stands for; it is ours until the
    /// returned lock is dropped, or until we and our children are gone: whoever kills us ends the
    /// docker client, but not always the plugin that does the work. A dry run takes and waits for
    /// nothing.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.state().join(format!("{name}.lock"));
        let lock = self.lock_file(&path, &format!("another {name} of this checkout"))?;
        if let Some(file) = &lock.file {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        }
        Ok(lock)
    }

    /// Like [`Ctx::lock`], and nothing where somebody else has it.
    pub(crate) fn lock_if_free(&self, name: &str) -> Result<Option<Lock>> {
        self.lock_file_if_free(&self.state().join(format!("{name}.lock")))
    }

    /// Like [`Ctx::lock_file`], and nothing where somebody else has it.
    pub(crate) fn lock_file_if_free(&self, path: &Path) -> Result<Option<Lock>> {
        use rustix::fs::{FlockOperation, flock};
        if self.dry_run {
            return Ok(None);
        }
        let file = self.log_file(path)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok(locked.then_some(Lock { file: Some(file), waited: false }))
    }

    /// Like [`Ctx::lock`], by a file that others lock too; `other` is what they are.
    pub(crate) fn lock_file(&self, path: &Path, other: &str) -> Result<Lock> {
        use rustix::fs::{FlockOperation, flock};
        if self.dry_run {
            return Ok(Lock { file: None, waited: false });
        }
        let file = self.log_file(path)?;
        let mut waited = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { file: Some(file), waited }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => {
                    let shown = self.relative(path).display().to_string();
                    return Err(error).with_context(|| format!("can't lock {shown}"));
                }
            }
            if !waited {
                self.say(format_args!("waiting for {other} to end"));
                waited = true;
            }
            if self.interrupted() {
                return Err(exit::interrupted());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Opens a log file for a process that outlives us.
    pub(crate) fn log_file(&self, path: &Path) -> Result<fs::File> {
        if let Some(directory) = path.parent() {
            create_directory(directory)
                .with_context(|| format!("can't create {}", self.relative(directory).display()))?;
        }
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("can't open {}", self.relative(path).display()))
    }
}

/// Makes a directory. The tool's own state never gets into git, whatever the project ignores: it
/// holds copies of the project's files and of its secrets.
fn create_directory(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    let Some(state) = path.ancestors().find(|path| path.ends_with(super::STATE)) else {
        return Ok(());
    };
    match fs::OpenOptions::new().write(true).create_new(true).open(state.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_whole<T>(
    path: &Path,
    fill: impl FnOnce(&mut fs::File) -> Result<T>,
    mode: u32,
    durable: bool,
) -> Result<T> {
    let directory = path.parent().context("a file path without a directory")?;
    create_directory(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    let filled = fill(file.as_file_mut())?;
    if durable {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    Ok(filled)
}
