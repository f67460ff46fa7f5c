//! Which tags name a release.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The references whose tag is one of the newest versions of their repository.
pub(crate) fn newest<'r>(references: &[&'r str], count: usize) -> Vec<&'r str> {
    let mut repositories: BTreeMap<&str, Vec<(Version, &'r str)>> = BTreeMap::new();
    for &reference in references {
        if let Some((repository, tag)) = reference.rsplit_once(':')
            && let Some(version) = version(tag)
        {
            repositories.entry(repository).or_default().push((version, reference));
        }
    }
    let mut newest = Vec::new();
    for mut versions in repositories.into_values() {
        versions.sort_by_key(|(version, _)| Reverse(*version));
        newest.extend(versions.into_iter().take(count).map(|(_, reference)| reference));
    }
    newest
}

pub(crate) fn is_version(tag: &str) -> bool {
    version(tag).is_some()
}

type Version = (u64, u64, u64);

fn version(tag: &str) -> Option<Version> {
    let mut parts = tag.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}
