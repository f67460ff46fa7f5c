//! What style sheets and scripts refer to: which file an address means, and what stands for it in a
//! compiled text until that file has its name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fingerprint::sha256;

use crate::cli::Places;
use crate::esbuild::TOKEN;
use crate::exports;
use crate::look::{Look, whole};
use crate::sources::{self, Sources, Treatment};

/// Digits of a token: as many as nobody meets twice.
const DIGITS: usize = 16;

/// What an address means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A source, by its path from the source directory.
    Source(String),
    /// A file of a package, by its path from where packages are found.
    Package(String),
    /// A directory of the sources.
    Directory(String),
}

/// An address, and what follows it: a query, a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) target: Target,
    pub(crate) suffix: String,
}

/// All references that were met, each under the token that stands for it.
pub(crate) type References = BTreeMap<String, Reference>;

/// Finds what addresses mean.
pub(crate) struct Finder<'f> {
    look: &'f Look,
    sources: &'f Sources,
    /// The source directory as the user calls it, and whole.
    shown: &'f Path,
    root: PathBuf,
    /// Where packages are found, whole.
    pub(crate) load_paths: Vec<PathBuf>,
    met: RefCell<References>,
}

impl<'f> Finder<'f> {
    pub(crate) fn new(places: &'f Places, look: &'f Look, sources: &'f Sources) -> Finder<'f> {
        Finder {
            look,
            sources,
            shown: &places.source,
            root: whole(&places.source),
            load_paths: places.load_paths.iter().map(|path| whole(path)).collect(),
            met: RefCell::default(),
        }
    }

    pub(crate) fn met(self) -> References {
        self.met.into_inner()
    }

    /// The source that a whole path names; partials are sources too.
    pub(crate) fn source<'p>(&self, path: &'p Path) -> Option<&'p str> {
        let inside = path.strip_prefix(&self.root).ok()?.to_str()?;
        self.look.sources.contains_key(inside).then_some(inside)
    }

    pub(crate) fn path(&self, source: &str) -> PathBuf {
        self.root.join(source)
    }

    /// The file of a package that a whole path names, from where packages are found. A package's
    /// own load path lies inside of another: the outermost counts.
    pub(crate) fn package(&self, path: &Path) -> Option<String> {
        let inside = self.load_paths.iter().filter_map(|it| path.strip_prefix(it).ok());
        let longest = inside.max_by_key(|it| it.as_os_str().len())?;
        self.look.libraries.contains_key(path).then(|| longest.to_str().map(str::to_owned))?
    }

    /// How a file is called in messages.
    pub(crate) fn shown(&self, path: &Path) -> String {
        match (path.strip_prefix(&self.root), self.package(path)) {
            (Ok(inside), _) => self.shown.join(inside).display().to_string(),
            (_, Some(package)) => package,
            _ => path.display().to_string(),
        }
    }

    /// How a file is called in source maps: the same on every machine.
    pub(crate) fn stable(&self, path: &Path) -> String {
        match (path.strip_prefix(&self.root), self.package(path)) {
            (Ok(inside), _) => format!("/assets/{}", inside.display()),
            (_, Some(package)) => format!("/{package}"),
            _ => format!("/{}", path.file_name().unwrap_or_default().to_string_lossy()),
        }
    }

    /// The token for an address that a file in one of these directories has, the likeliest first;
    /// nothing where the address leads elsewhere.
    pub(crate) fn token(
        &self,
        directories: &[&Path],
        address: &str,
    ) -> Result<Option<String>, String> {
        if !sources::is_relative(address) {
            return Ok(None);
        }
        let (path, suffix) = sources::split_suffix(address);
        let target = self.target(directories, path, address)?;
        Ok(Some(self.meet(Reference { target, suffix: suffix.to_owned() })))
    }

    /// What an address in a source means; nothing where it leads elsewhere.
    pub(crate) fn find(&self, source: &str, address: &str) -> Result<Option<Target>, String> {
        if !sources::is_relative(address) {
            return Ok(None);
        }
        let file = self.path(source);
        let (path, _) = sources::split_suffix(address);
        self.target(&[file.parent().unwrap_or(&file)], path, address).map(Some)
    }

    /// What a token stands for.
    pub(crate) fn target_of(&self, token: &str) -> Option<Target> {
        self.met.borrow().get(token).map(|reference| reference.target.clone())
    }

    fn meet(&self, reference: Reference) -> String {
        let digits = sha256(format!("{reference:?}").as_bytes());
        let token = format!("{TOKEN}{}", &digits[..DIGITS]);
        self.met.borrow_mut().insert(token.clone(), reference);
        token
    }

    fn target(&self, directories: &[&Path], path: &str, shown: &str) -> Result<Target, String> {
        let written = decoded(path);
        // `~` in front of a package's name is a habit of webpack's loaders.
        let package = written.strip_prefix('~').unwrap_or(&written);
        let beside = directories.iter().map(|directory| directory.join(&written));
        let mut candidates: Vec<PathBuf> = beside.map(|candidate| whole(&candidate)).collect();
        if !path.starts_with('.') {
            candidates.extend(self.in_packages(package));
        }
        for candidate in &candidates {
            if let Some(target) = self.at(candidate, path.ends_with('/') || path.ends_with('.')) {
                return target;
            }
        }
        let Some(first) = candidates.first() else {
            return Err(format!("`{shown}` is not a file of a package"));
        };
        match first.strip_prefix(&self.root) {
            Ok(_) => Err(format!("`{shown}`: there is no {}", self.shown(first))),
            Err(_) if self.load_paths.iter().any(|it| first.starts_with(it)) => {
                Err(format!("`{shown}`: the package has no such file"))
            }
            Err(_) => Err(format!("`{shown}` leaves {}", self.shown.display())),
        }
    }

    /// What lies at a path.
    fn at(&self, path: &Path, may_be_directory: bool) -> Option<Result<Target, String>> {
        if let Ok(inside) = path.strip_prefix(&self.root) {
            let inside = inside.to_str()?;
            if let Some(source) = self.output_of(inside) {
                return Some(Ok(Target::Source(source)));
            }
            if self.look.sources.contains_key(inside) {
                let shown = self.shown(path);
                return Some(Err(format!("{shown} is a part of others and has no output")));
            }
            let is_directory = may_be_directory && path.is_dir();
            return is_directory.then(|| Ok(Target::Directory(inside.to_owned())));
        }
        Some(Ok(Target::Package(self.package(path)?)))
    }

    /// The source whose output an address means: that file, or what is compiled to it.
    pub(crate) fn output_of(&self, path: &str) -> Option<String> {
        let instead: &[&str] = match path.rsplit_once('.') {
            Some((_, "css")) => &["scss", "sass"],
            Some((_, "js")) => &["ts", "tsx", "jsx", "mjs"],
            _ => &[],
        };
        let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
        let others = instead.iter().map(|extension| format!("{stem}.{extension}"));
        let mut candidates = std::iter::once(path.to_owned()).chain(others);
        candidates.find(|candidate| self.sources.contains_key(candidate))
    }

    pub(crate) fn treatment(&self, source: &str) -> Option<Treatment> {
        self.sources.get(source).copied()
    }

    /// Whether an address begins with the name of a package that is here.
    pub(crate) fn has_package(&self, address: &str) -> bool {
        let (name, _) = exports::split(address);
        !name.starts_with('.') && self.load_paths.iter().any(|it| it.join(name).is_dir())
    }

    /// A file of a package by a name such as `bootstrap-icons/font/bootstrap-icons.css`: where it
    /// lies in there, or what the package says of that name.
    pub(crate) fn in_packages(&self, address: &str) -> Option<PathBuf> {
        let (name, path) = exports::split(address);
        let lies = |path: PathBuf| {
            let path = whole(&path);
            self.look.libraries.contains_key(&path).then_some(path)
        };
        self.load_paths.iter().find_map(|load_path| {
            let package = load_path.join(name);
            lies(load_path.join(address)).or_else(|| lies(exports::find(&package, path)?))
        })
    }
}

/// An address without its percent signs: `%20` is a space.
pub(crate) fn decoded(address: &str) -> String {
    let mut bytes = Vec::with_capacity(address.len());
    let mut rest = address.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let value =
            digits.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| address.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn percent_signs_are_decoded_where_they_mean_something() {
        let decoded = super::decoded;
        assert_eq!(decoded("a%20b%C3%A9.svg"), "a bé.svg");
        assert_eq!(decoded("100%.svg"), "100%.svg");
        assert_eq!(decoded("%zz%4"), "%zz%4");
        assert_eq!(decoded("%ff"), "%ff", "no text");
    }
}
