//! Built assets that belong to one test: small files under names such as the real ones have.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::database::unique_name;

pub(crate) const HASH: &str = "0123456789abcdef";

pub(crate) struct Dist {
    /// Holds `dist` and, beside it, what nobody may get.
    parent: PathBuf,
    pub(crate) directory: PathBuf,
}

impl Dist {
    /// A directory without a manifest.
    pub(crate) fn empty() -> Dist {
        let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique_name());
        let directory = parent.join("dist");
        fs::create_dir_all(&directory).unwrap();
        Dist { parent, directory }
    }

    /// A manifest of every asset the repository has, and the style sheet in each of its forms.
    pub(crate) fn built() -> Dist {
        let dist = Dist::empty();
        dist.manifest(&manifest(HASH));
        dist.file(&format!("app-{HASH}.css"), "plain");
        dist.file(&format!("app-{HASH}.css.br"), "brotli");
        dist.file(&format!("app-{HASH}.css.gz"), "gzip");
        dist
    }

    pub(crate) fn path(&self) -> &str {
        self.directory.to_str().unwrap()
    }

    pub(crate) fn manifest(&self, text: &str) {
        self.file("manifest.json", text);
    }

    /// Whole at once, as the real tool writes.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let to = self.directory.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let new = self.parent.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, to).unwrap();
    }
}

impl Drop for Dist {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.parent).ok();
    }
}

/// What `cargo xtask assets build` would write, with one hash for all.
pub(crate) fn manifest(hash: &str) -> String {
    let entry = |source: &String| {
        let (stem, extension) = source.rsplit_once('.').unwrap();
        let extension = extension.replace("scss", "css");
        let file = format!("{stem}-{hash}.{extension}");
        let integrity = integrity(source);
        (source.clone(), json!({ "file": file, "integrity": integrity, "size": 1 }))
    };
    Value::Object(sources().iter().map(entry).collect::<Map<_, _>>()).to_string()
}

/// Stands for a digest, with the signs that base64 has.
pub(crate) fn integrity(source: &str) -> String {
    format!("sha384-{}+/=", source.replace(['.', '-'], ""))
}

/// Every source below `assets/` that becomes a file, by its path.
pub(crate) fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    collect(Path::new("assets"), "", &mut sources);
    sources.retain(|it| !it.rsplit('/').next().unwrap().starts_with(['_', '.']));
    sources.retain(|it| it != "assets.toml");
    sources.sort();
    sources
}

fn collect(directory: &Path, prefix: &str, sources: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), sources);
        } else {
            sources.push(name);
        }
    }
}
