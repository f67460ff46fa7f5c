//! Names of outputs: each holds the hash of its content and of all that it refers to, so an address
//! never means two things. Outputs that refer to one another get their names together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::Result;
use fingerprint::sha256;

use crate::esbuild::TOKEN;
use crate::make::Unnamed;
use crate::references::{References, Target};
use crate::source_map::{Shift, SourceMap, units};
use crate::sources;

/// Hexadecimal digits of a hash in a name: 64 bits.
const DIGITS: usize = 16;

/// An output with its name, all addresses in it final.
pub(crate) struct Named {
    pub(crate) key: Option<String>,
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) map: SourceMap,
}

/// `dir/name-HASH.ext`, in plain signs only.
pub(crate) fn with_hash(path: &str, hash: &str) -> String {
    let path = sources::plain(path);
    let (stem, extension) = match path.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => (stem, format!(".{extension}")),
        _ => (&*path, String::new()),
    };
    format!("{stem}-{}{extension}", &hash[..DIGITS])
}

/// The name of what esbuild split off, `chunks/name-HASH.js`, without its hash.
pub(crate) fn without_hash(name: &str) -> String {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain = stem.rsplit_once('-').map_or(stem, |(plain, _)| plain);
    sources::plain(&format!("{plain}.{extension}"))
}

/// What a token in a text means.
enum Meaning<'m> {
    /// Another output, by its number.
    Output(usize),
    /// A file that has its name, and what follows it.
    File(&'m str, &'m str),
    /// A directory of the sources, and what follows it.
    Directory(&'m str, &'m str),
}

/// Names all outputs; `files` has the names of those that are taken as they are.
pub(crate) fn name(
    outputs: Vec<Unnamed>,
    references: &References,
    files: &BTreeMap<Target, String>,
) -> Result<Vec<Named>> {
    let by_token: BTreeMap<&str, usize> =
        outputs.iter().enumerate().map(|(number, it)| (it.token.as_str(), number)).collect();
    let by_source: BTreeMap<&str, usize> = outputs
        .iter()
        .enumerate()
        .filter_map(|(number, it)| Some((it.key.as_deref()?, number)))
        .collect();
    let meaning = |token: &str| -> Option<Meaning<'_>> {
        if let Some(number) = token.strip_prefix(TOKEN).and_then(|path| by_token.get(path)) {
            return Some(Meaning::Output(*number));
        }
        let reference = references.get(token)?;
        let suffix = reference.suffix.as_str();
        Some(match &reference.target {
            Target::Directory(path) => Meaning::Directory(path, suffix),
            target => match files.get(target) {
                Some(name) => Meaning::File(name, suffix),
                None => match target {
                    Target::Source(source) => Meaning::Output(*by_source.get(source.as_str())?),
                    _ => return None,
                },
            },
        })
    };
    let found: Vec<Vec<(Range<usize>, Meaning<'_>)>> = outputs
        .iter()
        .map(|output| {
            let tokens = tokens(&output.text).into_iter();
            tokens.filter_map(|at| Some((at.clone(), meaning(&output.text[at])?))).collect()
        })
        .collect();
    // First without the names of others, then with these first hashes in their places.
    let all = |others: &[String]| -> Vec<String> {
        outputs.iter().zip(&found).map(|(it, found)| identity(it, found, others)).collect()
    };
    let first = all(&vec![String::new(); outputs.len()]);
    let refer = found.iter().flatten().any(|(_, it)| matches!(it, Meaning::Output(_)));
    let own = if refer { all(&first) } else { first };
    let names: Vec<String> = (0..outputs.len())
        .map(|number| {
            let others: BTreeSet<&String> =
                reached(number, &found).into_iter().map(|other| &own[other]).collect();
            let mut all = own[number].clone();
            others.into_iter().for_each(|other| all += other);
            with_hash(&outputs[number].plain, &sha256(all.as_bytes()))
        })
        .collect();
    let mut edits: Vec<Vec<(Range<usize>, String)>> = Vec::new();
    for (number, found) in found.into_iter().enumerate() {
        let name = &names[number];
        // A module is named from `./` or `../`, anything else would be a package.
        let relative = |to: &str| {
            let path = sources::relative(name, to);
            let dot = if name.ends_with(".css") || path.starts_with('.') { "" } else { "./" };
            format!("{dot}{path}")
        };
        let address = |meaning: Meaning<'_>| match meaning {
            Meaning::Output(other) => relative(&names[other]),
            Meaning::File(file, suffix) => relative(file) + suffix,
            Meaning::Directory(path, suffix) => {
                let path = sources::plain(path);
                let inside = if path.is_empty() { "x".to_owned() } else { format!("{path}/x") };
                let path = relative(&inside);
                format!("{}{suffix}", &path[..path.len() - 1])
            }
        };
        edits.push(found.into_iter().map(|(at, meaning)| (at, address(meaning))).collect());
    }
    let mut named = Vec::new();
    for ((output, name), edits) in outputs.into_iter().zip(names).zip(edits) {
        let Unnamed { key, mut text, mut map, .. } = output;
        edit(&mut text, &mut map, edits)?;
        named.push(Named { key, name, text, map });
    }
    Ok(named)
}

/// An output's own content, as one number: files by their names, other outputs by what `others`
/// calls them.
fn identity(output: &Unnamed, found: &[(Range<usize>, Meaning<'_>)], others: &[String]) -> String {
    let mut text = String::with_capacity(output.text.len());
    let mut at = 0;
    for (range, meaning) in found {
        text += &output.text[at..range.start];
        text += &match meaning {
            Meaning::File(name, suffix) => format!("\0{name}{suffix}"),
            Meaning::Directory(path, suffix) => format!("\0{path}/{suffix}"),
            Meaning::Output(other) => format!("\0{}", others[*other]),
        };
        at = range.end;
    }
    text += &output.text[at..];
    let map = output.map.identity();
    sha256(format!("{}\0{text}\0{map}", output.plain).as_bytes())
}

/// All outputs that one leads to, over however many steps; without itself.
fn reached(from: usize, found: &[Vec<(Range<usize>, Meaning<'_>)>]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut left = vec![from];
    while let Some(number) = left.pop() {
        for (_, meaning) in &found[number] {
            if let Meaning::Output(other) = meaning
                && reached.insert(*other)
            {
                left.push(*other);
            }
        }
    }
    reached.remove(&from);
    reached
}

/// Where tokens stand in a text. The name of an output may have any letter: it ends with its quote.
pub(crate) fn tokens(text: &str) -> Vec<Range<usize>> {
    let range = |(at, _): (usize, &str)| {
        let from = at + TOKEN.len();
        let rest = &text[from..];
        let quote = text[..at].chars().next_back().filter(|it| "\"'`".contains(*it));
        let length = match quote.filter(|_| rest.starts_with('/')) {
            Some(quote) => rest.find(quote),
            None => rest.find(|sign: char| !sign.is_ascii_alphanumeric()),
        };
        at..from + length.unwrap_or(rest.len())
    };
    text.match_indices(TOKEN).map(range).collect()
}

/// Finds lines and columns of offsets that are asked for in the order of the text.
pub(crate) struct Positions<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'t> Positions<'t> {
    pub(crate) fn new(text: &'t str) -> Positions<'t> {
        Positions { text, offset: 0, line: 0, column: 0 }
    }

    /// Line and column of an offset in bytes; both from 0, the column in units of UTF-16.
    pub(crate) fn of(&mut self, offset: usize) -> (usize, usize) {
        let between = &self.text[self.offset..offset];
        self.line += between.matches('\n').count();
        self.column = match between.rfind('\n') {
            Some(newline) => units(&between[newline + 1..]),
            None => self.column + units(between),
        };
        self.offset = offset;
        (self.line, self.column)
    }
}

/// Replaces parts of a text, given in its order, and moves its map accordingly.
pub(crate) fn edit(
    text: &mut String,
    map: &mut SourceMap,
    edits: Vec<(Range<usize>, String)>,
) -> Result<()> {
    if edits.is_empty() {
        return Ok(());
    }
    let mut new = String::with_capacity(text.len());
    let mut shifts = Vec::new();
    let mut positions = Positions::new(text);
    let mut at = 0;
    for (range, with) in edits {
        let (line, column) = positions.of(range.end);
        let by = units(&with) as i64 - units(&text[range.clone()]) as i64;
        // What begins right behind the replaced part moves, too.
        shifts.push(Shift { line, column: column - 1, by });
        new += &text[at..range.start];
        new += &with;
        at = range.end;
    }
    new += &text[at..];
    *text = new;
    map.shift(&shifts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_plain_signs_and_keeps_its_extension() {
        let hash = "0123456789abcdef0123";
        assert_eq!(with_hash("a/b c(1).svg", hash), "a/b_c_1_-0123456789abcdef.svg");
        assert_eq!(with_hash("a.d/LICENSE", hash), "a.d/LICENSE-0123456789abcdef");
        assert_eq!(without_hash("chunks/chunk-ABCDEF12.js"), "chunks/chunk.js");
    }

    #[test]
    fn tokens_end_where_an_address_ends() {
        let text = "url(stevedore:12ab) \"stevedore:/a/é b.js\" stevedore:";
        let found: Vec<&str> = tokens(text).into_iter().map(|at| &text[at]).collect();
        assert_eq!(found, ["stevedore:12ab", "stevedore:/a/é b.js", "stevedore:"]);
    }
}
