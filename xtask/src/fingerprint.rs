//! The fingerprint of an image: a SHA-256 over everything that decides what a build yields.
//!
//! | tracked | why |
//! |---|---|
//! | every entry of the context after its ignore file: path, kind, permission bits, symlink target, content; directories too | the builder can copy each of them |
//! | the Dockerfile's content | the instructions |
//! | image name, target, build arguments, platform | they choose and steer the build |
//! | the lock's epoch | packages are fetched anew only when it moves |
//! | fingerprint of each base of this project | dirtiness travels up `FROM` |
//! | content of each external base, as the engine holds it (as the lock says where it holds none) | a base moved under the same tag |
//!
//! | not tracked | why not |
//! |---|---|
//! | modification times, owner, absolute paths, host, locale, clock | a clone elsewhere builds the same |
//! | the ignore file itself, when it ignores itself | only its effect decides |
//! | service settings of compose (ports, environment) | they shape the container, not the image |
//!
//! The struct [`Inputs`] is the definition: what is not a field of it does not count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub(crate) mod context;
pub(crate) mod ignore;
pub(crate) mod reason;

/// Changes whenever [`Inputs::fingerprint`] would give the same inputs another value.
const SCHEMA: &str = "stevedore inputs 1";

/// Everything that decides what the build of one image yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    pub(crate) image: String,
    /// SHA-256 of the Dockerfile's content.
    pub(crate) dockerfile: String,
    pub(crate) target: Option<String>,
    pub(crate) platform: String,
    pub(crate) args: BTreeMap<String, String>,
    pub(crate) epoch: String,
    /// Image of this project -> its fingerprint.
    pub(crate) bases: BTreeMap<String, String>,
    /// Image reference -> content.
    pub(crate) externals: BTreeMap<String, String>,
    /// Path in the context (see [`context::escape`]) -> what is there.
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// One entry of a build context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub(crate) mode: u32,
    /// SHA-256 of a file's content, target of a symlink, nothing for a directory.
    pub(crate) content: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
}

impl Inputs {
    /// 64 hexadecimal digits. Every text is preceded by its length, so no two inputs run together.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Canonical(Sha256::new());
        hash.text(SCHEMA);
        hash.text(&self.image);
        hash.text(&self.dockerfile);
        hash.number(u64::from(self.target.is_some()));
        hash.text(self.target.as_deref().unwrap_or_default());
        hash.text(&self.platform);
        hash.text(&self.epoch);
        for map in [&self.args, &self.bases, &self.externals] {
            hash.number(map.len() as u64);
            for (name, value) in map {
                hash.text(name);
                hash.text(value);
            }
        }
        hash.number(self.entries.len() as u64);
        for (path, entry) in &self.entries {
            hash.text(path);
            hash.number(entry.kind as u64);
            hash.number(u64::from(entry.mode));
            hash.text(&entry.content);
        }
        hex::encode(hash.0.finalize())
    }
}

struct Canonical(Sha256);

impl Canonical {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }
}

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The first digits of a fingerprint: enough to tell two apart on a screen.
pub(crate) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}
