//! Gives the tool an identity: a hash of its sources, its crates' and the asset pipeline's.
//!
//! A release says which tool made it. A version number that nobody counts up would not: what the
//! sources decide (fingerprints, gates, assets) can be found out again only by the same ones.

#![allow(clippy::disallowed_macros, clippy::disallowed_methods)] // cargo is spoken to like this

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for directory in ["src", "fingerprint/src", "assets/src"] {
        println!("cargo::rerun-if-changed={directory}");
        collect(&root.join(directory), &mut files);
    }
    files.push(root.join("../Cargo.lock"));
    println!("cargo::rerun-if-changed=../Cargo.lock");
    files.sort();
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned();
        hash.add(name.as_bytes());
        hash.add(&fs::read(&file).unwrap_or_default());
    }
    println!("cargo::rustc-env=STEVEDORE_SOURCES={:016x}", hash.0);
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// FNV-1a, 64 bits: it tells two states apart, and proves nothing.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
