//! The fingerprint of an image: a SHA-256 over everything that decides what a build yields.
//!
//! | tracked | why |
//! |---|---|
//! | every entry of the context after its ignore file: path, kind, the owner's permission bits, symlink target, content; directories too | the builder can copy each of them |
//! | the Dockerfile's content | the instructions |
//! | image name, target, build arguments, platform | they choose and steer the build |
//! | the lock's epoch | packages are fetched anew only when it moves |
//! | fingerprint of each base of this project | dirtiness travels up `FROM` |
//! | content of each external base, as the engine holds it (as it last did, else as the lock says, where it holds none) | a base moved under the same tag |
//!
//! | not tracked | why not |
//! |---|---|
//! | modification times, owner, absolute paths, host, locale, clock | a clone elsewhere builds the same |
//! | group's and others' permission bits, a directory's set-group-ID bit | they come from the umask and the place of a checkout; the builder gets modes made from the owner's bits, so they cannot reach an image ([`tree::normal_mode`]) |
//! | extended attributes, which names are hard links of one file | git keeps neither; the builder does not get them ([`stage`]) |
//! | the ignore file itself, when it ignores itself | only its effect decides |
//! | what `RUN`, `ADD` of an address and `# syntax=` fetch; the docker client's proxies | nobody can know it without doing it; moving the epoch fetches anew, and `image update` does that |
//! | service settings of compose (ports, environment) | they shape the container, not the image |
//!
//! The struct [`Inputs`] is the definition: what is not a field of it does not count.
//!
//! A crate of its own for two reasons: it is compiled with optimisation, which all of xtask would
//! make everybody's first build pay for, and the benchmark can call it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub mod ignore;
mod listing;
mod parallel;
pub mod reason;
pub mod received;
pub mod stage;
mod stats;
pub mod tree;
mod walk;

pub use stats::StatCache;
pub use tree::Tree;
pub use walk::{Walk, Walked};

/// A SHA-256.
pub type Digest = [u8; 32];

/// Changes whenever [`Inputs::fingerprint`] would give the same inputs another value.
const SCHEMA: &str = "stevedore inputs 3";

/// Everything that decides what the build of one image yields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    pub image: String,
    /// SHA-256 of the Dockerfile's content, in hexadecimal digits.
    pub dockerfile: String,
    pub target: Option<String>,
    pub platform: String,
    pub args: BTreeMap<String, String>,
    pub epoch: String,
    /// Image of this project -> its fingerprint.
    pub bases: BTreeMap<String, String>,
    /// Image reference -> content.
    pub externals: BTreeMap<String, String>,
    /// The context.
    #[serde(skip)]
    pub tree: Arc<Tree>,
}

impl Inputs {
    /// 64 hexadecimal digits. Every text is preceded by its length, so no two inputs run together.
    pub fn fingerprint(&self) -> String {
        let mut hash = Canonical(Sha256::new());
        hash.text(SCHEMA.as_bytes());
        hash.text(self.image.as_bytes());
        hash.text(self.dockerfile.as_bytes());
        hash.number(u64::from(self.target.is_some()));
        hash.text(self.target.as_deref().unwrap_or_default().as_bytes());
        hash.text(self.platform.as_bytes());
        hash.text(self.epoch.as_bytes());
        for map in [&self.args, &self.bases, &self.externals] {
            hash.number(map.len() as u64);
            for (name, value) in map {
                hash.text(name.as_bytes());
                hash.text(value.as_bytes());
            }
        }
        hash.number(self.tree.len() as u64);
        for entry in self.tree.iter() {
            hash.text(entry.path);
            hash.number(entry.kind as u64);
            hash.number(u64::from(entry.mode));
            hash.text(entry.target);
            hash.0.update(entry.content);
        }
        hex::encode(hash.0.finalize())
    }
}

struct Canonical(Sha256);

impl Canonical {
    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }
}

/// What is kept of a build: its inputs, to say later what has changed since.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub fingerprint: String,
    /// What the image holds (diff-ids and run-time settings): `sha256:…`.
    pub content: String,
    /// SHA-256 of the ignore file, to tell whose doing a new or missing entry is.
    pub ignore: String,
    pub inputs: Inputs,
}

impl Record {
    /// One line of JSON, then the context's entries, one a line.
    pub fn text(&self) -> Result<String> {
        Ok(format!("{}\n{}", serde_json::to_string(self)?, self.inputs.tree.text()))
    }

    /// The fingerprint of a record, from its first line alone.
    pub fn claim(first_line: &str) -> Option<String> {
        let head: serde_json::Value = serde_json::from_str(first_line).ok()?;
        head["fingerprint"].as_str().map(str::to_owned)
    }

    /// Reads what [`Record::text`] wrote. Fails when it was damaged.
    pub fn parse(text: &str) -> Result<Record> {
        let (head, tree) = text.split_once('\n').context("only one line")?;
        let mut record: Record = serde_json::from_str(head)?;
        record.inputs.tree = Arc::new(Tree::parse(tree)?);
        anyhow::ensure!(record.inputs.fingerprint() == record.fingerprint, "it was damaged");
        Ok(record)
    }
}

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The first digits of a fingerprint: enough to tell two apart on a screen.
pub fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}
