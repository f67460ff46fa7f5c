//! What `cargo xtask selftest --breaks` tries: patches that break a promise, each with the test that
//! has to find it. Here: what is written on them, and whether they still apply.

use std::collections::BTreeSet;
use std::process::Command;

use crate::dsl::repository;
use crate::tidy::subcommands;

const LAWS: std::ops::RangeInclusive<u8> = 1..=7;

#[test]
fn each_law_and_each_command_has_a_break_and_each_break_a_test() {
    let mut sources = String::new();
    for entry in walkdir::WalkDir::new(repository().join("xtask")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            sources += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut wanted: BTreeSet<String> = LAWS.map(|law| format!("Law: {law}")).collect();
    wanted.extend(subcommands().iter().map(|name| format!("Command: {name}")));
    let (known, mut findings, mut count) = (wanted.clone(), Vec::new(), 0);
    let directory = repository().join("xtask/tests/breaks");
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let mut next = || lines.next().unwrap_or_default();
        let (promise, test, breaks) = (next(), next(), next());
        count += 1;
        if !known.contains(promise) {
            findings.push(format!("{name}: {promise:?} is neither a law nor a command"));
        }
        wanted.remove(promise);
        let function = test.strip_prefix("Test: ").and_then(|it| it.rsplit([':', ' ']).next());
        if function.is_none_or(|it| !sources.contains(&format!("fn {it}("))) {
            findings.push(format!("{name}: {test:?} names no test"));
        }
        let apply = ["apply", "--check", "--"];
        let applies =
            Command::new("git").args(apply).arg(&path).current_dir(repository()).output().unwrap();
        if !applies.status.success() {
            let why = String::from_utf8_lossy(&applies.stderr);
            findings.push(format!("{name}: it does not apply any more: {}", why.trim()));
        }
        if !breaks.starts_with("Breaks: ") {
            findings.push(format!("{name}: its third line does not say what it breaks"));
        }
    }
    findings.extend(wanted.iter().map(|it| format!("no patch has {it:?}")));
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    assert!(count >= 60, "{count} breaks");
}
