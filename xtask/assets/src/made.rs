//! What a build makes: the outputs under their names, and the manifest that lists them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::sha256;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use crate::content::Content;
use crate::make::Maker;
use crate::names::{self, Named};
use crate::references::{References, Target};
use crate::sources::{self, Treatment};
use crate::web_manifest;

/// What a template needs to know of an output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Path from the output directory.
    pub(crate) file: String,
    /// For the `integrity` attribute.
    pub(crate) integrity: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// All outputs of a build.
#[derive(Default)]
pub(crate) struct Made {
    /// Source path -> output.
    pub(crate) manifest: BTreeMap<String, Listed>,
    /// Output path -> content and its SHA-256; source maps too.
    pub(crate) outputs: BTreeMap<String, (Content, String)>,
    /// What the compilers warned of.
    pub(crate) warnings: Vec<String>,
}

impl Made {
    /// Adds the sources that are taken as they are, web app manifests after the pictures that they
    /// name, and the files of packages that something refers to: what each is called.
    pub(crate) fn add_files(
        &mut self,
        maker: &Maker<'_>,
        references: &References,
    ) -> Result<BTreeMap<Target, String>> {
        let mut names: BTreeMap<Target, String> = BTreeMap::new();
        let files = maker.of(Treatment::File).into_iter();
        let (manifests, files): (Vec<&str>, Vec<&str>) =
            files.partition(|path| web_manifest::is_one(path));
        for source in files {
            let content = Content::File(maker.places.source.join(source));
            let name = self.add_file(source, content, &maker.look.sources[source])?;
            names.insert(Target::Source(source.to_owned()), name);
        }
        for source in manifests {
            let text = maker.web_manifest(source, &|target| {
                Some(sources::relative(&sources::plain(source), names.get(target)?))
            })?;
            let hash = sha256(&text);
            let name = self.add_file(source, Content::Bytes(text), &hash)?;
            names.insert(Target::Source(source.to_owned()), name);
        }
        for reference in references.values() {
            if let Target::Package(path) = &reference.target {
                let file = maker.finder.in_packages(path).context("a package has lost a file")?;
                let hash = maker.look.libraries[&file].clone();
                let name =
                    self.add_file(&format!("packages/{path}"), Content::File(file), &hash)?;
                names.insert(reference.target.clone(), name);
            }
        }
        Ok(names)
    }

    /// Adds a file; its name.
    fn add_file(&mut self, path: &str, content: Content, hash: &str) -> Result<String> {
        let name = names::with_hash(path, hash);
        self.add_as(path, name.clone(), content, hash)?;
        Ok(name)
    }

    /// Adds a file under a name.
    pub(crate) fn add_as(
        &mut self,
        key: &str,
        name: String,
        content: Content,
        hash: &str,
    ) -> Result<()> {
        let (size, integrity) = content.measure(hash)?;
        let listed = Listed { file: name.clone(), integrity, size };
        if let Some(other) = self.manifest.insert(key.to_owned(), listed) {
            anyhow::ensure!(other.file == name, "a source and a file of a package are both {key}");
        }
        self.outputs.insert(name, (content, hash.to_owned()));
        Ok(())
    }

    /// Adds what was compiled, and its map.
    pub(crate) fn add(&mut self, named: Named) -> Result<()> {
        let Named { key, name, mut text, map } = named;
        let map_name = format!("{}.map", name.rsplit('/').next().unwrap_or(&name));
        text.truncate(text.trim_end().len());
        text += &match name.ends_with(".css") {
            true => format!("\n/*# sourceMappingURL={map_name} */\n"),
            false => format!("\n//# sourceMappingURL={map_name}\n"),
        };
        let listed = Listed {
            file: name.clone(),
            integrity: integrity(Sha384::digest(text.as_bytes()).as_slice()),
            size: text.len() as u64,
        };
        self.manifest.insert(key.unwrap_or_else(|| name.clone()), listed);
        for (name, text) in [(format!("{name}.map"), map.text()?), (name, text)] {
            let hash = sha256(text.as_bytes());
            self.outputs.insert(name, (Content::Bytes(text.into_bytes()), hash));
        }
        Ok(())
    }
}

/// The `integrity` attribute for a SHA-384.
pub(crate) fn integrity(digest: &[u8]) -> String {
    format!("sha384-{}", BASE64.encode(digest))
}
