//! One pattern of an ignore file, as moby's patternmatcher understands it.
//!
//! It knows four forms. A pattern without wildcards is compared, one that only ends in `**` is a
//! prefix, one that only begins with `**` is a suffix (so `**b` matches `ab`), and the rest is
//! rewritten as a regular expression. The rewriting does not know where a `[…]` begins or ends
//! and leaves some characters as they are (`|`, `{`, `^`), with effects that nobody asked for:
//! `a|b*` matches `axx`, and in `[a*]` the star is no star. They are the engine's, hence ours.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Result, bail};

use super::glance::Needs;
use super::regexp::Regexp;

#[derive(Debug)]
pub(super) enum Rule {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Regexp(Box<Regexp>),
}

impl Rule {
    /// The rule of a cleaned pattern, its `!` taken off.
    pub(super) fn parse(pattern: &str) -> Result<Rule> {
        if !is_well_formed(pattern) {
            bail!("is not a valid pattern: a `[` left open, an empty or open range, a last `\\`");
        }
        let bytes = pattern.as_bytes();
        let (form, regexp) = rewrite(pattern);
        Ok(match form {
            Form::Exact => Rule::Exact(bytes.into()),
            Form::Prefix => Rule::Prefix(bytes[..bytes.len() - 2].into()),
            Form::Suffix => Rule::Suffix(bytes[2..].into()),
            Form::Regexp => Rule::Regexp(Box::new(Regexp::parse(&regexp)?)),
        })
    }

    pub(super) fn needs(&self) -> Needs {
        match self {
            Rule::Exact(name) => Needs::new(name, name, b""),
            Rule::Prefix(start) => Needs::new(start, b"", b""),
            Rule::Suffix(end) => Needs::new(b"", end.strip_prefix(b"/").unwrap_or(end), b""),
            Rule::Regexp(regexp) => regexp.needs(),
        }
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Rule::Exact(name) => path == &**name,
            Rule::Prefix(start) => path.starts_with(start),
            // `**/a` is `a` too.
            Rule::Suffix(end) => path.ends_with(end) || end.strip_prefix(b"/") == Some(path),
            Rule::Regexp(regexp) => regexp.matches(path),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Exact,
    Prefix,
    Suffix,
    Regexp,
}

/// The form of a pattern, and its regular expression in case that is the form.
fn rewrite(pattern: &str) -> (Form, String) {
    let mut form = Form::Exact;
    let mut regexp = String::from("^");
    // Go's text scanner drops a byte order mark, even one that stands before a pattern only.
    let pattern = pattern.strip_prefix('\u{feff}').unwrap_or(pattern);
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                form = match (chars.peek(), form) {
                    (None, Form::Exact) => Form::Prefix,
                    (None, _) => {
                        regexp.push_str(".*");
                        Form::Regexp
                    }
                    (Some(_), _) => {
                        regexp.push_str("(.*/)?");
                        Form::Regexp
                    }
                };
                if first {
                    form = Form::Suffix;
                }
            }
            '*' => {
                regexp.push_str("[^/]*");
                form = Form::Regexp;
            }
            '?' => {
                regexp.push_str("[^/]");
                form = Form::Regexp;
            }
            '.' | '+' | '(' | ')' | '$' => regexp.extend(['\\', c]),
            '\\' => {
                regexp.push(c);
                if let Some(next) = chars.next() {
                    regexp.push(next);
                    form = Form::Regexp;
                }
            }
            '[' | ']' => {
                regexp.push(c);
                form = Form::Regexp;
            }
            c => regexp.push(c),
        }
        first = false;
    }
    regexp.push('$');
    (form, regexp)
}

/// Whether Go's `filepath.Match(pattern, ".")` finds no fault, which is all that is asked before
/// the pattern is used.
///
/// It reads from star to star and stops at the first part that does not match: so only the first
/// part is looked at, and the second if the first is all of `.`.
fn is_well_formed(pattern: &str) -> bool {
    let (first, rest) = part(pattern);
    match is_dot(first) {
        None => false,
        Some(false) => true,
        Some(true) => is_dot(part(rest).0).is_some(),
    }
}

/// What stands behind the first stars, up to the next star that is in no brackets.
fn part(pattern: &str) -> (&str, &str) {
    let pattern = pattern.trim_start_matches('*');
    let (mut escaped, mut inside) = (false, false);
    let end = pattern.find(|c| {
        let plain = !escaped;
        escaped = plain && c == '\\';
        match c {
            '[' | ']' if plain => inside = c == '[',
            _ => {}
        }
        plain && c == '*' && !inside
    });
    pattern.split_at(end.unwrap_or(pattern.len()))
}

/// Whether a part is one character that `.` matches; `None` if it is malformed.
fn is_dot(part: &str) -> Option<bool> {
    let mut rest = part.chars().peekable();
    let (mut count, mut dot) = (0, false);
    while let Some(c) = rest.next() {
        count += 1;
        dot = match c {
            '[' => class_has_dot(&mut rest)?,
            '\\' => rest.next()? == '.',
            c => matches!(c, '.' | '?'),
        };
    }
    Some(count == 1 && dot)
}

fn class_has_dot(rest: &mut Peekable<Chars<'_>>) -> Option<bool> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut has = false;
    loop {
        let low = bound(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { bound(rest)? } else { low };
        has |= (low..=high).contains(&'.');
        if rest.next_if_eq(&']').is_some() {
            return Some(has != negated);
        }
    }
}

fn bound(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}
