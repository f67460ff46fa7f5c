//! What lies in the source directory, and what each file becomes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fingerprint::Tree;
use fingerprint::tree::{Kind, escape};

use crate::config;
use crate::problem::{Problem, Problems};

/// What is done with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Compiled: `.scss`, `.sass`, `.css`.
    Style,
    /// Minified: `.js`, `.mjs`.
    Script,
    /// Taken as it is.
    File,
}

/// Source path from the source directory -> what is done with it. Partials (`_name.scss`), dot
/// files and the configuration become nothing by themselves.
pub(crate) type Sources = BTreeMap<String, Treatment>;

/// The sources of a tree. What cannot be served under its name is a problem.
pub(crate) fn list(tree: &Tree, shown: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    let mut problems = Vec::new();
    for entry in tree.iter() {
        let path = escape(entry.path);
        let file = shown.join(&path).display().to_string();
        if path.split('/').any(|part| part.starts_with('.')) || path == config::NAME {
            continue;
        }
        match entry.kind {
            Kind::Directory => continue,
            Kind::Symlink => {
                problems.push(Problem::of_file(&file, "is a link; put the file itself here"));
                continue;
            }
            Kind::File => {}
        }
        if let Some(bad) = path.chars().find(|sign| !is_plain(*sign)) {
            problems.push(Problem::of_file(
                &file,
                format!("has {bad:?} in its name; use letters, digits and . _ - + @ only"),
            ));
            continue;
        }
        if let Some(treatment) = treatment(&path) {
            sources.insert(path, treatment);
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(Problems(problems).into()) }
}

/// A sign that needs no escape in an address, a style sheet, a script or an HTML attribute.
fn is_plain(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || "/._-+@".contains(sign)
}

fn treatment(path: &str) -> Option<Treatment> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("scss" | "sass") if name.starts_with('_') => None,
        Some("scss" | "sass" | "css") => Some(Treatment::Style),
        Some("js" | "mjs") => Some(Treatment::Script),
        _ => Some(Treatment::File),
    }
}

/// The source that a relative reference means; `None` where it leaves the source directory.
pub(crate) fn resolve(from: &str, reference: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// How one output names another, both from the output directory.
pub(crate) fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let above = from.len().min(to.len()) - 1;
    let common = (0..above).take_while(|part| from[*part] == to[*part]).count();
    let up = from.len() - 1 - common;
    [vec![".."; up], to[common..].to_vec()].concat().join("/")
}

/// Whether a reference names a file beside the one that has it: neither another host, nor an
/// absolute path, nor data, nor a place in the same file.
pub(crate) fn is_relative(reference: &str) -> bool {
    let scheme = reference.split(['/', '?', '#']).next().unwrap_or_default().contains(':');
    !(scheme || reference.is_empty() || reference.starts_with(['/', '#', '?']))
}

/// Whether a browser takes the address of a module for the name of a package.
pub(crate) fn is_bare(address: &str) -> bool {
    is_relative(address) && !address.starts_with('.')
}

/// A reference without its query and fragment, and these.
pub(crate) fn split_suffix(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()))
}
