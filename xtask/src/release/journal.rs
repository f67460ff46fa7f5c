//! The journal of a release that is being made: what was decided before the first step, then the
//! steps that were begun and done.
//!
//! A release can die at any instant, and the same command finishes it: from the commit that was
//! chosen then, under the same time and name, whatever has been committed since. A line is a hash
//! and what it is of. The last one may be cut, since it was being written; a decision that was
//! never whole was never acted on. What is damaged otherwise is not guessed at.

use anyhow::{Context, Result};
use fingerprint::sha256;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::record::Person;

/// What is decided once for a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) version: Version,
    pub(crate) previous: Option<Version>,
    /// What is released.
    pub(crate) commit: String,
    /// RFC 3339, UTC, whole seconds.
    pub(crate) created: String,
    pub(crate) by: Person,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Decided(Decision),
    Begun(String),
    Done(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) decision: Decision,
    /// The steps that are known to be done, in their order.
    pub(crate) done: Vec<String>,
}

/// How many characters of a line's hash stand before it.
const HASH: usize = 16;

/// One line, with its end.
pub(crate) fn line(line: &Line) -> Result<String> {
    let text = serde_json::to_string(line).context("can't write the journal")?;
    Ok(format!("{} {text}\n", &sha256(text.as_bytes())[..HASH]))
}

/// Reads a journal; `None` for one in which nothing was decided yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Journal>> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(bytes[..whole].split_inclusive(|&byte| byte == b'\n')) {
        let parsed = parse_line(line);
        lines.push(parsed.with_context(|| format!("line {number} of the journal is damaged"))?);
    }
    let mut lines = lines.into_iter();
    let decision = match lines.next() {
        None => return Ok(None),
        Some(Line::Decided(decision)) => decision,
        Some(_) => anyhow::bail!("the journal does not begin with a decision"),
    };
    let done = lines.filter_map(|line| match line {
        Line::Done(step) => Some(step),
        Line::Decided(_) | Line::Begun(_) => None,
    });
    Ok(Some(Journal { decision, done: done.collect() }))
}

fn parse_line(line: &[u8]) -> Result<Line> {
    let line = std::str::from_utf8(line)?.trim_end_matches('\n');
    let (hash, text) = line.split_once(' ').context("it has no hash")?;
    anyhow::ensure!(sha256(text.as_bytes())[..HASH] == *hash, "it has another hash");
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> Decision {
        Decision {
            version: Version::new(1, 0, 0),
            previous: None,
            commit: "c".repeat(40),
            created: "2026-11-21T10:00:00Z".into(),
            by: Person { name: "Ada".into(), email: "ada@example.org".into() },
        }
    }

    fn text() -> Vec<u8> {
        let lines = [
            Line::Decided(decision()),
            Line::Begun("tag".into()),
            Line::Done("tag".into()),
            Line::Begun("commit".into()),
        ];
        lines.iter().map(|it| line(it).unwrap()).collect::<String>().into_bytes()
    }

    #[test]
    fn cut_at_any_byte_it_says_what_was_surely_done() {
        let text = text();
        for length in 0..=text.len() {
            let lines = text[..length].iter().filter(|&&byte| byte == b'\n').count();
            let journal = parse(&text[..length]).unwrap();
            assert_eq!(journal.is_some(), lines > 0, "{length}");
            let done = journal.map_or(0, |journal| journal.done.len());
            assert_eq!(done, usize::from(lines >= 3), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_a_line_that_was_not_finished() {
        let text = text();
        let whole = parse(&text).unwrap().unwrap();
        for at in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            if let Ok(found) = parse(&damaged) {
                let last_line = at / 8 == text.len() - 1;
                assert!(last_line && found.unwrap() == whole, "bit {at}");
            }
        }
    }
}
