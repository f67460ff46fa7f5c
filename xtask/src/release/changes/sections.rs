//! Changes in words: one section for each kind, one row for each change. The table and the release
//! notes are made from the same rows.

use fingerprint::short;

use super::{Built, Change, Changes};
use crate::release::record::{Asset, Base, Key, Migration, Service, Source, Store};

/// A kind of change of which there is at least one.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    /// What is of this kind and did not change, where that is worth a line.
    pub(super) same: Vec<String>,
}

pub(super) struct Row {
    pub(super) status: &'static str,
    pub(super) name: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
    pub(super) detail: String,
}

impl Changes {
    pub(super) fn sections(&self) -> Vec<Section> {
        let mut all = vec![
            section("stack", self.facts.iter().map(|it| row(it, String::clone, nothing))),
            section("external bases", self.bases.iter().map(|it| row(it, content, base))),
            Section {
                same: self.same_images.clone(),
                ..section("images", self.images.iter().map(|it| row(it, config, image)))
            },
            section(
                "packages",
                self.packages.iter().map(|it| {
                    row(&it.change, String::clone, |_| format!("in {}", it.images.join(", ")))
                }),
            ),
            section("services", self.services.iter().map(|it| row(it, runs, service))),
            section("stores", self.stores.iter().map(|it| row(it, |it| it.version.clone(), store))),
        ];
        for (lock, changes) in &self.dependencies {
            let rows = changes.iter().map(|it| row(it, String::clone, nothing));
            all.push(section(&format!("dependencies in {lock}"), rows));
        }
        all.push(section("assets", self.assets.iter().map(|it| row(it, file, asset))));
        for (service, changes) in &self.migrations {
            let rows = changes.iter().map(|it| row(it, |_| String::new(), migration));
            all.push(section(&format!("migrations of {service}"), rows));
        }
        for (environment, changes) in &self.configuration {
            let rows = changes.iter().map(|it| row(it, |_| String::new(), key));
            all.push(section(&format!("configuration of {environment}"), rows));
        }
        all.push(Section {
            same: self.same_gates.clone(),
            ..section("gates", self.gates.iter().map(|it| row(it, passed, gate)))
        });
        all.push(section("tools", self.tools.iter().map(|it| row(it, String::clone, nothing))));
        all.retain(|section| !section.rows.is_empty());
        all
    }
}

fn section(title: &str, rows: impl Iterator<Item = Row>) -> Section {
    Section { title: title.to_owned(), rows: rows.collect(), same: Vec::new() }
}

/// A value that is the same on both sides, or empty, is left to the detail.
fn row<T>(
    change: &Change<T>,
    value: impl Fn(&T) -> String,
    detail: impl Fn(&Change<T>) -> String,
) -> Row {
    let value = |side: &Option<T>| side.as_ref().map(&value).filter(|text| !text.is_empty());
    let (mut old, mut new) = (value(&change.old), value(&change.new));
    if old == new {
        (old, new) = (None, None);
    }
    let (status, name) = (change.status(), change.name.clone());
    Row { status, name, old, new, detail: detail(change) }
}

fn nothing<T>(_: &Change<T>) -> String {
    String::new()
}

fn digest(text: &str) -> String {
    short(text.strip_prefix("sha256:").unwrap_or(text)).to_owned()
}

fn content(base: &Base) -> String {
    digest(&base.content)
}

fn base(change: &Change<Base>) -> String {
    let from = |it: &Base| it.digest.as_deref().map_or("made here".to_owned(), digest);
    match (&change.old, &change.new) {
        (Some(old), Some(new)) if old.digest != new.digest => {
            format!("manifest {} → {}", from(old), from(new))
        }
        _ => String::new(),
    }
}

fn config(image: &Built) -> String {
    digest(&image.config)
}

fn image(change: &Change<Built>) -> String {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => growth(old.size_bytes, new.size_bytes),
        (Some(one), None) | (None, Some(one)) => match one.packages {
            1 => format!("{}, 1 package", size(one.size_bytes)),
            packages => format!("{}, {packages} packages", size(one.size_bytes)),
        },
        (None, None) => String::new(),
    }
}

fn runs(service: &Service) -> String {
    service.image.clone()
}

fn service(change: &Change<Service>) -> String {
    let attached = |side: &Option<Service>| side.as_ref().map(|it| it.attached);
    let text = match (attached(&change.old), attached(&change.new)) {
        (Some(true), None) | (None, Some(true)) => "attached",
        (Some(false), Some(true)) => "now attached",
        (Some(true), Some(false)) => "no longer attached",
        _ => "",
    };
    text.to_owned()
}

fn store(change: &Change<Store>) -> String {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) if old.major != new.major => {
            format!("another major version: {} → {}", old.major, new.major)
        }
        _ => String::new(),
    }
}

fn file(asset: &Asset) -> String {
    asset.file.clone()
}

fn asset(change: &Change<Asset>) -> String {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => growth(old.size, new.size),
        (Some(one), None) | (None, Some(one)) => size(one.size),
        (None, None) => String::new(),
    }
}

fn migration(change: &Change<Migration>) -> String {
    let mark = |it: &Migration| match &it.compatible {
        Some(reason) => format!("compatible: {reason}"),
        None => "not marked compatible".to_owned(),
    };
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            let mut words = Vec::new();
            if old.sha256 != new.sha256 {
                words.push("its content changed".to_owned());
            }
            if old.compatible != new.compatible {
                words.push(format!("{} → {}", mark(old), mark(new)));
            }
            words.join("; ")
        }
        (Some(one), None) | (None, Some(one)) => mark(one),
        (None, None) => String::new(),
    }
}

fn key(change: &Change<Key>) -> String {
    let services = |key: &Key, other: Option<&Key>| -> Option<String> {
        let is_new = |name: &&String| other.is_none_or(|other| !other.services.contains(*name));
        let names: Vec<&str> = key.services.iter().filter(is_new).map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let mut words = Vec::new();
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            if old.secret != new.secret {
                words.push(if new.secret { "became secret" } else { "no longer secret" }.into());
            }
            if old.source != new.source {
                words.push(format!("{} → {}", source(old.source), source(new.source)));
            }
            words.extend(services(new, Some(old)).map(|names| format!("now for {names}")));
            words.extend(services(old, Some(new)).map(|names| format!("no longer for {names}")));
            if old.attached != new.attached {
                words.push(if new.attached { "now attached" } else { "no longer attached" }.into());
            }
        }
        (Some(one), None) | (None, Some(one)) => {
            words.push(source(one.source).to_owned());
            words.extend(one.secret.then(|| "secret".to_owned()));
            words.extend(services(one, None).map(|names| format!("for {names}")));
            words.extend(one.attached.then(|| "attached".to_owned()));
        }
        (None, None) => {}
    }
    words.join(", ")
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Public => "public",
        Source::Generated => "generated",
        Source::Required => "required",
        Source::Optional => "optional",
        Source::Default => "default",
    }
}

fn passed(fingerprint: &Option<String>) -> String {
    fingerprint.as_deref().map_or("each time".to_owned(), digest)
}

fn gate(change: &Change<Option<String>>) -> String {
    if change.status() == "changed" { "run again".into() } else { String::new() }
}

/// Such as `84.1 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let (divisor, unit) = unit(bytes);
    format!("{:.1} {unit}", bytes as f64 / divisor)
}

/// Such as `84.1 MB → 85.3 MB, +1.2 MB`.
fn growth(old: u64, new: u64) -> String {
    if old == new {
        return format!("{}, the same size", size(new));
    }
    let sign = if new > old { '+' } else { '-' };
    let (divisor, unit) = unit(old.max(new));
    let amount = old.abs_diff(new) as f64 / divisor;
    format!("{} → {}, {sign}{amount:.1} {unit}", size(old), size(new))
}

/// Images are counted in MB; a style sheet would be 0.0 of them.
fn unit(bytes: u64) -> (f64, &'static str) {
    if bytes < 999_950 { (1e3, "kB") } else { (1e6, "MB") }
}
