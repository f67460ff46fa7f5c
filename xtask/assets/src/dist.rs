//! The output directory. New files first, then the manifest, then what is no longer named goes: at
//! every instant the manifest names what is there, and old pages find their files until the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use brotlic::{BrotliEncoderOptions, CompressorWriter, Quality, WindowSize};
use fingerprint::sha256;

use crate::cli::Places;
use crate::content::Content;
use crate::look::{Files, Last, Look};
use crate::made::{Listed, Made};
use crate::make::Moved;
use crate::{memory, parallel};

pub(crate) const MANIFEST: &str = "manifest.json";

/// How hard brotli tries, of 11: three steps above would take ten times as long for a tenth less.
const BROTLI_QUALITY: u8 = 7;
const GZIP_LEVEL: u32 = 9;
/// Source maps and files above this size, in bytes, are compressed less: a twentieth of the size is
/// not worth the wait, and only developers fetch source maps.
const LARGE: usize = 4 << 20;
const BROTLI_QUALITY_OF_LARGE: u8 = 5;
const GZIP_LEVEL_OF_LARGE: u32 = 6;
/// A window of 4 MiB, the most that browsers take for granted.
const BROTLI_WINDOW: u8 = 22;

/// Kinds of files that are text inside; pictures and most fonts are compressed already.
const COMPRESSIBLE: &[&str] = &[
    "css",
    "csv",
    "html",
    "ico",
    "js",
    "json",
    "map",
    "md",
    "mjs",
    "otf",
    "rss",
    "svg",
    "ttf",
    "txt",
    "vtt",
    "wasm",
    "webmanifest",
    "xml",
];

/// What compressed files are called, after what they hold.
const BROTLI: &str = ".br";
const SUFFIXES: [&str; 2] = [BROTLI, ".gz"];

/// How many files were written and removed.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) written: usize,
    pub(crate) removed: usize,
}

/// Everything that the output directory shall hold: made, compressed, and the manifest.
pub(crate) struct Dist {
    files: BTreeMap<String, Content>,
    /// SHA-256 of each file; also of compressed ones of the last build, which are right as they lie
    /// there.
    hashes: Files,
    manifest: Content,
}

impl Dist {
    /// Compresses what pays; what the last build has compressed of the same content is kept.
    pub(crate) fn new(
        places: &Places,
        made: &mut Made,
        look: &Look,
        last: Option<&Last>,
    ) -> Result<Dist> {
        // Another program might compress in another way.
        let last = last.filter(|last| last.setting == look.setting);
        let before = |name: &str| last.and_then(|last| last.output.get(name));
        let mut files = BTreeMap::new();
        let mut hashes = Files::new();
        for (name, (content, hash)) in std::mem::take(&mut made.outputs) {
            hashes.insert(name.clone(), hash);
            files.insert(name, content);
        }
        let wanted: Vec<(&String, &Content, &str)> = files
            .iter()
            .filter(|(name, _)| is_compressible(name))
            .flat_map(|(name, content)| SUFFIXES.map(|suffix| (name, content, suffix)))
            .collect();
        let variants = parallel::each(&wanted, |(name, content, suffix)| -> Result<_> {
            if before(name) == hashes.get(*name) {
                let variant = format!("{name}{suffix}");
                match (before(&variant), look.output.get(&variant)) {
                    // It was not smaller.
                    (None, _) => return Ok(None),
                    (Some(hash), found) if found == Some(hash) => {
                        return Ok(Some(Variant::Kept(hash.clone())));
                    }
                    // Somebody changed or removed it.
                    _ => {}
                }
            }
            let is_large = name.ends_with(".map") || content.size()? > LARGE;
            let (size, small) = match *suffix {
                BROTLI => brotli(content, is_large)?,
                _ => gzip(content, is_large)?,
            };
            Ok((small.len() < size).then_some(Variant::New(small)))
        });
        let names = wanted.iter().map(|(name, _, suffix)| format!("{name}{suffix}"));
        let variants: Vec<(String, Result<Option<Variant>>)> = names.zip(variants).collect();
        for (name, variant) in variants {
            match variant? {
                Some(Variant::New(bytes)) => {
                    hashes.insert(name.clone(), sha256(&bytes));
                    files.insert(name, Content::Bytes(bytes));
                }
                Some(Variant::Kept(hash)) => drop(hashes.insert(name, hash)),
                None => {}
            }
        }
        let mut manifest = serde_json::to_vec_pretty(&made.manifest)?;
        manifest.push(b'\n');
        hashes.insert(MANIFEST.to_owned(), sha256(&manifest));
        for (name, directory) in look.kept.keys().zip(places.keep.iter().cycle()) {
            if !hashes.contains_key(name) {
                let content = Content::File(directory.join(name));
                hashes.insert(name.clone(), content.sha256()?);
                files.insert(name.clone(), content);
            }
        }
        let manifest = Content::Bytes(manifest);
        Ok(Dist { files, hashes, manifest })
    }

    /// Writes what differs from what lies there: what was done, and what lies there now.
    pub(crate) fn write(self, output: &Path, look: &Look) -> Result<(Written, Files)> {
        let mut done = Written::default();
        create_directory(output)?;
        let parents = |name: &String| name.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
        let directories: BTreeSet<&str> = (self.files.keys())
            .flat_map(|name| parents(name).into_iter().map(|at| &name[..at]))
            .collect();
        for directory in directories {
            create_directory(&output.join(directory))?;
        }
        let files = self.files.iter().map(|(name, content)| (name.as_str(), content));
        for (name, content) in files.chain([(MANIFEST, &self.manifest)]) {
            let same = look.output.get(name) == self.hashes.get(name);
            let hash = &self.hashes[name];
            done.written += usize::from(place(output, name, content, hash, same)?);
        }
        // What lies there as it was compressed before is not written, but may have another mode.
        for name in self.hashes.keys().filter(|name| !self.files.contains_key(*name)) {
            let path = output.join(name);
            set_mode(&path, 0o644).with_context(|| format!("can't open {}", path.display()))?;
        }
        done.removed = remove_others(output, "", &self.hashes)?;
        Ok((done, self.hashes))
    }
}

/// Whether an output directory has a manifest of ours.
pub(crate) fn is_ours(output: &Path) -> bool {
    let manifest = fs::read(output.join(MANIFEST)).unwrap_or_default();
    serde_json::from_slice::<BTreeMap<String, Listed>>(&manifest).is_ok()
}

enum Variant {
    New(Vec<u8>),
    /// There already; its SHA-256.
    Kept(String),
}

fn is_compressible(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| COMPRESSIBLE.contains(&extension))
}

/// The size before, and the smaller bytes.
fn brotli(content: &Content, is_large: bool) -> Result<(usize, Vec<u8>)> {
    let quality = if is_large { BROTLI_QUALITY_OF_LARGE } else { BROTLI_QUALITY };
    let encoder = BrotliEncoderOptions::new()
        .quality(Quality::new(quality)?)
        .window_size(WindowSize::new(BROTLI_WINDOW)?)
        .build()?;
    let mut writer = CompressorWriter::with_encoder(encoder, Vec::new());
    content.copy(&mut writer)?;
    let small = writer.into_inner().map_err(brotlic::IntoInnerError::into_error)?;
    Ok((content.size()?, small))
}

/// Without a time or a name in its header, so that equal content gives equal bytes.
fn gzip(content: &Content, is_large: bool) -> Result<(usize, Vec<u8>)> {
    let level = if is_large { GZIP_LEVEL_OF_LARGE } else { GZIP_LEVEL };
    let mut writer = flate2::GzBuilder::new()
        .operating_system(255)
        .write(Vec::new(), flate2::Compression::new(level));
    content.copy(&mut writer)?;
    Ok((content.size()?, writer.finish()?))
}

/// Puts a file where it belongs, with the mode it must have; true when it had to be written.
/// Fails with [`Moved`] where a source was edited after it was looked at.
fn place(output: &Path, name: &str, content: &Content, hash: &str, same: bool) -> Result<bool> {
    let path = output.join(name);
    if same && set_mode(&path, 0o644).is_ok() {
        return Ok(false);
    }
    if path.is_dir() {
        fs::remove_dir_all(&path).with_context(|| format!("can't remove {}", path.display()))?;
    }
    memory::replace(&path, |file| match content.copy(file)? == hash {
        true => Ok(()),
        false => Err(Moved(path.display().to_string()).into()),
    })?;
    Ok(true)
}

/// A directory that everybody may read, whatever the umask says.
fn create_directory(path: &Path) -> Result<()> {
    let create = || -> std::io::Result<()> {
        let metadata = fs::symlink_metadata(path);
        if metadata.as_ref().is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(path)?;
        }
        fs::create_dir_all(path)?;
        set_mode(path, 0o755)
    };
    create().with_context(|| format!("can't create {}", path.display()))
}

/// Nothing where it has that mode: who reads times would take the file for changed.
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    match fs::symlink_metadata(path)?.permissions().mode() & 0o7777 == mode {
        true => Ok(()),
        false => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
    }
}

/// Removes what is not named, and directories that hold nothing any more: how many files.
fn remove_others(output: &Path, inside: &str, named: &Files) -> Result<usize> {
    let directory = output.join(inside);
    let mut removed = 0;
    let entries =
        fs::read_dir(&directory).with_context(|| format!("can't read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = format!("{inside}{}", entry.file_name().to_string_lossy());
        let gone = match entry.file_type()?.is_dir() {
            true => {
                removed += remove_others(output, &format!("{name}/"), named)?;
                // Fails where something is left, which is right.
                let _ = fs::remove_dir(entry.path());
                Ok(())
            }
            false if named.contains_key(&name) => Ok(()),
            false => {
                removed += 1;
                fs::remove_file(entry.path())
            }
        };
        gone.with_context(|| format!("can't remove {}", entry.path().display()))?;
    }
    Ok(removed)
}
