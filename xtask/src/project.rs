//! What exists: environments, images, services and their settings. Text in, facts out.
//!
//! The folders are the configuration: a folder in `docker/` is an image, a folder in
//! `environments/` is an environment. `parse` functions are pure; `load` functions read and call
//! them. Nothing here runs a program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exit;

pub(crate) mod assets;
pub(crate) mod beanstalk;
pub(crate) mod compilers;
pub(crate) mod compose_files;
pub(crate) mod dockerfile;
pub(crate) mod dotenv;
pub(crate) mod env_file;
pub(crate) mod environment;
pub(crate) mod hints;
pub(crate) mod image;
pub(crate) mod lock;
pub(crate) mod migrations;
pub(crate) mod needs;
pub(crate) mod outside;
pub(crate) mod parity;
pub(crate) mod procfile;
pub(crate) mod reference;
pub(crate) mod schema;
pub(crate) mod stack;
pub(crate) mod substitute;

/// The folders of a project.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) images: BTreeSet<String>,
    pub(crate) environments: BTreeSet<String>,
}

impl Project {
    pub(crate) fn load(root: &Path) -> Result<Project> {
        let images = folders(&root.join("docker"), "Dockerfile")?;
        let environments = folders(&root.join("environments"), "")?;
        Ok(Project { root: root.to_path_buf(), images, environments })
    }

    /// The folder of an environment; a name that is not one is a usage error that lists them.
    pub(crate) fn environment(&self, name: &str) -> Result<PathBuf> {
        known("environment", name, &self.environments)?;
        Ok(self.root.join("environments").join(name))
    }
}

/// Refuses a name that is not in the list, and says which are.
pub(crate) fn known(kind: &str, name: &str, names: &BTreeSet<String>) -> Result<()> {
    if names.contains(name) {
        return Ok(());
    }
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let list = if list.is_empty() { "there is none".into() } else { list.join(", ") };
    Err(exit::usage(format!("{name:?} is not {article} {kind} of this project; known: {list}")))
}

/// The names of the folders in `directory` that hold a file `marker` (or any, when it is empty).
fn folders(directory: &Path, marker: &str) -> Result<BTreeSet<String>> {
    let tried = || format!("can't read {}", directory.display());
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).with_context(tried)? {
        let path = entry.with_context(tried)?.path();
        if !path.is_dir() || !path.join(marker).exists() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check_name(&name).with_context(|| format!("rename the folder {}", path.display()))?;
        names.insert(name);
    }
    Ok(names)
}

/// A name that is safe in an argv, an image reference, a file name and a host name.
///
/// Docker's rule for a path component, without the separators that it also allows doubled.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends =
        bytes.first().copied().is_some_and(inner) && bytes.last().copied().is_some_and(inner);
    let middle = bytes.iter().all(|&byte| inner(byte) || byte == b'-');
    if ends && middle && bytes.len() <= 63 && !name.contains("--") {
        return Ok(());
    }
    Err(exit::usage(format!(
        "{name:?} is not a usable name: 1 to 63 lower-case letters, digits and single hyphens, \
         a letter or digit at both ends"
    )))
}
