//! What changes in a project's files, as it happens.
//!
//! The kernel's events are hints only: where to look. What has changed is decided by [`memory`],
//! which knows what every file held, so that a save without a change is no change, an editor's
//! temporary files are none, and events that were lost cost a look at everything and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

mod memory;
use memory::Memory;
pub(crate) use memory::{Changes, How};

/// How long it must be quiet before one looks: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long one waits for quiet where something is written all the time.
const RESTLESS: Duration = Duration::from_millis(500);
/// How long git may take to write a tree; all that it writes is one change.
const CHECKOUT: Duration = Duration::from_secs(60);
/// How often all is looked at where the kernel watches no more.
const POLL: Duration = Duration::from_secs(1);

/// Which of these paths, from the root, are nobody's source.
pub(crate) type Ignored = Box<dyn Fn(&[PathBuf]) -> Result<BTreeSet<PathBuf>> + Send>;

/// Where to look.
enum Hint {
    At(Vec<PathBuf>),
    Everywhere,
}

pub(crate) struct Watch {
    root: PathBuf,
    memory: Memory,
    ignored: Ignored,
    hints: Receiver<Hint>,
    kernel: RecommendedWatcher,
    /// Why all is looked at now and then instead; nothing where the kernel tells.
    polls: Option<String>,
}

impl Watch {
    /// Reads every file once; what changes from now on is told by [`Watch::wait`].
    pub(crate) fn new(root: &Path, ignored: Ignored) -> Result<Watch> {
        let (sender, hints) = mpsc::channel();
        let kernel = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let _ = match event {
                Ok(event) if event.need_rescan() => sender.send(Hint::Everywhere),
                // To read is no change.
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => Ok(()),
                Ok(event) => sender.send(Hint::At(event.paths)),
                Err(_) => sender.send(Hint::Everywhere),
            };
        })
        .context("can't watch files")?;
        let root = root.to_path_buf();
        let memory = Memory::new(&root);
        let mut watch = Watch { root, memory, ignored, hints, kernel, polls: None };
        // Read before it is watched, since each read would be an event; then looked at once more,
        // for what has changed in between.
        let look = watch.memory.look_everywhere(&watch.ignored)?;
        watch.settle(look.new)?;
        Ok(watch)
    }

    /// How many files are known.
    pub(crate) fn files(&self) -> usize {
        self.memory.files()
    }

    /// Why the files are looked at now and then, where the kernel does not tell.
    pub(crate) fn polls(&self) -> Option<&str> {
        self.polls.as_deref()
    }

    /// Waits for changes until it is quiet again: every file that is not what it was. None when
    /// there is no change within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Changes> {
        let started = Instant::now();
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let everywhere = match self.hints.recv_timeout(left.min(POLL)) {
                Ok(hint) => self.gather(hint),
                Err(RecvTimeoutError::Timeout) if self.polls.is_some() => None,
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ok(Changes::new()),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the watch of files ended"),
            };
            let changes = self.look(everywhere)?;
            if !changes.is_empty() || left.is_zero() {
                return Ok(changes);
            }
        }
    }

    /// All hints until it is quiet: the paths, or nothing when everything is to be looked at.
    fn gather(&self, first: Hint) -> Option<BTreeSet<PathBuf>> {
        let mut paths = Some(BTreeSet::new());
        let mut add = |hint| match (hint, &mut paths) {
            (Hint::At(more), Some(paths)) => paths.extend(more),
            _ => paths = None,
        };
        add(first);
        let started = Instant::now();
        let index_lock = self.root.join(".git/index.lock");
        loop {
            match self.hints.recv_timeout(QUIET) {
                Ok(hint) => add(hint),
                Err(_) if index_lock.exists() && started.elapsed() < CHECKOUT => continue,
                Err(_) => return paths,
            }
            if started.elapsed() > RESTLESS && !index_lock.exists() {
                return paths;
            }
        }
    }

    /// Looks at these absolute paths, or everywhere.
    fn look(&mut self, paths: Option<BTreeSet<PathBuf>>) -> Result<Changes> {
        let mut look = match paths {
            None => self.memory.look_everywhere(&self.ignored)?,
            Some(paths) => self.memory.look(paths, false, &self.ignored)?,
        };
        let mut changes = std::mem::take(&mut look.changes);
        if changes.keys().any(|path| path.ends_with(".gitignore")) {
            look = self.memory.look_everywhere(&self.ignored)?;
            changes.append(&mut look.changes);
        }
        let mut directories = look.new;
        directories.append(&mut look.known);
        changes.append(&mut self.settle(directories)?);
        Ok(changes)
    }

    /// Watches directories. What was made in them before is seen by a second look.
    fn settle(&mut self, mut directories: BTreeSet<PathBuf>) -> Result<Changes> {
        let mut changes = Changes::new();
        while self.polls.is_none() && !directories.is_empty() {
            self.watch(&directories);
            let mut look = self.memory.look(directories, true, &self.ignored)?;
            changes.append(&mut look.changes);
            directories = look.new;
        }
        Ok(changes)
    }

    fn watch(&mut self, directories: &BTreeSet<PathBuf>) {
        for directory in directories {
            let Err(error) = self.kernel.watch(directory, RecursiveMode::NonRecursive) else {
                continue;
            };
            match error.kind {
                // It is gone again.
                ErrorKind::PathNotFound => {}
                ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                ErrorKind::MaxFilesWatch => {
                    self.polls.get_or_insert_with(|| {
                        "the kernel watches no more files for this user; raise \
                         fs.inotify.max_user_watches"
                            .into()
                    });
                }
                _ => {
                    self.polls.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
