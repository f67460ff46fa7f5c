//! Which packages give a machine the Docker engine with its plugins buildx and compose 2.
//!
//! The names differ between distributions, and so do the contents: Ubuntu's `docker-compose` is
//! version 1, its `docker-compose-v2` is version 2. What the machine's own sources offer decides.
//! An installed Docker CE is completed and never replaced.

use std::collections::BTreeMap;

use super::os_packages::os_release_value;

#[cfg(test)]
mod tests;

/// The packages of Debian 13 and later. Ubuntu's `docker.io` contains the client.
pub(crate) const DEBIAN: [&str; 4] = ["docker.io", "docker-cli", "docker-buildx", "docker-compose"];
/// Ubuntu's name for compose 2.
const COMPOSE_V2: &str = "docker-compose-v2";
/// The packages of Docker's own repository.
const CE: [&str; 4] =
    ["docker-ce", "docker-ce-cli", "docker-buildx-plugin", "docker-compose-plugin"];

/// Where Docker documents how its own repository is added.
pub(crate) const DOCUMENTATION: &str = "https://docs.docker.com/engine/install";

/// Where the engine comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EngineSource {
    /// The machine's sources offer these packages, or they are installed.
    Offered(Vec<&'static str>),
    /// Debian 12 lacks buildx and compose 2; Debian 13, on the same mirror, offers both.
    Debian13 { mirror: String },
}

/// All packages that decide.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DEBIAN.into_iter().chain([COMPOSE_V2]).chain(CE)
}

/// Decides from `apt-cache policy NAMES…` and from `apt-cache policy`, which lists the sources.
///
/// Fails with what the sources lack and what the user can do about it.
pub(crate) fn choose(policy: &str, sources: &str) -> Result<EngineSource, String> {
    let known = parse_policy(policy);
    let is_installed = |name| known.get(name).is_some_and(|package| package.installed.is_some());
    let candidate = |name| known.get(name).and_then(|package| package.candidate);
    let is_offered = |name| candidate(name).is_some();
    let has_ce = is_installed("docker-ce") || is_installed("docker-ce-cli");
    if has_ce || is_offered("docker-ce") && !is_installed("docker.io") {
        let missing: Vec<_> = CE.into_iter().filter(|name| !is_installed(name)).collect();
        return match missing.iter().find(|name| !is_offered(name)) {
            None => Ok(EngineSource::Offered(missing)),
            Some(name) => Err(format!(
                "this machine uses Docker CE, but its apt sources do not offer {name}; add \
                 Docker's repository ({DOCUMENTATION})"
            )),
        };
    }
    let compose = match candidate("docker-compose") {
        _ if is_offered(COMPOSE_V2) => Some(COMPOSE_V2),
        Some(version) if major(version) >= Some(2) => Some("docker-compose"),
        _ => None,
    };
    if let (true, true, Some(compose)) =
        (is_offered("docker.io"), is_offered("docker-buildx"), compose)
    {
        let client = is_offered("docker-cli").then_some("docker-cli");
        let packages = [Some("docker.io"), client, Some("docker-buildx"), Some(compose)];
        return Ok(EngineSource::Offered(packages.into_iter().flatten().collect()));
    }
    let is_ubuntu = archives(sources).any(|archive| archive.has("o=Ubuntu"));
    if let (false, Some(mirror)) = (is_ubuntu, debian_12(sources)) {
        return Ok(EngineSource::Debian13 { mirror: mirror.to_owned() });
    }
    let remedy = match is_ubuntu {
        true => "enable Ubuntu's universe with `sudo add-apt-repository universe`".to_owned(),
        false => format!("add Docker's repository ({DOCUMENTATION})"),
    };
    Err(format!(
        "this machine's apt sources do not offer the Docker engine with buildx and compose 2; \
         {remedy}"
    ))
}

/// What apt knows of one package.
struct Package<'p> {
    installed: Option<&'p str>,
    candidate: Option<&'p str>,
}

fn parse_policy(policy: &str) -> BTreeMap<&str, Package<'_>> {
    let mut known = BTreeMap::new();
    let mut name = None;
    for line in policy.lines() {
        if !line.starts_with(' ') {
            name = line.trim_end().strip_suffix(':');
        }
        let (Some(name), Some((key, version))) = (name, line.trim_start().split_once(": ")) else {
            continue;
        };
        let version = Some(version.trim()).filter(|version| *version != "(none)");
        let package = known.entry(name).or_insert(Package { installed: None, candidate: None });
        match key {
            "Installed" => package.installed = version,
            "Candidate" => package.candidate = version,
            _ => {}
        }
    }
    known
}

/// The first number of a package's version, behind its epoch.
fn major(version: &str) -> Option<u32> {
    let upstream = version.split_once(':').map_or(version, |(_, upstream)| upstream);
    upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// One source of the machine, as the archive names itself in its Release file.
struct Archive<'s> {
    url: &'s str,
    release: &'s str,
}

impl Archive<'_> {
    fn has(&self, fact: &str) -> bool {
        self.release.split(',').any(|part| part == fact)
    }
}

fn archives(sources: &str) -> impl Iterator<Item = Archive<'_>> {
    let lines = sources.lines().zip(sources.lines().skip(1));
    lines.filter_map(|(source, release)| {
        let release = release.trim().strip_prefix("release ")?;
        Some(Archive { url: source.split_whitespace().nth(1)?, release })
    })
}

/// The mirror of Debian 12's main section. A derivative of Debian names itself as the origin.
fn debian_12(sources: &str) -> Option<&str> {
    let facts = ["o=Debian", "n=bookworm", "c=main"];
    let found = archives(sources).find(|archive| facts.iter().all(|fact| archive.has(fact)));
    found.map(|archive| archive.url)
}

/// How a distribution without apt installs the engine and its plugins, by its os-release(5).
pub(crate) fn without_apt(os_release: &str) -> String {
    let value = |name| os_release_value(os_release, name).unwrap_or_default();
    // RHEL and its derivatives, which are like Fedora, have no such packages.
    let like =
        if value("ID_LIKE").split(' ').any(|id| id == "arch") { "arch" } else { value("ID") };
    match like {
        "alpine" => {
            "install them with `apk add docker docker-cli-buildx docker-cli-compose`".into()
        }
        "arch" => {
            "install them with `sudo pacman --sync docker docker-buildx docker-compose`".into()
        }
        "fedora" => {
            "install them with `sudo dnf install moby-engine docker-buildx docker-compose`".into()
        }
        _ => format!("install them as {DOCUMENTATION} says"),
    }
}
