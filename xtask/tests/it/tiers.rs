//! Which tests run when. Each belongs to one tier:
//!
//! - **unit**: neither engine nor network; `cargo test` runs them.
//! - **engine**: real parts. Such a test begins with `engine!()`.
//! - **campaign**: many rounds, bounded unless `STEVEDORE_FULL=1`. It begins with `campaign!()`.
//!
//! `cargo xtask selftest` and `ci` run all three. The asset pipeline is tested with its real
//! compilers, which the first of its tests gets, and a browser; those tests are of the engine tier
//! although `cargo test` runs them too.

use std::collections::BTreeMap;
use std::io::Write;

use crate::dsl::repository;

/// Targets all of whose tests are of one tier.
const TARGETS: [(&str, &str); 3] = [
    ("xtask/assets/tests/it/", "engine"),
    ("xtask/fingerprint/tests/classes.rs", "unit"),
    // The others: `rounds.rs`, `staging.rs`.
    ("xtask/fingerprint/tests/", "campaign"),
];
/// What reaches an engine or a network; no unit test names it.
const REAL: [&str; 6] = ["docker(", "Ward::", "Registry::", "Eb {", "Server::start", "chromium("];
/// How a test asks whether it is to be long.
const SIZED: [&str; 2] = ["size(", "\"STEVEDORE_FULL\""];

/// A test as its source has it.
struct Test {
    name: String,
    /// From its first line to its last.
    body: String,
}

/// The tests of a file. A test ends with the first brace at the place where it began.
fn tests_of(text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    for rest in text.split("#[test]\n").skip(1) {
        let start = rest.find("fn ").expect("a function behind #[test]");
        let indent = &rest[..rest.len() - rest.trim_start().len()];
        let end = rest.find(&format!("\n{indent}}}\n")).expect("the end of a test");
        let name = rest[start + 3..].split('(').next().unwrap_or_default().to_owned();
        found.push(Test { name, body: rest[start..end].to_owned() });
    }
    found
}

/// The tier of a test, or what is wrong with it.
fn tier(path: &str, test: &Test) -> Result<&'static str, String> {
    let has = |words: &[&'static str]| words.iter().find(|word| holds(&test.body, word)).copied();
    if let Some((_, tier)) = TARGETS.iter().find(|(target, _)| path.starts_with(target)) {
        return Ok(tier);
    }
    let first = test.body.lines().nth(1).unwrap_or_default().trim();
    let marks = marks(&test.body);
    match first {
        "engine!();" if marks == 1 && has(&SIZED).is_none() => Ok("engine"),
        "engine!();" if marks == 1 => Err("has a bounded size, so it is a campaign".into()),
        "campaign!();" if marks == 1 => Ok("campaign"),
        _ if marks > 0 => Err("says its tier twice, or not in its first line".into()),
        _ => match has(&REAL) {
            Some(word) => Err(format!("is not a unit test, since it has {word:?}")),
            None => Ok("unit"),
        },
    }
}

/// How often a test says its tier.
fn marks(body: &str) -> usize {
    body.matches("engine!();").count() + body.matches("campaign!();").count()
}

/// Whether a text has this, and not as the end of a longer name.
fn holds(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(is_name))
}

#[test]
fn every_test_belongs_to_one_tier() {
    let (mut counts, mut waiting) = (BTreeMap::<&str, usize>::new(), 0);
    let mut findings = Vec::new();
    for entry in walkdir::WalkDir::new(repository().join("xtask")).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tiers.rs")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(repository()).unwrap().display().to_string();
        for test in tests_of(&text) {
            waiting += usize::from(marks(&test.body) > 0);
            match tier(&shown, &test) {
                Ok(tier) => *counts.entry(tier).or_default() += 1,
                Err(problem) => findings.push(format!("{shown}: {} {problem}", test.name)),
            }
        }
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    let count = |tier| counts.get(tier).copied().unwrap_or_default();
    assert!(count("unit") > 300 && count("engine") > 200 && count("campaign") > 10, "{counts:?}");
    if std::env::var_os("STEVEDORE_REQUIRE_DOCKER").is_none() {
        let line =
            format!("not run: {waiting} tests; `cargo xtask selftest` runs all, with an engine\n");
        // Past the capture of the test harness: nobody may take them for passed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

#[test]
fn what_a_test_does_and_what_it_says_of_itself_agree() {
    let of = |body: &str| {
        let text = format!("#[test]\nfn it_works() {{\n{body}\n}}\n");
        let tests = tests_of(&text);
        assert_eq!(tests[0].name, "it_works");
        tier("xtask/tests/it/some.rs", &tests[0])
    };
    assert_eq!(of("    let one = 1;"), Ok("unit"));
    assert_eq!(of("    engine!();\n    docker(&[]);"), Ok("engine"));
    assert_eq!(of("    campaign!();\n    size(1, 2);"), Ok("campaign"));
    assert!(of("    docker(&[]);").unwrap_err().contains("is not a unit test"));
    assert!(of("    engine!();\n    size(1, 2);").unwrap_err().contains("is a campaign"));
    assert!(of("    let one = 1;\n    engine!();").unwrap_err().contains("not in its first line"));
    assert!(of("    engine!();\n    campaign!();").unwrap_err().contains("twice"));
}
