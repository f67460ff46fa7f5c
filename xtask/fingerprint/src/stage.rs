//! The private copy of a context that the builder gets.
//!
//! The builder takes a file for unchanged when its size and modification time are those of an
//! earlier transfer, whatever it holds; and a user may edit a file while it is being sent. So the
//! builder never sees the project itself: it sees a copy that nobody edits, that holds exactly what
//! was hashed, with the modes that were hashed, and in which two contents have two times.
//!
//! A time's seconds are those of the copying, so that make and cargo, which compare times, see
//! every edit as newer, whatever the project's own times say. Its nanoseconds are 30 bits of the
//! content's hash. Two contents of one size, copied within one second, share a time once in a
//! thousand million; `--verify` would see it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::ignore::Ignore;
use crate::stats::{Clock, Record, Stat, StatCache};
use crate::tree::{Entry, Kind, Tree, compare};
use crate::walk::{Walk, Walked, digest, join, open};
use crate::{Digest, parallel, sha256};

/// How long the clock of a file system may take to move on.
const TICK: Duration = Duration::from_millis(100);

/// A file is not what it was when the fingerprint was taken: nothing is wrong, it is to be taken
/// again.
#[derive(Debug)]
pub struct Moved(pub String);

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changed while it was copied for the builder", self.0)
    }
}

impl std::error::Error for Moved {}

/// The last part of the path by which the builder gets a context: it tells contexts apart by that.
///
/// It stands for this checkout, this image, and those directories whose mode is not the usual one,
/// since the builder does not notice when only a directory's mode changes.
pub fn name(root: &Path, image: &str, context: &str, tree: &Tree) -> String {
    let mut text = root.as_os_str().as_bytes().to_vec();
    for part in [image.as_bytes(), context.as_bytes()] {
        text.push(0);
        text.extend_from_slice(part);
    }
    for entry in tree.iter().filter(|entry| entry.kind == Kind::Directory && entry.mode != 0o755) {
        text.push(0);
        text.extend_from_slice(&entry.mode.to_be_bytes());
        text.extend_from_slice(entry.path);
    }
    format!("{image}-{}", &sha256(&text)[..16])
}

/// Makes `staging` hold exactly what `wanted` says, copying what differs from `source`; the stat
/// cache of the copy, where it has changed and is to be kept at `cache_path`. `paranoid` believes
/// none that is there.
///
/// Nobody but the owner may look into the copy: modes are opened up there for the image's sake.
/// Whatever state an earlier run left behind is brought in order. Fails with [`Moved`] when a file
/// no longer holds what was hashed.
pub fn stage(
    source: &Path,
    wanted: &Tree,
    staging: &Path,
    cache_path: &Path,
    paranoid: bool,
) -> Result<Option<Vec<u8>>> {
    let tried = || format!("can't prepare {}", staging.display());
    DirBuilder::new().recursive(true).mode(0o700).create(staging).with_context(tried)?;
    let cache = match paranoid {
        true => StatCache::empty(staging),
        false => StatCache::load(cache_path, staging),
    };
    let there = look(staging, &cache).with_context(tried)?;
    // Somebody may have put what is wanted now into a file that has the time of what was there.
    let changes = changes(&there.tree, wanted, |row, entry| {
        there.hashed.binary_search(&row).is_ok() && !has_its_time(staging, entry)
    });
    if changes.is_empty() {
        return Ok(there.cache);
    }
    apply(&changes, source, &there.tree, wanted, staging).with_context(tried)?;
    let mut records = remember(&changes, wanted, staging).with_context(tried)?;
    records.extend(there.records);
    Ok(cache.updated(&records))
}

/// The copy as it is; one that cannot be read is begun anew.
fn look(staging: &Path, cache: &StatCache) -> Result<Walked> {
    let walk =
        Walk { root: staging, ignore: &Ignore::default(), leave_out: None, exact_modes: true };
    if let Ok(walked) = walk.read(cache, staging.parent()) {
        return Ok(walked);
    }
    fs::remove_dir_all(staging)?;
    DirBuilder::new().mode(0o700).create(staging)?;
    walk.read(cache, staging.parent())
}

/// Rows of the trees: what has to go, what has to come, and which modes to set.
#[derive(Default)]
struct Changes {
    remove: Vec<usize>,
    make: Vec<usize>,
    modes: Vec<usize>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.make.is_empty() && self.modes.is_empty()
    }
}

/// `unfit` says which rows of `there` that are as wanted have to be made anew all the same.
fn changes(there: &Tree, wanted: &Tree, unfit: impl Fn(usize, &Entry<'_>) -> bool) -> Changes {
    use std::cmp::Ordering;
    let mut changes = Changes::default();
    let (mut old, mut new) = (0, 0);
    while old < there.len() || new < wanted.len() {
        let order = match (old < there.len(), new < wanted.len()) {
            (true, true) => compare(there.get(old).path, wanted.get(new).path),
            (true, false) => Ordering::Less,
            (false, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => changes.remove.push(old),
            Ordering::Greater => changes.make.push(new),
            Ordering::Equal => {
                let (before, after) = (there.get(old), wanted.get(new));
                if (Entry { mode: after.mode, ..before }) != after || unfit(old, &after) {
                    changes.remove.push(old);
                    changes.make.push(new);
                } else if before.mode != after.mode {
                    changes.modes.push(new);
                }
            }
        }
        old += usize::from(order != Ordering::Greater);
        new += usize::from(order != Ordering::Less);
    }
    changes
}

fn apply(
    changes: &Changes,
    source: &Path,
    there: &Tree,
    wanted: &Tree,
    staging: &Path,
) -> Result<()> {
    // What is in a directory can be changed only while its owner may write to it.
    let closed = |entry: &Entry<'_>| entry.kind == Kind::Directory && entry.mode & 0o700 != 0o700;
    for entry in there.iter().filter(closed) {
        fs::set_permissions(join(staging, entry.path), Permissions::from_mode(0o700))?;
    }
    for &row in changes.remove.iter().rev() {
        let entry = there.get(row);
        let path = join(staging, entry.path);
        match entry.kind {
            Kind::Directory => fs::remove_dir(&path)?,
            Kind::File | Kind::Symlink => fs::remove_file(&path)?,
        }
    }
    let mut files = Vec::new();
    for &row in &changes.make {
        let entry = wanted.get(row);
        let path = join(staging, entry.path);
        match entry.kind {
            Kind::Directory => DirBuilder::new().mode(0o700).create(&path)?,
            Kind::Symlink => symlink(std::ffi::OsStr::from_bytes(entry.target), &path)?,
            Kind::File => files.push(row),
        }
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let copied = parallel::each(files.len(), files.len() > 8, |index| {
        let entry = wanted.get(files[index]);
        copy(&join(source, entry.path), &join(staging, entry.path), &entry, now.as_secs())
    });
    copied.into_iter().collect::<Result<()>>()?;
    for &row in &changes.modes {
        let entry = wanted.get(row);
        let mode = Permissions::from_mode(u32::from(entry.mode));
        fs::set_permissions(join(staging, entry.path), mode)?;
    }
    // Directories get their modes last, the innermost first.
    let made: BTreeSet<usize> = changes.make.iter().copied().collect();
    for row in (0..wanted.len()).rev() {
        let entry = wanted.get(row);
        if entry.kind == Kind::Directory && (closed(&entry) || made.contains(&row)) {
            let mode = Permissions::from_mode(u32::from(entry.mode));
            fs::set_permissions(join(staging, entry.path), mode)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, entry: &Entry<'_>, seconds: u64) -> Result<()> {
    let moved = || Moved(from.display().to_string());
    let mut source = match open(from) {
        Err(error) if is_gone(&error) => bail!(moved()),
        source => source.with_context(|| format!("can't read {}", from.display()))?,
    };
    let meta = source.metadata()?;
    if !meta.is_file() {
        bail!(moved());
    }
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let content = digest(&mut source, meta.len(), &mut |block| target.write_all(block))?;
    if content != entry.content {
        bail!(moved());
    }
    target.set_permissions(Permissions::from_mode(u32::from(entry.mode)))?;
    let time = Duration::new(seconds, nanoseconds(&content));
    target.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + time))?;
    Ok(())
}

/// Kinds of errors that say that something else is there now.
fn is_gone(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::ACCESS];
    error.raw_os_error().is_some_and(|raw| gone.iter().any(|kind| kind.raw_os_error() == raw))
}

/// A part of a second that stands for a content.
fn nanoseconds(content: &Digest) -> u32 {
    u32::from_be_bytes([content[0], content[1], content[2], content[3]]) % 1_000_000_000
}

fn has_its_time(staging: &Path, entry: &Entry<'_>) -> bool {
    let meta = join(staging, entry.path).symlink_metadata();
    meta.is_ok_and(|meta| meta.mtime_nsec() == i64::from(nanoseconds(&entry.content)))
}

/// What was just copied, for the stat cache: nobody else writes here, so the content is known. Only
/// the clock has to move on, so that a write from now on would show.
fn remember(changes: &Changes, wanted: &Tree, staging: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for &row in changes.make.iter().chain(&changes.modes) {
        let entry = wanted.get(row);
        if entry.kind == Kind::File {
            let meta = join(staging, entry.path).symlink_metadata()?;
            records.push(Record { stat: Stat::of(&meta), content: entry.content });
        }
    }
    let started = Instant::now();
    let scratch = staging.parent().unwrap_or(staging);
    while started.elapsed() < TICK {
        let Some(clock) = Clock::of(scratch) else { break };
        if records.iter().all(|record| clock.would_show(&record.stat)) {
            return Ok(records);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // A file system with a coarse clock: the next look hashes them again.
    Ok(Vec::new())
}

/// Compares what the builder received with what was hashed: every difference, in words.
///
/// `received` is the archive of an image that copies the whole context.
pub fn received_differences(wanted: &Tree, received: &Tree) -> Vec<String> {
    let mut differences = Vec::new();
    let found = changes(received, wanted, |_, _| false);
    let made: BTreeSet<&[u8]> = found.make.iter().map(|&row| wanted.get(row).path).collect();
    for &row in &found.remove {
        let path = received.get(row).path;
        if !made.contains(path) {
            differences.push(format!("{} was not hashed", crate::tree::escape(path)));
        }
    }
    let gone: BTreeSet<&[u8]> = found.remove.iter().map(|&row| received.get(row).path).collect();
    for &row in &found.make {
        let path = wanted.get(row).path;
        let what = if gone.contains(path) { "differs" } else { "did not arrive" };
        differences.push(format!("{} {what}", crate::tree::escape(path)));
    }
    for &row in &found.modes {
        let entry = wanted.get(row);
        let path = crate::tree::escape(entry.path);
        differences.push(format!("{path} arrived without its mode {:04o}", entry.mode));
    }
    differences
}
