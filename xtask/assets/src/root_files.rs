//! Files that are served under their own names at the root of the site, as browsers and robots ask
//! for them: `robots.txt`, `favicon.ico`, a service worker. `[root]` of `assets.toml` names them.

use std::collections::BTreeMap;

use anyhow::Result;
use fingerprint::sha256;

use crate::content::Content;
use crate::made::Made;
use crate::make::{Compiled, Maker};
use crate::names;
use crate::problem::Problem;
use crate::references::{References, Target};
use crate::sources::{self, Treatment};
use crate::{config, script, web_manifest};

/// Where they lie in the output directory.
pub(crate) const FOLDER: &str = "root";

/// Compiles those that are scripts, each into one file; what is wrong with the list is a problem.
pub(crate) fn compile(maker: &Maker<'_>) -> Result<Compiled> {
    let mut compiled = Compiled::default();
    let mut scripts = Vec::new();
    for path in &maker.look.config.root_files {
        let treatment = maker.sources.get(path.as_str());
        let wrong = match treatment {
            None => Some("is not among the sources"),
            Some(Treatment::Style) => Some("is a style sheet, which pages load by its hashed name"),
            Some(_) if sources::plain(path) != *path => Some("has a sign that needs an escape"),
            Some(Treatment::Script) => {
                scripts.push(path.as_str());
                None
            }
            Some(Treatment::File) => None,
        };
        if let Some(wrong) = wrong {
            let file = maker.shown(config::NAME);
            let message = format!("[root] files: {path} {wrong}");
            compiled.problems.push(Problem::of_file(&file, message));
        }
    }
    script::single(maker, &scripts, &mut compiled)?;
    Ok(compiled)
}

/// Adds them to the outputs. `names` says what sources and files of packages are called there.
pub(crate) fn add(
    made: &mut Made,
    maker: &Maker<'_>,
    compiled: Compiled,
    references: &References,
    names: &BTreeMap<Target, String>,
) -> Result<()> {
    let base = &maker.look.config.assets;
    let address = |target: &Target| match target {
        Target::Directory(path) if path.is_empty() => Some(base.clone()),
        Target::Directory(path) => Some(format!("{base}{}/", sources::plain(path))),
        target => Some(format!("{base}{}", names.get(target)?)),
    };
    for path in &maker.look.config.root_files {
        if maker.sources.get(path.as_str()) != Some(&Treatment::File) {
            continue;
        }
        let content = match web_manifest::is_one(path) {
            true => Content::Bytes(maker.web_manifest(path, &address)?),
            false => Content::File(maker.places.source.join(path)),
        };
        made.add_root(path, content, &maker.look.sources[path])?;
    }
    for output in compiled.outputs {
        let Some(path) = output.key else { continue };
        let mut text = output.text;
        for at in names::tokens(&text).into_iter().rev() {
            let Some(reference) = references.get(&text[at.clone()]) else { continue };
            if let Some(address) = address(&reference.target) {
                text.replace_range(at, &format!("{address}{}", reference.suffix));
            }
        }
        let text = script::with_own_address(&text);
        // As browsers know it: a script, whatever language it was written in.
        let stem = path.rsplit_once('.').map_or(&*path, |(stem, _)| stem);
        made.add_root(&format!("{stem}.js"), Content::Bytes(text.into_bytes()), "")?;
    }
    Ok(())
}

impl Made {
    /// Adds a file under its own name; the manifest calls it by its path on the site.
    /// `looked` is the hash that it was looked at with, if it is taken as it is.
    fn add_root(&mut self, path: &str, content: Content, looked: &str) -> Result<()> {
        let hash = match &content {
            Content::Bytes(bytes) => sha256(bytes),
            Content::File(_) => looked.to_owned(),
        };
        self.add_as(&format!("/{path}"), format!("{FOLDER}/{path}"), content, &hash)
    }
}
