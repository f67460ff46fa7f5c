//! Changes for a terminal: aligned columns, sections only where something differs.

use std::iter::once;

use fingerprint::short;

use super::sections::{Row, Section};
use super::{Changes, Commits, Head};

impl Changes {
    /// Lines of text, the last one without an end.
    pub(crate) fn table(&self) -> String {
        let (old, new) = (&self.old, &self.new);
        if self.is_empty() {
            return format!("{} and {}: nothing differs", old.version, new.version);
        }
        let mut lines = vec![format!("{} → {}", head(old), head(new))];
        if self.hides_commits() {
            lines.extend(["commits", "  not known to this clone"].map(str::to_owned));
        }
        if let Some(commits) = self.commits() {
            lines.push(commits_title(commits, old, new));
            let row = |sign, it: &super::Commit| format!("  {sign} {}  {}", it.commit, it.subject);
            lines.extend(commits.gained.iter().map(|it| row('+', it)));
            lines.extend(commits.lost.iter().map(|it| row('-', it)));
        }
        for section in self.sections() {
            lines.extend(text(&section));
        }
        let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
        lines.join("\n")
    }
}

fn head(head: &Head) -> String {
    let date = head.created.split('T').next().unwrap_or_default();
    format!("{} ({}, {date})", head.version, short(&head.commit))
}

/// Says so when the new release does not continue the old one.
pub(super) fn commits_title(commits: &Commits, old: &Head, new: &Head) -> String {
    match commits.lost.is_empty() {
        true => "commits".to_owned(),
        false => format!("commits ({} does not contain {})", new.version, old.version),
    }
}

fn text(section: &Section) -> Vec<String> {
    let values: Vec<String> = section.rows.iter().map(value).collect();
    let width = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let names = width(&mut section.rows.iter().map(|row| &row.name));
    let wide = width(&mut values.iter());
    let row = |(row, value): (&Row, &String)| {
        let sign = match row.status {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        let gap = if wide == 0 { "" } else { "  " };
        let line = format!("  {sign} {:names$}  {value:wide$}{gap}{}", row.name, row.detail);
        line.trim_end().to_owned()
    };
    let rows = section.rows.iter().zip(&values).map(row);
    let same = (!section.same.is_empty()).then(|| format!("  = {}", section.same.join(", ")));
    once(section.title.clone()).chain(rows).chain(same).collect()
}

fn value(row: &Row) -> String {
    match (&row.old, &row.new) {
        (Some(old), Some(new)) => format!("{old} → {new}"),
        (old, new) => old.clone().or(new.clone()).unwrap_or_default(),
    }
}

/// A commit's subject and a name are somebody else's text: they may not move the cursor.
pub(crate) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
