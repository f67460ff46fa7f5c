//! Reads source maps, version 3, apart from the pipeline's own way: each mapping with its place in
//! the output and its place in a source, sorted.

use serde::Deserialize;

/// Digits of a mapping, by their values.
const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) struct SourceMap {
    sources: Vec<String>,
    contents: Vec<Option<String>>,
    mappings: Vec<Mapping>,
}

/// Line and column in the output, and source and line if there is one.
type Mapping = ((u32, u32), Option<(usize, u32)>);

/// Where something came from.
pub(crate) struct Origin<'m> {
    pub(crate) source: &'m str,
    /// From 0.
    pub(crate) line: u32,
    pub(crate) content: &'m str,
}

impl SourceMap {
    pub(crate) fn read(text: &[u8]) -> SourceMap {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            version: u32,
            sources: Vec<String>,
            #[serde(default)]
            sources_content: Vec<Option<String>>,
            mappings: String,
        }
        let raw: Raw = serde_json::from_slice(text).unwrap();
        assert_eq!(raw.version, 3);
        let (mut mappings, mut of_source) = (Vec::new(), [0; 4]);
        for (line, text) in raw.mappings.split(';').enumerate() {
            let mut column = 0;
            for numbers in text.split(',').filter(|text| !text.is_empty()).map(numbers) {
                column += numbers[0];
                for (sum, number) in of_source.iter_mut().zip(&numbers[1..]) {
                    *sum += number;
                }
                let from = (numbers.len() > 1).then_some((of_source[0], of_source[1]));
                let from = from.map(|(source, line)| (source as usize, line as u32));
                mappings.push(((line as u32, column as u32), from));
            }
        }
        mappings.sort_by_key(|(place, _)| *place);
        SourceMap { sources: raw.sources, contents: raw.sources_content, mappings }
    }

    /// By the last mapping at or before a place of the output, in its line; both from 0.
    pub(crate) fn origin(&self, line: u32, column: u32) -> Option<Origin<'_>> {
        let after = self.mappings.partition_point(|(place, _)| *place <= (line, column));
        let (place, from) = self.mappings.get(after.checked_sub(1)?)?;
        let (source, from_line) = from.filter(|_| place.0 == line)?;
        let content = self.contents.get(source).and_then(Option::as_deref).unwrap_or_default();
        Some(Origin { source: &self.sources[source], line: from_line, content })
    }
}

/// Five bits a digit, the lowest first, the sixth says that more follow; the lowest bit of all is
/// the sign.
fn numbers(text: &str) -> Vec<i64> {
    let (mut found, mut number, mut shift) = (Vec::new(), 0, 0);
    for digit in text.chars().map(|sign| DIGITS.find(sign).unwrap() as i64) {
        number += (digit % 32) << shift;
        shift += 5;
        if digit < 32 {
            found.push(if number % 2 == 1 { -(number / 2) } else { number / 2 });
            (number, shift) = (0, 0);
        }
    }
    found
}
