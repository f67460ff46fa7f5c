//! The build context as the builder will see it: every entry that the ignore file leaves.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::ignore::{Ignore, Parents};
use super::{Entry, Kind};

/// Every entry below `directory` that `ignore` leaves, by its escaped path.
///
/// An ignored directory counts when something in it does not, as the builder sends it. Sockets
/// are left out as the builder leaves them out; other special files are an error.
pub(crate) fn read(directory: &Path, ignore: &Ignore) -> Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    // The directories from the context to the current one, each with its own verdict.
    let mut open: Vec<(Vec<u8>, Option<Entry>, Parents)> = Vec::new();
    let mut walk = WalkDir::new(directory).min_depth(1).into_iter();
    while let Some(found) = walk.next() {
        let found = found.with_context(|| format!("can't read {}", directory.display()))?;
        open.truncate(found.depth() - 1);
        let path = found.path().strip_prefix(directory)?.as_os_str().as_bytes().to_vec();
        let above = open.last().map(|(_, _, parents)| parents);
        let (ignored, parents) = ignore.matches(&path, above);
        let is_directory = found.file_type().is_dir();
        if ignored && is_directory && !ignore.has_exceptions() {
            walk.skip_current_dir();
            continue;
        }
        if ignored && !is_directory {
            continue;
        }
        let Some(entry) = entry(found.path())? else {
            continue;
        };
        if !ignored {
            for (path, pending, _) in &mut open {
                if let Some(entry) = pending.take() {
                    entries.insert(escape(path), entry);
                }
            }
            entries.insert(escape(&path), entry.clone());
        }
        if is_directory {
            open.push((path, ignored.then_some(entry), parents));
        }
    }
    Ok(entries)
}

fn entry(path: &Path) -> Result<Option<Entry>> {
    let tried = || format!("can't read {}", path.display());
    let meta = path.symlink_metadata().with_context(tried)?;
    let kind = meta.file_type();
    let mode = meta.mode() & 0o7777;
    if kind.is_dir() {
        return Ok(Some(Entry { kind: Kind::Directory, mode, content: String::new() }));
    }
    if kind.is_symlink() {
        let target = path.read_link().with_context(tried)?;
        let content = escape(target.as_os_str().as_bytes());
        // A symlink's own permission bits mean nothing and differ between systems.
        return Ok(Some(Entry { kind: Kind::Symlink, mode: 0o777, content }));
    }
    if kind.is_socket() {
        return Ok(None);
    }
    if !kind.is_file() {
        bail!(
            "{} is a pipe or a device, which no image can be built from; remove it or add it to \
             the ignore file",
            path.display()
        );
    }
    let content = hash_file(path).with_context(tried)?;
    Ok(Some(Entry { kind: Kind::File, mode, content }))
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&block[..count]);
    }
}

/// A path as text, one to one: bytes that are not UTF-8, control characters and the backslash
/// become `\xNN`.
pub(crate) fn escape(path: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The ignore file of a build: the Dockerfile's own, else the context's, else none.
pub(crate) fn load_ignore(root: &Path, dockerfile: &str, context: &str) -> Result<Ignore> {
    let candidates = [format!("{dockerfile}.dockerignore"), format!("{context}/.dockerignore")];
    for name in candidates {
        match std::fs::read(root.join(OsStr::new(&name))) {
            Ok(bytes) => return Ignore::parse(&bytes).with_context(|| format!("can't use {name}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't read {name}")),
        }
    }
    Ok(Ignore::default())
}
