//! The assets of a project: `app/assets` with its `assets.toml`, and `app/dist`, which is made of
//! them. What the pipeline itself reads of that file is not looked at here.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use anyhow::{Context, Result};
use semver::Version;
use serde::Deserialize;

/// Where the sources lie, from the project's root.
pub(crate) const SOURCE: &str = "app/assets";
/// Where the outputs go.
pub(crate) const OUTPUT: &str = "app/dist";
/// The configuration in [`SOURCE`].
pub(crate) const NAME: &str = "app/assets/assets.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    packages: BTreeMap<String, Package>,
}

/// A package that style sheets and scripts load by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    /// An exact version, as the npm registry knows it.
    pub(crate) version: Version,
    /// `sha512-` and base64, as the npm registry states it.
    pub(crate) integrity: String,
    /// Folders of it that Sass searches too, where its own documentation asks for that.
    #[serde(default, rename = "load-paths")]
    pub(crate) load_paths: Vec<String>,
}

/// The packages that the file names; none where there is no file.
pub(crate) fn load(root: &Path) -> Result<BTreeMap<String, Package>> {
    match std::fs::read_to_string(root.join(NAME)) {
        Ok(text) => parse(&text).with_context(|| format!("can't use {NAME}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("can't read {NAME}")),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, Package>> {
    let file: File = toml::from_str(text)?;
    for (name, package) in &file.packages {
        anyhow::ensure!(
            is_name(name),
            "[packages] {name:?} is no package name such as bootstrap or @scope/name"
        );
        anyhow::ensure!(
            package.integrity.starts_with("sha512-"),
            "[packages.{name}] integrity must be the registry's sha512-…; ask for it with\n  \
             npm view {name}@{} dist.integrity",
            package.version
        );
        for folder in &package.load_paths {
            let stays =
                Path::new(folder).components().all(|part| matches!(part, Component::Normal(_)));
            anyhow::ensure!(
                stays && !folder.is_empty(),
                "[packages.{name}] load-paths: {folder:?} is no folder of the package"
            );
        }
    }
    Ok(file.packages)
}

/// npm's rule, without what old packages may still have.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let inner =
            |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || "._-".contains(sign);
        part.starts_with(|sign: char| sign.is_ascii_alphanumeric()) && part.chars().all(inner)
    };
    match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(Some((scope, name))) => part(scope) && part(name),
        Some(None) => false,
        None => part(name),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let answer = match super::parse(text) {
            Ok(packages) => packages.keys().cloned().collect::<Vec<_>>().join(" "),
            Err(error) => format!("{error:#}"),
        };
        expected.assert_eq(&answer);
    }

    #[test]
    fn packages_have_a_name_an_exact_version_and_an_integrity() {
        check("targets = [\"defaults\"]", expect![""]);
        let good = "version = \"1.2.3\"\nintegrity = \"sha512-x\"\n";
        check(&format!("[packages.a]\n{good}[packages.\"@b/c\"]\n{good}"), expect!["@b/c a"]);
        for name in ["-rf", "../x", "@b", "@b/../c", "A"] {
            let error = super::parse(&format!("[packages.\"{name}\"]\n{good}")).unwrap_err();
            assert!(error.to_string().contains("is no package name"), "{name}");
        }
        check(
            "[packages.a]\nversion = \"1.2.3\"\nintegrity = \"sha1-x\"",
            expect![[r#"
                [packages.a] integrity must be the registry's sha512-…; ask for it with
                  npm view a@1.2.3 dist.integrity"#]],
        );
        for version in ["^1.2.3", "1.2", "latest"] {
            let text = format!("[packages.a]\nversion = \"{version}\"\nintegrity = \"sha512-x\"");
            assert!(super::parse(&text).is_err(), "{version}");
        }
    }
}
