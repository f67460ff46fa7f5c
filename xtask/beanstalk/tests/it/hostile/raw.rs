//! Archives that no tool makes: every field of an entry is what the test says.

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress};

pub(crate) const STORED: u16 = 0;
pub(crate) const DEFLATED: u16 = 8;
const UTF8: u16 = 1 << 11;

/// One entry; a test changes what is to be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) data: Vec<u8>,
    pub(crate) crc: u32,
    pub(crate) compressed: u64,
    pub(crate) size: u64,
    /// Where its data are said to be, when it is not where they are.
    pub(crate) offset: Option<u32>,
}

pub(crate) fn entry(name: impl AsRef<[u8]>, mode: u32, content: impl AsRef<[u8]>) -> Entry {
    let content = content.as_ref();
    Entry {
        name: name.as_ref().to_vec(),
        mode,
        method: STORED,
        flags: UTF8,
        data: content.to_vec(),
        crc: crc32fast::hash(content),
        compressed: content.len() as u64,
        size: content.len() as u64,
        offset: None,
    }
}

pub(crate) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    entry(name, 0o100_644, content)
}

pub(crate) fn program(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
    entry(name, 0o100_755, content)
}

pub(crate) fn link(name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Entry {
    entry(name, 0o120_777, to)
}

pub(crate) fn directory(name: impl AsRef<[u8]>) -> Entry {
    entry(name, 0o040_755, "")
}

impl Entry {
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Entry)) -> Entry {
        change(&mut self);
        self
    }

    fn local(&self) -> Vec<u8> {
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(45_u16.to_le_bytes());
        self.common(&mut out);
        out.extend(0_u16.to_le_bytes());
        out.extend(&self.name);
        out.extend(&self.data);
        out
    }

    fn common(&self, out: &mut Vec<u8>) {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        for number in [self.flags, self.method, 0, 0x21] {
            out.extend(number.to_le_bytes());
        }
        for number in [self.crc, small(self.compressed), small(self.size)] {
            out.extend(number.to_le_bytes());
        }
        out.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
    }

    fn central(&self, offset: u32) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.size > u64::from(u32::MAX) {
            extra.extend([1, 0, 8, 0]);
            extra.extend(self.size.to_le_bytes());
        }
        let mut out = b"PK\x01\x02".to_vec();
        // Made by Unix: the upper half of the attributes is the mode.
        out.extend([45, 3, 45, 0]);
        self.common(&mut out);
        out.extend(u16::try_from(extra.len()).unwrap().to_le_bytes());
        out.extend([0; 6]);
        out.extend((self.mode << 16).to_le_bytes());
        out.extend(self.offset.unwrap_or(offset).to_le_bytes());
        out.extend(&self.name);
        out.extend(extra);
        out
    }
}

/// An archive of the entries, in this order.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = u32::try_from(out.len()).unwrap();
        central.extend(entry.central(offset));
        // One that is said to be elsewhere has no data of its own.
        if entry.offset.is_none() {
            out.extend(entry.local());
        }
    }
    let (count, from) = (entries.len() as u64, out.len() as u64);
    out.extend(&central);
    let small = u16::try_from(count).unwrap_or(u16::MAX);
    if small == u16::MAX {
        let end = out.len() as u64;
        out.extend(b"PK\x06\x06");
        out.extend(44_u64.to_le_bytes());
        out.extend([45, 3, 45, 0]);
        out.extend([0; 8]);
        for number in [count, count, central.len() as u64, from] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"PK\x06\x07");
        out.extend(0_u32.to_le_bytes());
        out.extend(end.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
    }
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(small.to_le_bytes());
    out.extend(small.to_le_bytes());
    out.extend(u32::try_from(central.len()).unwrap().to_le_bytes());
    out.extend(u32::try_from(from).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out
}

/// So many MiB of zeros, deflated, in a thousandth of the place and in no time.
pub(crate) fn zeros(name: &str, mebibytes: u64) -> Entry {
    const MEBIBYTE: usize = 1024 * 1024;
    let mut compress = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(MEBIBYTE);
    compress.compress_vec(&vec![0; MEBIBYTE], &mut block, FlushCompress::Full).unwrap();
    let mut data = block.repeat(usize::try_from(mebibytes).unwrap());
    data.extend([3, 0]);
    let compressed = data.len() as u64;
    let size = mebibytes * MEBIBYTE as u64;
    let mut sum = crc32fast::Hasher::new();
    let one = {
        let mut one = crc32fast::Hasher::new();
        one.update(&vec![0; MEBIBYTE]);
        one
    };
    (0..mebibytes).for_each(|_| sum.combine(&one));
    let crc = sum.finalize();
    file(name, "").but(|it| {
        (it.method, it.data, it.compressed, it.size, it.crc) =
            (DEFLATED, data, compressed, size, crc);
    })
}

/// A deflated file.
pub(crate) fn deflated(name: &str, content: &[u8]) -> Entry {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    let data = encoder.finish().unwrap();
    file(name, content).but(|it| {
        it.compressed = data.len() as u64;
        (it.method, it.data) = (DEFLATED, data);
    })
}
