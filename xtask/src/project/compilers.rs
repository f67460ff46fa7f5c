//! The compilers of the assets, dart-sass and esbuild: native programs in packages of the npm
//! registry, one package for each kind of machine, each pinned by version and integrity.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::assets::Package;
use crate::exit;

/// Where a project pins them; without it, [`DEFAULT`] holds.
pub(crate) const NAME: &str = "app/assets/assets.lock";
/// What this version of the tool was tested with.
const DEFAULT: &str = include_str!("compilers.toml");

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compilers {
    pub(crate) sass: Compiler,
    pub(crate) esbuild: Compiler,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compiler {
    pub(crate) version: Version,
    /// Package -> what the npm registry states for it.
    pub(crate) integrity: BTreeMap<String, String>,
}

/// The two, by their names in the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sass,
    Esbuild,
}

impl Kind {
    /// The package for this machine.
    pub(crate) fn package(self) -> String {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        let libc = if cfg!(target_env = "musl") { "musl-" } else { "" };
        match self {
            Kind::Sass => format!("sass-embedded-linux-{libc}{arch}"),
            // Linked statically, so one package for both C libraries.
            Kind::Esbuild => format!("@esbuild/linux-{arch}"),
        }
    }

    /// As it is called in a sentence.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Sass => "dart-sass",
            Kind::Esbuild => "esbuild",
        }
    }
}

impl Compilers {
    /// Those that the project pins.
    pub(crate) fn load(root: &Path) -> Result<Compilers> {
        match std::fs::read_to_string(root.join(NAME)) {
            Ok(text) => parse(&text).with_context(|| format!("can't use {NAME}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => parse(DEFAULT),
            Err(error) => Err(error).with_context(|| format!("can't read {NAME}")),
        }
    }

    pub(crate) fn get(&self, kind: Kind) -> &Compiler {
        match kind {
            Kind::Sass => &self.sass,
            Kind::Esbuild => &self.esbuild,
        }
    }

    /// The package of one for this machine: name, version, integrity.
    pub(crate) fn package(&self, kind: Kind) -> Result<(String, Package)> {
        let (name, compiler) = (kind.package(), self.get(kind));
        let Some(integrity) = compiler.integrity.get(&name) else {
            return Err(exit::missing(format!(
                "{NAME} pins no {name} {}, which this machine needs: `cargo xtask assets update`",
                compiler.version
            )));
        };
        let (version, integrity) = (compiler.version.clone(), integrity.clone());
        Ok((name, Package { version, integrity, load_paths: Vec::new() }))
    }

    /// The text of the lock.
    pub(crate) fn text(&self) -> Result<String> {
        let head =
            "# The compilers of the assets; `cargo xtask assets update` writes this file.\n\n";
        Ok(format!("{head}{}", toml::to_string(self)?))
    }
}

fn parse(text: &str) -> Result<Compilers> {
    let compilers: Compilers = toml::from_str(text)?;
    for (package, integrity) in compilers.sass.integrity.iter().chain(&compilers.esbuild.integrity)
    {
        anyhow::ensure!(
            integrity.starts_with("sha512-"),
            "the integrity of {package} must be the registry's sha512-…"
        );
    }
    Ok(compilers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_both_for_this_machine_and_is_written_as_it_is_read() {
        let compilers = parse(DEFAULT).unwrap();
        for kind in [Kind::Sass, Kind::Esbuild] {
            assert!(compilers.package(kind).is_ok(), "{kind:?}");
        }
        assert_eq!(parse(&compilers.text().unwrap()).unwrap(), compilers);
    }
}
