//! What an output holds: bytes that were made, or a file that is taken as it is and may be of any
//! size, so it is never in memory as a whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256, Sha384};

use crate::made::integrity;
use crate::make::Moved;

/// Read and written at one time, in bytes.
const BLOCK: usize = 1 << 16;

#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Content {
    /// Size in bytes and `integrity` attribute. Fails with [`Moved`] where its SHA-256 is not the
    /// one that it was looked at with.
    pub(crate) fn measure(&self, hash: &str) -> Result<(u64, String)> {
        let (mut sha256, mut sha384) = (Sha256::new(), Sha384::new());
        let mut size = 0;
        self.read(&mut |block| {
            sha256.update(block);
            sha384.update(block);
            size += block.len() as u64;
            Ok(())
        })?;
        match self {
            Content::File(path) if hex::encode(sha256.finalize()) != hash => {
                Err(Moved(path.display().to_string()).into())
            }
            _ => Ok((size, integrity(sha384.finalize().as_slice()))),
        }
    }

    /// SHA-256 in hexadecimal digits.
    pub(crate) fn sha256(&self) -> Result<String> {
        let mut sha256 = Sha256::new();
        self.read(&mut |block| {
            sha256.update(block);
            Ok(())
        })?;
        Ok(hex::encode(sha256.finalize()))
    }

    /// In bytes.
    pub(crate) fn size(&self) -> Result<usize> {
        Ok(match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::File(path) => usize::try_from(std::fs::metadata(path)?.len())?,
        })
    }

    /// Writes it; the SHA-256 of what was written.
    pub(crate) fn copy(&self, to: &mut dyn Write) -> Result<String> {
        let mut sha256 = Sha256::new();
        self.read(&mut |block| {
            sha256.update(block);
            to.write_all(block)
        })?;
        Ok(hex::encode(sha256.finalize()))
    }

    /// Where its bytes come from.
    fn reader(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Content::Bytes(bytes) => Box::new(&bytes[..]),
            Content::File(path) => Box::new(
                File::open(path).with_context(|| format!("can't read {}", path.display()))?,
            ),
        })
    }

    fn read(&self, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        if let Content::Bytes(bytes) = self {
            return Ok(each(bytes)?);
        }
        let mut reader = self.reader()?;
        let mut block = vec![0; BLOCK];
        loop {
            match reader.read(&mut block)? {
                0 => return Ok(()),
                count => each(&block[..count])?,
            }
        }
    }
}
