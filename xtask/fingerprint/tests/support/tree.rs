//! Trees for the campaigns: what one holds, read without any code of the tool, and edits of it.
//!
//! Contents, names and modes come from small sets, so states come back (A, B, A), and a file is
//! more often mistaken for what it was before than in any real project.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::chance::Chance;

/// What an entry is, with its exact mode or the one that an image gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(u32, Vec<u8>),
    Directory(u32),
    Symlink(Vec<u8>),
}

pub(crate) type Snapshot = BTreeMap<Vec<u8>, Node>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modes {
    /// What is really there, [`IGNORE`]d or not.
    Exact,
    /// As the table in `fingerprint` says: the owner's, and nobody else may write.
    Settled,
}

/// Everything below a root, sockets left out, and what is [`IGNORE`]d unless modes are exact.
pub(crate) fn snapshot(root: &Path, modes: Modes) -> Snapshot {
    let mut found = Snapshot::new();
    let mut open = vec![Vec::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(at(root, &directory)).unwrap() {
            let entry = entry.unwrap();
            let mut path = directory.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(entry.file_name().as_bytes());
            if modes == Modes::Settled && is_ignored(&path) {
                continue;
            }
            let meta = entry.metadata().unwrap();
            let (kind, mode) = (meta.file_type(), meta.mode() & 0o7777);
            let mode = |special: u32| match modes {
                Modes::Exact => mode,
                Modes::Settled => {
                    let owner = mode & 0o700;
                    owner | (owner & 0o500) >> 3 | (owner & 0o500) >> 6 | mode & special
                }
            };
            let node = if kind.is_dir() {
                open.push(path.clone());
                Node::Directory(mode(0o1000))
            } else if kind.is_symlink() {
                Node::Symlink(fs::read_link(entry.path()).unwrap().into_os_string().into_vec())
            } else if kind.is_file() {
                Node::File(mode(0o6000), fs::read(entry.path()).unwrap())
            } else {
                continue;
            };
            found.insert(path, node);
        }
    }
    found
}

/// The ignore file that goes with [`snapshot`].
pub(crate) const IGNORE: &str = ".stevedore\nignored\n**/*.skip\n";

fn is_ignored(path: &[u8]) -> bool {
    let first = path.split(|byte| *byte == b'/').next();
    [&b".stevedore"[..], b"ignored"].contains(&first.unwrap_or_default())
        || path.split(|byte| *byte == b'/').any(|part| part.len() > 5 && part.ends_with(b".skip"))
}

/// A path below a root.
pub(crate) fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// A tree of some thirty entries to begin with.
pub(crate) fn plant(chance: &mut Chance, root: &Path) {
    fs::create_dir_all(root.join("ignored")).unwrap();
    fs::write(root.join("first"), "aaaaaaa").unwrap();
    for _ in 0..30 {
        let there = snapshot(root, Modes::Settled);
        let kind = chance.pick(&[Edit::NewFile, Edit::NewFile, Edit::NewDirectory, Edit::NewLink]);
        edit(chance, root, &there, kind);
    }
}

/// Kinds of edits. Those from [`Edit::Touch`] on leave every input as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Edit {
    SameSizeSameTime,
    SameSize,
    Resize,
    NewFile,
    NewDirectory,
    NewLink,
    Remove,
    Rename,
    Retarget,
    OtherKind,
    FileMode,
    DirectoryMode,
    Swap,
    SecondName,
    Touch,
    OthersMode,
    SameBytes,
    AwayAndBack,
    AtomicSave,
    Owner,
    Socket,
    Ignored,
}

pub(crate) const EDITS: [Edit; 22] = [
    Edit::SameSizeSameTime,
    Edit::SameSize,
    Edit::Resize,
    Edit::NewFile,
    Edit::NewDirectory,
    Edit::NewLink,
    Edit::Remove,
    Edit::Rename,
    Edit::Retarget,
    Edit::OtherKind,
    Edit::FileMode,
    Edit::DirectoryMode,
    Edit::Swap,
    Edit::SecondName,
    Edit::Touch,
    Edit::OthersMode,
    Edit::SameBytes,
    Edit::AwayAndBack,
    Edit::AtomicSave,
    Edit::Owner,
    Edit::Socket,
    Edit::Ignored,
];

/// Does one edit of a tree that holds `there`; false where the tree has nothing to do it to.
pub(crate) fn edit(chance: &mut Chance, root: &Path, there: &Snapshot, kind: Edit) -> bool {
    tried(chance, root, there, kind).is_some()
}

fn tried(chance: &mut Chance, root: &Path, there: &Snapshot, kind: Edit) -> Option<()> {
    let file = |chance: &mut Chance| {
        let path = any(chance, there, |node| matches!(node, Node::File(..)))?;
        Some(at(root, &path))
    };
    match kind {
        Edit::SameSizeSameTime => {
            let path = any(
                chance,
                there,
                |node| matches!(node, Node::File(_, bytes) if !bytes.is_empty()),
            )?;
            flip(chance, &at(root, &path));
        }
        Edit::SameSize => {
            let path = file(chance)?;
            let length = fs::metadata(&path).unwrap().len() as usize;
            fs::write(path, text(chance, length)).unwrap();
        }
        Edit::Resize => {
            let length = chance.below(5) * 7;
            fs::write(file(chance)?, text(chance, length)).unwrap();
        }
        Edit::NewFile => {
            let path = fresh(chance, root, there)?;
            let length = chance.below(5) * 7;
            fs::write(&path, text(chance, length)).unwrap();
            set_mode(&path, chance.pick(&[0o644, 0o600, 0o755]));
        }
        Edit::NewDirectory => {
            let path = fresh(chance, root, there)?;
            fs::create_dir(&path).unwrap();
            set_mode(&path, chance.pick(&[0o755, 0o700, 0o775]));
        }
        Edit::NewLink => symlink(target(chance), fresh(chance, root, there)?).unwrap(),
        Edit::Remove => remove(&at(root, &any(chance, there, |_| true)?)),
        Edit::Rename => {
            let from = at(root, &any(chance, there, |_| true)?);
            let to = fresh(chance, root, there)?;
            // A directory cannot go into itself.
            fs::rename(from, to).ok()?;
        }
        Edit::Retarget => {
            let path = at(root, &any(chance, there, |node| matches!(node, Node::Symlink(_)))?);
            remove(&path);
            symlink(target(chance), path).unwrap();
        }
        Edit::OtherKind => {
            let path = at(root, &any(chance, there, |_| true)?);
            remove(&path);
            match chance.below(3) {
                0 => fs::write(path, text(chance, 7)).unwrap(),
                1 => fs::create_dir(path).unwrap(),
                _ => symlink(target(chance), path).unwrap(),
            }
        }
        Edit::FileMode => {
            let mode = chance.pick(&[0o644, 0o755, 0o444, 0o700, 0o4755, 0o2755, 0o6755]);
            set_mode(&file(chance)?, mode);
        }
        Edit::DirectoryMode => {
            let path = any(chance, there, |node| matches!(node, Node::Directory(_)))?;
            set_mode(&at(root, &path), chance.pick(&[0o755, 0o555, 0o700, 0o500, 0o1755]));
        }
        Edit::Swap => {
            let (one, other) = (file(chance)?, file(chance)?);
            let away = root.join("away.skip");
            fs::rename(&one, &away).unwrap();
            // The same file twice: it goes and comes back.
            let _ = fs::rename(&other, &one);
            fs::rename(away, other).unwrap();
        }
        Edit::SecondName => fs::hard_link(file(chance)?, fresh(chance, root, there)?).unwrap(),
        _ => {
            let file = file(chance)?;
            return neutral(chance, root, there, kind, &file);
        }
    }
    Some(())
}

/// Edits that change no input.
fn neutral(
    chance: &mut Chance,
    root: &Path,
    there: &Snapshot,
    kind: Edit,
    file: &Path,
) -> Option<()> {
    let mode = fs::metadata(file).unwrap().mode();
    match kind {
        Edit::Touch => {
            let seconds = Duration::from_secs(1_500_000_000 + chance.below(1000) as u64);
            let path = at(root, &any(chance, there, |node| !matches!(node, Node::Symlink(_)))?);
            let time = SystemTime::UNIX_EPOCH + seconds;
            File::open(path).unwrap().set_modified(time).unwrap();
        }
        Edit::OthersMode => set_mode(file, mode & 0o7700 | chance.below(0o100) as u32),
        Edit::SameBytes => {
            let bytes = fs::read(file).unwrap();
            fs::write(file, bytes).unwrap();
            set_mode(file, mode);
        }
        Edit::AwayAndBack => {
            let away = root.join("away.skip");
            fs::rename(file, &away).unwrap();
            fs::rename(away, file).unwrap();
        }
        Edit::AtomicSave => {
            let new = root.join("new.skip");
            fs::write(&new, fs::read(file).unwrap()).unwrap();
            set_mode(&new, mode);
            fs::rename(new, file).unwrap();
        }
        Edit::Owner => {
            // Only root may; the kernel takes the special bits away.
            let _ = std::os::unix::fs::chown(file, Some(chance.below(3) as u32), None);
            set_mode(file, mode);
        }
        Edit::Socket => {
            let path = fresh(chance, root, there)?;
            drop(std::os::unix::net::UnixListener::bind(&path).ok()?);
            if chance.below(4) > 0 {
                fs::remove_file(path).unwrap();
            }
        }
        _ => {
            let name = chance.pick(&["ignored/a", "ignored/b", "c.skip"]);
            let length = chance.below(20);
            fs::write(root.join(name), text(chance, length)).unwrap();
        }
    }
    Some(())
}

/// Changes bytes of a file but neither its size nor its modification time.
pub(crate) fn flip(chance: &mut Chance, path: &Path) {
    use std::os::unix::fs::FileExt;
    let meta = fs::metadata(path).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let last = meta.len() - 1;
    let place = chance.pick(&[0, last, last / 2]);
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    // Back and forth between two letters, so that contents come back.
    file.write_all_at(if byte == *b"a" { b"b" } else { b"a" }, place).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    // A write takes the special bits away.
    set_mode(path, meta.mode());
}

/// Who is not root keeps all rights, or could not do the next edit.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    let kept = if is_root() { 0 } else { 0o700 };
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | kept)).unwrap();
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

pub(crate) fn remove(path: &Path) {
    match fs::symlink_metadata(path).unwrap().is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

fn text(chance: &mut Chance, length: usize) -> Vec<u8> {
    vec![chance.pick(b"abc"); length]
}

fn target(chance: &mut Chance) -> &'static str {
    const TARGETS: [&str; 7] = ["a", "b", "d0", "../a", "nowhere", "/etc/hostname", "."];
    chance.pick(&TARGETS)
}

/// The path of an entry that passes.
fn any(chance: &mut Chance, there: &Snapshot, is: impl Fn(&Node) -> bool) -> Option<Vec<u8>> {
    let fitting: Vec<&Vec<u8>> =
        there.iter().filter(|(_, node)| is(node)).map(|(path, _)| path).collect();
    if fitting.is_empty() { None } else { Some(chance.pick(&fitting).clone()) }
}

/// A path that is free, below a directory that is there; none where the tree is large already.
fn fresh(chance: &mut Chance, root: &Path, there: &Snapshot) -> Option<PathBuf> {
    const NAMES: [&str; 12] =
        ["a", "b", "c", "A", "d0", "d1", "-x", "f g", "é", "e\u{301}", "line\nbreak", "a\\x41"];
    let inside = any(chance, there, |node| matches!(node, Node::Directory(_)));
    let inside = inside.filter(|path| path.len() < 12 && chance.below(4) > 0).unwrap_or_default();
    let path = at(root, &inside).join(chance.pick(&NAMES));
    (there.len() < 90 && path.symlink_metadata().is_err()).then_some(path)
}
