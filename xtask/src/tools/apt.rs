//! apt: installing what is missing on Debian, and where the machine's packages come from.
//!
//! Debian 12 has no compose v2 and no buildx of its own; they come from Debian 13's main section,
//! pinned to just those packages so that nothing else of the machine moves.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

use super::engine_packages;
use super::mmdebstrap::Mirrors;

/// What makes base images where no registry answers.
pub(crate) const MMDEBSTRAP: &str = "mmdebstrap";
/// What asks registries; program and package have one name.
pub(crate) const CURL: &str = "curl";
/// What gets the packages that style sheets load; program and package have one name.
pub(crate) const NPM: &str = "npm";

pub(crate) const SOURCES_PATH: &str = "/etc/apt/sources.list.d/stevedore-engine.sources";
pub(crate) const PIN_PATH: &str = "/etc/apt/preferences.d/stevedore-engine";

/// A source of Debian 13's main section.
pub(crate) fn sources(mirror: &str) -> String {
    format!(
        "# Written by `cargo xtask setup`: the Docker engine and its plugins from Debian 13.\n\
         Types: deb\nURIs: {mirror}\nSuites: trixie\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
}

/// Nothing but the engine's packages may come from that source.
pub(crate) fn pin() -> String {
    format!(
        "# Written by `cargo xtask setup`: nothing but these packages comes from Debian 13.\n\
         Package: *\nPin: release n=trixie\nPin-Priority: -10\n\n\
         Package: {}\nPin: release n=trixie\nPin-Priority: 990\n",
        engine_packages::DEBIAN.join(" ")
    )
}

/// A program with the rights of root, which asks no question of its own.
fn as_root<'s>(sh: &'s Shell, sudo: bool, program: &str) -> Cmd<'s> {
    let quiet = "DEBIAN_FRONTEND=noninteractive";
    if sudo { cmd!(sh, "sudo env {quiet} {program}") } else { cmd!(sh, "env {quiet} {program}") }
}

pub(crate) fn update(sh: &Shell, sudo: bool) -> Cmd<'_> {
    as_root(sh, sudo, "apt-get").args(["update", "--quiet"])
}

pub(crate) fn install<'s>(sh: &'s Shell, sudo: bool, packages: &[&str]) -> Cmd<'s> {
    as_root(sh, sudo, "apt-get")
        .args(["install", "--yes", "--quiet", "--no-install-recommends", "--no-remove"])
        .args(packages)
}

/// Which versions of the engine's packages are installed and offered.
pub(crate) fn policy(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "apt-cache policy").args(engine_packages::names()).env("LC_ALL", "C")
}

/// The machine's sources, each with what its archive calls itself.
pub(crate) fn source_policy(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "apt-cache policy").env("LC_ALL", "C")
}

/// Asks for the password now, on the terminal, so that nothing later has to.
pub(crate) fn validate_sudo(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "sudo --validate")
}

/// Puts a file into its place with the rights of root.
pub(crate) fn install_file<'s>(sh: &'s Shell, from: &Path, to: &str) -> Cmd<'s> {
    cmd!(sh, "sudo install --mode 0644 {from} {to}")
}

/// Starts the engine now and at every start of the machine.
pub(crate) fn enable_engine(sh: &Shell, sudo: bool) -> Cmd<'_> {
    as_root(sh, sudo, "systemctl").args(["enable", "--now", "docker.service"])
}

/// The machine's Debian mirrors, from the texts of its apt sources (both formats).
///
/// `None` when none of them serves Debian's main section.
pub(crate) fn mirrors(texts: &[String]) -> Option<Mirrors> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for text in texts {
        found.extend(one_line_sources(text));
        found.extend(text.split("\n\n").filter_map(stanza));
    }
    const SUITES: [&str; 6] = ["bookworm", "trixie", "forky", "stable", "testing", "sid"];
    let debian = |suite: &str| SUITES.contains(&suite);
    let main = found.iter().find(|(_, suites)| suites.iter().any(|suite| debian(suite)));
    let is_security = |suite: &String| suite.strip_suffix("-security").is_some_and(debian);
    let security = found.iter().find(|(_, suites)| suites.iter().any(is_security));
    Some(Mirrors { main: main?.0.clone(), security: security.map(|(url, _)| url.clone()) })
}

fn one_line_sources(text: &str) -> impl Iterator<Item = (String, Vec<String>)> {
    text.lines().filter_map(|line| {
        let line = line.trim().strip_prefix("deb ")?.trim();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1.trim(),
            None => line,
        };
        let mut words = line.split_whitespace();
        let (url, suite) = (words.next()?, words.next()?);
        words.any(|component| component == "main").then(|| (url.to_owned(), vec![suite.to_owned()]))
    })
}

fn stanza(text: &str) -> Option<(String, Vec<String>)> {
    let field = |name: &str| {
        let prefix = format!("{name}:");
        let line = text.lines().find(|line| line.starts_with(&prefix))?;
        Some(line[prefix.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let main = field("Components")?.iter().any(|component| component == "main");
    let deb = field("Types")?.iter().any(|kind| kind == "deb");
    let url = field("URIs")?.into_iter().next()?;
    let disabled = field("Enabled").is_some_and(|words| words == ["no"]);
    (main && deb && !disabled).then_some((url, field("Suites")?))
}
