//! Versions of releases: which may follow which, and the names that git and docker know them by.
//!
//! A release is X.Y.Z. `X.Y.0` comes from the default branch, `X.Y.Z` from the branch of `X.Y`. A
//! prerelease, X.Y.Z-rc.N, comes from where X.Y.Z will come from; QA tests it, and X.Y.Z of the
//! same commit has the same images. No release follows a prerelease: production has never run it.
//! Build metadata (`+`) is refused, since Docker has no tag with it.

use std::collections::{BTreeMap, BTreeSet};

use semver::{Prerelease, Version};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Exactly(Version),
    Major,
    Minor,
    Patch,
}

/// `1.2.3`, `1.2.3-rc.1`, each also with a `v` before it.
pub(crate) fn parse(text: &str) -> Result<Version, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let wrong = |why: &dyn std::fmt::Display| {
        format!(
            "{text:?} is not a version of a release ({why}); releases are X.Y.Z, such as 1.2.3, and \
             prereleases X.Y.Z-rc.N"
        )
    };
    let version = Version::parse(bare).map_err(|error| wrong(&error))?;
    if !version.build.is_empty() {
        return Err(wrong(&"a `+` and what follows it is not supported"));
    }
    if !version.pre.is_empty() && stage(&version).is_none() {
        return Err(wrong(&"what follows the three numbers is not a word, a dot and a number"));
    }
    Ok(version)
}

/// Word and number of a prerelease: `rc` and 1 of 1.2.3-rc.1. `None` for a release.
fn stage(version: &Version) -> Option<(&str, u64)> {
    let (word, number) = version.pre.as_str().split_once('.')?;
    let is_word = word.chars().all(|it| it.is_ascii_lowercase()) && !word.is_empty();
    let number = number.parse().ok().filter(|number| *number > 0)?;
    is_word.then_some((word, number))
}

/// The prerelease that follows a prerelease.
pub(crate) fn next_stage(version: &Version) -> Option<Version> {
    let (word, number) = stage(version)?;
    let pre = Prerelease::new(&format!("{word}.{}", number + 1)).ok()?;
    Some(Version { pre, ..final_of(version) })
}

pub(crate) fn is_prerelease(version: &Version) -> bool {
    !version.pre.is_empty()
}

/// Without what makes it a prerelease.
fn final_of(version: &Version) -> Version {
    Version::new(version.major, version.minor, version.patch)
}

/// What stands behind `release`.
pub(crate) fn parse_wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "major" => Ok(Wanted::Major),
        "minor" => Ok(Wanted::Minor),
        "patch" => Ok(Wanted::Patch),
        text => parse(text).map(Wanted::Exactly),
    }
}

/// The version that is meant, after those that there are. On a release branch a fix is one of that
/// branch; elsewhere of the newest.
pub(crate) fn choose(wanted: &Wanted, existing: &[Version], checked_out: Option<&str>) -> Version {
    let newest = finals(existing).max().cloned().unwrap_or(Version::new(0, 0, 0));
    let on_branch = finals(existing).filter(|it| Some(branch(it).as_str()) == checked_out).max();
    match wanted {
        Wanted::Exactly(version) => version.clone(),
        Wanted::Major => Version::new(newest.major + 1, 0, 0),
        Wanted::Minor => Version::new(newest.major, newest.minor + 1, 0),
        Wanted::Patch => {
            let fixed = on_branch.unwrap_or(&newest);
            Version::new(fixed.major, fixed.minor, fixed.patch + 1)
        }
    }
}

/// Whether a version is of the kind that is asked for.
pub(crate) fn fits(wanted: &Wanted, version: &Version) -> bool {
    match wanted {
        Wanted::Exactly(exact) => exact == version,
        _ if is_prerelease(version) => false,
        Wanted::Major => (version.minor, version.patch) == (0, 0),
        Wanted::Minor => version.minor > 0 && version.patch == 0,
        Wanted::Patch => version.patch > 0,
    }
}

/// The release that a version follows; never a prerelease.
pub(crate) fn previous(version: &Version, existing: &[Version]) -> Option<Version> {
    let before = finals(existing).filter(|other| *other < version);
    match version.patch {
        0 => before.max().cloned(),
        _ => before.filter(|other| same_branch(other, version)).max().cloned(),
    }
}

fn finals(versions: &[Version]) -> impl Iterator<Item = &Version> {
    versions.iter().filter(|version| !is_prerelease(version))
}

/// Why a version may not follow those that there are; it is not one of them.
pub(crate) fn problem(version: &Version, existing: &[Version]) -> Option<String> {
    let target = final_of(version);
    if !is_prerelease(version) {
        return final_problem(version, version, existing);
    }
    if existing.contains(&target) {
        return Some(format!("{target} is released, so {version} comes too late"));
    }
    final_problem(version, &target, existing).or_else(|| stage_problem(version, &target, existing))
}

fn newest_stage<'v>(target: &Version, existing: &'v [Version]) -> Option<&'v Version> {
    existing.iter().filter(|it| is_prerelease(it) && final_of(it) == *target).max()
}

/// The prerelease of the same version and word that may come next: it follows the one before, or
/// begins with 1.
fn wanted_stage(version: &Version, existing: &[Version]) -> Option<Version> {
    let (word, _) = stage(version)?;
    let target = final_of(version);
    let newest = newest_stage(&target, existing);
    match newest.filter(|it| stage(it).is_some_and(|(other, _)| other == word)) {
        Some(newest) => next_stage(newest),
        None => Some(Version { pre: Prerelease::new(&format!("{word}.1")).ok()?, ..target }),
    }
}

/// The versions that could stand between those that there are and a version that may not follow
/// them.
pub(crate) fn candidates(version: &Version, existing: &[Version]) -> Vec<Version> {
    let mut candidates = next(version, existing);
    candidates.extend(wanted_stage(version, existing));
    candidates
}

/// Why a prerelease of `target` may not follow.
fn stage_problem(version: &Version, target: &Version, existing: &[Version]) -> Option<String> {
    let wanted = wanted_stage(version, existing)?;
    let (word, number) = stage(&wanted)?;
    let newest = newest_stage(target, existing);
    match newest {
        Some(newest) if number == 1 && newest > version => {
            Some(format!("{version} is older than {newest}"))
        }
        _ if wanted == *version => None,
        Some(newest) if number > 1 => Some(format!(
            "{version} does not follow {newest}; that is `cargo xtask release {wanted}`"
        )),
        _ => Some(format!(
            "{version} would be the first {word} of {target}; that is `cargo xtask release {wanted}`"
        )),
    }
}

/// The versions that may follow those that there are, on the branch of a version.
pub(crate) fn next(version: &Version, existing: &[Version]) -> Vec<Version> {
    if version.patch > 0 {
        let newest = finals(existing).filter(|other| same_branch(other, version)).max();
        let next = |it: &Version| Version::new(it.major, it.minor, it.patch + 1);
        return newest.map(next).into_iter().collect();
    }
    let newest = finals(existing).max();
    newest.map_or_else(Vec::new, |it| {
        vec![Version::new(it.major, it.minor + 1, 0), Version::new(it.major + 1, 0, 0)]
    })
}

/// Why the release `target` may not follow; `version` is it, or a prerelease of it.
fn final_problem(version: &Version, target: &Version, existing: &[Version]) -> Option<String> {
    let wanted = next(target, existing);
    if target.patch > 0 && wanted.is_empty() {
        let first = Version::new(target.major, target.minor, 0);
        return Some(format!("there is no {first} that {version} could fix"));
    }
    let newest = match target.patch {
        0 => finals(existing).max()?,
        _ => finals(existing).filter(|other| same_branch(other, target)).max()?,
    };
    let stage = stage(version).map(|(word, _)| format!("-{word}.1")).unwrap_or_default();
    let names = wanted.iter().map(|it| format!("`cargo xtask release {it}{stage}`"));
    let names = names.collect::<Vec<_>>().join(" or ");
    (!wanted.contains(target))
        .then(|| format!("{version} does not follow {newest}; that is {names}"))
}

fn same_branch(one: &Version, other: &Version) -> bool {
    (one.major, one.minor) == (other.major, other.minor)
}

/// The branch on which fixes of a version continue.
pub(crate) fn branch(version: &Version) -> String {
    format!("release-v{}.{}", version.major, version.minor)
}

/// Whether a version, once released, has a branch on which fixes continue.
pub(crate) fn begins_branch(version: &Version) -> bool {
    version.patch == 0 && !is_prerelease(version)
}

/// Whether a branch has the name of one on which fixes continue.
pub(crate) fn is_branch(name: &str) -> bool {
    let numbers = name.strip_prefix("release-v").and_then(|it| it.split_once('.'));
    numbers.is_some_and(|(major, minor)| {
        [major, minor].iter().all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    })
}

pub(crate) fn tag(version: &Version) -> String {
    format!("v{version}")
}

/// The version that a git tag names, when it has exactly the form of ours.
pub(crate) fn of_tag(tag: &str) -> Option<Version> {
    let version = parse(tag.strip_prefix('v')?).ok()?;
    (self::tag(&version) == tag).then_some(version)
}

/// The version that an image's tag names.
pub(crate) fn of_image_tag(tag: &str) -> Option<Version> {
    parse(tag).ok().filter(|version| version.to_string() == tag)
}

/// The references whose tag is one of the newest releases of their repository, or a prerelease of
/// a version that is not released.
pub(crate) fn newest<'r>(references: &[&'r str], count: usize) -> Vec<&'r str> {
    let mut repositories: BTreeMap<&str, Vec<(Version, &'r str)>> = BTreeMap::new();
    for &reference in references {
        if let Some((repository, tag)) = reference.rsplit_once(':')
            && let Some(version) = of_image_tag(tag)
        {
            repositories.entry(repository).or_default().push((version, reference));
        }
    }
    let mut newest = Vec::new();
    for mut versions in repositories.into_values() {
        versions.sort_by(|one, other| other.0.cmp(&one.0));
        let finals: BTreeSet<Version> =
            versions.iter().map(|it| it.0.clone()).filter(|it| !is_prerelease(it)).collect();
        let mut releases = 0;
        newest.extend(versions.into_iter().filter_map(|(version, reference)| {
            releases += usize::from(!is_prerelease(&version));
            let is_kept = match is_prerelease(&version) {
                true => !finals.contains(&final_of(&version)),
                false => releases <= count,
            };
            is_kept.then_some(reference)
        }));
    }
    newest
}

#[cfg(test)]
mod tests;
