//! `.dockerignore`, as the engine applies it.
//!
//! The file passes through four hands, and each of them changes what a line means: BuildKit's
//! frontend reads it (moby's `ignorefile`), gRPC carries the list to the client, patternmatcher
//! cleans it once more and makes rules of it, and fsutil walks the context with them. A rule of
//! our own would hash other files than the builder copies, so each step is done here as it is
//! done there, quirks included. Two oracles hold us to it: the real patternmatcher
//! (`tests/oracle/ignore.go`) and the real engine (`xtask/tests/it/ignore_rules.rs`).
//!
//! | Module | Its step |
//! |---|---|
//! | here | lines to a list of patterns; which of them match; where the walk may stop |
//! | `pattern` | one pattern: a comparison, or a regular expression |
//! | `glance` | what most pairs of pattern and path are told apart by |
//! | `regexp` | the part of Go's regular expressions that a pattern can reach |
//!
//! Stricter than the engine on purpose: a pattern that is no valid regular expression is refused
//! at once (the engine fails when it first needs it), and so are escapes that only a regular
//! expression has (`\x41`, `\012`, `\pL`, `\Q`).

mod glance;
mod pattern;
mod regexp;

use anyhow::{Result, anyhow, bail};

use glance::{Glance, Needs};
use pattern::Rule;

/// Go's `bufio.Scanner` gives up on a line of this many bytes.
const LINE_LIMIT: usize = 64 << 10;

#[derive(Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    exceptions: Exceptions,
}

/// Which patterns matched a directory, in order: what its entries inherit.
#[derive(Clone, Debug, Default)]
pub struct Parents(Vec<u32>);

#[derive(Debug)]
struct Pattern {
    exception: bool,
    needs: Needs,
    rule: Rule,
    line: usize,
    /// As it stands in the file, trimmed and cleaned.
    text: String,
}

/// The line of an ignore file that decides about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'i> {
    pub ignores: bool,
    pub line: usize,
    pub text: &'i str,
}

/// What the exceptions say about walking into an ignored directory.
#[derive(Debug, Default)]
struct Exceptions {
    /// Some exception is more than a path: it may match at any depth.
    anywhere: bool,
    /// The paths of the others, each with a `/` behind it.
    paths: Vec<String>,
}

impl Ignore {
    pub fn parse(bytes: &[u8]) -> Result<Ignore> {
        let mut ignore = Ignore::default();
        let mut unprintable = None;
        let mut ascii = true;
        for (line, bytes) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if bytes.len() >= LINE_LIMIT {
                bail!("line {line}: longer than the builder reads ({LINE_LIMIT} bytes)");
            }
            let Some(listed) = listed(line, bytes) else {
                continue;
            };
            if listed.contains(|c: char| c.is_ascii_control()) {
                unprintable = unprintable.or(Some(line));
            }
            ascii &= listed.is_ascii();
            ignore.add(line, &listed).map_err(|why| anyhow!("line {line}: {listed:?} {why}"))?;
        }
        // gRPC's rule for a header, and BuildKit encodes its headers only when one needs it.
        if let (Some(line), true) = (unprintable, ascii) {
            bail!("line {line}: a control character, which the builder does not accept");
        }
        Ok(ignore)
    }

    /// One pattern of the list, as patternmatcher takes it: trimmed and cleaned a second time.
    fn add(&mut self, line: usize, listed: &str) -> Result<()> {
        let listed = listed.trim();
        if listed.is_empty() {
            return Ok(());
        }
        let cleaned = clean(listed);
        let (exception, pattern) = match cleaned.strip_prefix('!') {
            Some("") => bail!("is an exception to nothing"),
            Some(pattern) => (true, pattern),
            None => (false, cleaned.as_str()),
        };
        let rule = Rule::parse(pattern)?;
        if exception {
            self.exceptions.add(pattern);
        }
        let text = listed.to_owned();
        self.patterns.push(Pattern { exception, needs: rule.needs(), rule, line, text });
        Ok(())
    }

    /// No patterns: every path stays.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path (relative, `/` between its parts) is ignored, given what matched its
    /// directory.
    pub fn matches(&self, path: &[u8], above: Option<&Parents>) -> (bool, Parents) {
        let mut inherited = above.map_or(&[][..], |above| &above.0);
        let glance = Glance::at(path);
        let matches =
            |pattern: &Pattern| pattern.needs.are_met(&glance) && pattern.rule.matches(path);
        let mut matched = Vec::new();
        let mut ignored = false;
        for (index, pattern) in (0..).zip(&self.patterns) {
            let from_above = inherited.first() == Some(&index);
            if from_above {
                inherited = &inherited[1..];
            }
            // An exception is tried only against a match, and a match only once.
            if from_above || pattern.exception == ignored && matches(pattern) {
                matched.push(index);
                ignored = !pattern.exception;
            }
        }
        (ignored, Parents(matched))
    }

    /// The line that decides about a path, or nothing where no line matches it.
    pub fn rule_for(&self, path: &[u8]) -> Option<Verdict<'_>> {
        let mut parents: Option<Parents> = None;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            parents = Some(self.matches(&path[..end], parents.as_ref()).1);
        }
        let last = &self.patterns[*parents?.0.last()? as usize];
        Some(Verdict { ignores: !last.exception, line: last.line, text: &last.text })
    }

    /// Whether the builder looks into an ignored directory at all.
    ///
    /// It does not where no exception can hold: where all of them are plain paths and none leads
    /// into the directory.
    pub fn may_reinclude_below(&self, path: &[u8]) -> bool {
        let leads_below = |exception: &String| {
            let after = exception.as_bytes().strip_prefix(path);
            after.is_some_and(|after| after.starts_with(b"/"))
        };
        self.exceptions.anywhere || self.exceptions.paths.iter().any(leads_below)
    }
}

impl Exceptions {
    fn add(&mut self, pattern: &str) {
        let path = pattern.strip_suffix("/**").unwrap_or(pattern);
        let path = path.strip_suffix("/*").unwrap_or(path);
        self.anywhere |= path.contains(['*', '[', ']', '?', '^', '\\']);
        self.paths.push(format!("{path}/"));
    }
}

/// What the frontend makes of a line: a pattern, a `!` before it if it is an exception.
fn listed(line: usize, bytes: &[u8]) -> Option<String> {
    let bytes =
        if line == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
    if bytes.starts_with(b"#") {
        return None;
    }
    let text = lossy(bytes);
    let text = text.trim();
    let (mark, pattern) = match text.strip_prefix('!') {
        Some(pattern) => ("!", pattern.trim()),
        None => ("", text),
    };
    match (mark, pattern) {
        ("", "") => None,
        (_, "") => Some(mark.to_owned()),
        _ => {
            let cleaned = clean(pattern);
            let relative = cleaned.strip_prefix('/').filter(|path| !path.is_empty());
            Some(format!("{mark}{}", relative.unwrap_or(&cleaned)))
        }
    }
}

/// The text as Go sees it: one replacement character for each byte that is not UTF-8.
fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if !root.is_empty() => {}
            part => parts.push(part),
        }
    }
    match format!("{root}{}", parts.join("/")) {
        empty if empty.is_empty() => ".".into(),
        cleaned => cleaned,
    }
}

#[cfg(test)]
mod tests;
