//! What a path shows at a glance: enough to know that most patterns cannot match it.
//!
//! A context has many paths and an ignore file may have many patterns, and nearly all pairs
//! differ in their first bytes, in their last ones, or in a letter that the path has nowhere.

/// The first and the last eight bytes, and which bytes there are (by their lower six bits).
pub(super) struct Glance {
    head: u64,
    tail: u64,
    letters: u64,
}

impl Glance {
    pub(super) fn at(path: &[u8]) -> Glance {
        Glance { head: head(path), tail: tail(path), letters: letters(path) }
    }
}

/// What every path that matches a pattern shows.
#[derive(Debug)]
pub(super) struct Needs {
    head: u64,
    head_mask: u64,
    tail: u64,
    tail_mask: u64,
    letters: u64,
}

impl Needs {
    /// Of paths with these bytes at their start, at their end and anywhere.
    pub(super) fn new(start: &[u8], end: &[u8], inside: &[u8]) -> Needs {
        Needs {
            head: head(start),
            head_mask: mask(start.len()),
            tail: tail(end),
            tail_mask: mask(end.len()),
            letters: letters(start) | letters(end) | letters(inside),
        }
    }

    pub(super) fn are_met(&self, path: &Glance) -> bool {
        path.head & self.head_mask == self.head
            && path.tail & self.tail_mask == self.tail
            && path.letters & self.letters == self.letters
    }
}

/// The first byte is the lowest.
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    }
}

/// The last byte is the lowest.
fn tail(bytes: &[u8]) -> u64 {
    match bytes.last_chunk() {
        Some(last) => u64::from_be_bytes(*last),
        None => bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    }
}

fn mask(length: usize) -> u64 {
    if length < 8 { (1 << (8 * length)) - 1 } else { u64::MAX }
}

fn letters(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |set, byte| set | 1 << (byte % 64))
}
