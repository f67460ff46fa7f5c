//! What changes in a project's files, as it happens.
//!
//! The kernel's events are hints only: where to look. What has changed is decided by [`memory`],
//! which knows what every file held, so that a save without a change is no change, an editor's
//! temporary files are none, and events that were lost cost a look at everything and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;
use notify::{ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

mod memory;
use memory::Memory;
pub(crate) use memory::{Changes, How};

/// How long it must be quiet before one looks: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long one waits for quiet where something is written all the time.
const RESTLESS: Duration = Duration::from_millis(500);
/// How long git may take to write a tree, and how long it may write nothing; all that it writes is
/// one change. Who edits the message of a commit holds git's lock too.
const CHECKOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
/// With more hints than this, some are still on their way: everything is looked at.
const MANY: usize = 1000;
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
    memory: Memory,
    ignored: Ignored,
    hints: Receiver<Hint>,
    /// Nothing where the kernel has no more of them.
    kernel: Option<RecommendedWatcher>,
    /// Why all is looked at now and then instead; nothing where the kernel tells.
    polls: Option<String>,
    polled: Instant,
    /// The file that git holds while it writes a tree.
    index_lock: PathBuf,
    /// What has changed while all was read for the first time.
    early: Changes,
    /// Something was other for a moment: a file was written, or a path was there.
    written: bool,
    gone: BTreeSet<PathBuf>,
}

impl Watch {
    /// Reads every file once; what changes from now on is told by [`Watch::wait`]. `index_lock` is
    /// the file that git holds while it writes a tree.
    pub(crate) fn new(root: &Path, index_lock: PathBuf, ignored: Ignored) -> Result<Watch> {
        let (sender, hints) = mpsc::channel();
        let kernel = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let _ = match event {
                Ok(event) if event.need_rescan() => sender.send(Hint::Everywhere),
                // To read is no change.
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => Ok(()),
                Ok(event) => sender.send(Hint::At(event.paths)),
                Err(_) => sender.send(Hint::Everywhere),
            };
        });
        let (kernel, polls) = match kernel {
            Ok(kernel) => (Some(kernel), None),
            Err(error) => (None, Some(format!("{error}; raise fs.inotify.max_user_instances"))),
        };
        let (memory, polled, early) = (Memory::new(root), Instant::now(), Changes::new());
        let (written, gone) = (false, BTreeSet::new());
        let mut watch = Watch {
            memory,
            ignored,
            hints,
            kernel,
            polls,
            polled,
            index_lock,
            early,
            written,
            gone,
        };
        // Read before it is watched, since each read would be an event; then looked at once more,
        // for what has changed in between.
        let look = watch.memory.look_everywhere(true, &watch.ignored)?;
        watch.early = watch.settle(look.new)?;
        Ok(watch)
    }

    /// How many files are known.
    pub(crate) fn files(&self) -> usize {
        self.memory.files()
    }

    /// Whether a source was something else for a moment since this was asked last, and is now what
    /// it was before: who read it meanwhile may have read the other one.
    pub(crate) fn was_restless(&mut self) -> Result<bool> {
        let (written, gone) = (std::mem::take(&mut self.written), std::mem::take(&mut self.gone));
        let gone: Vec<PathBuf> = gone.into_iter().collect();
        Ok(written || !gone.is_empty() && (self.ignored)(&gone)?.len() < gone.len())
    }

    /// Why the files are looked at now and then, where the kernel does not tell.
    pub(crate) fn polls(&self) -> Option<&str> {
        self.polls.as_deref()
    }

    /// Waits for changes until it is quiet again: every file that is not what it was. None when
    /// there is no change within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Changes> {
        let started = Instant::now();
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let until_poll = POLL.saturating_sub(self.polled.elapsed());
            let pause = if self.polls.is_some() { left.min(until_poll) } else { left };
            let is_due = |watch: &Watch| watch.polls.is_some() && watch.polled.elapsed() >= POLL;
            let changes = match self.hints.recv_timeout(pause) {
                Ok(hint) => {
                    let paths = self.gather(hint);
                    self.look(paths)?
                }
                Err(RecvTimeoutError::Disconnected) if self.polls.is_none() => {
                    anyhow::bail!("the watch of files ended")
                }
                Err(_) if is_due(self) => self.poll()?,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(pause);
                    Changes::new()
                }
                Err(RecvTimeoutError::Timeout) => Changes::new(),
            };
            if !changes.is_empty() || started.elapsed() >= patience {
                return Ok(changes);
            }
        }
    }

    fn poll(&mut self) -> Result<Changes> {
        let mut look = self.memory.look_everywhere(false, &self.ignored)?;
        self.polled = Instant::now();
        self.with_rules(std::mem::take(&mut look.changes))
    }

    /// All hints until it is quiet: the paths, or nothing when everything is to be looked at.
    fn gather(&self, first: Hint) -> Option<BTreeSet<PathBuf>> {
        let mut paths = Some(BTreeSet::new());
        let mut add = |hint| match (hint, &mut paths) {
            (Hint::At(more), Some(all)) if all.len() + more.len() <= MANY => all.extend(more),
            _ => paths = None,
        };
        add(first);
        let (started, mut last) = (Instant::now(), Instant::now());
        loop {
            let git_writes = || self.index_lock.exists() && started.elapsed() < CHECKOUT;
            match self.hints.recv_timeout(QUIET) {
                Ok(hint) => {
                    add(hint);
                    last = Instant::now();
                }
                Err(_) if last.elapsed() < PAUSE && git_writes() => continue,
                Err(_) => return paths,
            }
            if started.elapsed() > RESTLESS && !git_writes() {
                return paths;
            }
        }
    }

    /// Looks at these absolute paths, or everywhere.
    fn look(&mut self, paths: Option<BTreeSet<PathBuf>>) -> Result<Changes> {
        let mut look = match paths {
            None => self.memory.look_everywhere(true, &self.ignored)?,
            Some(paths) => self.memory.look(paths, false, &self.ignored)?,
        };
        self.written |= look.written;
        self.gone.append(&mut look.gone);
        let mut changes = self.with_rules(std::mem::take(&mut look.changes))?;
        let mut directories = look.new;
        directories.append(&mut look.known);
        changes.append(&mut self.settle(directories)?);
        Ok(changes)
    }

    /// Where git ignores other files now, some are no sources any more, and some are new ones.
    fn with_rules(&mut self, mut changes: Changes) -> Result<Changes> {
        if changes.keys().any(|path| path.ends_with(".gitignore")) {
            let mut look = self.memory.look_everywhere(true, &self.ignored)?;
            changes.append(&mut look.changes);
            changes.append(&mut self.settle(look.new)?);
        }
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
        let Some(kernel) = &mut self.kernel else { return };
        for directory in directories {
            let Err(error) = kernel.watch(directory, RecursiveMode::NonRecursive) else {
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
