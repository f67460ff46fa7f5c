//! The names of the built assets. `cargo xtask assets build` puts a hash of each file's content
//! into its name, so that a browser may keep it for ever, and writes `manifest.json`, which leads
//! from the name of a source to its file. The page gets its links from here only.
//!
//! Without a manifest there are no assets, and the page does without them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, io};

use serde::Deserialize;

use crate::cdn::Cdn;
use crate::log::Log;

/// What to type where assets are missing or unusable.
const BUILD: &str = "cargo xtask assets build";

/// The directory of the built files, and its manifest as it was read last.
#[derive(Default)]
pub(crate) struct Assets {
    pub(crate) directory: PathBuf,
    file: PathBuf,
    url_start: String,
    current: Mutex<Read>,
}

/// Time, size and file number: of these a rebuilt manifest does not keep all.
type Stamp = (SystemTime, u64, u64);

/// No stamp: there is no manifest.
type Read = (Option<Stamp>, Arc<Manifest>);

/// From the path of a source below `assets/` to where a browser finds what was made of it.
#[derive(Default)]
pub(crate) struct Manifest(BTreeMap<String, Asset>);

pub(crate) struct Asset {
    pub(crate) url: String,
    pub(crate) integrity: String,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    integrity: String,
}

impl Manifest {
    pub(crate) fn get(&self, source: &str) -> Option<&Asset> {
        self.0.get(source)
    }

    fn parse(text: &[u8], url_start: &str) -> serde_json::Result<Manifest> {
        let entries: BTreeMap<String, Entry> = serde_json::from_slice(text)?;
        let asset = |(source, Entry { file, integrity })| {
            (source, Asset { url: format!("{url_start}{file}"), integrity })
        };
        Ok(Manifest(entries.into_iter().map(asset).collect()))
    }
}

impl Assets {
    /// # Errors
    /// Why the directory cannot be used. That nothing is there is no error.
    pub(crate) fn open(directory: &Path, cdn: Option<&Cdn>) -> Result<Assets, String> {
        if directory.exists() && !directory.is_dir() {
            return Err(format!("{:?} is not a directory", directory.display().to_string()));
        }
        let file = directory.join("manifest.json");
        let prefix = cdn.map_or("", |cdn| cdn.prefix.as_str());
        let url_start = format!("{prefix}/static/");
        let current = Mutex::new(read(&file, &url_start)?);
        Ok(Assets { directory: directory.to_owned(), file, url_start, current })
    }

    pub(crate) fn warn_if_missing(&self, log: Log) {
        let (stamp, _) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.is_none() {
            let manifest = self.file.display().to_string();
            log.warn("no assets", &[("missing", manifest.into()), ("run", BUILD.into())]);
        }
    }

    /// As it was read at the start.
    pub(crate) fn manifest(&self) -> Arc<Manifest> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.1)
    }

    /// Reads the manifest again if it is another one now; one that is broken changes nothing.
    pub(crate) fn refreshed(&self, log: Log) -> Arc<Manifest> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // One look at a local file, in development only: not worth a thread of its own.
        if stamp(&self.file).ok() != current.0 {
            match read(&self.file, &self.url_start) {
                Ok(read) => *current = read,
                Err(problem) => log.warn("old assets", &[("error", problem.into())]),
            }
        }
        Arc::clone(&current.1)
    }
}

fn read(file: &Path, url_start: &str) -> Result<Read, String> {
    // The stamp first: what changes in between is read again the next time.
    let read = stamp(file).and_then(|stamp| Ok((stamp, fs::read(file)?)));
    let problem = |error: &dyn std::fmt::Display| {
        format!("cannot use {}: {error}; build it anew: {BUILD}", file.display())
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
        Err(error) => Err(problem(&error)),
        Ok((stamp, text)) => match Manifest::parse(&text, url_start) {
            Ok(manifest) => Ok((Some(stamp), Arc::new(manifest))),
            Err(error) => Err(problem(&error)),
        },
    }
}

fn stamp(file: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(file)?;
    Ok((metadata.modified()?, metadata.len(), metadata.ino()))
}
