//! Changes as release notes.

use std::iter::once;

use super::sections::Row;
use super::table::commits_title;
use super::{Changes, Commit};

impl Changes {
    /// A section of a change log, with its heading.
    pub(crate) fn markdown(&self) -> String {
        let date = self.new.created.split('T').next().unwrap_or_default();
        let mut text = format!("## {} ({date})\n\n", self.new.version);
        if self.is_empty() {
            text.push_str(&format!("Nothing differs from {}.\n", self.old.version));
            return text;
        }
        text.push_str(&format!("What differs from {}:\n", self.old.version));
        if self.hides_commits() {
            push(&mut text, "commits", once("- not known".to_owned()));
        }
        if let Some(commits) = self.commits() {
            let title = commits_title(commits, &self.old, &self.new);
            let lost = commits.lost.iter().map(|it| format!("- no longer: {}", commit(it)));
            let gained = commits.gained.iter().map(|it| format!("- {}", commit(it)));
            push(&mut text, &title, gained.chain(lost));
        }
        for section in self.sections() {
            let same = section.same.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
            let same = (!same.is_empty()).then(|| format!("- the same: {same}"));
            push(&mut text, &section.title, section.rows.iter().map(line).chain(same));
        }
        text
    }
}

fn push(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut letters = title.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    text.push_str(&format!("\n### {}\n\n", escape(&format!("{first}{}", letters.as_str()))));
    lines.for_each(|line| text.push_str(&format!("{line}\n")));
}

fn commit(commit: &Commit) -> String {
    format!("{} ({})", escape(&commit.subject), code(&commit.commit))
}

fn line(row: &Row) -> String {
    let status = if row.status == "changed" { "" } else { row.status };
    let value = match (&row.old, &row.new) {
        (Some(old), Some(new)) => format!("{} → {}", code(old), code(new)),
        (old, new) => old.as_deref().or(new.as_deref()).map(code).unwrap_or_default(),
    };
    let detail = match (value.is_empty(), row.detail.is_empty()) {
        (_, true) => String::new(),
        (true, false) => escape(&row.detail),
        (false, false) => format!("({})", escape(&row.detail)),
    };
    let words = [status.to_owned(), code(&row.name), value, detail];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("- {}", words.join(" "))
}

/// Text as it is, in Markdown: a `~` of a Debian version strikes nothing out.
fn code(text: &str) -> String {
    let text = plain(text);
    match text.contains('`') {
        false => format!("`{text}`"),
        true => format!("`` {text} ``"),
    }
}

/// Text that Markdown and HTML leave as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        let begins_a_block = escaped.is_empty() && "#+-".contains(c);
        if begins_a_block || "\\`*_[]<>~&|".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
