//! A build context as a list: every entry with its kind, mode and content, in one fixed order.
//!
//! Half a million entries have to fit in memory beside the cache that made them quick to find, so
//! all names lie in one buffer and a row is 48 bytes.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::Digest;

/// Entries in the order of their paths, a directory right before what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Path and then link target of each row, without anything between.
    text: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    start: u32,
    path: u32,
    target: u16,
    mode: u16,
    kind: Kind,
    content: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
        }
    }
}

/// One entry of a build context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    /// From the context's root, with `/` between the parts.
    pub path: &'t [u8],
    pub kind: Kind,
    /// See [`normal_mode`].
    pub mode: u16,
    /// SHA-256 of a file; zeros for the rest.
    pub content: Digest,
    /// Where a symlink points to; empty for the rest.
    pub target: &'t [u8],
}

impl Entry<'_> {
    /// What it holds, as text: the SHA-256 of a file, where a symlink points to.
    pub fn content_text(&self) -> String {
        match self.kind {
            Kind::File => hex::encode(self.content),
            Kind::Directory => String::new(),
            Kind::Symlink => escape(self.target),
        }
    }
}

/// The mode that counts: the owner's bits, spread to group and others without the right to write.
///
/// Group's and others' bits come from the umask of whoever made the checkout, and git keeps none of
/// them. The builder gets exactly this mode, so nothing that is left out can reach an image. A
/// directory's set-group-ID bit is inherited from where the checkout lies and does not count; the
/// sticky bit of a file means nothing.
pub fn normal_mode(mode: u32, kind: Kind) -> u16 {
    let owner = (mode >> 6) & 0o7;
    let spread = owner & 0o5;
    let special = match kind {
        Kind::File => mode & 0o6000,
        Kind::Directory => mode & 0o1000,
        // A symlink's own bits mean nothing and differ between systems.
        Kind::Symlink => return 0o777,
    };
    (special | owner << 6 | spread << 3 | spread) as u16
}

impl Tree {
    /// Adds an entry behind all others. Fails when the names pass 4 GB or a link 64 KB.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<()> {
        let tried = "a context whose names need more than 4 GB";
        let start = u32::try_from(self.text.len()).context(tried)?;
        self.text.extend_from_slice(entry.path);
        self.text.extend_from_slice(entry.target);
        self.rows.push(Row {
            start,
            path: u32::try_from(entry.path.len()).context(tried)?,
            target: u16::try_from(entry.target.len()).context("a link target over 64 KB")?,
            mode: entry.mode,
            kind: entry.kind,
            content: entry.content,
        });
        Ok(())
    }

    /// Takes back the last entry.
    pub(crate) fn pop(&mut self) {
        if let Some(row) = self.rows.pop() {
            self.text.truncate(row.start as usize);
        }
    }

    pub(crate) fn set_content(&mut self, row: usize, content: Digest) {
        self.rows[row].content = content;
    }

    pub(crate) fn get(&self, row: usize) -> Entry<'_> {
        let row = &self.rows[row];
        let start = row.start as usize;
        let end = start + row.path as usize;
        Entry {
            path: &self.text[start..end],
            kind: row.kind,
            mode: row.mode,
            content: row.content,
            target: &self.text[end..end + usize::from(row.target)],
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.rows.len()).map(|row| self.get(row))
    }

    /// One line an entry, fields separated by tabs: kind, mode, content, path.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.rows.len() * 100);
        for entry in self.iter() {
            let (kind, mode) = (entry.kind.name(), entry.mode);
            let (content, path) = (entry.content_text(), escape(entry.path));
            let _ = writeln!(text, "{kind}\t{mode:04o}\t{content}\t{path}");
        }
        text
    }

    /// Reads what [`Tree::text`] wrote.
    pub fn parse(text: &str) -> Result<Tree> {
        let mut tree = Tree::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [kind, mode, content, path] = fields[..] else {
                anyhow::bail!("a line without four fields");
            };
            let mut entry = Entry {
                path: &unescape(path).context("a path")?,
                kind: Kind::Directory,
                mode: u16::from_str_radix(mode, 8)?,
                content: [0; 32],
                target: &[],
            };
            let target = unescape(content).context("a link target")?;
            match kind {
                "file" => {
                    entry.kind = Kind::File;
                    hex::decode_to_slice(content, &mut entry.content)?;
                }
                "symlink" => (entry.kind, entry.target) = (Kind::Symlink, &target),
                "directory" => {}
                other => anyhow::bail!("an entry of kind {other:?}"),
            }
            tree.push(&entry)?;
        }
        Ok(tree)
    }
}

/// The order of a [`Tree`]: part by part, as a walk meets the entries.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    // No part of a path holds a zero, so it can stand for the separator and sorts before all.
    let key = |path: &[u8]| path.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect();
    if one == other {
        return std::cmp::Ordering::Equal;
    }
    let (one, other): (Vec<u8>, Vec<u8>) = (key(one), key(other));
    one.cmp(&other)
}

/// A path as text, one to one: bytes that are not UTF-8, control characters and the backslash
/// become `\xNN`.
pub fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\x{byte:02x}");
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The path that [`escape`] wrote; nothing where it cannot have written it.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut path = parts.next()?.as_bytes().to_vec();
    for part in parts {
        path.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        path.extend_from_slice(&part.as_bytes()[2..]);
    }
    (!path.contains(&0)).then_some(path)
}
