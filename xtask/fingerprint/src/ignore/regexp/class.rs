//! One character of a regular expression: itself, an escape, `.` or `[…]`.

use anyhow::{Result, anyhow, bail};

#[derive(Debug, PartialEq)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// The class at the start of a text, and what follows it.
    pub(super) fn parse(text: &str) -> Result<(Class, &str)> {
        let any = || Class { negated: true, ranges: vec![('\n', '\n')] };
        if let Some(rest) = text.strip_prefix('.') {
            return Ok((any(), rest));
        }
        if let Some(rest) = text.strip_prefix('[') {
            return brackets(rest);
        }
        if let Some((ranges, rest)) = shorthand(text) {
            return Ok((Class { negated: false, ranges }, rest));
        }
        let (c, rest) = character(text)?;
        Ok((Class { negated: false, ranges: vec![(c, c)] }, rest))
    }

    pub(super) fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != self.negated
    }

    /// The character, if it is only one.
    pub(super) fn only(&self) -> Option<char> {
        match self.ranges[..] {
            [(low, high)] if low == high && !self.negated => Some(low),
            _ => None,
        }
    }

    /// `[^/]`, what a name is made of.
    pub(super) fn is_name(&self) -> bool {
        self.negated && self.ranges == [('/', '/')]
    }
}

/// `[…]` behind its `[`.
fn brackets(text: &str) -> Result<(Class, &str)> {
    let inside = text.strip_prefix('^').unwrap_or(text);
    let negated = inside.len() < text.len();
    let mut ranges = Vec::new();
    let mut rest = inside;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| rest.len() < inside.len()) {
            return Ok((Class { negated, ranges }, after));
        }
        if let Some((named, after)) = named(rest)?.or_else(|| shorthand(rest)) {
            ranges.extend(named);
            rest = after;
            continue;
        }
        let (low, after) = character(rest)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix('-').filter(|rest| !rest.starts_with(']')) {
            (high, rest) = character(after)?;
        }
        if high < low {
            bail!("is not a valid pattern: the range {low}-{high} is empty");
        }
        ranges.push((low, high));
    }
}

/// A character that stands for itself, or behind a backslash for what Go makes of it.
fn character(text: &str) -> Result<(char, &str)> {
    let mut chars = text.chars();
    let open = || anyhow!("is not a valid pattern: a `[` is left open");
    let c = chars.next().ok_or_else(open)?;
    let c = if c == '\\' { escaped(chars.next().ok_or_else(open)?)? } else { c };
    Ok((c, chars.as_str()))
}

fn escaped(c: char) -> Result<char> {
    match c {
        'a' => Ok('\x07'),
        'f' => Ok('\x0c'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\x0b'),
        '0'..='7' | 'x' | 'p' | 'P' | 'Q' => {
            bail!("has `\\{c}`, which the builder reads as a regular expression; drop the `\\`")
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
        c => bail!("is not a valid pattern: there is no `\\{c}`; drop the `\\`"),
    }
}

type Ranges = Vec<(char, char)>;

/// `\d`, `\s`, `\w` and their opposites.
fn shorthand(text: &str) -> Option<(Ranges, &str)> {
    let rest = text.strip_prefix('\\')?;
    let letter = rest.chars().next()?;
    let ranges: &[(char, char)] = match letter.to_ascii_lowercase() {
        'd' => &[('0', '9')],
        's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        _ => return None,
    };
    let negated = letter.is_ascii_uppercase();
    let ranges = if negated { complement(ranges) } else { ranges.to_vec() };
    Some((ranges, &rest[1..]))
}

/// `[:alpha:]` and the like, inside brackets only.
fn named(text: &str) -> Result<Option<(Ranges, &str)>> {
    let Some((name, rest)) = text.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
        return Ok(None);
    };
    let plain = name.strip_prefix('^').unwrap_or(name);
    let ranges: &[(char, char)] = match plain {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => bail!("is not a valid pattern: there is no class [:{name}:]"),
    };
    let ranges = if plain.len() < name.len() { complement(ranges) } else { ranges.to_vec() };
    Ok(Some((ranges, rest)))
}

/// All characters outside of sorted ASCII ranges.
fn complement(ranges: &[(char, char)]) -> Ranges {
    let beside = |c: char, by: i8| char::from((c as u8).wrapping_add_signed(by));
    let mut next = '\0';
    let mut others = Vec::new();
    for &(low, high) in ranges {
        if next < low {
            others.push((next, beside(low, -1)));
        }
        next = beside(high, 1);
    }
    others.push((next, char::MAX));
    others
}
