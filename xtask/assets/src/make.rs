//! Makes all outputs in memory: files as they are, then style sheets, then scripts, each after what
//! it refers to, because a name holds the hash of what it names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::sha256;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

use crate::cli::Places;
use crate::look::Look;
use crate::problem::{Problem, Problems};
use crate::sources::{self, Sources, Treatment};
use crate::style::{self, Sheet};
use crate::{memory, parallel, script};

/// Hexadecimal digits of a hash in a name: 64 bits.
const HASH_DIGITS: usize = 16;

/// What a template needs to know of an output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Path from the output directory.
    pub(crate) file: String,
    /// For the `integrity` attribute.
    pub(crate) integrity: String,
    /// In bytes.
    pub(crate) size: usize,
}

/// All outputs of a build.
#[derive(Default)]
pub(crate) struct Made {
    /// Source path -> output.
    pub(crate) manifest: BTreeMap<String, Listed>,
    /// Output path -> content; source maps too.
    pub(crate) outputs: BTreeMap<String, Vec<u8>>,
    /// What the compilers warned of.
    pub(crate) warnings: Vec<String>,
}

/// A source was edited between the look and the reading of it.
#[derive(Debug)]
pub(crate) struct Moved(String);

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changes faster than it is built", self.0)
    }
}

impl std::error::Error for Moved {}

/// Makes everything. Fails with all [`Problems`] at once, or with [`Moved`].
pub(crate) fn make(places: &Places, look: &Look) -> Result<Made> {
    let sources = sources::list(&look.tree, &places.source)?;
    let texts = read(places, look, &sources)?;
    let maker = Maker { places, look, sources: &sources, texts: &texts };
    let mut made = Made::default();
    for (path, treatment) in &sources {
        if *treatment == Treatment::File {
            made.add(path, &texts[path], None);
        }
    }
    let mut problems = maker.styles(&mut made)?;
    problems.extend(maker.scripts(&mut made));
    if problems.is_empty() { Ok(made) } else { Err(Problems(problems).into()) }
}

fn read(places: &Places, look: &Look, sources: &Sources) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut texts = BTreeMap::new();
    for path in sources.keys() {
        let file = places.source.join(path);
        let bytes =
            std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
        if look.sources.get(path) != Some(&sha256(&bytes)) {
            return Err(Moved(file.display().to_string()).into());
        }
        texts.insert(path.clone(), bytes);
    }
    Ok(texts)
}

impl Made {
    /// Adds what a source became, under a name that holds the hash of it and of its map.
    fn add(&mut self, source: &str, bytes: &[u8], map: Option<String>) {
        let map = map.unwrap_or_default();
        let name = output_name(source, &sha256(&[bytes, b"\0", map.as_bytes()].concat()));
        self.add_as(name, source, bytes, map);
    }

    fn add_as(&mut self, name: String, source: &str, bytes: &[u8], map: String) {
        let mut bytes = bytes.to_vec();
        if !map.is_empty() {
            let map_name = format!("{}.map", name.rsplit('/').next().unwrap_or(&name));
            let comment = match name.ends_with(".css") {
                true => format!("\n/*# sourceMappingURL={map_name} */\n"),
                false => format!("\n//# sourceMappingURL={map_name}\n"),
            };
            bytes.extend_from_slice(comment.as_bytes());
            self.outputs.insert(format!("{name}.map"), map.into_bytes());
        }
        let listed = Listed {
            file: name.clone(),
            integrity: format!("sha384-{}", BASE64.encode(Sha384::digest(&bytes))),
            size: bytes.len(),
        };
        self.manifest.insert(source.to_owned(), listed);
        self.outputs.insert(name, bytes);
    }
}

/// `dir/name-HASH.ext`.
fn output_name(source: &str, hash: &str) -> String {
    let (stem, extension) = match source.rsplit_once('.') {
        Some((stem, "scss" | "sass")) => (stem, ".css"),
        Some((stem, "mjs")) => (stem, ".js"),
        Some((stem, extension)) if !extension.contains('/') => {
            (stem, &source[source.len() - extension.len() - 1..])
        }
        _ => (source, ""),
    };
    format!("{stem}-{}{extension}", &hash[..HASH_DIGITS])
}

struct Maker<'m> {
    places: &'m Places,
    look: &'m Look,
    sources: &'m Sources,
    texts: &'m BTreeMap<String, Vec<u8>>,
}

impl Maker<'_> {
    fn of(&self, treatment: Treatment) -> Vec<&str> {
        let sources = self.sources.iter().filter(|(_, found)| **found == treatment);
        sources.map(|(path, _)| path.as_str()).collect()
    }

    fn shown(&self, path: &str) -> String {
        self.places.source.join(path).display().to_string()
    }

    fn text(&self, path: &str) -> Result<&str, Problem> {
        std::str::from_utf8(&self.texts[path])
            .map_err(|_| Problem::of_file(&self.shown(path), "is not UTF-8"))
    }

    /// The source that a reference means, and what follows its path; `None` where it is left alone.
    fn target<'r>(
        &self,
        from: &str,
        reference: &'r str,
    ) -> Result<Option<(String, &'r str)>, String> {
        if !sources::is_relative(reference) {
            return Ok(None);
        }
        let (path, suffix) = sources::split_suffix(reference);
        let outside = || format!("`{reference}` leaves {}", self.places.source.display());
        let wanted = sources::resolve(from, path).ok_or_else(outside)?;
        let sass = wanted
            .strip_suffix(".css")
            .map(|stem| [".scss", ".sass"].map(|it| format!("{stem}{it}")));
        let candidates = std::iter::once(wanted.clone()).chain(sass.into_iter().flatten());
        let found = candidates.into_iter().find(|path| self.sources.contains_key(path));
        match found {
            Some(found) => Ok(Some((found, suffix))),
            None => Err(format!("`{reference}`: there is no {}", self.shown(&wanted))),
        }
    }

    // --- style sheets ---------------------------------------------------------------------------

    fn styles(&self, made: &mut Made) -> Result<Vec<Problem>> {
        let paths = self.of(Treatment::Style);
        let sheets = parallel::each(&paths, |path| self.sheet(path));
        let mut compiled = BTreeMap::new();
        let mut problems = Vec::new();
        for (path, sheet) in paths.iter().zip(sheets) {
            match sheet? {
                Ok(sheet) => {
                    made.warnings.extend(sheet.warnings.iter().cloned());
                    compiled.insert(*path, sheet);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let state = Finishing {
            maker: self,
            sheets: &compiled,
            begun: RefCell::default(),
            under_way: RefCell::default(),
        };
        let made = RefCell::new(made);
        for path in compiled.keys() {
            problems.extend(state.finish(path, &made));
        }
        Ok(problems)
    }

    /// A compiled sheet, from the last time where it would be the same.
    fn sheet(&self, path: &str) -> Result<Result<Sheet, Problem>> {
        if let Some(sheet) = memory::sheet(self.places, self.look, path) {
            return Ok(Ok(sheet));
        }
        let text = match self.text(path) {
            Ok(text) => text,
            Err(problem) => return Ok(Err(problem)),
        };
        let places =
            style::Places { source: &self.places.source, load_paths: &self.places.load_paths };
        let sheet = match style::compile(&places, path, text) {
            Ok(sheet) => sheet,
            Err(problem) => return Ok(Err(problem)),
        };
        for (file, hash) in &sheet.loaded {
            match self.look.hash_of(self.places, file) {
                Some(known) if known == hash => {}
                Some(_) => return Err(Moved(file.display().to_string()).into()),
                None => {
                    let message = format!(
                        "loads {} from outside of the sources and libraries, or through a link",
                        file.display()
                    );
                    return Ok(Err(Problem::of_file(&self.shown(path), message)));
                }
            }
        }
        memory::keep_sheet(self.places, self.look, path, sheet).map(Ok)
    }

    // --- scripts --------------------------------------------------------------------------------

    fn scripts(&self, made: &mut Made) -> Vec<Problem> {
        let paths = self.of(Treatment::Script);
        let mut graph = DiGraph::<&str, ()>::new();
        let nodes: BTreeMap<&str, NodeIndex> =
            paths.iter().map(|path| (*path, graph.add_node(path))).collect();
        let mut problems = Vec::new();
        for path in &paths {
            match self.imports(path) {
                Ok(targets) => {
                    for target in targets.iter().filter_map(|target| nodes.get(target.as_str())) {
                        graph.add_edge(nodes[path], *target, ());
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        // What is imported comes before who imports it; who import one another come together.
        for group in petgraph::algo::tarjan_scc(&graph) {
            let group: BTreeSet<&str> = group.into_iter().map(|node| graph[node]).collect();
            problems.extend(self.group(&group, made).err().into_iter().flatten());
        }
        problems
    }

    /// The sources that a module refers to.
    fn imports(&self, path: &str) -> Result<BTreeSet<String>, Vec<Problem>> {
        let text = self.text(path).map_err(|problem| vec![problem])?;
        let shown = self.shown(path);
        let mut targets = BTreeSet::new();
        let mut problems = Vec::new();
        for reference in script::references(&shown, text)? {
            let address = &reference.address;
            let target = match reference.is_import && sources::is_bare(address) {
                true => Err(format!(
                    "`{address}` names a package; put its module into {} and import that",
                    self.places.source.display()
                )),
                false => self.target(path, address),
            };
            match target {
                Ok(target) => targets.extend(target.map(|(target, _)| target)),
                Err(message) => {
                    problems.push(Problem::at_offset(&shown, text, reference.offset, &message));
                }
            }
        }
        if problems.is_empty() { Ok(targets) } else { Err(problems) }
    }

    /// Makes modules that import one another; most often just one. Their names come from what all
    /// of them hold, with the sources' names where the outputs' are not known yet.
    fn group(&self, group: &BTreeSet<&str>, made: &mut Made) -> Result<(), Vec<Problem>> {
        let mut names: BTreeMap<String, String> = made
            .manifest
            .iter()
            .map(|(source, listed)| (source.clone(), listed.file.clone()))
            .collect();
        let mut first = BTreeMap::new();
        let mut together = String::new();
        for path in group {
            let minified = self.minified(path, &names)?;
            together += &format!("{path}\0{}\0{}\0", minified.code, minified.map);
            first.insert(*path, minified);
        }
        let together = sha256(together.as_bytes());
        for path in group {
            let hash = sha256(format!("{together}\0{path}").as_bytes());
            names.insert((*path).to_owned(), output_name(path, &hash));
        }
        for (path, mut minified) in first {
            if !minified.is_final {
                minified = self.minified(path, &names)?;
            }
            made.add_as(names[path].clone(), path, minified.code.as_bytes(), minified.map);
        }
        Ok(())
    }

    fn minified(
        &self,
        path: &str,
        names: &BTreeMap<String, String>,
    ) -> Result<Minified, Vec<Problem>> {
        let text = self.text(path).map_err(|problem| vec![problem])?;
        let is_final = Cell::new(true);
        let rename = |address: &str| {
            let (target, suffix) = self.target(path, address).ok()??;
            let Some(name) = names.get(&target) else {
                is_final.set(false);
                return None;
            };
            let relative = sources::relative(path, name);
            // A module is named from `./` or `../`, anything else would be a package.
            let dot = if relative.starts_with('.') { "" } else { "./" };
            Some(format!("{dot}{relative}{suffix}"))
        };
        let (code, map) = script::minify(path, &self.shown(path), text, &rename)?;
        Ok(Minified { code, map, is_final: is_final.get() })
    }
}

struct Minified {
    code: String,
    map: String,
    /// Whether everything that it refers to had a name already.
    is_final: bool,
}

/// Style sheets on their way from CSS to outputs; one that is imported comes before who imports it.
struct Finishing<'f> {
    maker: &'f Maker<'f>,
    sheets: &'f BTreeMap<&'f str, Sheet>,
    begun: RefCell<BTreeSet<String>>,
    under_way: RefCell<BTreeSet<String>>,
}

impl Finishing<'_> {
    fn finish(&self, path: &str, made: &RefCell<&mut Made>) -> Vec<Problem> {
        if made.borrow().manifest.contains_key(path) {
            return Vec::new();
        }
        let Some(sheet) = self.sheets.get(path) else { return Vec::new() };
        // Begun before: it is being made, or its problems are told.
        if !self.begun.borrow_mut().insert(path.to_owned()) {
            return Vec::new();
        }
        self.under_way.borrow_mut().insert(path.to_owned());
        let problems = RefCell::new(Vec::new());
        let resolve = |reference: &str| {
            let Some((target, suffix)) = self.maker.target(path, reference)? else {
                return Ok(None);
            };
            if self.maker.sources[&target] == Treatment::Script {
                return Err(format!("`{reference}` is a script"));
            }
            problems.borrow_mut().extend(self.finish(&target, made));
            match made.borrow().manifest.get(&target) {
                Some(listed) => {
                    Ok(Some(format!("{}{suffix}", sources::relative(path, &listed.file))))
                }
                None if self.under_way.borrow().contains(&target) => {
                    Err(format!("`{reference}` imports this style sheet in turn"))
                }
                None => Ok(None),
            }
        };
        let shown = self.maker.shown(path);
        let targets = self.maker.look.config.targets;
        let finished = style::finish(sheet, path, &shown, targets, &resolve);
        self.under_way.borrow_mut().remove(path);
        match finished {
            Ok((css, map)) => made.borrow_mut().add(path, css.as_bytes(), Some(map)),
            Err(found) => problems.borrow_mut().extend(found),
        }
        problems.into_inner()
    }
}
