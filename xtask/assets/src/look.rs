//! What there is before a build: the sources, the libraries, the output, and whether the output is
//! what a build of these sources gave.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use fingerprint::ignore::Ignore;
use fingerprint::tree::{Kind, escape};
use fingerprint::{StatCache, Tree, Walk, sha256};
use serde::{Deserialize, Serialize};

use crate::cli::Places;
use crate::config::{self, Config};
use crate::memory;

/// Changes whenever the same sources would give other outputs.
const SCHEMA: &str = "assets 2";

/// Copies and locks that editors put beside the file that is edited; what npm installed.
const LEFT_BY_EDITORS: &str =
    "**/*~\n**/[#]*[#]\n**/.[#]*\n**/.*.sw?\n**/4913\n**/*___jb_tmp___\n**/node_modules\n";

/// Path -> SHA-256, for the files of a directory.
pub(crate) type Files = BTreeMap<String, String>;

pub(crate) struct Look {
    pub(crate) config: Config,
    pub(crate) tree: Tree,
    /// The sources, by their path from the source directory.
    pub(crate) sources: Files,
    /// The files of the packages, by their whole path.
    pub(crate) libraries: BTreeMap<PathBuf, String>,
    /// What stays in the output besides, by path from its directory.
    pub(crate) kept: Files,
    /// What lies in the output directory, by path from there.
    pub(crate) output: Files,
    /// Entries of the output directory that no build makes: directories, links, other modes.
    pub(crate) output_is_plain: bool,
    /// Everything that decides the output, as one number.
    pub(crate) key: String,
    /// What decides it besides the sources.
    pub(crate) setting: String,
}

/// What the last build left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) key: String,
    pub(crate) setting: String,
    pub(crate) sources: Files,
    #[serde(default)]
    pub(crate) kept: Files,
    pub(crate) output: Files,
    /// The output directory, its whole path.
    #[serde(default)]
    pub(crate) place: PathBuf,
}

impl Look {
    /// `remember` is where what was hashed is remembered, if it may be.
    pub(crate) fn new(places: &Places, remember: Option<&Path>) -> Result<Look> {
        let config = config::load(&places.source)?;
        let tree = walk(places, remember, &places.source, "source", LEFT_BY_EDITORS)?;
        let walk = |directory: &Path, name: &str| walk(places, remember, directory, name, "");
        let mut libraries = BTreeMap::new();
        // In the order in which they are searched: of two with one name the first is taken.
        let mut listed = String::new();
        for (number, directory) in places.load_paths.iter().enumerate() {
            let tree = walk(directory, &format!("library-{number}"))?;
            let directory = whole(directory);
            for (path, hash) in files(&tree) {
                listed += &format!("{number} {path} {hash}\n");
                libraries.insert(directory.join(path), hash);
            }
        }
        let snapshot = places.sass.join("dart-sass/src/sass.snapshot");
        for compiler in [&snapshot, &places.esbuild] {
            listed += &format!("{}\n", build_of(compiler));
        }
        let (output, output_is_plain) = match fs::symlink_metadata(&places.output) {
            Err(_) => (Files::new(), true),
            Ok(found) if !found.is_dir() => (Files::new(), false),
            Ok(found) => match walk(&places.output, "output") {
                Ok(tree) => (files(&tree), found.mode() & 0o7777 == 0o755 && is_plain(&tree)),
                // A pipe, say: all is written anew.
                Err(_) => (Files::new(), false),
            },
        };
        let kept = match &places.keep {
            Some(directory) => files(&walk(directory, "kept")?),
            None => Files::new(),
        };
        let sources = files(&tree);
        let setting = format!("{SCHEMA}\n{}\n{}\n{listed}", program(), config.identity);
        let setting = sha256(setting.as_bytes());
        let key = sha256(format!("{setting}\n{kept:?}\n{}", tree.text()).as_bytes());
        Ok(Look { config, tree, sources, libraries, kept, output, output_is_plain, key, setting })
    }

    /// Why the output is not what a build would give; `None` when it is.
    pub(crate) fn why_stale(&self, places: &Places, last: Option<&Last>) -> Option<String> {
        let Some(last) = last else { return Some("never built here".into()) };
        let source = |path: &str| places.source.join(path).display().to_string();
        if let Some(change) = difference(&last.sources, &self.sources) {
            return Some(format!("{} {}", source(change.0), change.1));
        }
        if last.setting != self.setting {
            return Some("the pipeline, its settings or a library changed".into());
        }
        if let Some((path, how)) = difference(&last.kept, &self.kept) {
            return Some(format!("{path}, which is kept, {how}"));
        }
        if last.key != self.key {
            return Some(format!("{} changed", places.source.display()));
        }
        let output = |path: &str| places.output.join(path).display().to_string();
        if let Some(change) = difference(&last.output, &self.output) {
            return Some(format!("{} {}", output(change.0), change.1));
        }
        (!self.output_is_plain)
            .then(|| format!("{} holds what no build makes", places.output.display()))
    }

    /// SHA-256 of a source or of a file of a package by its whole path.
    pub(crate) fn hash_of(&self, places: &Places, path: &Path) -> Option<&String> {
        match path.strip_prefix(whole(&places.source)) {
            Ok(inside) => self.sources.get(inside.to_str()?),
            Err(_) => self.libraries.get(path),
        }
    }
}

/// The first path that differs, and how.
fn difference<'f>(before: &'f Files, now: &'f Files) -> Option<(&'f str, &'static str)> {
    let paths: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    paths.into_iter().find_map(|path| match (before.get(path), now.get(path)) {
        (None, _) => Some((path.as_str(), "is new")),
        (_, None) => Some((path.as_str(), "is gone")),
        (before, now) => (before != now).then_some((path.as_str(), "changed")),
    })
}

/// Reads a directory; what has not changed since the last time is not read again.
fn walk(
    places: &Places,
    remember: Option<&Path>,
    directory: &Path,
    name: &str,
    rules: &str,
) -> Result<Tree> {
    let ignore = Ignore::parse(rules.as_bytes())?;
    let cache_path = places.state.join(format!("stats-{name}"));
    let cache = StatCache::load(&cache_path, directory);
    let walk =
        Walk { root: directory, ignore: &ignore, leave_out: None, exact_modes: name == "output" };
    let walked = walk
        .read(&cache, remember)
        .with_context(|| format!("can't read {}", directory.display()))?;
    if let (Some(bytes), Some(_)) = (&walked.cache, remember) {
        memory::replace(&cache_path, |file| Ok(file.write_all(bytes)?))?;
    }
    Ok(walked.tree)
}

fn files(tree: &Tree) -> Files {
    let files = tree.iter().filter(|entry| entry.kind == Kind::File);
    files.map(|entry| (escape(entry.path), hex::encode(entry.content))).collect()
}

/// Whether every entry has the mode that a build gives it, and none is a link or a directory with
/// nothing in it.
fn is_plain(tree: &Tree) -> bool {
    let entries: Vec<_> = tree.iter().collect();
    entries.iter().enumerate().all(|(number, entry)| match entry.kind {
        Kind::File => entry.mode == 0o644,
        Kind::Symlink => false,
        Kind::Directory => {
            let inside = [entry.path, b"/"].concat();
            let next = entries.get(number + 1);
            entry.mode == 0o755 && next.is_some_and(|next| next.path.starts_with(&inside))
        }
    })
}

/// The whole path, without `.` and `..`, as Sass makes it: links stay links.
pub(crate) fn whole(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole
}

/// The whole path of one that may be relative to a directory.
pub(crate) fn whole_from(directory: &Path, path: &str) -> PathBuf {
    whole(&directory.join(path))
}

/// Tells this program from another build of it.
fn program() -> String {
    std::env::current_exe().map(|path| build_of(&path)).unwrap_or_default()
}

/// Tells a program from another build of it, by its size and time.
fn build_of(path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else { return String::new() };
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {}", metadata.len(), modified.unwrap_or_default().as_nanos())
}
