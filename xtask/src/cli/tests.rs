//! Every command line that the definitions of CI jobs hold is one of ours.

use std::ffi::OsString;
use std::path::Path;

use super::Cli;

/// The command lines in a text, as a shell gives them to the program.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '/'])) {
        let Some((before, rest)) = line.split_once("cargo xtask ") else { continue };
        // Behind the quote that a step of Jenkins begins with.
        let rest = if before.ends_with('\'') { rest.trim_end_matches('\'') } else { rest };
        let rest = rest.replace("$VERSION", "1.2.0").replace("$ENVIRONMENT", "prod");
        assert!(!rest.contains('$'), "{line}");
        found.push(shell_words::split(&rest).expect(line));
    }
    found
}

#[test]
fn the_definitions_of_ci_jobs_call_us_as_we_are_called() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci");
    for file in ["github.yml", "gitlab.yml", "Jenkinsfile"] {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        let mut names = Vec::new();
        for words in commands(&text) {
            let line = ["cargo xtask"].into_iter().chain(words.iter().map(String::as_str));
            let parsed = Cli::from_words(line.map(OsString::from).collect());
            parsed.unwrap_or_else(|error| panic!("{file}: {words:?}: {error}"));
            names.push(words[0].clone());
        }
        let expected = ["ci", "setup", "release", "publish", "setup", "deploy"];
        assert_eq!(names, expected, "{file}");
    }
}
