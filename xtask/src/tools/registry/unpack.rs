//! Layers unpacked and measured: gzip, zstd or plain, as their media types say. Everything is
//! streamed, so a small archive that unpacks to very much never fills memory.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

use anyhow::Context as _;
use ruzstd::decoding::errors::FrameDecoderError::ReadFrameHeaderError as Header;
use ruzstd::decoding::errors::ReadFrameHeaderError as Begin;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest as _, Sha256};

use crate::release::record::Layer;

/// How a layer's archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
}

/// How an archive with this media type is packed: the types of the OCI image specification and of
/// Docker's image manifest, schema 2.
///
/// # Errors
///
/// A type that is not one of theirs, such as a layer that is kept elsewhere ("foreign").
pub(crate) fn packing(media_type: &str) -> anyhow::Result<Packing> {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.oci.image.layer.v1.tar" => Ok(Packing::None),
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.oci.image.layer.v1.tar+gzip" => Ok(Packing::Gzip),
        "application/vnd.docker.image.rootfs.diff.tar.zstd"
        | "application/vnd.oci.image.layer.v1.tar+zstd" => Ok(Packing::Zstd),
        kind => anyhow::bail!("a layer is a {kind:?}, which no image of ours has"),
    }
}

/// Reads what a packed archive holds. Gzip may have several members and zstd several frames, with
/// skippable ones between (`estargz` and `zstd:chunked` have them): they are read as one.
///
/// # Errors
///
/// Reading fails where the archive is damaged, cut short or packed differently, and where zstd
/// would need a window of more than 128 MiB, the limit of the `zstd` program.
pub(crate) fn unpack<'r>(packing: Packing, packed: impl Read + 'r) -> Box<dyn Read + 'r> {
    let packed = BufReader::with_capacity(256 << 10, packed);
    match packing {
        Packing::None => Box::new(packed),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Packing::Zstd => Box::new(Zstd { packed, frame: FrameDecoder::new(), state: State::Begin }),
    }
}

/// Reads to the end: the digest and the size of what came. `go_on` is asked before each block.
///
/// # Errors
///
/// Reading fails, or `go_on` does.
pub(crate) fn measure(
    from: impl Read,
    go_on: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Layer> {
    let mut from = Hashing::new(from);
    let mut block = vec![0; 256 << 10];
    while from.read(&mut block).context("can't unpack it")? > 0 {
        go_on()?;
    }
    Ok(from.into_layer())
}

/// Hashes and counts what is read through it.
pub(crate) struct Hashing<R> {
    from: R,
    hash: Sha256,
    size: u64,
}

impl<R> Hashing<R> {
    pub(crate) fn new(from: R) -> Hashing<R> {
        Hashing { from, hash: Sha256::new(), size: 0 }
    }

    /// What was read.
    pub(crate) fn into_layer(self) -> Layer {
        let diff_id = format!("sha256:{}", hex::encode(self.hash.finalize()));
        Layer { diff_id, size: self.size }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, block: &mut [u8]) -> Result<usize> {
        let count = self.from.read(block)?;
        self.hash.update(&block[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// The frames of a zstd file one after the other; the decoder itself reads only one.
struct Zstd<R> {
    packed: R,
    frame: FrameDecoder,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Begin,
    /// In a frame with content.
    Within,
    /// Between two frames.
    Between,
}

impl<R: BufRead> Zstd<R> {
    /// Goes to the next frame with content; `false` at the end of the file.
    fn next_frame(&mut self) -> Result<bool> {
        loop {
            let is_end = self.packed.fill_buf()?.is_empty();
            if is_end && self.state == State::Begin {
                return Err(Error::new(ErrorKind::UnexpectedEof, "it is empty"));
            }
            if is_end {
                return Ok(false);
            }
            self.state = State::Between;
            match self.frame.init(&mut self.packed) {
                Ok(()) => {
                    self.state = State::Within;
                    return Ok(true);
                }
                Err(Header(Begin::SkipFrame { length, .. })) => self.skip(u64::from(length))?,
                Err(Header(Begin::BadMagicNumber(_))) => {
                    return Err(Error::new(ErrorKind::InvalidData, "it is not zstd"));
                }
                Err(error) => return Err(Error::new(ErrorKind::InvalidData, error)),
            }
        }
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.packed).take(length), &mut std::io::sink())?;
        match skipped == length {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::UnexpectedEof, "a skippable frame is cut short")),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.state != State::Within && !self.next_frame()? {
                return Ok(0);
            }
            // One block is at most 128 KiB; the decoder keeps a window of what came before it.
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.frame.decode_blocks(&mut self.packed, one);
                decoded.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            }
            match self.frame.read(buffer)? {
                0 => self.state = State::Between,
                count => return Ok(count),
            }
        }
    }
}
