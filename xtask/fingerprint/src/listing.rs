//! The directories of a context, listed by several threads and put in order afterwards.
//!
//! Each thread works on directories of its own and goes down first; only when another has nothing
//! to do does it give some away. So the threads hardly ever wait for each other, and a small
//! context is done before a second one would have started.

use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::ignore::Parents;
use crate::parallel;
use crate::stats::{Stat, StatCache};
use crate::tree::{Entry, Kind, Tree, normal_mode};
use crate::walk::{HEAVY, Walk, join, refuse};

struct Job {
    id: usize,
    path: Vec<u8>,
    /// What matched the directory; nothing for the root.
    parents: Option<Parents>,
}

/// One directory: its entries with their names in one buffer.
#[derive(Default)]
pub(crate) struct Listing {
    names: Vec<u8>,
    items: Vec<Item>,
    /// The files that the cache does not know.
    unknown: Vec<Stat>,
}

struct Item {
    start: u32,
    /// End of the name; a link's target follows.
    name_end: u32,
    end: u32,
    mode: u16,
    is: Is,
}

enum Is {
    /// The number of the cache's record.
    Known(u32),
    /// The place in [`Listing::unknown`].
    Unknown(u32),
    /// A symlink; its target is behind the name.
    Symlink,
    /// The listing's number; `ignored` ones count only for what they hold.
    Directory { id: u32, ignored: bool },
}

/// What the threads share. Each works on directories of its own and gives some away only when
/// another has none.
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Threads that wait for work.
    hungry: AtomicUsize,
    next_id: AtomicU32,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Threads that may still give something away.
    busy: usize,
    problems: Vec<String>,
}

impl Shared {
    /// The next job for a thread that has none left; `None` when all is done.
    fn take(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        queue.busy -= 1;
        loop {
            if let Some(job) = queue.jobs.pop() {
                queue.busy += 1;
                return Some(job);
            }
            if queue.busy == 0 {
                self.more.notify_all();
                return None;
            }
            self.hungry.fetch_add(1, Ordering::Relaxed);
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
            self.hungry.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Gives the older half of a thread's jobs away: they are nearer to the root and so larger.
    fn give(&self, jobs: &mut Vec<Job>) {
        lock(&self.queue).jobs.extend(jobs.drain(..jobs.len().div_ceil(2)));
        self.more.notify_all();
    }
}

impl Walk<'_> {
    /// Every directory's listing, at the place of its number.
    pub(crate) fn list(&self, cache: &StatCache) -> Result<Vec<Listing>> {
        let shared = Shared {
            queue: Mutex::new(Queue { busy: 1, ..Queue::default() }),
            more: Condvar::new(),
            hungry: AtomicUsize::new(0),
            next_id: AtomicU32::new(1),
        };
        let mut jobs = vec![Job { id: 0, path: Vec::new(), parents: None }];
        // A small context is listed before a thread would have started.
        let mut found = Vec::new();
        while found.len() < HEAVY {
            let Some(job) = jobs.pop() else { break };
            found.push((job.id, self.list_one(&job, cache, &shared, &mut jobs)));
        }
        if !jobs.is_empty() {
            let threads = parallel::threads();
            lock(&shared.queue).busy = threads;
            std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads)
                    .map(|_| scope.spawn(|| self.work(cache, &shared, Vec::new())))
                    .collect();
                found.extend(self.work(cache, &shared, jobs));
                for other in others {
                    match other.join() {
                        Ok(more) => found.extend(more),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            });
        }
        let queue = shared.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        refuse(queue.problems)?;
        let mut listings: Vec<Listing> = Vec::new();
        listings.resize_with(shared.next_id.into_inner() as usize, Listing::default);
        for (id, listing) in found {
            listings[id] = listing;
        }
        Ok(listings)
    }

    /// Lists directories until none is left anywhere.
    fn work(
        &self,
        cache: &StatCache,
        shared: &Shared,
        mut jobs: Vec<Job>,
    ) -> Vec<(usize, Listing)> {
        let mut found = Vec::new();
        while let Some(job) = jobs.pop().or_else(|| shared.take()) {
            found.push((job.id, self.list_one(&job, cache, shared, &mut jobs)));
            if jobs.len() > 1 && shared.hungry.load(Ordering::Relaxed) > 0 {
                shared.give(&mut jobs);
            }
        }
        found
    }

    /// Lists one directory; the directories in it become jobs.
    fn list_one(
        &self,
        job: &Job,
        cache: &StatCache,
        shared: &Shared,
        jobs: &mut Vec<Job>,
    ) -> Listing {
        let mut listing = Listing::default();
        let mut problems = Vec::new();
        if let Err(error) = self.entries(job, cache, shared, &mut listing, jobs, &mut problems) {
            problems.push(format!("{error:#}"));
        }
        if !problems.is_empty() {
            lock(&shared.queue).problems.extend(problems);
        }
        listing
    }

    fn entries(
        &self,
        job: &Job,
        cache: &StatCache,
        shared: &Shared,
        listing: &mut Listing,
        jobs: &mut Vec<Job>,
        problems: &mut Vec<String>,
    ) -> Result<()> {
        let directory = join(self.root, &job.path);
        let tried = || format!("can't read {}", directory.display());
        let entries = match std::fs::read_dir(&directory) {
            // It was there a moment ago; whoever removed it will be noticed by the look after.
            Err(error) if error.kind() == ErrorKind::NotFound && !job.path.is_empty() => {
                return Ok(());
            }
            entries => entries.with_context(tried)?,
        };
        let mut path = job.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        let length = path.len();
        let mut near = 0;
        let left_out = self.leave_out.and_then(|path| path.strip_prefix(self.root).ok());
        let left_out = left_out.map(|path| path.as_os_str().as_bytes());
        for entry in entries {
            let entry = entry.with_context(tried)?;
            let name = entry.file_name();
            path.truncate(length);
            path.extend_from_slice(name.as_bytes());
            let (ignored, parents) = match self.ignore.is_empty() {
                true => (false, Parents::default()),
                false => self.ignore.matches(&path, job.parents.as_ref()),
            };
            let tried = || format!("can't read {}", entry.path().display());
            if ignored {
                let is_directory = entry.file_type().with_context(tried)?.is_dir();
                if !is_directory || !self.ignore.may_reinclude_below(&path) {
                    continue;
                }
            }
            if left_out.is_some_and(|left_out| path == left_out) {
                continue;
            }
            let meta = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                meta => meta.with_context(tried)?,
            };
            let kind = match self.kind(&entry, &meta) {
                Ok(Some(kind)) => kind,
                Ok(None) => continue,
                Err(problem) => {
                    problems.push(format!("{problem:#}"));
                    continue;
                }
            };
            let mode = self.mode(&meta, kind);
            let mut target = Vec::new();
            let is = match kind {
                Kind::File => {
                    let stat = Stat::of(&meta);
                    let known = cache.find(&stat, &mut near).map(Is::Known);
                    known.unwrap_or_else(|| listing.unknown(stat))
                }
                Kind::Directory => {
                    let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
                    jobs.push(Job { id: id as usize, path: path.clone(), parents: Some(parents) });
                    Is::Directory { id, ignored }
                }
                Kind::Symlink => {
                    target =
                        entry.path().read_link().with_context(tried)?.into_os_string().into_vec();
                    Is::Symlink
                }
            };
            listing.add(name.as_bytes(), &target, mode, is);
        }
        Ok(())
    }

    fn mode(&self, meta: &Metadata, kind: Kind) -> u16 {
        match (self.exact_modes, kind) {
            (true, Kind::File | Kind::Directory) => (meta.mode() & 0o7777) as u16,
            _ => normal_mode(meta.mode(), kind),
        }
    }

    /// What an entry is; nothing for a socket.
    fn kind(&self, entry: &DirEntry, meta: &Metadata) -> Result<Option<Kind>> {
        let kind = meta.file_type();
        if kind.is_file() {
            Ok(Some(Kind::File))
        } else if kind.is_dir() {
            Ok(Some(Kind::Directory))
        } else if kind.is_symlink() {
            Ok(Some(Kind::Symlink))
        } else if kind.is_socket() {
            Ok(None)
        } else {
            bail!(
                "{} is a pipe or a device, which no image can be built from; remove it or add it \
                 to the ignore file",
                entry.path().display()
            )
        }
    }
}

impl Listing {
    fn unknown(&mut self, stat: Stat) -> Is {
        self.unknown.push(stat);
        Is::Unknown(self.unknown.len() as u32 - 1)
    }

    fn add(&mut self, name: &[u8], target: &[u8], mode: u16, is: Is) {
        // A directory's names fit 4 GB: they were all in memory a moment ago.
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        let name_end = self.names.len() as u32;
        self.names.extend_from_slice(target);
        self.items.push(Item { start, name_end, end: self.names.len() as u32, mode, is });
    }
}

/// Puts all entries in order; `unknown` gets the rows whose content is yet to be read.
pub(crate) fn assemble(
    mut listings: Vec<Listing>,
    cache: &StatCache,
    tree: &mut Tree,
    unknown: &mut Vec<(usize, Stat)>,
) -> Result<()> {
    // Directories under way: the path's length before them, their listing, the next item, and the
    // row that goes again if nothing follows it.
    struct Open {
        length: usize,
        listing: Listing,
        next: usize,
        pending: Option<usize>,
    }
    let open = |listings: &mut Vec<Listing>, id: usize, length: usize, pending: Option<usize>| {
        let mut listing = std::mem::take(&mut listings[id]);
        let Listing { names, items, .. } = &mut listing;
        let name = |item: &Item| &names[item.start as usize..item.name_end as usize];
        items.sort_unstable_by(|one, other| name(one).cmp(name(other)));
        Open { length, listing, next: 0, pending }
    };
    let mut path: Vec<u8> = Vec::new();
    let mut stack = vec![open(&mut listings, 0, 0, None)];
    while let Some(current) = stack.last_mut() {
        let Some(item) = current.listing.items.get(current.next) else {
            if current.pending.is_some_and(|row| row + 1 == tree.len()) {
                tree.pop();
            }
            path.truncate(current.length);
            stack.pop();
            continue;
        };
        current.next += 1;
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        let text = &current.listing.names;
        path.extend_from_slice(&text[item.start as usize..item.name_end as usize]);
        let target = &text[item.name_end as usize..item.end as usize];
        let row = tree.len();
        let (kind, content) = match &item.is {
            Is::Known(record) => (Kind::File, cache.content(*record)),
            Is::Unknown(at) => {
                unknown.push((row, current.listing.unknown[*at as usize]));
                (Kind::File, [0; 32])
            }
            Is::Symlink => (Kind::Symlink, [0; 32]),
            Is::Directory { .. } => (Kind::Directory, [0; 32]),
        };
        tree.push(&Entry { path: &path, kind, mode: item.mode, content, target })?;
        match item.is {
            Is::Directory { id, ignored } => {
                let pending = ignored.then_some(row);
                stack.push(open(&mut listings, id as usize, length, pending));
            }
            _ => path.truncate(length),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
