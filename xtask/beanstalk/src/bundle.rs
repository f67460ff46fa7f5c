//! A source bundle, unpacked: hostile input.
//!
//! Nothing is written outside the directory it goes to: names are looked at before anything is
//! written, the directory is new and empty, and links are made last, so that none of them is ever
//! written through.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

/// What the service takes at most, in bytes.
pub(crate) const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// What an unpacked bundle may have here: more than any app, less than a disk.
const MOST_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
const MOST_ENTRIES: u64 = 100_000;
/// What is read as one text has no more: a compose file, a configuration file.
const MOST_TEXT: u64 = 1024 * 1024;
const LONGEST_LINK: u64 = 4096;
/// Names and paths that file systems take.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 1024;

const TOO_BIG: &str = "the bundle has more than 4 GiB when it is unpacked";

const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;

/// Unpacks into a directory that is made.
///
/// # Errors
///
/// Says which entry is wrong, and how. The directory may be there in part then.
pub(crate) fn unpack(bundle: &Path, directory: &Path) -> Result<()> {
    let mut file =
        File::open(bundle).with_context(|| format!("can't read {}", bundle.display()))?;
    // Before its directory is read into memory.
    let told = told_entries(&mut file)?;
    ensure!(told <= MOST_ENTRIES, "it has {told} entries, {MOST_ENTRIES} are allowed");
    let mut archive = ZipArchive::new(file).context("it is no zip archive")?;
    let count = archive.len();
    ensure!(count as u64 <= MOST_ENTRIES, "it has {count} entries, {MOST_ENTRIES} are allowed");
    // Which of two is meant depends on who reads; the library gives one of them.
    ensure!(!archive.has_duplicate_names(), "one of its names is there twice");
    std::fs::create_dir_all(directory)?;
    let mut seen = BTreeSet::new();
    let mut links = Vec::new();
    let mut left = MOST_UNPACKED;
    for index in 0..count {
        let mut entry = archive.by_index(index).with_context(|| format!("entry {index}"))?;
        let name = entry.name().context("the name of an entry is no text")?.into_owned();
        let path = relative(&name).with_context(|| format!("entry {name:?}"))?;
        let mode = entry.unix_mode().unwrap_or(FILE | 0o644);
        let kind = if entry.is_dir() { DIRECTORY } else { mode & KIND };
        let root = path.as_os_str().is_empty();
        ensure!(!root || kind == DIRECTORY, "entry {name:?} has no name");
        let made = || kind == DIRECTORY && seen.contains(&path) && directory.join(&path).is_dir();
        if root || made() {
            continue;
        }
        ensure!(seen.insert(path.clone()), "entry {name:?} is there twice");
        let target = directory.join(&path);
        match kind {
            DIRECTORY => std::fs::create_dir_all(&target)
                .with_context(|| format!("entry {name:?}: a file is in its way"))?,
            LINK => {
                let mut text = Vec::new();
                let read = entry.by_ref().take(LONGEST_LINK + 1).read_to_end(&mut text);
                read.with_context(|| format!("entry {name:?}: it is damaged"))?;
                let to = String::from_utf8(text).ok().filter(|to| within(&path, to));
                let to = to.with_context(|| format!("link {name:?} leads out of the bundle"))?;
                links.push((target, to));
            }
            FILE | 0 => {
                let size = entry.size();
                ensure!(size <= left, TOO_BIG);
                let written = write(&mut entry, &target, mode, size);
                left -= written.with_context(|| format!("entry {name:?}"))?;
            }
            _ => bail!("entry {name:?} is neither a file nor a directory nor a link"),
        }
    }
    for (place, to) in links {
        let shown = place.strip_prefix(directory).unwrap_or(&place).display().to_string();
        parent(&place)?;
        std::os::unix::fs::symlink(to, &place)
            .with_context(|| format!("link {shown:?} is in the way of another entry"))?;
    }
    stays_inside(directory)
}

/// The path of an entry: relative, of plain names.
fn relative(name: &str) -> Result<PathBuf> {
    ensure!(!name.contains('\0'), "its name has a NUL");
    ensure!(!name.contains('\\'), "its name has a backslash");
    ensure!(name.len() <= LONGEST_PATH, "its name is longer than {LONGEST_PATH} bytes");
    ensure!(!name.starts_with('/'), "its name is absolute");
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => {
                ensure!(part.len() <= LONGEST_NAME, "a part of its name is too long");
                path.push(part);
            }
            _ => bail!("its name leads out of the bundle"),
        }
    }
    Ok(path)
}

/// Whether a link at this place leads to something below the root.
fn within(place: &Path, to: &str) -> bool {
    if to.is_empty() || to.len() as u64 > LONGEST_LINK || to.contains('\0') {
        return false;
    }
    let mut depth = place.components().count() - 1;
    for component in Path::new(to).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

fn parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("it has no parent")?;
    std::fs::create_dir_all(parent).context("a file is where a directory should be")
}

/// Returns how many bytes were written; they are no more than the archive says.
fn write(entry: &mut impl Read, target: &Path, mode: u32, size: u64) -> Result<u64> {
    parent(target)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .context("another entry is in its way")?;
    let written = std::io::copy(&mut entry.take(size.saturating_add(1)), &mut file)
        .context("it is damaged")?;
    ensure!(written == size, "it is damaged: it says that it has {size} bytes, which is not so");
    file.flush()?;
    // Never set-user-id; the owner can always read and write.
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777 | 0o600))?;
    Ok(written)
}

/// A chain of links may still lead out, through a link to a directory with links: the kernel says.
/// What a hook wrote is looked at in the same way.
///
/// # Errors
///
/// Names a link that leads out.
pub(crate) fn stays_inside(directory: &Path) -> Result<()> {
    let root = directory.canonicalize()?;
    let mut waiting = vec![root.clone()];
    while let Some(here) = waiting.pop() {
        for entry in std::fs::read_dir(&here)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_symlink() {
                let place = entry.path();
                let shown = place.strip_prefix(&root).unwrap_or(&place);
                let inside = match place.canonicalize() {
                    Ok(target) => target.starts_with(&root),
                    // It may be there one day. A circle harms nobody.
                    Err(_) => {
                        let to = std::fs::read_link(&place)?;
                        to.to_str().is_some_and(|to| within(shown, to))
                    }
                };
                ensure!(inside, "link {:?} leads out of the bundle", shown.display().to_string());
            }
        }
    }
    Ok(())
}

/// How many entries the end of the archive tells of, the largest number where there are several
/// ends.
fn told_entries(file: &mut File) -> Result<u64> {
    const END: usize = 22;
    const LONGEST_COMMENT: u64 = 65_535;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_COMMENT + END as u64);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(length - from).read_to_end(&mut tail)?;
    let mut most = 0;
    for (at, end) in tail.windows(END).enumerate().filter(|(_, it)| it.starts_with(b"PK\x05\x06")) {
        let count = u64::from(u16::from_le_bytes([end[10], end[11]]));
        // More than it can hold: the number is in another end, before this one.
        let large = tail[..at].windows(40).rev().find(|it| it.starts_with(b"PK\x06\x06"));
        let large = large.filter(|_| count == 0xffff).and_then(|it| it[32..40].try_into().ok());
        most = most.max(large.map_or(count, u64::from_le_bytes));
    }
    file.rewind()?;
    Ok(most)
}

/// A text file of an unpacked bundle, nothing when there is none.
///
/// # Errors
///
/// When it is no text, or longer than any that is written by hand.
pub(crate) fn text(file: &Path) -> Result<Option<String>> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match std::fs::metadata(file) {
        Ok(found) if found.is_file() => {}
        Ok(_) => bail!("{name} is no file"),
        Err(_) => return Ok(None),
    }
    let mut text = String::new();
    let opened = File::open(file).with_context(|| format!("{name} cannot be read"))?;
    let read = opened.take(MOST_TEXT + 1).read_to_string(&mut text);
    read.with_context(|| format!("{name} is no text"))?;
    ensure!(text.len() as u64 <= MOST_TEXT, "{name} has more than {MOST_TEXT} bytes");
    Ok(Some(text))
}

/// YAML, or JSON, which is YAML as well.
///
/// # Errors
///
/// In one line, so that it can be an event.
pub(crate) fn yaml(text: &str) -> Result<serde_json::Value> {
    serde_saphyr::from_str(text).map_err(|error: serde_saphyr::Error| {
        let said = error.without_snippet().to_string();
        anyhow::anyhow!("{}", said.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}
