//! Versions of releases: which may follow which, and the names that git and docker know them by.
//!
//! A release is X.Y.Z and nothing more. `X.Y.0` comes from the main branch, `X.Y.Z` from the branch
//! of `X.Y`. A candidate with a version of its own would be tested under one name and shipped under
//! another, and Docker has no tag with a `+`.

use std::collections::BTreeMap;

use semver::Version;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Exactly(Version),
    Major,
    Minor,
    Patch,
}

/// `1.2.3` or `v1.2.3`.
pub(crate) fn parse(text: &str) -> Result<Version, String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let wrong = |why: &dyn std::fmt::Display| {
        format!("{text:?} is no version of a release ({why}); releases are X.Y.Z, such as 1.2.3")
    };
    let version = Version::parse(bare).map_err(|error| wrong(&error))?;
    match version.pre.is_empty() && version.build.is_empty() {
        true => Ok(version),
        false => Err(wrong(&"what follows the three numbers is not supported")),
    }
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
    let newest = existing.iter().max().cloned().unwrap_or(Version::new(0, 0, 0));
    let on_branch = existing.iter().filter(|it| Some(branch(it).as_str()) == checked_out).max();
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
        Wanted::Major => (version.minor, version.patch) == (0, 0),
        Wanted::Minor => version.minor > 0 && version.patch == 0,
        Wanted::Patch => version.patch > 0,
    }
}

/// The release that a version follows.
pub(crate) fn previous(version: &Version, existing: &[Version]) -> Option<Version> {
    let before = existing.iter().filter(|other| *other < version);
    match version.patch {
        0 => before.max().cloned(),
        _ => before.filter(|other| same_branch(other, version)).max().cloned(),
    }
}

/// Why a version may not follow those that there are; it is none of them.
pub(crate) fn problem(version: &Version, existing: &[Version]) -> Option<String> {
    let next = |candidates: &[Version]| -> String {
        let names: Vec<String> =
            candidates.iter().map(|it| format!("`cargo xtask release {it}`")).collect();
        names.join(" or ")
    };
    if version.patch > 0 {
        let newest = existing.iter().filter(|other| same_branch(other, version)).max();
        let Some(newest) = newest else {
            let first = Version::new(version.major, version.minor, 0);
            return Some(format!("there is no {first} that {version} could fix"));
        };
        let wanted = Version::new(newest.major, newest.minor, newest.patch + 1);
        return (wanted != *version)
            .then(|| format!("{version} does not follow {newest}; that is {}", next(&[wanted])));
    }
    let newest = existing.iter().max()?;
    let wanted =
        [Version::new(newest.major, newest.minor + 1, 0), Version::new(newest.major + 1, 0, 0)];
    (!wanted.contains(version))
        .then(|| format!("{version} does not follow {newest}; that is {}", next(&wanted)))
}

fn same_branch(one: &Version, other: &Version) -> bool {
    (one.major, one.minor) == (other.major, other.minor)
}

/// The branch on which fixes of a version continue.
pub(crate) fn branch(version: &Version) -> String {
    format!("release-v{}.{}", version.major, version.minor)
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

/// The references whose tag is one of the newest versions of their repository.
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
        newest.extend(versions.into_iter().take(count).map(|(_, reference)| reference));
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(wanted: &str, existing: &[&str], expected: Expect) {
        let existing: Vec<Version> = existing.iter().map(|it| parse(it).unwrap()).collect();
        let text = match parse_wanted(wanted) {
            Err(problem) => problem,
            Ok(wanted) => {
                let version = choose(&wanted, &existing, Some("release-v1.0"));
                let previous = previous(&version, &existing).map(|it| it.to_string());
                let problem = problem(&version, &existing).unwrap_or_default();
                format!("{version} after {} {problem}", previous.unwrap_or("nothing".into()))
            }
        };
        expected.assert_eq(text.trim_end());
    }

    #[test]
    fn the_first_release_is_any_x_y_0() {
        check("0.7.0", &[], expect!["0.7.0 after nothing"]);
        check("minor", &[], expect!["0.1.0 after nothing"]);
        check("major", &[], expect!["1.0.0 after nothing"]);
        check("patch", &[], expect!["0.0.1 after nothing there is no 0.0.0 that 0.0.1 could fix"]);
    }

    #[test]
    fn a_release_follows_the_newest_and_a_fix_follows_its_branch() {
        let existing = ["1.0.0", "1.0.1", "1.1.0"];
        check("patch", &existing, expect!["1.0.2 after 1.0.1"]);
        check("patch", &["0.9.0", "1.1.0"], expect!["1.1.1 after 1.1.0"]);
        check("minor", &existing, expect!["1.2.0 after 1.1.0"]);
        check("major", &existing, expect!["2.0.0 after 1.1.0"]);
        check("1.0.2", &existing, expect!["1.0.2 after 1.0.1"]);
        check(
            "1.0.4",
            &existing,
            expect![
                "1.0.4 after 1.0.1 1.0.4 does not follow 1.0.1; that is `cargo xtask release 1.0.2`"
            ],
        );
        check(
            "1.4.0",
            &existing,
            expect![
                "1.4.0 after 1.1.0 1.4.0 does not follow 1.1.0; that is `cargo xtask release 1.2.0` or `cargo xtask release 2.0.0`"
            ],
        );
        check(
            "0.9.0",
            &existing,
            expect![
                "0.9.0 after nothing 0.9.0 does not follow 1.1.0; that is `cargo xtask release 1.2.0` or `cargo xtask release 2.0.0`"
            ],
        );
        check(
            "3.1.1",
            &existing,
            expect!["3.1.1 after nothing there is no 3.1.0 that 3.1.1 could fix"],
        );
    }

    #[test]
    fn a_name_that_is_no_version_is_refused() {
        for (text, expected) in [
            (
                "",
                expect![[
                    r#""" is no version of a release (empty string, expected a semver version); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
            (
                "1.2",
                expect![[
                    r#""1.2" is no version of a release (unexpected end of input while parsing minor version number); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
            (
                "01.2.3",
                expect![[
                    r#""01.2.3" is no version of a release (invalid leading zero in major version number); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
            (
                "1.2.3+build",
                expect![[
                    r#""1.2.3+build" is no version of a release (what follows the three numbers is not supported); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
            (
                "1.2.3-rc.1",
                expect![[
                    r#""1.2.3-rc.1" is no version of a release (what follows the three numbers is not supported); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
            (
                "1.2.3\nX",
                expect![[
                    r#""1.2.3\nX" is no version of a release (unexpected character '\n' after patch version number); releases are X.Y.Z, such as 1.2.3"#
                ]],
            ),
        ] {
            check(text, &[], expected);
        }
    }
}
