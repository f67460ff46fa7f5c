//! `releases/VERSION.cdx.json`: what a release consists of, as CycloneDX 1.6, for the scanners that
//! know of vulnerabilities.
//!
//! Made from the record alone, so the same record gives the same bytes; also the serial number, for
//! which the format wants something random, comes from the record. A package is one component
//! however many images hold it: `dependencies` says which do. Nothing is guessed: the architecture
//! is named where dpkg names it, the distribution where the image does. An image whose packages are
//! not known says so.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use fingerprint::sha256;
use serde::Serialize;

use super::record::{Image, Packages, Record};

#[cfg(test)]
mod tests;

/// How a lock file names the registry that package URLs of kind `cargo` mean.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The text of the file.
pub(crate) fn text(record: &Record) -> Result<String> {
    // Not its package URL: a package of the app can have the name and version of the product.
    let product = format!("release:{}", record.version);
    let mut parts = Parts::default();
    for (name, image) in &record.images {
        let reference = parts.image(record, name, image);
        parts.holds(&product, &reference);
    }
    for service in record.services.values() {
        if !record.images.contains_key(&service.image) {
            let reference = parts.elsewhere(&service.image);
            parts.holds(&product, &reference);
        }
    }
    for name in record.bases.keys() {
        let reference = parts.base(record, name);
        parts.holds(&product, &reference);
    }
    for lock in record.dependencies.keys() {
        let reference = parts.lock_file(record, lock);
        parts.holds(&product, &reference);
    }
    let version = record.version.to_string();
    let component = Component {
        kind: "application",
        reference: product,
        name: record.name.clone(),
        purl: Some(purl("generic", &record.name, &version)),
        version: Some(version),
        ..Component::default()
    };
    let document = Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", uuid(&sha256(record.text()?.as_bytes()))),
        version: 1,
        metadata: Metadata { timestamp: &record.created, component },
        components: parts.components.into_values().collect(),
        dependencies: parts.holds.into_iter().map(Dependency::from).collect(),
        compositions: Composition::unknown(parts.unknown),
    };
    let text = serde_json::to_string_pretty(&document);
    Ok(text.context("can't write the software bill of materials")? + "\n")
}

/// The components so far, each under its reference, and which holds which.
#[derive(Default)]
struct Parts {
    components: BTreeMap<String, Component>,
    holds: BTreeMap<String, BTreeSet<String>>,
    /// Components of which it is not known what they hold.
    unknown: BTreeSet<String>,
}

impl Parts {
    fn holds(&mut self, whole: &str, part: &str) {
        self.holds.entry(whole.to_owned()).or_default().insert(part.to_owned());
    }

    /// Adds a component, or finds it: its reference.
    fn add(&mut self, component: Component) -> String {
        let reference = component.reference.clone();
        let hashes = component.hashes.clone();
        let known = self.components.entry(reference.clone()).or_insert(component);
        known.hashes.extend(hashes);
        reference
    }

    fn image(&mut self, record: &Record, name: &str, image: &Image) -> String {
        let mut properties = vec![
            property("fingerprint", &image.fingerprint),
            property("platform", &record.platform),
            property("size_bytes", &image.size().to_string()),
        ];
        properties.extend(image.layers.iter().map(|layer| property("layer", &layer.diff_id)));
        if let Packages::None { reason } = &image.packages {
            properties.push(property("packages", &format!("not known: {reason}")));
        }
        let reference = self.add(Component {
            kind: "container",
            reference: format!("image:{name}"),
            name: format!("{}/{name}", record.name),
            hashes: hash(&image.config).into_iter().collect(),
            properties,
            ..Component::default()
        });
        let (kind, vendor) = match &image.packages {
            Packages::Dpkg { .. } => ("deb", "debian"),
            Packages::Apk { .. } => ("apk", "alpine"),
            Packages::None { .. } => {
                self.unknown.insert(reference.clone());
                return reference;
            }
        };
        let distribution = image.distribution.as_deref();
        let vendor = distribution.and_then(|it| it.split('-').next()).unwrap_or(vendor);
        let kind = format!("{kind}/{vendor}");
        for (package, version) in image.packages.installed() {
            let (name, purl) = system_package(&kind, distribution, package, version);
            let package = self.add(library(name, version, purl));
            self.holds(&reference, &package);
        }
        reference
    }

    /// The image of a service that nobody built here.
    fn elsewhere(&mut self, image: &str) -> String {
        let reference = self.add(Component {
            kind: "container",
            reference: format!("image:{image}"),
            name: image.to_owned(),
            ..Component::default()
        });
        self.unknown.insert(reference.clone());
        reference
    }

    fn base(&mut self, record: &Record, name: &str) -> String {
        let base = &record.bases[name];
        let mut properties = vec![property("content", &base.content)];
        properties.extend(base.digest.iter().map(|digest| property("manifest", digest)));
        self.add(Component {
            kind: "container",
            reference: format!("base:{name}"),
            name: name.to_owned(),
            properties,
            ..Component::default()
        })
    }

    /// A lock file and what it names. What does not come from the registry of its kind is not named
    /// as the package that this registry may have under the same name.
    fn lock_file(&mut self, record: &Record, lock: &str) -> String {
        let is_cargo = lock.rsplit('/').next() == Some("Cargo.lock");
        let reference = self.add(Component {
            kind: "file",
            reference: format!("lock:{lock}"),
            name: lock.to_owned(),
            ..Component::default()
        });
        for it in &record.dependencies[lock] {
            let of_crates = it.source.as_deref() == Some(CRATES);
            let kind = if is_cargo && of_crates { "cargo" } else { "generic" };
            let purl = purl(kind, &it.name, &it.version);
            let mut package = library(it.name.clone(), &it.version, purl);
            package.hashes.extend(it.checksum.as_deref().and_then(hash));
            let package = self.add(package);
            self.holds(&reference, &package);
        }
        reference
    }
}

fn library(name: String, version: &str, purl: String) -> Component {
    Component {
        kind: "library",
        reference: purl.clone(),
        name,
        version: Some(version.to_owned()),
        purl: Some(purl),
        ..Component::default()
    }
}

/// Name and package URL; dpkg adds `:ARCHITECTURE` to a name that can be there twice.
fn system_package(
    kind: &str,
    distribution: Option<&str>,
    package: &str,
    version: &str,
) -> (String, String) {
    let (name, architecture) = match package.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (package, None),
    };
    let qualifiers = [("arch", architecture), ("distro", distribution)];
    let qualifiers: Vec<String> = qualifiers
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", encode(value?))))
        .collect();
    let mut purl = purl(kind, name, version);
    if !qualifiers.is_empty() {
        purl = format!("{purl}?{}", qualifiers.join("&"));
    }
    (name.to_owned(), purl)
}

fn purl(kind: &str, name: &str, version: &str) -> String {
    format!("pkg:{kind}/{}@{}", encode(name), encode(version))
}

/// Percent-encodes all but what a package URL leaves as it is; the colon is never encoded.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                encoded.push(byte.into());
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A UUID of version 8 (RFC 9562): its content is ours to choose.
fn uuid(digits: &str) -> String {
    let (a, b, c, d, e) =
        (&digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..32]);
    format!("{a}-{b}-8{c}-8{d}-{e}")
}

fn hash(digest: &str) -> Option<Hash> {
    let content = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_sha256 = content.len() == 64 && content.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sha256.then(|| Hash { algorithm: "SHA-256", content: content.to_owned() })
}

fn property(name: &'static str, value: &str) -> Property {
    Property { name: format!("stevedore:{name}"), value: value.to_owned() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'r> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'r>,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compositions: Vec<Composition>,
}

#[derive(Serialize)]
struct Metadata<'r> {
    timestamp: &'r str,
    component: Component,
}

#[derive(Default, Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    hashes: BTreeSet<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Hash {
    #[serde(rename = "alg")]
    algorithm: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: BTreeSet<String>,
}

impl From<(String, BTreeSet<String>)> for Dependency {
    fn from((reference, depends_on): (String, BTreeSet<String>)) -> Dependency {
        Dependency { reference, depends_on }
    }
}

#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: BTreeSet<String>,
}

impl Composition {
    fn unknown(assemblies: BTreeSet<String>) -> Vec<Composition> {
        let is_needed = !assemblies.is_empty();
        is_needed.then_some(Composition { aggregate: "unknown", assemblies }).into_iter().collect()
    }
}
