//! Addresses in the text of a style sheet: those of `url()`, and strings of an `image-set()`, which
//! no compiler follows.

use std::ops::Range;

use crate::make::Address;

/// The addresses of all `url()` outside of comments and strings, without quotes. One with an escape
/// in it is left out: esbuild reads it.
pub(crate) fn urls(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes[at..].starts_with(b"/*") => {
                at = text[at + 2..].find("*/").map_or(bytes.len(), |end| at + end + 4);
            }
            quote @ (b'"' | b'\'') => at = end_of_string(bytes, at + 1, quote) + 1,
            b'u' | b'U' if begins_url(bytes, at) => {
                let blanks = bytes[at + 4..].iter().take_while(|it| it.is_ascii_whitespace());
                let from = at + 4 + blanks.count();
                let range = match bytes.get(from) {
                    Some(quote @ (b'"' | b'\'')) => {
                        from + 1..end_of_string(bytes, from + 1, *quote)
                    }
                    _ => {
                        let end = text[from..].find(')').map_or(bytes.len(), |end| from + end);
                        from..from + text[from..end].trim_end().len()
                    }
                };
                at = range.end + 1;
                let address = text.get(range.clone()).unwrap_or_default();
                if !address.is_empty() && !address.contains('\\') {
                    found.push(range);
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// Whether `url(` begins here, and not the end of a longer name.
fn begins_url(bytes: &[u8], at: usize) -> bool {
    let is_name = |it: &u8| it.is_ascii_alphanumeric() || b"-_".contains(it) || !it.is_ascii();
    let is_own = at == 0 || !is_name(&bytes[at - 1]);
    // `@import url(…)` names a style sheet, which esbuild bundles.
    let before = bytes[..at].trim_ascii_end();
    let is_own =
        is_own && !before[before.len().saturating_sub(7)..].eq_ignore_ascii_case(b"@import");
    is_own && bytes.len() >= at + 4 && bytes[at..at + 4].eq_ignore_ascii_case(b"url(")
}

/// Where a string ends: at its quote, or with the text.
fn end_of_string(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Addresses in compiled CSS that no compiler follows: the strings of an `image-set()`.
pub(crate) fn strings(text: &str) -> Vec<Address> {
    let mut found = Vec::new();
    for (at, form) in text.match_indices("image-set(") {
        let (mut depth, mut at) = (1, at + form.len());
        while let Some(sign) = text[at..].chars().next().filter(|_| depth > 0) {
            match sign {
                '"' | '\'' => {
                    let Some(length) = text[at + 1..].find(sign) else { break };
                    if depth == 1 {
                        let range = at + 1..at + 1 + length;
                        found.push(Address { range, is_whole: true });
                    }
                    at += length + 1;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            at += sign.len_utf8();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_urls_are_found_outside_of_comments_and_strings() {
        let found = |text: &str| -> Vec<String> {
            urls(text).into_iter().map(|at| text[at].to_owned()).collect()
        };
        assert_eq!(
            found("a{b:url(x.png) url( 'y z.png' ) URL(\"q.png?a#b\")}/* url(no) */c{d:url()}"),
            ["x.png", "y z.png", "q.png?a#b"]
        );
        assert!(found("@import url(a.css);@IMPORT url('b.css')").is_empty());
        assert!(found("a{content:\"url(no)\";b:my-url(no);c:url(a\\)b)}").is_empty());
        assert!(found("a{b:url('x").len() == 1 && found("/* ").is_empty());
    }

    #[test]
    fn strings_of_an_image_set_are_addresses_and_those_of_its_parts_are_not() {
        let text = ".a{background:image-set(\"a.png\" 1x,url(\"b.png\") type(\"image/png\") 2x)}";
        let found: Vec<&str> = strings(text).into_iter().map(|it| &text[it.range]).collect();
        assert_eq!(found, ["a.png"]);
    }
}
