//! Source maps, version 3: where a place of an output came from, and how the map looks once some
//! addresses in the output have become longer or shorter.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::sha256;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A map, its mappings still as they are written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceMap {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_root: Option<String>,
    pub(crate) sources: Vec<String>,
    /// As they are written, quotes and all: they are most of a map, and rarely looked at.
    #[serde(default)]
    sources_content: Vec<Box<RawValue>>,
    #[serde(default)]
    names: Vec<String>,
    mappings: String,
}

/// Where something came from; line and column from 0, columns in units of UTF-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) source: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A change of an output: at this place (line and column from 0, units of UTF-16) so many units
/// were added, or, below 0, removed. What is at the place itself stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shift {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) by: i64,
}

/// A segment: the column in the output, and what follows of source, line, column and name, each as
/// the difference from the one before.
#[derive(Clone, Copy)]
struct Segment {
    column: i64,
    rest: [i64; 4],
    count: usize,
}

impl SourceMap {
    pub(crate) fn parse(text: &[u8]) -> Result<SourceMap> {
        let map: SourceMap = serde_json::from_slice(text).context("a source map is damaged")?;
        ensure!(map.version == 3, "a source map has the unknown version {}", map.version);
        Ok(map)
    }

    pub(crate) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The text of a source; empty where the map does not have it.
    pub(crate) fn content(&self, source: usize) -> String {
        let raw = self.sources_content.get(source);
        let text = raw.and_then(|raw| serde_json::from_str::<Option<String>>(raw.get()).ok());
        text.flatten().unwrap_or_default()
    }

    /// What it says, as one number.
    pub(crate) fn identity(&self) -> String {
        let mut text = format!("{:?}{:?}", self.sources, self.names);
        let contents = self.sources_content.iter();
        contents.for_each(|content| text += &sha256(content.get().as_bytes()));
        sha256((text + &self.mappings).as_bytes())
    }

    /// Finds many places, each the last mapping at or before it in its line.
    pub(crate) fn lookup(&self) -> Result<Lookup> {
        let mut lines = Vec::new();
        let (mut source, mut line, mut column) = (0, 0, 0);
        for text in self.mappings.split(';') {
            let mut found = Vec::new();
            let mut at = 0;
            for segment in segments(text)? {
                at += segment.column;
                source += segment.rest[0];
                line += segment.rest[1];
                column += segment.rest[2];
                let number = |value: i64| usize::try_from(value).unwrap_or_default();
                let original = (segment.count > 1).then(|| Original {
                    source: number(source),
                    line: number(line),
                    column: number(column),
                });
                found.push((number(at), original));
            }
            lines.push(found);
        }
        Ok(Lookup(lines))
    }

    /// Moves what follows each change in its line; the changes are in the order of the text.
    pub(crate) fn shift(&mut self, shifts: &[Shift]) -> Result<()> {
        if shifts.is_empty() {
            return Ok(());
        }
        let mut mappings = String::with_capacity(self.mappings.len());
        for (number, text) in self.mappings.split(';').enumerate() {
            if number > 0 {
                mappings.push(';');
            }
            let from = shifts.partition_point(|shift| shift.line < number);
            let to = shifts.partition_point(|shift| shift.line <= number);
            if from == to {
                mappings.push_str(text);
                continue;
            }
            let mut left = shifts[from..to].iter().peekable();
            let (mut at, mut written, mut moved) = (0, 0, 0);
            for (index, segment) in segments(text)?.into_iter().enumerate() {
                at += segment.column;
                while let Some(shift) = left.next_if(|it| (it.column as i64) < at) {
                    moved += shift.by;
                }
                if index > 0 {
                    mappings.push(',');
                }
                encode(at + moved - written, &mut mappings);
                written = at + moved;
                segment
                    .rest
                    .iter()
                    .take(segment.count - 1)
                    .for_each(|it| encode(*it, &mut mappings));
            }
        }
        self.mappings = mappings;
        Ok(())
    }
}

/// The mappings of a map by line: column, and where it came from.
pub(crate) struct Lookup(Vec<Vec<(usize, Option<Original>)>>);

impl Lookup {
    pub(crate) fn find(&self, line: usize, column: usize) -> Option<Original> {
        let line = self.0.get(line)?;
        let after = line.partition_point(|(at, _)| *at <= column);
        line.get(after.checked_sub(1)?)?.1
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn segments(line: &str) -> Result<Vec<Segment>> {
    let texts = line.split(',').filter(|text| !text.is_empty());
    texts.map(|text| segment(text).context("the mappings of a source map are damaged")).collect()
}

fn segment(text: &str) -> Option<Segment> {
    let mut values = [0; 5];
    let mut count = 0;
    let (mut value, mut bits) = (0i64, 0);
    for digit in text.bytes() {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        value |= i64::from(digit & 31).checked_shl(bits)?;
        bits += 5;
        if digit < 32 {
            let number = value >> 1;
            *values.get_mut(count)? = if value & 1 == 0 { number } else { -number };
            count += 1;
            (value, bits) = (0, 0);
        } else if bits > 50 {
            return None;
        }
    }
    let [column, rest @ ..] = values;
    (bits == 0 && [1, 4, 5].contains(&count)).then_some(Segment { column, rest, count })
}

fn encode(value: i64, to: &mut String) {
    let mut left = value.unsigned_abs() << 1 | u64::from(value < 0);
    loop {
        let digit = (left & 31) as usize;
        left >>= 5;
        to.push(char::from(DIGITS[if left > 0 { digit | 32 } else { digit }]));
        if left == 0 {
            break;
        }
    }
}

/// How many units of UTF-16 a text has.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A text without the comment that names an older map of it, and whether it had one; all else stays
/// where it is.
pub(crate) fn without_map(mut text: Vec<u8>) -> (Vec<u8>, bool) {
    const NAME: &[u8] = b"sourceMappingURL=";
    let ends: Vec<usize> = memmem::find_iter(&text, NAME).map(|at| at + NAME.len()).collect();
    let mut had_map = false;
    for end in ends {
        let before = &text[..end - NAME.len()];
        if [b"//# ", b"//@ ", b"/*# ", b"/*@ "].iter().any(|start| before.ends_with(*start)) {
            text[end - 1] = b' ';
            had_map = true;
        }
    }
    (text, had_map)
}

/// What stands for a path in the map that esbuild gets: it would read some signs as those of an
/// address.
const HIDDEN: &str = "/stevedore/";

/// The file that a source of a map means, which esbuild wrote or passed on.
pub(crate) fn file_of(path: PathBuf) -> PathBuf {
    let digits = path.to_str().and_then(|path| path.strip_prefix(HIDDEN));
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map_or(path, PathBuf::from)
}

/// A map as a comment of the CSS that it belongs to.
pub(crate) fn inline(map: &SourceMap) -> Result<String> {
    let mut map = map.clone();
    for source in &mut map.sources {
        *source = format!("{HIDDEN}{}", hex::encode(&*source));
    }
    let map = BASE64.encode(map.text()?);
    Ok(format!("\n/*# sourceMappingURL=data:application/json;base64,{map} */\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(mappings: &str) -> SourceMap {
        let text =
            format!(r#"{{"version":3,"sources":["a","b"],"names":["n"],"mappings":"{mappings}"}}"#);
        SourceMap::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_of_any_size_are_written_as_they_are_read() {
        for value in [0, 1, -1, 15, 16, -16, 511, 512, 1 << 20, -(1 << 40)] {
            let mut text = String::new();
            encode(value, &mut text);
            assert_eq!(segment(&text).unwrap().column, value, "{text}");
        }
        for damaged in ["", "g", "AA", "AAAAAA", "A*", "gggggggggggggg"] {
            assert!(segment(damaged).is_none(), "{damaged:?}");
        }
    }

    #[test]
    fn what_follows_a_change_moves_and_what_is_before_stays() {
        // Columns 0, 4 and 10 of the first line, 2 of the second.
        let mut changed = map("AAAA,IAAI,MAAMA;EACA");
        let at = |line, column| Shift { line, column, by: 7 };
        changed.shift(&[at(0, 4), Shift { line: 1, column: 0, by: -1 }]).unwrap();
        let lookup = changed.lookup().unwrap();
        let column = |line, column| lookup.find(line, column).map(|it| (it.line, it.column));
        assert_eq!(column(0, 3), Some((0, 0)));
        assert_eq!(column(0, 4), Some((0, 4)), "what begins where the change is stays");
        assert_eq!(column(0, 16), Some((0, 4)));
        assert_eq!(column(0, 17), Some((0, 10)));
        assert_eq!(column(1, 0), None);
        assert_eq!(column(1, 1), Some((1, 10)));
        let mut same = map("AAAA,IAAI;EACA");
        same.shift(&[at(5, 0)]).unwrap();
        assert_eq!(same.mappings, "AAAA,IAAI;EACA");
    }
}
