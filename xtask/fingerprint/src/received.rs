//! What a builder received, read back from the archive that it wrote.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::tree::{Entry, Kind, Tree, compare};

/// Reads a tar archive as a context; modes as they are, owners and times left aside.
pub fn read(archive: &Path) -> Result<Tree> {
    let tried = || format!("can't read {}", archive.display());
    let file = File::open(archive).with_context(tried)?;
    read_from(file).with_context(tried)
}

/// Path, kind, mode, content and link target.
type Found = (Vec<u8>, Kind, u16, [u8; 32], Vec<u8>);

fn read_from(archive: impl Read) -> Result<Tree> {
    let mut found: Vec<Found> = Vec::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        if path.is_empty() || path == b"." {
            continue;
        }
        let mode = (entry.header().mode()? & 0o7777) as u16;
        let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let content = hash(&mut entry)?;
            found.push((path, Kind::File, mode, content, Vec::new()));
        } else if kind.is_dir() {
            found.push((path, Kind::Directory, mode, [0; 32], Vec::new()));
        } else if kind.is_symlink() {
            found.push((path, Kind::Symlink, 0o777, [0; 32], target));
        } else if kind.is_hard_link() {
            let other = found.iter().find(|other| other.0 == target).cloned();
            let (_, kind, mode, content, target) = other.context("a hard link to nothing")?;
            found.push((path, kind, mode, content, target));
        }
    }
    found.sort_by(|one, other| compare(&one.0, &other.0));
    let mut tree = Tree::default();
    for (path, kind, mode, content, target) in &found {
        let (kind, mode, content) = (*kind, *mode, *content);
        tree.push(&Entry { path, kind, mode, content, target })?;
    }
    Ok(tree)
}

fn hash(file: &mut impl Read) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&block[..count]);
    }
}
