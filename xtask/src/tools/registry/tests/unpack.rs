//! Layers unpacked: files of the programs and made-up ones, whole and damaged.

use std::io::{Read, Write};

use base64::Engine;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::tools::registry::unpack::{Packing, packing, unpack};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// A frame that says nothing of the content: its kind, from 0 to 15, its length and its bytes.
fn skippable(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[0x50 | kind, 0x2a, 0x4d, 0x18], &length[..], bytes].concat()
}

fn read(packing: Packing, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut found = Vec::new();
    let done = unpack(packing, bytes).read_to_end(&mut found);
    done.map(|_| found).map_err(|error| error.to_string())
}

#[test]
fn every_packing_gives_what_was_packed() {
    let layer = b"a layer ".repeat(50_000);
    let (half, rest) = layer.split_at(123_456);
    assert!(read(Packing::None, &layer).unwrap() == layer);
    assert!(read(Packing::Gzip, &gzip(&layer)).unwrap() == layer);
    assert!(read(Packing::Gzip, &[gzip(half), gzip(rest)].concat()).unwrap() == layer);
    assert!(read(Packing::Zstd, &zstd(&layer)).unwrap() == layer);
    assert!(read(Packing::Zstd, &[zstd(half), zstd(rest)].concat()).unwrap() == layer);
    let chunked = [
        skippable(0, b""),
        zstd(half),
        skippable(15, &[7; 1000]),
        skippable(1, b"a table"),
        zstd(b""),
        zstd(rest),
        skippable(10, b"the end"),
    ];
    assert!(read(Packing::Zstd, &chunked.concat()).unwrap() == layer);
    assert_eq!(read(Packing::Zstd, &skippable(0, b"x")), Ok(Vec::new()));
}

/// Made by the `zstd` program 1.5.4 out of [`NUMBERS`] lines: `zstd -19 --check` and `zstd -1`.
const OF_THE_PROGRAM: [&str; 2] = [
    "KLUv/QRoXQQAptAeCbDrhJKifSh2dBsAGwAbADd576ElhnpmuqXHLEtdnPIcNvvxziQ3vnkMAfXVZM/dLZbZeHvtiGmOfrbIpM0umboNNO/hEXEP5w20Tb1ks0mLfHZ0miOu3W5cZov73GRTU8f8bkxy5+PsYc+Ui0stxyyd7pmhlnjo3uQBAwAAkrpYXWRKUHg5KXUpZ7k=",
    "KLUv/QBIXQQARhEgC7C1DWTSKw2TxFQHGwAcABwAR03eerPEILw9tfTYsoQDp7yDZi/ePXLjmscgC0+4wkOv7hTLJt5eOuLZ0YsWmTPRQZ5Og5n1GJw1mOnpQSaas8hFR58dcel24rIp7quHrvCEFw7HvG48cndx9qA35cAlLMeWPvU2CEu8uTV51AsBABQkddGvKQ==",
];
const NUMBERS: u64 = 2000;

#[test]
fn files_of_the_zstd_program_are_read() {
    let lines: String = (0..NUMBERS).map(|n| format!("{}\n", n * n % 97)).collect();
    for packed in OF_THE_PROGRAM {
        let packed = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
        assert!(read(Packing::Zstd, &packed).unwrap() == lines.as_bytes());
    }
}

#[test]
fn what_is_damaged_is_an_error() {
    let layer = b"a layer ".repeat(50_000);
    let packed = zstd(&layer);
    for (bytes, words) in [
        (Vec::new(), "it is empty"),
        (gzip(&layer), "it is not zstd"),
        (packed[..packed.len() - 1].to_vec(), ""),
        (packed[..7].to_vec(), ""),
        ([packed.as_slice(), b"more"].concat(), "it is not zstd"),
        (skippable(0, b"too long")[..9].to_vec(), "a skippable frame is cut short"),
    ] {
        let said = read(Packing::Zstd, &bytes).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(read(Packing::Gzip, &gzip(&layer)[..40]).is_err());
    assert!(read(Packing::Gzip, &packed).is_err());
}

/// Frame header without a size of the content, then blocks that each say "128 KiB of this byte".
struct Endless {
    head: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.head.is_empty() {
            self.head = (1_u32 << 1 | (128 << 10) << 3).to_le_bytes()[..3].to_vec();
            self.head.push(b'x');
        }
        let count = buffer.len().min(self.head.len());
        buffer[..count].copy_from_slice(&self.head[..count]);
        self.head.drain(..count);
        Ok(count)
    }
}

fn endless(window: u8) -> Endless {
    Endless { head: vec![0x28, 0xb5, 0x2f, 0xfd, 0, window] }
}

#[test]
fn a_little_that_unpacks_to_very_much_is_read_in_small_pieces() {
    let mut unpacked = unpack(Packing::Zstd, endless(0x38));
    let mut block = vec![0; 64 << 10];
    let mut size = 0;
    while size < 64 << 20 {
        let count = unpacked.read(&mut block).unwrap();
        assert!(count > 0 && block[..count].iter().all(|byte| *byte == b'x'));
        size += count;
    }
    // A window of 2 GiB would have to be kept in memory.
    let said = unpack(Packing::Zstd, endless(0xa8)).read(&mut block).unwrap_err().to_string();
    assert!(said.contains("window"), "{said}");
}

#[test]
fn media_types() {
    for (kind, expected) in [
        ("application/vnd.docker.image.rootfs.diff.tar", Packing::None),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Packing::Gzip),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Packing::Zstd),
        ("application/vnd.oci.image.layer.v1.tar", Packing::None),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Packing::Gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Packing::Zstd),
    ] {
        assert_eq!(packing(kind).unwrap(), expected, "{kind}");
    }
    for kind in ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "x/zstd", ""] {
        assert!(packing(kind).is_err(), "{kind}");
    }
}
