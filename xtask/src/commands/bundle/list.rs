//! `bundle --list`: what is in a bundle, whoever made it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::ctx::Ctx;
use crate::exit;
use crate::release::changes::printable;

/// How much of a hash is shown.
const SHOWN: usize = 12;

pub(super) fn list(ctx: &Ctx, file: &Path) -> Result<()> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| format!("can't read {shown}"))?;
    let mut archive = ZipArchive::new(opened).with_context(|| format!("{shown} is no zip"))?;
    for number in 0..archive.len() {
        let tried = || format!("entry {number} of {shown} is damaged");
        let mut entry = archive.by_index(number).with_context(tried)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let mode = entry.unix_mode().unwrap_or_default();
        let (mut size, mut sha256) = (0_u64, Sha256::new());
        let mut buffer = vec![0; 64 << 10];
        loop {
            if ctx.interrupted() {
                return Err(exit::interrupted());
            }
            match entry.read(&mut buffer).with_context(tried)? {
                0 => break,
                count => {
                    sha256.update(&buffer[..count]);
                    size += count as u64;
                }
            }
        }
        let sha256 = hex::encode(sha256.finalize());
        match ctx.json {
            true => ctx.event(&json!({
                "event": "file", "name": name, "mode": format!("{mode:06o}"), "size_bytes": size,
                "sha256": sha256,
            }))?,
            false => ctx
                .print(printable(&format!("{mode:06o} {size:>10} {}  {name}", &sha256[..SHOWN])))?,
        }
    }
    Ok(())
}
