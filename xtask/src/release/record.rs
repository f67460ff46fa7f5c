//! `releases/VERSION.json`: what one release is, exactly, for as long as it is kept anywhere.
//!
//! A rollback reads it years later, so a released schema is never changed: a new fact is a new
//! schema, and this one stays readable. It holds what four kinds of rollback ask for. The app
//! alone: the images. A package: what every image holds. A migration: which ones the app knows, and
//! which of them an older app can live with. A new major version of a store: what its data needs.
//! For all four a secret may have changed in between: of each key it says whether an attached
//! service has it too, since then its value belongs to the data and stays.
//!
//! No value of a setting is in it, public or secret.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use semver::Version;
use serde::{Deserialize, Serialize};

/// Names the schema below.
pub(crate) const SCHEMA: &str = "stevedore.release/1";
/// What the name of every schema begins with.
const FAMILY: &str = "stevedore.release/";

/// The files that the commit of a release adds, from the project's root: the record, the list of
/// its parts as others read it, and what has changed in it.
pub(crate) fn paths(version: &Version) -> [String; 3] {
    ["json", "cdx.json", "md"].map(|end| format!("releases/{version}.{end}"))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) schema: String,
    pub(crate) version: Version,
    /// The release that this one follows; `null` for the first.
    pub(crate) previous: Option<Version>,
    /// The name of the stack: the first part of every image's name.
    pub(crate) name: String,
    /// The commit that was built, tested and released: the parent of the one that holds this file.
    pub(crate) commit: String,
    /// The branch on which fixes of this release continue.
    pub(crate) branch: String,
    /// When the release was begun (RFC 3339, UTC, whole seconds).
    pub(crate) created: String,
    pub(crate) by: Person,
    /// Program -> version, as it says itself, on the machine that made the release; of the tool
    /// also what it was compiled from. Another tool may hash and build assets in other ways.
    pub(crate) tools: BTreeMap<String, String>,
    /// The environment whose images these are.
    pub(crate) environment: String,
    /// Host and path of the registry under which they are published; `null`: nowhere.
    pub(crate) registry: Option<String>,
    /// Such as `linux/amd64`.
    pub(crate) platform: String,
    /// The update epoch of docker/stack.lock.
    pub(crate) epoch: String,
    /// Reference in a `FROM` -> what it was in the engine that built.
    pub(crate) bases: BTreeMap<String, Base>,
    pub(crate) images: BTreeMap<String, Image>,
    pub(crate) services: BTreeMap<String, Service>,
    /// Lock file, from the project's root -> what it names.
    pub(crate) dependencies: BTreeMap<String, Vec<Dependency>>,
    /// Source below app/assets -> the file that ships.
    pub(crate) assets: BTreeMap<String, Asset>,
    /// Service that migrates -> its migrations in their order.
    pub(crate) migrations: BTreeMap<String, Vec<Migration>>,
    /// What passed before anything was released.
    pub(crate) gates: Vec<Gate>,
    /// Environment -> configuration key -> what is known of it; never a value.
    pub(crate) configuration: BTreeMap<String, BTreeMap<String, Key>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// An external base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Base {
    /// SHA-256 over its layers' diff-ids and its run-time settings.
    pub(crate) content: String,
    /// `sha256:…` of the registry's manifest; `null` when it was made on the machine.
    pub(crate) digest: Option<String>,
}

/// An image of this project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Image {
    /// The hash of everything that it was built from.
    pub(crate) fingerprint: String,
    /// The digest of its configuration, which names its layers: the same in every registry.
    pub(crate) config: String,
    pub(crate) layers: Vec<Layer>,
    /// What its Dockerfile is built from: images of this project and external bases.
    pub(crate) from: BTreeSet<String>,
    /// The distribution that it says it is, such as `debian-13`; `null` when it says nothing.
    pub(crate) distribution: Option<String>,
    pub(crate) packages: Packages,
}

/// A layer, from the lowest up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    /// The digest of its files as an uncompressed archive.
    pub(crate) diff_id: String,
    /// Of that archive, in bytes.
    pub(crate) size: u64,
}

/// The packages of the operating system in an image: name -> version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "manager", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Packages {
    Dpkg { installed: BTreeMap<String, String> },
    Apk { installed: BTreeMap<String, String> },
    None { reason: String },
}

/// A service of the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// The image of this project that it runs, or the reference of one from elsewhere.
    pub(crate) image: String,
    /// Of an image from elsewhere: the digest of its configuration, which is the image whatever
    /// becomes of the reference; `null` for one of `images`.
    pub(crate) config: Option<String>,
    /// It holds data and outlives releases.
    pub(crate) attached: bool,
    /// What it says of its own version, when it was asked.
    pub(crate) store: Option<Store>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// Its own words.
    pub(crate) version: String,
    /// The first number in them: data of one major version is not another's.
    pub(crate) major: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Where it comes from, as the lock file says; `null` for one of the project's own.
    pub(crate) source: Option<String>,
    /// Hexadecimal SHA-256 of its archive; `null` for one that is no archive.
    pub(crate) checksum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asset {
    pub(crate) file: String,
    /// As browsers check it: `sha384-` and base64.
    pub(crate) integrity: String,
    /// In bytes.
    pub(crate) size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migration {
    /// The name of its file, from the service's folder of migrations.
    pub(crate) name: String,
    /// Hexadecimal SHA-256 of its file.
    pub(crate) sha256: String,
    /// Why the app without it can live with it, in its author's words; `null`: it can't, or nobody
    /// said so. The way back over several needs each of them.
    pub(crate) compatible: Option<String>,
}

/// A gate that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    pub(crate) name: String,
    /// The hash of the images and of what the gate is; `null` for one that is run each time.
    pub(crate) fingerprint: Option<String>,
}

/// A configuration key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) secret: bool,
    pub(crate) source: Source,
    /// The services that get it.
    pub(crate) services: BTreeSet<String>,
    /// One of them is attached: its value belongs to the data, and a rollback leaves it alone.
    pub(crate) attached: bool,
}

/// Where the value of a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// environment.toml.
    Public,
    Generated,
    Required,
    Optional,
    Default,
}

impl Packages {
    /// Name -> version; of an image without a package manager nothing.
    pub(crate) fn installed(&self) -> &BTreeMap<String, String> {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        match self {
            Packages::Dpkg { installed } | Packages::Apk { installed } => installed,
            Packages::None { .. } => &NOTHING,
        }
    }
}

impl Image {
    /// Of all layers, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

impl Record {
    /// Of migrations those that this release does not have as they are now.
    pub(crate) fn lacks<'m>(
        &self,
        migrations: &'m BTreeMap<String, Vec<Migration>>,
    ) -> Vec<&'m Migration> {
        let has = |service: &String, wanted: &Migration| {
            let found = self.migrations.get(service).into_iter().flatten();
            found.into_iter().any(|it| (&it.name, &it.sha256) == (&wanted.name, &wanted.sha256))
        };
        let all = migrations.iter();
        all.flat_map(|(service, list)| list.iter().filter(move |it| !has(service, it))).collect()
    }

    /// The text of the file: the same for the same record.
    pub(crate) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("can't write the release record")? + "\n")
    }

    /// Reads a record; every later schema is named as what it is, and never guessed at.
    pub(crate) fn parse(text: &str) -> Result<Record> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_str(text).context("this is no release record")?;
        if head.schema != SCHEMA {
            anyhow::ensure!(head.schema.starts_with(FAMILY), "this is no release record");
            anyhow::bail!(
                "its schema is {}, and this program reads {SCHEMA}; use the cargo xtask of that \
                 release or a later one",
                head.schema
            );
        }
        serde_json::from_str(text).context("the release record is damaged")
    }
}
