//! Several images under one name: Docker's manifest lists and OCI's indexes, and the image in them
//! that is for one platform.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::{DOCKER_IMAGE, DOCKER_INDEX, Descriptor, OCI_IMAGE, OCI_INDEX, is_digest};

/// One of the manifests that an index names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) descriptor: Descriptor,
    platform: Option<Platform>,
    /// Only what is not an image has it, such as a signature.
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What an image runs on, in the words of the OCI image index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Reads `OS/ARCHITECTURE[/VARIANT]`.
    fn parse(text: &str) -> Platform {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next();
        let (os, architecture) = (next().unwrap_or_default(), next().unwrap_or_default());
        Platform { os, architecture, variant: next() }
    }

    /// The three parts, in the one spelling that two spellings of a platform have in common: as
    /// containerd does (<https://github.com/containerd/platforms>), `arm64/v8` is `arm64`,
    /// `amd64/v1` is `amd64` and `arm` is `arm/v7`.
    fn normal(&self) -> (String, String, String) {
        let lower = |text: &str| text.to_ascii_lowercase();
        let variant = lower(self.variant.as_deref().unwrap_or_default());
        let architecture = lower(&self.architecture);
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        (lower(&self.os), architecture.to_owned(), variant.to_owned())
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Entry {
    /// Whether it names an image, and not a signature, a list of parts or how an image was made.
    /// BuildKit marks the last with an annotation and a platform that does not exist
    /// (<https://docs.docker.com/build/metadata/attestations/attestation-storage/>).
    pub(crate) fn is_image(&self) -> bool {
        let of_docker = |name: &String| name == "vnd.docker.reference.type";
        let unknown = |it: &Platform| it.os == "unknown" && it.architecture == "unknown";
        [DOCKER_IMAGE, OCI_IMAGE].contains(&self.descriptor.media_type.as_str())
            && self.artifact_type.is_none()
            && !self.annotations.iter().flatten().any(|(name, _)| of_docker(name))
            && !self.platform.as_ref().is_some_and(unknown)
    }

    pub(crate) fn is_index(&self) -> bool {
        [DOCKER_INDEX, OCI_INDEX].contains(&self.descriptor.media_type.as_str())
    }
}

/// Whether two names mean one platform, such as `linux/arm64` and `linux/arm64/v8`.
pub(crate) fn is_same_platform(one: &str, other: &str) -> bool {
    Platform::parse(one).normal() == Platform::parse(other).normal()
}

/// Whether an image for a platform can be what an engine calls `OS/ARCHITECTURE`: the engine does
/// not tell the variant.
pub(crate) fn may_be_platform(told: &str, platform: &str) -> bool {
    let of = |text: &str| {
        let (os, architecture, _) = Platform::parse(text).normal();
        (os, architecture)
    };
    of(told) == of(platform)
}

/// The entries that lead to the image for a platform such as `linux/amd64`: the image itself, else
/// the indexes in it that may have it, else none.
///
/// If several images are for that platform, the first counts, as the OCI image specification says
/// (<https://github.com/opencontainers/image-spec/blob/v1.1.0/image-index.md>). If there is exactly
/// one image and it names no platform, it counts for each.
///
/// # Errors
///
/// A digest is not `sha256:…`.
pub(crate) fn choose<'e>(entries: &'e [Entry], platform: &str) -> Result<Vec<&'e Entry>> {
    for Entry { descriptor, .. } in entries {
        let digest = &descriptor.digest;
        ensure!(is_digest(digest), "its index names {digest:?}, which is not a sha256 digest");
    }
    let wanted = Platform::parse(platform).normal();
    let fits = |entry: &&Entry| entry.platform.as_ref().is_some_and(|it| it.normal() == wanted);
    let images: Vec<&Entry> = entries.iter().filter(|entry| entry.is_image()).collect();
    if let Some(image) = images.iter().copied().find(fits) {
        return Ok(vec![image]);
    }
    let indexes = entries.iter().filter(|entry| entry.is_index());
    let indexes: Vec<&Entry> = indexes.filter(|it| it.platform.is_none() || fits(it)).collect();
    Ok(match images.as_slice() {
        [only] if only.platform.is_none() && indexes.is_empty() => vec![*only],
        _ => indexes,
    })
}

/// What the images of an index are for, to be shown.
pub(crate) fn platforms(entries: &[Entry]) -> impl Iterator<Item = String> {
    entries.iter().filter(|entry| entry.is_image()).map(|entry| match &entry.platform {
        Some(platform) => platform.to_string().chars().filter(|c| !c.is_control()).collect(),
        None => "a platform that it does not name".to_owned(),
    })
}
