//! What a CI system is told in its own words: problems with a file and a line as annotations of
//! GitHub Actions, gates as sections of GitLab CI that can be folded.
//!
//! All of it goes to stderr, which both systems read, so that `--json` stays what it is.
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>,
//! <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Ctx;
use super::caller::env_os;

/// A problem at a place in a file.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: u32,
    column: Option<u32>,
    message: String,
}

impl Ctx {
    /// Shows GitHub the problems in a text that name a file of this project and a line.
    pub(crate) fn annotate(&self, text: &str) {
        if !is_true("GITHUB_ACTIONS") {
            return;
        }
        let root = format!("{}/", self.root.display());
        let text = anstream::adapter::strip_str(text).to_string().replace(&root, "");
        // Files count from the top of the repository, which the project may lie below.
        let top = env_os("GITHUB_WORKSPACE").filter(|top| !top.is_empty());
        let below = top.and_then(|top| self.root.strip_prefix(top).ok()).unwrap_or(Path::new(""));
        for mut finding in findings(&text, |path| self.root.join(path).is_file()) {
            finding.file = below.join(finding.file).display().to_string();
            let _ = writeln!(std::io::stderr(), "{}", annotation(&finding));
        }
    }

    /// Begins a part of GitLab's log that can be folded.
    pub(crate) fn begin_section(&self, title: &str) {
        self.section("start", title, &format!("[collapsed=true]\r\u{1b}[0K{title}"));
    }

    /// Ends it.
    pub(crate) fn end_section(&self, title: &str) {
        self.section("end", title, "\r\u{1b}[0K");
    }

    fn section(&self, what: &str, title: &str, rest: &str) {
        if is_true("GITLAB_CI") && !self.dry_run {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let name = section_name(title);
            let _ = writeln!(std::io::stderr(), "section_{what}:{now}:{name}{rest}");
        }
    }
}

fn is_true(name: &str) -> bool {
    env_os(name).is_some_and(|value| value == "true")
}

/// GitLab takes letters, digits, `_`, `.` and `-`.
fn section_name(title: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "_.-".contains(sign);
    title.chars().map(|sign| if is_plain(sign) { sign } else { '_' }).collect()
}

/// The places in a text as compilers, linters and this tool name them: `FILE:LINE: TEXT`,
/// `FILE:LINE:COLUMN`, behind `-->` with the problem above it, `Diff in` or `panicked at`.
fn findings(text: &str, is_file: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut problem = text.lines().next().unwrap_or_default();
    for line in text.lines() {
        let plain = line.trim_start();
        if ["error", "warning", "Error"].iter().any(|start| plain.starts_with(start)) {
            problem = line;
        }
        let marks = ["--> ", "Diff in ", "panicked at ", "error: "];
        let place = marks.iter().find_map(|mark| Some(plain.split_once(mark)?.1)).unwrap_or(plain);
        let word = place.split_whitespace().next().unwrap_or_default();
        let mut parts = word.split(':');
        let (Some(file), Some(Ok(number))) = (parts.next(), parts.next().map(str::parse)) else {
            continue;
        };
        if !is_file(file) {
            continue;
        }
        let column = parts.next().and_then(|part| part.parse().ok());
        let said = place[word.len()..].trim();
        let message = match said {
            "" if plain.contains("panicked at ") || plain.starts_with("Diff in ") => plain,
            "" => problem.trim(),
            said => said,
        };
        let message = message.to_owned();
        let finding = Finding { file: file.to_owned(), line: number, column, message };
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

fn annotation(finding: &Finding) -> String {
    let Finding { file, line, column, message } = finding;
    let column = column.map(|column| format!(",col={column}")).unwrap_or_default();
    format!("::error file={},line={line}{column}::{}", property(file), data(message))
}

/// A text behind the second `::` of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let found = findings(text, |path| !path.starts_with("gone"));
        let lines: Vec<String> = found.iter().map(annotation).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn nothing_in_a_text_can_end_the_command_or_begin_another() {
        let finding = Finding {
            file: "a:b,c%.rs".into(),
            line: 3,
            column: None,
            message: "100%\r\n::stop-commands::x, y".into(),
        };
        expect!["::error file=a%3Ab%2Cc%25.rs,line=3::100%25%0D%0A::stop-commands::x, y"]
            .assert_eq(&annotation(&finding));
    }

    #[test]
    fn places_are_found_as_programs_name_them() {
        check(
            "Dockerfiles have problems:\n  docker/app/Dockerfile:3: FROM needs an image\n  gone:1: x",
            &expect!["::error file=docker/app/Dockerfile,line=3::FROM needs an image"],
        );
        check(
            "warning: unused import\n  --> src/a.rs:3:5\n   |\nerror: no such name\n --> src/b.rs:7:1",
            &expect![[r#"
                ::error file=src/a.rs,line=3,col=5::warning: unused import
                ::error file=src/b.rs,line=7,col=1::error: no such name"#]],
        );
        check(
            "Diff in src/main.rs:12:\n-x\nthread 'a' panicked at src/t.rs:4:9:\nleft: 1",
            &expect![[r#"
                ::error file=src/main.rs,line=12::Diff in src/main.rs:12:
                ::error file=src/t.rs,line=4,col=9::thread 'a' panicked at src/t.rs:4:9:"#]],
        );
        check("at 12:30 nothing: x", &expect![""]);
    }

    #[test]
    fn a_section_has_a_name_that_gitlab_takes() {
        assert_eq!(section_name("smoke prod: a/b"), "smoke_prod__a_b");
    }
}
