//! Which version follows which, and what is not a version.

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
fn prereleases_are_counted_and_no_release_follows_one() {
    let existing = ["1.0.0", "1.1.0-rc.1", "1.1.0-rc.2"];
    check("1.1.0-rc.3", &existing, expect!["1.1.0-rc.3 after 1.0.0"]);
    check("minor", &existing, expect!["1.1.0 after 1.0.0"]);
    check(
        "1.2.0",
        &existing,
        expect![
            "1.2.0 after 1.0.0 1.2.0 does not follow 1.0.0; that is `cargo xtask release 1.1.0` or `cargo xtask release 2.0.0`"
        ],
    );
    check(
        "1.1.0-rc.4",
        &existing,
        expect![
            "1.1.0-rc.4 after 1.0.0 1.1.0-rc.4 does not follow 1.1.0-rc.2; that is `cargo xtask release 1.1.0-rc.3`"
        ],
    );
    check(
        "1.1.0-beta.1",
        &existing,
        expect!["1.1.0-beta.1 after 1.0.0 1.1.0-beta.1 is older than 1.1.0-rc.2"],
    );
    check("1.1.0-rc.1", &["1.0.0", "1.1.0-beta.3"], expect!["1.1.0-rc.1 after 1.0.0"]);
    check("1.0.1-rc.1", &existing, expect!["1.0.1-rc.1 after 1.0.0"]);
    check(
        "1.0.2-rc.1",
        &existing,
        expect![
            "1.0.2-rc.1 after 1.0.0 1.0.2-rc.1 does not follow 1.0.0; that is `cargo xtask release 1.0.1-rc.1`"
        ],
    );
    check(
        "1.0.0-rc.1",
        &existing,
        expect!["1.0.0-rc.1 after nothing 1.0.0 is released, so 1.0.0-rc.1 comes too late"],
    );
    check(
        "2.0.0-rc.2",
        &existing,
        expect![
            "2.0.0-rc.2 after 1.0.0 2.0.0-rc.2 would be the first rc of 2.0.0; that is `cargo xtask release 2.0.0-rc.1`"
        ],
    );
    check("0.1.0-rc.1", &[], expect!["0.1.0-rc.1 after nothing"]);
}

#[test]
fn the_newest_releases_and_the_prereleases_of_the_next_one_are_kept() {
    let fix = ["a:1.1.0", "a:1.0.1-rc.1", "a:1.0.0"];
    assert_eq!(newest(&fix, 1), ["a:1.1.0", "a:1.0.1-rc.1"], "it may not be published yet");
    let names = ["a:1.0.0", "a:1.1.0", "a:1.1.0-rc.1", "a:1.2.0-rc.1", "a:1.2.0-rc.2", "b:2.0.0"];
    assert_eq!(newest(&names, 1), ["a:1.2.0-rc.2", "a:1.2.0-rc.1", "a:1.1.0", "b:2.0.0"]);
}

#[test]
fn a_name_that_is_no_version_is_refused() {
    for (text, expected) in [
        (
            "",
            expect![[
                r#""" is not a version of a release (empty string, expected a semver version); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "1.2",
            expect![[
                r#""1.2" is not a version of a release (unexpected end of input while parsing minor version number); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "01.2.3",
            expect![[
                r#""01.2.3" is not a version of a release (invalid leading zero in major version number); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "1.2.3+build",
            expect![[
                r#""1.2.3+build" is not a version of a release (a `+` and what follows it is not supported); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "1.2.3-rc",
            expect![[
                r#""1.2.3-rc" is not a version of a release (what follows the three numbers is not a word, a dot and a number); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "1.2.3-rc.0",
            expect![[
                r#""1.2.3-rc.0" is not a version of a release (what follows the three numbers is not a word, a dot and a number); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
        (
            "1.2.3\nX",
            expect![[
                r#""1.2.3\nX" is not a version of a release (unexpected character '\n' after patch version number); releases are X.Y.Z, such as 1.2.3, and prereleases X.Y.Z-rc.N"#
            ]],
        ),
    ] {
        check(text, &[], expected);
    }
}
