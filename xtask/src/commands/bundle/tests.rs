//! The archive: its bytes, with files of every size beside its limits.

use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;

use anyhow::Result;
use zip::{CompressionMethod, DateTime};

use super::archive::{Content, Entry, LARGE, write};

/// What does not get smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = vec![0; bytes];
    for chunk in content.chunks_mut(8) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        chunk.copy_from_slice(&random.to_le_bytes()[..chunk.len()]);
    }
    content
}

fn zipped(entries: Vec<Entry>, most_bytes: u64) -> Result<(Vec<u8>, String)> {
    let mut file = tempfile::tempfile()?;
    let sha256 = write(&mut file, entries, most_bytes, &|| Ok(()))?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok((bytes, sha256))
}

fn text(name: &str, text: &str) -> Entry {
    Entry { name: name.into(), executable: false, content: Content::Text(text.into()) }
}

/// Many small files, one in memory, and two that are streamed, one of them dense.
fn mixture(directory: &Path) -> Vec<Entry> {
    let large = usize::try_from(LARGE).unwrap() + 1;
    let mut entries: Vec<Entry> =
        (0..300).map(|number| text(&format!("many/{number}"), &number.to_string())).collect();
    for (name, content) in [
        ("empty", Vec::new()),
        ("dense", noise(100_000)),
        ("large and dense", noise(large)),
        ("large", b"text ".repeat(large / 5 + 1)),
        ("half", [noise(50_000), vec![b'a'; 50_000]].concat()),
    ] {
        let path = directory.join(name);
        std::fs::File::create(&path).unwrap().write_all(&content).unwrap();
        let content = Content::File(path, content.len() as u64);
        entries.push(Entry { name: name.into(), executable: name.contains("large"), content });
    }
    entries
}

#[test]
fn every_file_comes_out_as_it_went_in_and_always_in_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (bytes, sha256) = zipped(mixture(directory.path()), u64::MAX).unwrap();
    assert_eq!(sha256, fingerprint::sha256(&bytes));
    let mut reversed = mixture(directory.path());
    reversed.reverse();
    assert!(zipped(reversed, u64::MAX).unwrap().0 == bytes, "whatever the order");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut names = Vec::new();
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let expected = match name.strip_prefix("many/") {
            Some(number) => number.as_bytes().to_vec(),
            None => std::fs::read(directory.path().join(&name)).unwrap(),
        };
        assert!(content == expected, "{name}");
        let mode = if name.contains("large") { 0o100_755 } else { 0o100_644 };
        assert_eq!(entry.unix_mode(), Some(mode), "{name}");
        assert_eq!(entry.last_modified(), Some(DateTime::DEFAULT));
        let stored = entry.compression() == CompressionMethod::Stored;
        assert_eq!(stored, name.contains("dense"), "{name}");
        names.push(name);
    }
    assert!(names.is_sorted() && names.len() == 305);
}

#[test]
fn too_much_the_same_name_twice_and_a_file_that_is_gone_are_errors() {
    let said = |entries: Vec<Entry>, most| format!("{:#}", zipped(entries, most).unwrap_err());
    let directory = tempfile::tempdir().unwrap();
    let most = said(mixture(directory.path()), 90_000);
    assert!(most.contains("the bundle has more than 90000 bytes"), "{most}");
    let twice = said(vec![text("a", ""), text("b", ""), text("a", "")], u64::MAX);
    assert!(twice.contains("two files would have the name"), "{twice}");
    let mut gone = mixture(directory.path());
    std::fs::remove_file(directory.path().join("half")).unwrap();
    gone.push(text("last", ""));
    assert!(said(gone, u64::MAX).contains("can't bundle half: No such file"));
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let mut file = tempfile::tempfile().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let stop = || anyhow::bail!("interrupted");
    let error = write(&mut file, mixture(directory.path()), u64::MAX, &stop).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
}
