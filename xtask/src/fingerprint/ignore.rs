//! `.dockerignore`, as the engine applies it.
//!
//! The rules are those of moby's patternmatcher, quirks included, since a rule of our own would
//! hash other files than the builder copies: patterns are cleaned like Go paths, `**` swallows the
//! separator behind it, the last match decides, and what matched a directory matches all below it.

use anyhow::{Result, bail};

#[derive(Debug, Default)]
pub(crate) struct Ignore {
    patterns: Vec<Pattern>,
}

/// Which patterns matched a directory: what its entries inherit.
pub(crate) type Parents = Vec<bool>;

#[derive(Debug)]
struct Pattern {
    exception: bool,
    tokens: Vec<Token>,
}

#[derive(Debug)]
enum Token {
    Char(char),
    /// `?`: one character, not `/`.
    One,
    /// `*`: any number of characters, none of them `/`.
    Star,
    /// `**` before more: nothing, or anything up to a `/`.
    Directories,
    /// `**` at the end: everything.
    Rest,
    /// `[a-z]`, `[^a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Ignore> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let mut patterns = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            if content.starts_with('#') || content.trim().is_empty() {
                continue;
            }
            let content = content.trim();
            let (exception, pattern) = match content.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, content),
            };
            if pattern.is_empty() {
                bail!("line {line}: `!` without a pattern");
            }
            let cleaned = clean(pattern);
            let Some(tokens) = tokens(&cleaned) else {
                bail!(
                    "line {line}: {pattern:?} is not a valid pattern (an unclosed `[`, an empty or open range)"
                );
            };
            patterns.push(Pattern { exception, tokens });
        }
        Ok(Ignore { patterns })
    }

    pub(crate) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether a path is ignored, given what matched its directory.
    pub(crate) fn matches(&self, path: &[u8], above: Option<&Parents>) -> (bool, Parents) {
        let path: Vec<char> = String::from_utf8_lossy(path).chars().collect();
        let mut ignored = false;
        let mut matched = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = above.is_some_and(|above| above[index]);
            // An exception counts only against a match, and a match only once.
            if !inherited && pattern.exception != ignored {
                continue;
            }
            matched[index] = inherited || matches(&pattern.tokens, &path);
            if matched[index] {
                ignored = !pattern.exception;
            }
        }
        (ignored, matched)
    }
}

/// Go's `filepath.Clean`, and no leading `/`.
fn clean(pattern: &str) -> String {
    let rooted = pattern.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { if rooted { "/".into() } else { ".".into() } } else { parts.join("/") }
}

/// The tokens of a cleaned pattern, or `None` where Go's `filepath.Match` finds it malformed.
fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                chars.next_if_eq(&'/');
                if chars.peek().is_none() { Token::Rest } else { Token::Directories }
            }
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Char(chars.next()?),
            '[' => class(&mut chars)?,
            c => Token::Char(c),
        });
    }
    Some(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if chars.peek() == Some(&']') && !ranges.is_empty() {
            chars.next();
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Whether the tokens match the whole path. Each token is tried once per position at the most, so
/// `**/**/**/a` cannot explode.
fn matches(tokens: &[Token], path: &[char]) -> bool {
    // reached[i]: the tokens so far match path[..i].
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; path.len() + 1];
        match token {
            Token::Rest => {
                let first = reached.iter().position(|&here| here).unwrap_or(path.len() + 1);
                next[first.min(path.len() + 1)..].fill(true);
            }
            Token::Directories => {
                let mut open = false;
                for at in 0..=path.len() {
                    next[at] = reached[at] || (open && at > 0 && path[at - 1] == '/');
                    open |= reached[at];
                }
            }
            Token::Star => {
                let mut open = false;
                for at in 0..=path.len() {
                    open = reached[at] || (open && at > 0 && path[at - 1] != '/');
                    next[at] = open;
                }
            }
            one => {
                for at in 0..path.len() {
                    next[at + 1] = reached[at] && one.takes(path[at]);
                }
            }
        }
        reached = next;
    }
    reached[path.len()]
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(wanted) => *wanted == c,
            Token::One => c != '/',
            Token::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
            Token::Star | Token::Directories | Token::Rest => false,
        }
    }
}

#[cfg(test)]
mod tests;
