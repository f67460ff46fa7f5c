//! The build context as the builder would see it: every entry that the ignore file leaves.
//!
//! Directories are listed by several threads, then what the cache does not know is hashed by
//! several threads. The result does not depend on who did what: entries are put in order at the
//! end.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::ignore::Ignore;
use crate::stats::{Clock, Record, Stat, StatCache};
use crate::tree::Tree;
use crate::{listing, parallel};

/// What to look at.
#[derive(Clone, Copy)]
pub struct Walk<'w> {
    pub root: &'w Path,
    pub ignore: &'w Ignore,
    /// A directory that is never part of a context: where this tool keeps its own state.
    pub leave_out: Option<&'w Path>,
    /// Modes as they are, instead of those that count.
    pub exact_modes: bool,
}

/// What was found, and what to remember.
pub struct Walked {
    pub tree: Tree,
    /// Rows of the files that the cache did not know, in order.
    pub(crate) hashed: Vec<usize>,
    /// What is now known of them.
    pub(crate) records: Vec<Record>,
    /// The stat cache as it should be stored, when that has changed.
    pub cache: Option<Vec<u8>>,
}

/// Most problems that one error lists.
const PROBLEMS: usize = 20;
/// How often a file is read again that changes while it is read.
const ATTEMPTS: usize = 5;
/// Files that are hashed before what became of them is put where it belongs.
const BATCH: usize = 16 << 10;
/// From how many directories or files on another thread pays.
pub(crate) const HEAVY: usize = 24;

impl Walk<'_> {
    /// Reads the context. What `cache` knows of a file is believed; `scratch` is a directory on the
    /// same file system that tells its clock, without which nothing new is remembered.
    ///
    /// An ignored directory counts when something in it does not, as the builder sends it. Sockets
    /// are left out as the builder leaves them out; pipes, devices and what cannot be read are
    /// problems, all in one error.
    pub fn read(&self, cache: &StatCache, scratch: Option<&Path>) -> Result<Walked> {
        let mut tree = Tree::default();
        let mut unknown = Vec::new();
        listing::assemble(self.list(cache)?, cache, &mut tree, &mut unknown)?;
        let clock = if unknown.is_empty() { None } else { scratch.and_then(Clock::of) };
        let records = self.hash(&mut tree, &unknown, clock)?;
        let hashed = unknown.into_iter().map(|(row, _)| row).collect();
        let cache = cache.updated(&records);
        Ok(Walked { tree, hashed, records, cache })
    }

    fn hash(
        &self,
        tree: &mut Tree,
        unknown: &[(usize, Stat)],
        clock: Option<Clock>,
    ) -> Result<Vec<Record>> {
        let bytes: u64 = unknown.iter().map(|(_, stat)| stat.size).sum();
        let heavy = unknown.len() > HEAVY || bytes > 1 << 20;
        let mut records = Vec::with_capacity(unknown.len());
        let mut problems = Vec::new();
        for batch in unknown.chunks(BATCH) {
            let hashed = parallel::each(batch.len(), heavy, |index| {
                let row = batch[index].0;
                let path = join(self.root, tree.get(row).path);
                (row, hash_file(&path).with_context(|| format!("can't read {}", path.display())))
            });
            for (row, result) in hashed {
                match result {
                    Ok((content, stat)) => {
                        tree.set_content(row, content);
                        if clock.is_some_and(|clock| clock.would_show(&stat)) {
                            records.push(Record { stat, content });
                        }
                    }
                    Err(error) => problems.push(format!("{error:#}")),
                }
            }
        }
        refuse(problems)?;
        Ok(records)
    }
}

pub(crate) fn refuse(mut problems: Vec<String>) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort();
    let more = problems.len().saturating_sub(PROBLEMS);
    problems.truncate(PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    bail!("{}", problems.join("\n  "))
}

/// Opens a file for reading; never a link's target, and never waiting for a pipe's other end.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// Hashes a file: what it holds, and its stat, which was the same before and after.
fn hash_file(path: &Path) -> Result<(Digest, Stat)> {
    for _ in 0..ATTEMPTS {
        let mut file = open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            break;
        }
        let before = Stat::of(&meta);
        let content = digest(&mut file, before.size, &mut |_| Ok(()))?;
        if Stat::of(&file.metadata()?) == before {
            return Ok((content, before));
        }
    }
    bail!("it changes while it is read")
}

/// Hashes `size` bytes, or up to the end if that comes first; `each` sees every block.
pub(crate) fn digest(
    file: &mut File,
    size: u64,
    each: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut block = vec![0; size.clamp(4 << 10, 256 << 10) as usize];
    let mut left = size;
    while left > 0 {
        let count = file.read(&mut block)?;
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        each(&block[..count])?;
        left = left.saturating_sub(count as u64);
    }
    Ok(hash.finalize().into())
}

/// A path below a root, from its bytes.
pub(crate) fn join(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}
