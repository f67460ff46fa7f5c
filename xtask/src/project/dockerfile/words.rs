//! The words of a Dockerfile's instruction: quotes, flags, here-documents and variables, as
//! BuildKit reads them.

use crate::project::substitute::{Lookup, variable};

/// The escape of flags and here-documents, whatever the file says of its own.
const BACKSLASH: char = '\\';

/// What ends the text that follows an instruction.
#[derive(Debug)]
pub(super) struct HereDocument {
    pub(super) name: String,
    /// Whether tabs may stand before its end.
    indented: bool,
}

impl HereDocument {
    pub(super) fn is_ended_by(&self, line: &str) -> bool {
        let line = if self.indented { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The here-documents that a line opens.
pub(super) fn here_documents(line: &str) -> Vec<HereDocument> {
    let (words, closed) = split(line, BACKSLASH);
    // BuildKit sees no words in a line whose quotes are not closed.
    if closed { words.into_iter().filter_map(here_document).collect() } else { Vec::new() }
}

fn here_document(word: &str) -> Option<HereDocument> {
    let name = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (name, indented) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
    // `<<<` is the shell's own.
    let name = if name.contains('<') { None } else { without_quotes(name, BACKSLASH).ok() };
    name.filter(|name| !name.is_empty()).map(|name| HereDocument { name, indented })
}

/// The flags at the beginning, without their quotes, and what follows them.
pub(super) fn flags(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, behind, _) = first(rest, BACKSLASH);
        rest = behind.trim_start();
        if word == "--" {
            break;
        }
        flags.push(without_quotes(word, BACKSLASH)?);
    }
    Ok((flags, rest))
}

/// All words with their quotes, and whether these are closed.
pub(super) fn split(text: &str, escape: char) -> (Vec<&str>, bool) {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    let mut all_closed = true;
    while !rest.is_empty() {
        let (word, behind, closed) = first(rest, escape);
        words.push(word);
        rest = behind.trim_start();
        all_closed &= closed;
    }
    (words, all_closed)
}

/// The first word with its quotes, what follows it, and whether its quotes are closed.
fn first(text: &str, escape: char) -> (&str, &str, bool) {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            Some('\'') if c != '\'' => {}
            _ if c == escape => {
                chars.next();
            }
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => return (&text[..at], &text[at..], true),
            _ => {}
        }
    }
    (text, "", quote.is_none())
}

/// A word without its quotes and with its variables filled in.
pub(super) fn expand(word: &str, escape: char, lookup: &mut Lookup<'_>) -> Result<String, String> {
    let fill = |text: &str, lookup: &mut Lookup<'_>| expand(text, escape, lookup);
    unquote(word, escape, &mut |behind| variable(behind, lookup, &fill))
}

/// A word without its quotes; variables stay.
pub(super) fn without_quotes(word: &str, escape: char) -> Result<String, String> {
    unquote(word, escape, &mut |behind| Ok(("$".into(), behind)))
}

/// `dollar` gets what follows a `$`, and returns what stands for it and what is left.
fn unquote<'t>(
    word: &'t str,
    escape: char,
    dollar: &mut dyn FnMut(&'t str) -> Result<(String, &'t str), String>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut quote = None;
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match quote {
            Some(open) if c == open => quote = None,
            Some('\'') => result.push(c),
            None if c == '"' || c == '\'' => quote = Some(c),
            _ if c == '$' => {
                let (value, left) = dollar(rest)?;
                result.push_str(&value);
                rest = left;
            }
            _ if c == escape => {
                let Some(next) = rest.chars().next() else { break };
                // Between double quotes little needs an escape; before the rest it stands for
                // itself.
                if quote.is_none() || matches!(next, '"' | '$') || next == escape {
                    result.push(next);
                    rest = &rest[next.len_utf8()..];
                } else {
                    result.push(c);
                }
            }
            _ => result.push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("a {open} is not closed")),
        None => Ok(result),
    }
}
