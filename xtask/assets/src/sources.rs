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
    /// Bundled if it is a module, minified if it is a classic script: `.js`, `.ts`, `.jsx` …
    Script,
    /// Taken as it is.
    File,
}

/// Source path from the source directory -> what is done with it. Partials (`_name.scss`,
/// `_name.js`), types (`.d.ts`), dot files, what editors leave and the configuration become nothing
/// by themselves.
pub(crate) type Sources = BTreeMap<String, Treatment>;

/// Files in the source directory itself that tell tools how to work.
const CONFIGURATION: [&str; 5] =
    [config::NAME, "assets.lock", "package.json", "package-lock.json", "tsconfig.json"];

/// The sources of a tree. What cannot be served under its name is a problem.
pub(crate) fn list(tree: &Tree, shown: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    let mut problems = Vec::new();
    for entry in tree.iter() {
        let path = escape(entry.path);
        let file = shown.join(&path).display().to_string();
        let is_hidden = path.split('/').any(|part| part.starts_with('.') && part != ".well-known");
        if is_hidden || CONFIGURATION.contains(&&*path) {
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
        if let Some(bad) = path.chars().find(|sign| !may_be_in_a_name(*sign)) {
            problems.push(Problem::of_file(
                &file,
                format!("has {bad:?} in its name, which means something else in an address"),
            ));
            continue;
        }
        if let Some(treatment) = treatment(&path) {
            sources.insert(path, treatment);
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(Problems(problems).into()) }
}

/// Neither a quote nor a sign that ends a path in an address.
fn may_be_in_a_name(sign: char) -> bool {
    !(sign.is_control() || "\"'`<>\\?#%".contains(sign))
}

/// A sign that needs no escape in an address, a style sheet, a script or an HTML attribute.
fn is_plain(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || "/._-+@".contains(sign)
}

/// A path as outputs have it: the hash in their names tells those apart that become the same.
pub(crate) fn plain(path: &str) -> String {
    path.chars().map(|sign| if is_plain(sign) { sign } else { '_' }).collect()
}

fn treatment(path: &str) -> Option<Treatment> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.ends_with(".d.ts") || name.ends_with(".d.mts") {
        return None;
    }
    let is_partial = name.starts_with('_');
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("scss" | "sass") if is_partial => None,
        Some("scss" | "sass" | "css") => Some(Treatment::Style),
        Some(extension) if loader(extension).is_some() => {
            (!is_partial).then_some(Treatment::Script)
        }
        _ => Some(Treatment::File),
    }
}

/// How esbuild reads scripts with this extension.
pub(crate) fn loader(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "js" | "mjs" | "cjs" => "js",
        "jsx" => "jsx",
        "ts" | "mts" | "cts" => "ts",
        "tsx" => "tsx",
        _ => return None,
    })
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

/// A reference without its query and fragment, and these.
pub(crate) fn split_suffix(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find(['?', '#']).unwrap_or(reference.len()))
}
