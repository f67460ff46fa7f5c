//! A registry's answers: demands for a login, tokens, manifests, errors. The protocol is that of
//! the OCI distribution specification and of Docker's token specification.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::secret::Secret;

const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) mod index;
#[cfg(test)]
mod tests;
pub(crate) mod unpack;

use index::Entry;

/// All kinds of manifest that we know; who asks for images only may get a made-up one.
pub(crate) const MANIFESTS: [&str; 4] = [DOCKER_IMAGE, OCI_IMAGE, DOCKER_INDEX, OCI_INDEX];

/// A piece of an image: its name is the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

/// What a registry has under a tag or a digest.
#[derive(Debug)]
pub(crate) enum Document {
    Image(Manifest),
    Index(Index),
}

/// Several images, such as one for each platform.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) media_type: String,
    /// Of its own text, in bytes.
    pub(crate) size: u64,
    pub(crate) entries: Vec<Entry>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) bytes: Vec<u8>,
}

/// `sha256:…` of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.strip_prefix("sha256:").is_some_and(|hash| hash.len() == 64 && hash.chars().all(hex))
}

/// Refuses what is no path of an image below a repository.
pub(crate) fn check_image(image: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let component = |part: &str| part.chars().all(inner) && part.starts_with(ends);
    ensure!(image.split('/').all(component), "{image:?} is no name of an image");
    Ok(())
}

/// Refuses what is neither a tag nor a digest.
pub(crate) fn check_reference(reference: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_tag = reference.starts_with(word)
        && reference.len() <= 128
        && reference.chars().all(|c| word(c) || ".-".contains(c));
    ensure!(is_tag || is_digest(reference), "{reference:?} is neither a tag nor a digest");
    Ok(())
}

/// Reads a manifest or an index; `content_type` is what the registry called it.
///
/// # Errors
///
/// It is neither, or two readers could take it for different things
/// (<https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh>).
pub(crate) fn parse_manifest(content_type: Option<&str>, bytes: Vec<u8>) -> Result<Document> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        media_type: Option<String>,
        config: Option<Descriptor>,
        layers: Option<Vec<Descriptor>>,
        manifests: Option<Vec<Entry>>,
    }
    let raw: Raw = serde_json::from_slice(&bytes).context("it is no manifest of an image")?;
    let called = content_type.and_then(|kind| kind.split(';').next()).map(str::trim);
    let called = called.filter(|kind| MANIFESTS.contains(kind));
    // What two readers could take for two things is neither.
    if let (Some(called), Some(own)) = (called, &raw.media_type) {
        ensure!(called == own, "the registry calls it {called}, it calls itself {own:?}");
    }
    let Some(media_type) = raw.media_type.as_deref().or(called) else {
        bail!("it does not say which kind of manifest it is");
    };
    let image = raw.config.is_some() || raw.layers.is_some();
    ensure!(!image || raw.manifests.is_none(), "it is an image and an index at once");
    if [DOCKER_INDEX, OCI_INDEX].contains(&media_type) {
        let entries = raw.manifests.context("it is an index and names no images")?;
        let (media_type, size) = (media_type.to_owned(), bytes.len() as u64);
        return Ok(Document::Index(Index { media_type, size, entries }));
    }
    ensure!(
        [DOCKER_IMAGE, OCI_IMAGE].contains(&media_type),
        "it is a {media_type:?}, not an image"
    );
    let config = raw.config.context("it names no config")?;
    let layers = raw.layers.context("it names no layers")?;
    for descriptor in std::iter::once(&config).chain(&layers) {
        ensure!(is_digest(&descriptor.digest), "{:?} is no sha256 digest", descriptor.digest);
    }
    let (digest, media_type) = (digest(&bytes), media_type.to_owned());
    Ok(Document::Image(Manifest { digest, media_type, config, layers, bytes }))
}

/// What a registry wants before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token, which another server gives for a login.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The same for every image.
    pub(crate) fn of_all(self) -> Challenge {
        match self {
            Challenge::Bearer { realm, service, .. } => {
                Challenge::Bearer { realm, service, scope: None }
            }
            Challenge::Basic => Challenge::Basic,
        }
    }
}

/// The demand that we can meet, from all `WWW-Authenticate` headers; tokens first.
pub(crate) fn parse_challenge<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, mut parameters) in headers.flat_map(challenges) {
        match scheme.as_str() {
            "basic" => basic = Some(Challenge::Basic),
            "bearer" => {
                if let Some(realm) = parameters.remove("realm") {
                    let service = parameters.remove("service");
                    return Some(Challenge::Bearer {
                        realm,
                        service,
                        scope: parameters.remove("scope"),
                    });
                }
            }
            _ => {}
        }
    }
    basic
}

/// `SCHEME name=value, name="value", SCHEME …`
fn challenges(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '=']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        let word = rest[..end].to_ascii_lowercase();
        rest = &rest[end..];
        let (Some(value), Some((_, parameters))) = (rest.strip_prefix('='), found.last_mut())
        else {
            found.push((word, BTreeMap::new()));
            continue;
        };
        let (value, behind) = parameter(value);
        parameters.insert(word, value);
        rest = behind;
    }
}

/// The value at the beginning of a text, quoted or not, and what comes behind it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// The token in a token server's answer.
pub(crate) fn parse_token(bytes: &[u8]) -> Result<Secret> {
    #[derive(Deserialize)]
    struct Given {
        token: Option<Secret>,
        access_token: Option<Secret>,
    }
    // The error of serde would quote what it read.
    let given: Given = serde_json::from_slice(bytes).map_err(|_| anyhow!("it gave no token"))?;
    let tokens = [given.token, given.access_token].into_iter().flatten();
    tokens.into_iter().find(|token| !token.reveal().is_empty()).context("it gave no token")
}

/// What a registry or a token server says of its refusal, in one line that is safe to print: the
/// first of the `errors` of the OCI distribution specification, the `error` of OAuth 2 (RFC 6749,
/// section 5.2), or the `details` of Docker Hub's token server.
pub(crate) fn parse_errors(body: &[u8]) -> Option<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        errors: Vec<Error>,
        error: String,
        error_description: String,
        details: String,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let words = match body.errors.into_iter().next() {
        Some(error) => format!("{} {}", error.code, error.message),
        None => format!("{} {} {}", body.error, body.error_description, body.details),
    };
    let words: String = words.chars().filter(|c| !c.is_control()).take(200).collect();
    Some(words.trim().to_owned()).filter(|words| !words.is_empty())
}

/// What `docker info --format '{{json .RegistryConfig}}'` says of registries without TLS.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Insecure {
    #[serde(rename = "InsecureRegistryCIDRs")]
    networks: Option<Vec<String>>,
    index_configs: Option<BTreeMap<String, Host>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Host {
    secure: bool,
}

impl Insecure {
    /// Whether the engine would use a host without TLS that has these addresses.
    pub(crate) fn holds(&self, host: &str, addresses: &[std::net::IpAddr]) -> bool {
        let named = self.index_configs.iter().flatten().find(|(name, _)| *name == host);
        if let Some((_, host)) = named {
            return !host.secure;
        }
        let networks = self.networks.iter().flatten();
        networks.into_iter().any(|network| addresses.iter().any(|it| is_in(network, *it)))
    }
}

/// Whether an address is in a network such as `10.0.0.0/8`.
fn is_in(network: &str, address: std::net::IpAddr) -> bool {
    use std::net::IpAddr::{V4, V6};
    let parts = network.split_once('/').and_then(|(base, length)| {
        Some((base.parse::<std::net::IpAddr>().ok()?, length.parse::<u32>().ok()?))
    });
    let (base, address, bits, length) = match (parts, address) {
        (Some((V4(base), length)), V4(address)) => {
            (u128::from(base.to_bits()), u128::from(address.to_bits()), 32, length)
        }
        (Some((V6(base), length)), V6(address)) => (base.to_bits(), address.to_bits(), 128, length),
        _ => return false,
    };
    length <= bits && (base ^ address).checked_shr(bits - length).unwrap_or(0) == 0
}
