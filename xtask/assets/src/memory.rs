//! What is remembered between builds. All of it can be lost: then more is done again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::cli::Places;
use crate::look::{Last, Look};
use crate::style::Sheet;
use crate::warn;
use fingerprint::sha256;

/// What the name of a file begins with while it is written.
const UNFINISHED: &str = ".new-";

/// Held while a build runs: the output directory belongs to one at a time.
pub(crate) fn lock(places: &Places) -> Result<File> {
    fs::create_dir_all(&places.state)
        .with_context(|| format!("can't create {}", places.state.display()))?;
    let path = places.state.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("can't open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        warn("another build of these assets runs; waiting for its end");
        let locked = flock(&file, FlockOperation::LockExclusive);
        locked.with_context(|| format!("can't lock {}", path.display()))?;
    }
    Ok(file)
}

pub(crate) fn last(places: &Places) -> Option<Last> {
    let text = fs::read_to_string(places.state.join("last.json")).ok()?;
    serde_json::from_str(&text).ok()
}

pub(crate) fn remember(places: &Places, last: &Last) -> Result<()> {
    let text = serde_json::to_vec(last)?;
    replace(&places.state.join("last.json"), |file| Ok(file.write_all(&text)?))?;
    forget_others(places, last);
    Ok(())
}

/// Removes sheets of sources that are gone, and what killed builds left half written. A failure is
/// no harm.
fn forget_others(places: &Places, last: &Last) {
    let wanted: BTreeSet<PathBuf> =
        last.sources.keys().map(|path| sheet_path(places, path)).collect();
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let sheets = entries(&places.state.join("sheets"))
        .map(|entry| entry.path())
        .filter(|path| !wanted.contains(path));
    let unfinished = entries(&places.state)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
        .map(|entry| entry.path());
    for path in sheets.chain(unfinished) {
        let _ = fs::remove_file(path);
    }
}

/// A compiled sheet, and what it was compiled under.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: String,
    sheet: Sheet,
}

/// Everything that decides a sheet besides the files it loads.
fn sheet_key(look: &Look, path: &str) -> String {
    // Another file may be found under a name from now on: their names count, all of them.
    let names: Vec<&str> = look.sources.keys().map(String::as_str).collect();
    let content = look.sources.get(path).map_or("", String::as_str);
    sha256(format!("{}\n{path}\n{content}\n{}", look.setting, names.join("\n")).as_bytes())
}

/// The sheet as it was compiled before, when it would come out the same.
pub(crate) fn sheet(places: &Places, look: &Look, path: &str) -> Option<Sheet> {
    let text = fs::read(sheet_path(places, path)).ok()?;
    let kept: Kept = serde_json::from_slice(&text).ok()?;
    let same = |(path, hash): &(PathBuf, String)| look.hash_of(places, path) == Some(hash);
    (kept.key == sheet_key(look, path) && kept.sheet.loaded.iter().all(same)).then_some(kept.sheet)
}

pub(crate) fn keep_sheet(places: &Places, look: &Look, path: &str, sheet: &Sheet) -> Result<()> {
    let kept = Kept { key: sheet_key(look, path), sheet: sheet.clone() };
    replace(&sheet_path(places, path), |file| Ok(file.write_all(&serde_json::to_vec(&kept)?)?))
}

fn sheet_path(places: &Places, path: &str) -> PathBuf {
    places.state.join("sheets").join(sha256(path.as_bytes()))
}

/// Writes a file whole or not at all, for everybody to read.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let write = || -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        if !directory.is_dir() {
            fs::create_dir_all(directory)?;
        }
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
        write(file.as_file_mut())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("can't write {}", path.display()))
}
