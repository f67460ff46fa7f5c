//! What every file of a project held when it was looked at last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::Ignored;

/// A file that was written less than this before it was read may be written again without a sign
/// of it in its times.
const TICK: Duration = Duration::from_millis(100);
/// How often a path may become something else while it is looked at.
const RACES: usize = 10;
/// What is never a source, wherever it is: git's own files, and this tool's.
const OWN: [&str; 2] = [".git", ".stevedore"];

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Added,
    Changed,
    Removed,
}

/// Path from the root -> what became of it. Files and symlinks; a directory is what it holds.
pub(crate) type Changes = BTreeMap<PathBuf, How>;

pub(super) struct Memory {
    root: PathBuf,
    /// From the root.
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    File(Seen),
}

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// Of the content and what it may be used for; of a symlink, where it points to.
    digest: [u8; 32],
    /// The state in which it was read.
    stamp: Stamp,
    /// It cannot change without a sign in its times.
    is_settled: bool,
}

/// Device, number, size and times (ns) of a file.
type Stamp = [i128; 5];

impl Memory {
    pub(super) fn new(root: &Path) -> Memory {
        Memory { root: root.to_path_buf(), entries: BTreeMap::new() }
    }

    pub(super) fn files(&self) -> usize {
        self.entries.values().filter(|entry| **entry != Entry::Directory).count()
    }

    /// Looks at every file whose times say that it may be another one now. With `all_rules`, git is
    /// asked about what is known too.
    pub(super) fn look_everywhere(&mut self, all_rules: bool, ignored: &Ignored) -> Result<Look> {
        let look = Look { by_times: true, all_rules, ..Look::default() };
        self.descend(BTreeSet::from([PathBuf::new()]), ignored, look)
    }

    /// Looks at these absolute paths and what lies below them; at files whose times are as they
    /// were only without `by_times`.
    pub(super) fn look(
        &mut self,
        paths: BTreeSet<PathBuf>,
        by_times: bool,
        ignored: &Ignored,
    ) -> Result<Look> {
        let inside = |path: PathBuf| path.strip_prefix(&self.root).ok().map(Path::to_path_buf);
        let paths = paths.into_iter().filter_map(inside).collect();
        self.descend(paths, ignored, Look { by_times, ..Look::default() })
    }

    /// Level by level, so that git is asked once for each.
    fn descend(
        &mut self,
        paths: BTreeSet<PathBuf>,
        ignored: &Ignored,
        mut look: Look,
    ) -> Result<Look> {
        let mut level = without_those_below(paths);
        for _ in 0..RACES {
            while !level.is_empty() {
                self.one_level(&mut level, ignored, &mut look)?;
            }
            level = std::mem::take(&mut look.again);
        }
        // Always something else: whatever it is in the end will be told.
        level.iter().for_each(|path| self.forget(path, &mut look));
        Ok(look)
    }

    /// Looks at paths, and leaves those below them.
    fn one_level(
        &mut self,
        level: &mut BTreeSet<PathBuf>,
        ignored: &Ignored,
        look: &mut Look,
    ) -> Result<()> {
        level.retain(|path| !OWN.iter().any(|own| path.iter().any(|part| part == *own)));
        let mut found = Vec::new();
        for path in std::mem::take(level) {
            match fs::symlink_metadata(self.root.join(&path)) {
                Ok(metadata) => found.push((path, metadata)),
                Err(_) => {
                    if !self.entries.contains_key(&path) {
                        look.gone.insert(path.clone());
                    }
                    self.forget(&path, look);
                }
            }
        }
        let asked: Vec<PathBuf> = found
            .iter()
            .map(|(path, _)| path)
            .filter(|path| look.all_rules || !self.entries.contains_key(*path))
            .filter(|path| !path.as_os_str().is_empty())
            .cloned()
            .collect();
        let left_out = if asked.is_empty() { BTreeSet::new() } else { ignored(&asked)? };
        for (path, metadata) in found {
            if left_out.contains(&path) {
                self.forget(&path, look);
            } else if metadata.is_dir() {
                self.directory(path, look, level);
            } else {
                self.file(path, &metadata, look);
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: PathBuf, look: &mut Look, level: &mut BTreeSet<PathBuf>) {
        let absolute = self.root.join(&path);
        if self.entries.get(&path) != Some(&Entry::Directory) {
            self.forget(&path, look);
            self.entries.insert(path.clone(), Entry::Directory);
            look.new.insert(absolute.clone());
        } else {
            look.known.insert(absolute.clone());
        }
        level.extend(self.below(&path).filter(|it| it.parent() == Some(&path)).cloned());
        match fs::read_dir(&absolute) {
            Ok(entries) => level.extend(entries.flatten().map(|it| path.join(it.file_name()))),
            Err(error) if is_out_of_reach(&error) => self.forget(&path, look),
            Err(_) => {
                look.again.insert(path);
            }
        }
    }

    fn file(&mut self, path: PathBuf, metadata: &Metadata, look: &mut Look) {
        if !metadata.is_file() && !metadata.is_symlink() {
            return self.forget(&path, look);
        }
        let before = match self.entries.get(&path) {
            Some(Entry::File(seen)) => Some(seen.clone()),
            Some(Entry::Directory) => {
                self.forget(&path, look);
                None
            }
            None => None,
        };
        let is_same = |seen: &Seen| seen.is_settled && seen.stamp == stamp(metadata);
        if look.by_times && before.as_ref().is_some_and(is_same) {
            return;
        }
        let seen = match read(&self.root.join(&path), metadata) {
            Ok(seen) => seen,
            Err(error) if is_out_of_reach(&error) => return self.forget(&path, look),
            // It has become something else since it was looked at.
            Err(_) => {
                look.again.insert(path);
                return;
            }
        };
        let how = match before {
            None => Some(How::Added),
            Some(before) if before.digest == seen.digest => {
                look.written |= before.stamp != seen.stamp;
                None
            }
            Some(_) => Some(How::Changed),
        };
        self.entries.insert(path.clone(), Entry::File(seen));
        if let Some(how) = how {
            look.note(path, how);
        }
    }

    /// Everything that is known at a path and below it.
    fn below<'m>(&'m self, path: &'m Path) -> impl Iterator<Item = &'m PathBuf> {
        let from = self.entries.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.map(|(other, _)| other).take_while(move |other| other.starts_with(path))
    }

    /// What lay at a path, and below it, is no more.
    fn forget(&mut self, path: &Path, look: &mut Look) {
        for path in self.below(path).cloned().collect::<Vec<_>>() {
            if let Some(Entry::File(_)) = self.entries.remove(&path) {
                look.note(path, How::Removed);
            }
        }
    }
}

/// One look, and what it found.
#[derive(Default)]
pub(super) struct Look {
    /// Files whose times are as they were are not read.
    by_times: bool,
    /// Git is asked about what is known too.
    all_rules: bool,
    pub(super) changes: Changes,
    /// Directories that were not known.
    pub(super) new: BTreeSet<PathBuf>,
    /// Those that were; each may be another one under the old name.
    pub(super) known: BTreeSet<PathBuf>,
    /// What became something else while it was read.
    again: BTreeSet<PathBuf>,
    /// A file was written, and holds what it held.
    pub(super) written: bool,
    /// What was there in between, from the root.
    pub(super) gone: BTreeSet<PathBuf>,
}

impl Look {
    /// Removed and added again in one look is changed.
    fn note(&mut self, path: PathBuf, how: How) {
        let how = match (self.changes.get(&path), how) {
            (Some(How::Removed), How::Added) => How::Changed,
            (_, how) => how,
        };
        self.changes.insert(path, how);
    }
}

/// Whoever looks at a path looks at all below it, so these alone would be looked at twice. In their
/// order what lies below a path comes right behind it.
fn without_those_below(paths: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut tops: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !tops.last().is_some_and(|top| path.starts_with(top)) {
            tops.push(path);
        }
    }
    tops.into_iter().collect()
}

fn read(path: &Path, metadata: &Metadata) -> io::Result<Seen> {
    let mut hash = Sha256::new();
    if metadata.is_symlink() {
        hash.update(b"link ");
        hash.update(fs::read_link(path)?.as_os_str().as_bytes());
    } else {
        hash.update(if metadata.mode() & 0o100 == 0 { b"file " } else { b"tool " });
        // Neither through a link nor, at a pipe, for ever.
        let mut open = fs::File::options();
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        open.read(true).custom_flags(flags.bits().cast_signed());
        let (mut file, mut block) = (open.open(path)?, [0; 16 << 10]);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            match file.read(&mut block)? {
                0 => break,
                count => hash.update(&block[..count]),
            }
        }
    }
    let after = fs::symlink_metadata(path)?;
    let is_old = SystemTime::now()
        .duration_since(UNIX_EPOCH + Duration::new(after.ctime().unsigned_abs(), 0))
        .is_ok_and(|age| age > TICK + Duration::from_nanos(after.ctime_nsec().unsigned_abs()));
    let (before, stamp) = (stamp(metadata), stamp(&after));
    Ok(Seen { digest: hash.finalize().into(), stamp, is_settled: is_old && stamp == before })
}

fn stamp(metadata: &Metadata) -> Stamp {
    let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    [
        metadata.dev().into(),
        metadata.ino().into(),
        metadata.size().into(),
        time(metadata.mtime(), metadata.mtime_nsec()),
        time(metadata.ctime(), metadata.ctime_nsec()),
    ]
}

/// Nothing is there, what leads there is no directory any more, or it is not for us.
fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}
