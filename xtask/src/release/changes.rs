//! What differs between two releases, as data, from their records alone.
//!
//! A change has an old and a new side, so the comparison the other way round is its mirror image.
//! Version, commit, branch, author and date tell releases apart and are no change; everything else
//! in a record is compared. A new package version that reached several images with their common
//! base is one change, with the images it is in. An image that is only in one of the releases is
//! one change too, and not two hundred packages.

use std::collections::{BTreeMap, BTreeSet};

use fingerprint::short;
use semver::Version;
use serde::Serialize;

use super::record::{
    Asset, Base, Dependency, Image, Key, Migration, Packages, Record, Service, Store,
};

mod events;
mod markdown;
mod sections;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use sections::size;
pub(crate) use table::printable;

/// Something that two releases have differently: one side may be missing, not both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change<T> {
    pub(crate) name: String,
    pub(crate) old: Option<T>,
    pub(crate) new: Option<T>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) old: Head,
    pub(crate) new: Head,
    /// `None` when this clone does not know them.
    pub(crate) commits: Option<Commits>,
    /// Epoch, platform and what else is one word of the whole stack.
    pub(crate) facts: Vec<Change<String>>,
    pub(crate) bases: Vec<Change<Base>>,
    pub(crate) images: Vec<Change<Built>>,
    /// The images that are the same, byte for byte.
    pub(crate) same_images: Vec<String>,
    /// Of the images that both have.
    pub(crate) packages: Vec<PackageChange>,
    pub(crate) services: Vec<Change<Service>>,
    pub(crate) stores: Vec<Change<Store>>,
    /// Lock file -> its packages.
    pub(crate) dependencies: BTreeMap<String, Vec<Change<String>>>,
    pub(crate) assets: Vec<Change<Asset>>,
    /// Service -> its migrations.
    pub(crate) migrations: BTreeMap<String, Vec<Change<Migration>>>,
    /// Environment -> its keys.
    pub(crate) configuration: BTreeMap<String, Vec<Change<Key>>>,
    /// Gate -> the fingerprint under which it passed; `None` for one that is run each time.
    pub(crate) gates: Vec<Change<Option<String>>>,
    pub(crate) same_gates: Vec<String>,
    pub(crate) tools: Vec<Change<String>>,
}

/// Which release this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) commit: String,
    pub(crate) created: String,
}

/// What the history of the app says, newest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Commits {
    /// Only in the new release.
    pub(crate) gained: Vec<Commit>,
    /// Only in the old one; empty where the new release continues it.
    pub(crate) lost: Vec<Commit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Commit {
    /// The first digits of its hash.
    pub(crate) commit: String,
    pub(crate) subject: String,
}

/// What counts of an image: its configuration names all the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Built {
    pub(crate) config: String,
    pub(crate) size_bytes: u64,
    /// How many it holds.
    pub(crate) packages: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageChange {
    pub(crate) change: Change<String>,
    /// The images that it is in.
    pub(crate) images: Vec<String>,
}

/// Compares two releases; `commits` are given by whoever can ask git.
pub(crate) fn compare(old: &Record, new: &Record, commits: Option<Commits>) -> Changes {
    let images = (built(old), built(new));
    let gates = (gates(old), gates(new));
    let stores = |record: &Record| -> BTreeMap<String, Store> {
        let services = record.services.iter();
        services.filter_map(|(name, it)| Some((name.clone(), it.store.clone()?))).collect()
    };
    let services = |record: &Record| -> BTreeMap<String, Service> {
        let bare = |it: &Service| Service { store: None, ..it.clone() };
        record.services.iter().map(|(name, it)| (name.clone(), bare(it))).collect()
    };
    Changes {
        old: head(old),
        new: head(new),
        commits,
        facts: facts(old, new),
        bases: between(&old.bases, &new.bases),
        images: between(&images.0, &images.1),
        same_images: same(&images.0, &images.1),
        packages: packages(&old.images, &new.images),
        services: between(&services(old), &services(new)),
        stores: between(&stores(old), &stores(new)),
        dependencies: in_each(&old.dependencies, &new.dependencies, |old, new| {
            dependencies(old, new)
        }),
        assets: between(&old.assets, &new.assets),
        migrations: in_each(&old.migrations, &new.migrations, |old, new| {
            between(&by_name(old), &by_name(new))
        }),
        configuration: in_each(&old.configuration, &new.configuration, between),
        gates: between(&gates.0, &gates.1),
        same_gates: same(&gates.0, &gates.1),
        tools: between(&old.tools, &new.tools),
    }
}

impl Changes {
    /// True when the two are the same stack and the same app.
    pub(crate) fn is_empty(&self) -> bool {
        self.sections().is_empty() && !self.hides_commits() && self.commits().is_none()
    }

    /// The commits, where there are any.
    fn commits(&self) -> Option<&Commits> {
        self.commits.as_ref().filter(|it| !it.gained.is_empty() || !it.lost.is_empty())
    }

    /// True when there must be commits that are not known.
    fn hides_commits(&self) -> bool {
        self.commits.is_none() && self.old.commit != self.new.commit
    }
}

impl<T> Change<T> {
    /// `added`, `removed` or `changed`.
    pub(crate) fn status(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, _) => "added",
            (Some(_), None) => "removed",
            (Some(_), Some(_)) => "changed",
        }
    }
}

fn head(record: &Record) -> Head {
    let Record { version, commit, created, .. } = record;
    Head { version: version.clone(), commit: commit.clone(), created: created.clone() }
}

/// What two maps have differently, in the order of the names.
fn between<T: Clone + PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> Vec<Change<T>> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| Change {
        name: name.clone(),
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    };
    names.into_iter().map(change).filter(|change| change.old != change.new).collect()
}

/// What two maps have alike.
fn same<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Vec<String> {
    let same = old.iter().filter(|(name, value)| new.get(*name) == Some(*value));
    same.map(|(name, _)| name.clone()).collect()
}

/// The changes of each list, without the lists that have none.
fn in_each<L: Default, T>(
    old: &BTreeMap<String, L>,
    new: &BTreeMap<String, L>,
    changes: impl Fn(&L, &L) -> Vec<Change<T>>,
) -> BTreeMap<String, Vec<Change<T>>> {
    let nothing = L::default();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |name: &String| {
        let (old, new) = (old.get(name), new.get(name));
        (name.clone(), changes(old.unwrap_or(&nothing), new.unwrap_or(&nothing)))
    };
    names.into_iter().map(of).filter(|(_, changes)| !changes.is_empty()).collect()
}

fn built(record: &Record) -> BTreeMap<String, Built> {
    let built = |image: &Image| Built {
        config: image.config.clone(),
        size_bytes: image.size(),
        packages: image.packages.installed().len(),
    };
    record.images.iter().map(|(name, image)| (name.clone(), built(image))).collect()
}

fn gates(record: &Record) -> BTreeMap<String, Option<String>> {
    record.gates.iter().map(|gate| (gate.name.clone(), gate.fingerprint.clone())).collect()
}

fn by_name(migrations: &[Migration]) -> BTreeMap<String, Migration> {
    migrations.iter().map(|it| (it.name.clone(), it.clone())).collect()
}

/// What is one word of the stack, or of an image or service that both have.
fn facts(old: &Record, new: &Record) -> Vec<Change<String>> {
    let mut facts = (BTreeMap::new(), BTreeMap::new());
    let mut add = |name: String, old: String, new: String| {
        facts.0.insert(name.clone(), old);
        facts.1.insert(name, new);
    };
    for (name, of) in [
        ("epoch", (|it| &it.epoch) as fn(&Record) -> &String),
        ("environment", |it| &it.environment),
        ("name", |it| &it.name),
        ("platform", |it| &it.platform),
    ] {
        add(name.to_owned(), of(old).clone(), of(new).clone());
    }
    for (image, before) in &old.images {
        if let Some(after) = new.images.get(image) {
            let name = format!("package manager of {image}");
            add(name, manager(&before.packages), manager(&after.packages));
        }
    }
    for (service, before) in &old.migrations {
        if let Some(after) = new.migrations.get(service) {
            let order = |list: &[Migration], other: &[Migration]| {
                let both = list.iter().filter(|it| other.iter().any(|that| that.name == it.name));
                both.map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            let name = format!("order of migrations of {service}");
            add(name, order(before, after), order(after, before));
        }
    }
    between(&facts.0, &facts.1)
}

fn manager(packages: &Packages) -> String {
    match packages {
        Packages::Dpkg { .. } => "dpkg".into(),
        Packages::Apk { .. } => "apk".into(),
        Packages::None { reason } => format!("none ({reason})"),
    }
}

fn packages(old: &BTreeMap<String, Image>, new: &BTreeMap<String, Image>) -> Vec<PackageChange> {
    let mut images_of = BTreeMap::<_, Vec<String>>::new();
    for (image, before) in old {
        let Some(after) = new.get(image) else { continue };
        for change in between(before.packages.installed(), after.packages.installed()) {
            let Change { name, old, new } = change;
            images_of.entry((name, old, new)).or_default().push(image.clone());
        }
    }
    let changes = images_of.into_iter();
    let change =
        |((name, old, new), images)| PackageChange { change: Change { name, old, new }, images };
    changes.map(change).collect()
}

/// A lock file can hold several versions of a package: what both have is left out.
fn dependencies(old: &[Dependency], new: &[Dependency]) -> Vec<Change<String>> {
    let (before, after) = (old.iter().collect::<BTreeSet<_>>(), new.iter().collect());
    let by_name = |one: &BTreeSet<&Dependency>, other: &BTreeSet<&Dependency>| {
        let mut versions = BTreeMap::<String, String>::new();
        for it in one.difference(other) {
            // The same version with another content.
            let is_there =
                other.iter().any(|that| (&that.name, &that.version) == (&it.name, &it.version));
            let checksum = it.checksum.as_deref().map(short);
            let origin = checksum.or(it.source.as_deref()).unwrap_or("no checksum");
            let content = if is_there { format!(" ({origin})") } else { String::new() };
            let version = format!("{}{content}", it.version);
            let list = versions.entry(it.name.clone()).or_default();
            *list = if list.is_empty() { version } else { format!("{list}, {version}") };
        }
        versions
    };
    between(&by_name(&before, &after), &by_name(&after, &before))
}
