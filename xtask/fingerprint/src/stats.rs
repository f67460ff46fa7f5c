//! The stat cache: what a file held when it had exactly this identity, size, mode and times.
//!
//! A file that is written gets a new change time, which nobody can set back. So an entry whose
//! device, inode, size, mode, modification time and change time all match still holds what was
//! hashed. One case is left: a write in the same tick of the clock as the hashing. An entry that is
//! not older than the clock *of its file system* when hashing began is therefore not kept (git
//! calls this racy). Writes through a memory map that was dirty before may keep their times; git
//! shares that hole, and `--paranoid` looks past all of this.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::Digest;

const MAGIC: &[u8; 24] = b"stevedore stat cache 1\r\n";
const HEADER: usize = MAGIC.len() + 32;
const KEY: usize = 44;
const RECORD: usize = KEY + 32;
/// How many records to both sides of the last one found are searched first.
const WINDOW: usize = 64;
/// How much older than now a time must be where the file system's clock is not known, or counts
/// whole seconds (FAT counts two), in nanoseconds.
const COARSE: i64 = 2_500_000_000;

/// What identifies a state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    modified: i64,
    changed: i64,
    mode: u32,
}

impl Stat {
    pub(crate) fn of(meta: &Metadata) -> Stat {
        let time = |seconds: i64, nanoseconds: i64| {
            seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
        };
        Stat {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: time(meta.mtime(), meta.mtime_nsec()),
            changed: time(meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
        }
    }

    fn key(&self) -> [u8; KEY] {
        let mut key = [0; KEY];
        // Big-endian, so that the order of the bytes is the order of the numbers.
        key[..8].copy_from_slice(&self.device.to_be_bytes());
        key[8..16].copy_from_slice(&self.inode.to_be_bytes());
        key[16..24].copy_from_slice(&self.size.to_be_bytes());
        key[24..32].copy_from_slice(&self.modified.to_be_bytes());
        key[32..40].copy_from_slice(&self.changed.to_be_bytes());
        key[40..].copy_from_slice(&self.mode.to_be_bytes());
        key
    }
}

/// The time on a file system's own clock, taken before hashing begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    device: u64,
    now: i64,
}

impl Clock {
    /// Asks the file system that holds `directory`; `None` where it cannot be written to.
    pub(crate) fn of(directory: &Path) -> Option<Clock> {
        let probe = tempfile::tempfile_in(directory).ok()?;
        let stat = Stat::of(&probe.metadata().ok()?);
        Some(Clock { device: stat.device, now: stat.changed })
    }

    /// Whether a write from now on would show in the times of a file that has these.
    pub(crate) fn would_show(&self, stat: &Stat) -> bool {
        let whole_seconds = stat.changed % 1_000_000_000 == 0;
        let margin = if stat.device == self.device && !whole_seconds { 0 } else { COARSE };
        stat.changed < self.now.saturating_sub(margin)
    }
}

/// A state of a file and what it held.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) stat: Stat,
    pub(crate) content: Digest,
}

/// The cache of one walk: as read, and which of it was used.
#[derive(Default)]
pub struct StatCache {
    /// The file as it lies on disk: searched in place, never unpacked.
    bytes: Vec<u8>,
    identity: Digest,
    used: Vec<AtomicU64>,
}

impl StatCache {
    /// Reads the cache that was kept for `root`; a damaged or foreign one counts as none.
    pub fn load(path: &Path, root: &Path) -> StatCache {
        let identity = identity(root);
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        if read.is_err() || !is_sound(&bytes, &identity) {
            bytes.clear();
        }
        let records = bytes.len().saturating_sub(HEADER + 32) / RECORD;
        let used = (0..records.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        StatCache { bytes, identity, used }
    }

    /// A cache that knows nothing: everything is hashed.
    pub fn empty(root: &Path) -> StatCache {
        StatCache { identity: identity(root), ..StatCache::default() }
    }

    fn records(&self) -> &[[u8; RECORD]] {
        match self.bytes.is_empty() {
            true => &[],
            false => self.bytes[HEADER..self.bytes.len() - 32].as_chunks().0,
        }
    }

    /// The number of the record of a file in exactly this state. `near` is where the search begins,
    /// and is moved: files of one directory mostly lie together.
    pub(crate) fn find(&self, stat: &Stat, near: &mut usize) -> Option<u32> {
        let key = stat.key();
        let records = self.records();
        let search = |start: usize, end: usize| {
            let place = records[start..end].binary_search_by(|record| record[..16].cmp(&key[..16]));
            place.map(|at| at + start)
        };
        let window = near.saturating_sub(WINDOW)..records.len().min(*near + WINDOW);
        let at = search(window.start, window.end).or_else(|_| search(0, records.len())).ok()?;
        *near = at;
        if records[at][..KEY] != key {
            return None;
        }
        self.used[at / 64].fetch_or(1 << (at % 64), Ordering::Relaxed);
        u32::try_from(at).ok()
    }

    /// What a file held, by the number that [`StatCache::find`] gave.
    pub(crate) fn content(&self, record: u32) -> Digest {
        let mut content = [0; 32];
        content.copy_from_slice(&self.records()[record as usize][KEY..]);
        content
    }

    /// The cache as it should lie on disk from now on, when that differs from what is there.
    pub(crate) fn updated(&self, new: &[Record]) -> Option<Vec<u8>> {
        let records = self.records();
        let is_used =
            |at: usize| self.used[at / 64].load(Ordering::Relaxed) & (1 << (at % 64)) != 0;
        let used = (0..records.len()).filter(|&at| is_used(at)).count();
        if new.is_empty() && used * 2 >= records.len() {
            return None;
        }
        // Half a million records are put in order where they will be written from.
        let mut bytes = Vec::with_capacity(HEADER + (used + new.len()) * RECORD + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.identity);
        for Record { stat, content } in new {
            bytes.extend_from_slice(&stat.key());
            bytes.extend_from_slice(content);
        }
        for at in (0..records.len()).filter(|&at| is_used(at)) {
            bytes.extend_from_slice(&records[at]);
        }
        let all: &mut [[u8; RECORD]] = bytes[HEADER..].as_chunks_mut().0;
        // Two names of one file are one record, and what is new counts: an inode is used again.
        all.sort_by(|one, other| one[..16].cmp(&other[..16]));
        let mut kept = 0;
        for at in 0..all.len() {
            if kept == 0 || all[kept - 1][..16] != all[at][..16] {
                all[kept] = all[at];
                kept += 1;
            }
        }
        bytes.truncate(HEADER + kept * RECORD);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Some(bytes)
    }
}

/// Right form, made for this directory of this machine, and every byte as it was written.
fn is_sound(bytes: &[u8], identity: &Digest) -> bool {
    let Some(body) = bytes.len().checked_sub(HEADER + 32) else {
        return false;
    };
    body % RECORD == 0
        && bytes.starts_with(MAGIC)
        && bytes[MAGIC.len()..HEADER] == identity[..]
        && Sha256::digest(&bytes[..bytes.len() - 32])[..] == bytes[bytes.len() - 32..]
}

/// This directory of this machine: inodes of another mean nothing here.
fn identity(root: &Path) -> Digest {
    let mut hash = Sha256::new();
    if let Ok(machine) = std::fs::read("/etc/machine-id") {
        hash.update(&machine);
    }
    hash.update([0]);
    hash.update(root.as_os_str().as_bytes());
    if let Ok(meta) = root.metadata() {
        hash.update(meta.dev().to_be_bytes());
        hash.update(meta.ino().to_be_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::{Clock, Record, Stat, StatCache};

    const SECOND: i64 = 1_000_000_000;

    fn shows(device: u64, changed: i64) -> bool {
        let stat = Stat { device, inode: 1, size: 1, modified: 0, changed, mode: 0 };
        Clock { device: 1, now: 100 * SECOND + 7 }.would_show(&stat)
    }

    /// Kernels with a coarse clock give two writes one time; newer ones hardly ever do, so no test
    /// that only writes files would notice.
    #[test]
    fn a_file_as_young_as_the_clock_is_not_remembered() {
        assert!(shows(1, 100 * SECOND + 6));
        assert!(!shows(1, 100 * SECOND + 7));
        assert!(!shows(1, 100 * SECOND + 8));
        assert!(!shows(1, 200 * SECOND + 1));
    }

    #[test]
    fn where_the_clock_is_unknown_or_coarse_it_takes_longer() {
        assert!(!shows(2, 98 * SECOND + 1));
        assert!(shows(2, 97 * SECOND + 1));
        assert!(!shows(1, 98 * SECOND));
        assert!(shows(1, 97 * SECOND));
    }

    #[test]
    fn a_cache_made_for_another_directory_is_not_believed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stat = Stat { device: 1, inode: 1, size: 1, modified: 0, changed: 0, mode: 0 };
        let records = [Record { stat, content: [7; 32] }];
        let bytes = StatCache::empty(here.path()).updated(&records).unwrap();
        let path = here.path().join("cache");
        std::fs::write(&path, bytes).unwrap();
        let found = |root| StatCache::load(&path, root).find(&stat, &mut 0);
        assert_eq!(found(here.path()), Some(0));
        assert_eq!(found(there.path()), None);
    }
}
