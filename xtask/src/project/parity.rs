//! `[[parity.allow]]` of environment.toml: how this environment may differ from another, each with
//! its reason; and which differences two environments have that nobody allowed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

/// Image -> package -> version. An image from elsewhere counts as one package, itself.
pub(crate) type Packages = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Parity {
    pub(crate) allow: Vec<Allowance>,
}

/// One allowed difference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowance {
    /// The image that may differ; without `packages`: that only one environment has.
    pub(crate) image: Option<String>,
    /// Names of packages of that image, `*` for any text.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Only packages that the other environment lacks; one that both have must be the same.
    #[serde(default)]
    pub(crate) only_here: bool,
    /// The configuration key, or `SERVICE: KEY`, that only one of the environments has.
    pub(crate) key: Option<String>,
    pub(crate) reason: String,
}

impl Parity {
    pub(crate) fn check(&self) -> Result<()> {
        for allowance in &self.allow {
            anyhow::ensure!(
                !allowance.reason.trim().is_empty(),
                "[[parity.allow]] needs a reason that is not empty"
            );
            anyhow::ensure!(
                allowance.image.is_some() != allowance.key.is_some(),
                "[[parity.allow]] ({}) names either an image or a key",
                allowance.reason
            );
            anyhow::ensure!(
                !allowance.only_here || !allowance.packages.is_empty(),
                "[[parity.allow]] ({}): only_here is about packages",
                allowance.reason
            );
        }
        Ok(())
    }
}

/// One environment, as far as it is compared.
pub(crate) struct Side<'s> {
    pub(crate) name: &'s str,
    pub(crate) packages: &'s Packages,
    pub(crate) keys: &'s BTreeSet<String>,
    pub(crate) parity: &'s Parity,
}

/// Something that the two have differently.
#[derive(Debug)]
pub(crate) struct Difference<'s> {
    pub(crate) words: String,
    /// What allows it, when something does.
    pub(crate) allowed: Option<&'s Allowance>,
}

/// Every difference, allowed or not.
pub(crate) fn differences<'s>(one: &Side<'s>, other: &Side<'s>) -> Vec<Difference<'s>> {
    let mut found = Vec::new();
    let images: BTreeSet<&String> = one.packages.keys().chain(other.packages.keys()).collect();
    for image in images {
        match (one.packages.get(image), other.packages.get(image)) {
            (Some(here), Some(there)) => compare(image, (one, here), (other, there), &mut found),
            (here, _) => {
                let (has, lacks) = if here.is_some() { (one, other) } else { (other, one) };
                let allowed =
                    |it: &Allowance| it.image.as_ref() == Some(image) && it.packages.is_empty();
                let words = format!("image {image} is in {} and not in {}", has.name, lacks.name);
                found.push(Difference { words, allowed: find(one, other, allowed) });
            }
        }
    }
    for key in one.keys.symmetric_difference(other.keys) {
        let (has, lacks) = if one.keys.contains(key) { (one, other) } else { (other, one) };
        let words = format!("key {key} is in {} and not in {}", has.name, lacks.name);
        let allowed = |it: &Allowance| it.key.as_ref() == Some(key);
        found.push(Difference { words, allowed: find(one, other, allowed) });
    }
    found
}

type Listed<'l, 's> = (&'l Side<'s>, &'l BTreeMap<String, String>);

fn compare<'s>(
    image: &str,
    one: Listed<'_, 's>,
    other: Listed<'_, 's>,
    found: &mut Vec<Difference<'s>>,
) {
    let packages: BTreeSet<&String> = one.1.keys().chain(other.1.keys()).collect();
    for package in packages {
        let versions = (one.1.get(package), other.1.get(package));
        if versions.0 == versions.1 {
            continue;
        }
        let text = |version: Option<&String>| version.map_or("none", String::as_str).to_owned();
        let words = format!(
            "{image}: package {package} is {} in {} and {} in {}",
            text(versions.0),
            one.0.name,
            text(versions.1),
            other.0.name
        );
        let find = |side: &Side<'s>, lacks: bool| {
            let fits = |it: &&Allowance| {
                it.image.as_deref() == Some(image)
                    && it.packages.iter().any(|pattern| fits(pattern, package))
                    && (!it.only_here || lacks)
            };
            side.parity.allow.iter().find(fits)
        };
        let allowed = find(one.0, versions.1.is_none());
        let allowed = allowed.or_else(|| find(other.0, versions.0.is_none()));
        found.push(Difference { words, allowed });
    }
}

fn find<'s>(
    one: &Side<'s>,
    other: &Side<'s>,
    allowed: impl Fn(&Allowance) -> bool,
) -> Option<&'s Allowance> {
    one.parity.allow.iter().chain(&other.parity.allow).find(|it| allowed(it))
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    (0..=name.len()).any(|at| name.is_char_boundary(at) && fits(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(toml: &str, expected: Expect) {
        let list = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let dev = BTreeMap::from([
            ("app".into(), list(&[("gcc", "12"), ("libc6", "2.40"), ("ssl", "3.1")])),
            ("tools".into(), BTreeMap::new()),
        ]);
        let prod = BTreeMap::from([("app".into(), list(&[("libc6", "2.41"), ("ssl", "3.1")]))]);
        let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (some, more) = (keys(&["A"]), keys(&["A", "SENTRY"]));
        let (parity, none) = (toml::from_str::<Parity>(toml).unwrap(), Parity::default());
        let one = Side { name: "dev", packages: &dev, keys: &some, parity: &parity };
        let other = Side { name: "prod", packages: &prod, keys: &more, parity: &none };
        let lines: Vec<String> = differences(&one, &other)
            .into_iter()
            .map(|it| {
                let reason = it.allowed.map_or("", |allowed| &allowed.reason);
                format!("{} [{reason}]\n", it.words)
            })
            .collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn every_difference_is_named() {
        check(
            "",
            expect![[r#"
                app: package gcc is 12 in dev and none in prod []
                app: package libc6 is 2.40 in dev and 2.41 in prod []
                image tools is in dev and not in prod []
                key SENTRY is in prod and not in dev []
            "#]],
        );
    }

    #[test]
    fn only_here_allows_more_packages_and_no_other_version() {
        check(
            "allow = [{image = 'app', packages = ['*'], only_here = true, reason = 'compiler'}]",
            expect![[r#"
                app: package gcc is 12 in dev and none in prod [compiler]
                app: package libc6 is 2.40 in dev and 2.41 in prod []
                image tools is in dev and not in prod []
                key SENTRY is in prod and not in dev []
            "#]],
        );
    }

    #[test]
    fn an_allowance_is_for_what_it_names() {
        check(
            "allow = [{image = 'app', packages = ['lib*6', 'g*c'], reason = 'a'},
                      {image = 'tools', reason = 'b'}, {key = 'SENTRY', reason = 'c'}]",
            expect![[r#"
                app: package gcc is 12 in dev and none in prod [a]
                app: package libc6 is 2.40 in dev and 2.41 in prod [a]
                image tools is in dev and not in prod [b]
                key SENTRY is in prod and not in dev [c]
            "#]],
        );
    }

    #[test]
    fn an_allowance_without_a_reason_or_with_two_subjects_is_refused() {
        for toml in [
            "allow = [{image = 'app', reason = ' '}]",
            "allow = [{image = 'app', key = 'A', reason = 'x'}]",
            "allow = [{reason = 'x'}]",
            "allow = [{key = 'A', only_here = true, reason = 'x'}]",
        ] {
            assert!(toml::from_str::<Parity>(toml).unwrap().check().is_err(), "{toml}");
        }
    }
}
