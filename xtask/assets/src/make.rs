//! Makes all outputs: files as they are, style sheets and scripts compiled. Then each gets its
//! name, which holds the hash of what it is and of all that it refers to, and texts that name
//! others are completed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fingerprint::sha256;

use crate::cli::Places;
use crate::esbuild::{Message, OUT, Outcome, Output, Request, Text};
use crate::look::{Look, whole_from};
use crate::made::Made;
use crate::names::{self, Positions};
use crate::problem::{Place, Problem, Problems};
use crate::references::{Finder, Target, decoded};
use crate::sass::Kept;
use crate::source_map::{SourceMap, file_of};
use crate::sources::{self, Sources, Treatment};
use crate::{css_text, root_files, script, style, unfollowed, web_manifest};

/// A source was edited between the look and the reading of it.
#[derive(Debug)]
pub(crate) struct Moved(pub(crate) String);

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} changes faster than it is built", self.0)
    }
}

impl std::error::Error for Moved {}

/// What a compiler gave.
#[derive(Default)]
pub(crate) struct Compiled {
    pub(crate) outputs: Vec<Unnamed>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
}

/// A text in an output that its compiler has left as it was, and that is an address.
pub(crate) struct Address {
    /// Without quotes.
    pub(crate) range: Range<usize>,
    /// False where only a part of the address is written there.
    pub(crate) is_whole: bool,
}

/// What is said of an address that is put together when the script runs.
const PIECES: &str = "is an address of pieces, which cannot be followed, so it would name nothing; \
                      write it out";

/// An output without its name, whose references are still tokens.
#[derive(Debug)]
pub(crate) struct Unnamed {
    /// What the manifest calls it: its source, or where it lies if it has none of its own.
    pub(crate) key: Option<String>,
    /// Its name without a hash: `lib/app.js`.
    pub(crate) plain: String,
    /// What other outputs call it meanwhile: a path.
    pub(crate) token: String,
    pub(crate) text: String,
    pub(crate) map: SourceMap,
}

/// Makes everything. Fails with all [`Problems`] at once, or with [`Moved`].
pub(crate) fn make(places: &Places, look: &Look, sass: &Kept) -> Result<Made> {
    let sources = sources::list(&look.tree, &places.source)?;
    let texts = texts(places, look, &sources)?;
    // Each compiler meets other references.
    let maker = || Maker {
        places,
        look,
        sass,
        sources: &sources,
        texts: &texts,
        finder: Finder::new(places, look, &sources),
    };
    let (styles, scripts) = std::thread::scope(|scope| {
        let styles = scope.spawn(|| {
            let maker = maker();
            let mut styles = style::all(&maker)?;
            maker.finish(&mut styles, css_text::strings)?;
            anyhow::Ok((styles, maker.finder.met()))
        });
        let scripts = || {
            let maker = maker();
            let (mut scripts, mut alone) = (script::all(&maker)?, root_files::compile(&maker)?);
            maker.finish(&mut scripts, script::addresses)?;
            maker.finish(&mut alone, script::addresses)?;
            scripts.warnings.extend(unfollowed::warnings(&maker));
            anyhow::Ok((scripts, alone, maker.finder.met()))
        };
        let scripts = scripts();
        (styles.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), scripts)
    });
    let ((styles, mut references), (scripts, alone, met)) = (styles?, scripts?);
    references.extend(met);
    let all = [&styles, &scripts, &alone];
    let problems: Vec<Problem> = all.iter().flat_map(|it| it.problems.iter().cloned()).collect();
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let mut made = Made::default();
    made.warnings.extend(all.iter().flat_map(|it| it.warnings.iter().cloned()));
    let maker = maker();
    let mut names = made.add_files(&maker, &references)?;
    let outputs = styles.outputs.into_iter().chain(scripts.outputs).collect();
    for named in names::name(outputs, &references, &names)? {
        if let Some(source) = &named.key {
            names.insert(Target::Source(source.clone()), named.name.clone());
        }
        made.add(named)?;
    }
    root_files::add(&mut made, &maker, alone, &references, &names)?;
    Ok(made)
}

/// The texts of style sheets and scripts.
fn texts(places: &Places, look: &Look, sources: &Sources) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut texts = BTreeMap::new();
    for (path, treatment) in sources {
        if *treatment != Treatment::File {
            texts.insert(path.clone(), read(places, look, path)?);
        }
    }
    Ok(texts)
}

/// A source as it was looked at.
fn read(places: &Places, look: &Look, path: &str) -> Result<Vec<u8>> {
    let file = places.source.join(path);
    let bytes = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    if look.sources.get(path) != Some(&sha256(&bytes)) {
        return Err(Moved(file.display().to_string()).into());
    }
    Ok(bytes)
}

/// What the compilers are given.
pub(crate) struct Maker<'m> {
    pub(crate) places: &'m Places,
    pub(crate) look: &'m Look,
    pub(crate) sass: &'m Kept,
    pub(crate) sources: &'m Sources,
    texts: &'m BTreeMap<String, Vec<u8>>,
    pub(crate) finder: Finder<'m>,
}

impl Maker<'_> {
    pub(crate) fn of(&self, treatment: Treatment) -> Vec<&str> {
        let sources = self.sources.iter().filter(|(_, found)| **found == treatment);
        sources.map(|(path, _)| path.as_str()).collect()
    }

    pub(crate) fn shown(&self, path: &str) -> String {
        self.places.source.join(path).display().to_string()
    }

    pub(crate) fn text(&self, path: &str) -> Result<&str, Problem> {
        std::str::from_utf8(&self.texts[path])
            .map_err(|_| Problem::of_file(&self.shown(path), "is not UTF-8"))
    }

    /// The bytes of any source, partials and data too.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.texts.get(path) {
            Some(text) => Ok(text.clone()),
            None => read(self.places, self.look, path),
        }
    }

    /// Fails with [`Moved`] where a source is not as it was looked at, after somebody else read it.
    pub(crate) fn require_unchanged(&self, path: &str) -> Result<()> {
        read(self.places, self.look, path).map(drop)
    }

    /// What esbuild is asked to make of these sources.
    pub(crate) fn request(&self, paths: &[&str], flags: Vec<String>) -> Request {
        let entry = |path: &&str| (self.entry_name(path), self.finder.path(path));
        Request {
            entries: paths.iter().map(entry).collect(),
            flags,
            packages: self.finder.load_paths.clone(),
            directory: self.finder.path(""),
        }
    }

    /// Adds what esbuild made of these sources. `locate` makes a problem of a message, and says
    /// whether it is about a file of ours: packages are not warned of.
    pub(crate) fn take(
        &self,
        outcome: Outcome,
        paths: &[&str],
        compiled: &mut Compiled,
        locate: &dyn Fn(&Message) -> (Problem, bool),
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        for message in &outcome.errors {
            let (problem, _) = locate(message);
            if seen.insert(problem.to_string()) {
                compiled.problems.push(problem);
            }
        }
        for message in &outcome.warnings {
            let (problem, is_ours) = locate(message);
            if is_ours {
                compiled.warnings.push(problem.to_string());
            }
        }
        compiled.outputs.extend(self.outputs(outcome.outputs, paths)?);
        Ok(())
    }

    /// A message of esbuild at the place that it names, with these words.
    pub(crate) fn located(&self, message: &Message, text: String) -> (Problem, bool) {
        let finder = &self.finder;
        let Some(at) = &message.place else {
            return (Problem::of_file(&finder.shown(&finder.path("")), text), true);
        };
        let place = Place { line: at.line, column: at.before().chars().count() + 1 };
        let mut problem = Problem::at(&finder.shown(&at.file), "", place, text);
        problem.source_line.clone_from(&at.source_line);
        (problem, finder.package(&at.file).is_none())
    }

    /// The answer to esbuild about a file that is not among the sources.
    pub(crate) fn load_other(&self, path: &Path) -> Result<Option<Text>, String> {
        match self.finder.package(path) {
            Some(_) => Ok(None),
            None => Err(format!("{} is outside of the sources and packages", path.display())),
        }
    }

    /// A web app manifest with other addresses; `name` says what a target is called.
    pub(crate) fn web_manifest(
        &self,
        path: &str,
        name: &dyn Fn(&Target) -> Option<String>,
    ) -> Result<Vec<u8>> {
        let text = web_manifest::rewrite(&self.read(path)?, &mut |icon| {
            let target = self.finder.find(path, icon)?;
            Ok(target.and_then(|target| name(&target)))
        });
        let wrong = |message| Problems(vec![Problem::of_file(&self.shown(path), message)]);
        text.map_err(|message| wrong(message).into())
    }

    pub(crate) fn target_flag(&self) -> Option<String> {
        let targets = &self.look.config.targets;
        (!targets.is_empty()).then(|| format!("--target={targets}"))
    }

    /// How esbuild shall call the output of a source: plain signs, and no other source's name.
    fn entry_name(&self, path: &str) -> String {
        format!("{}.{}", sources::plain(path), &sha256(path.as_bytes())[..8])
    }

    /// What is done with the source that a token stands for, if it stands for one.
    pub(crate) fn treatment_of(&self, token: &str) -> Option<Treatment> {
        match self.finder.target_of(token)? {
            Target::Source(source) => self.finder.treatment(&source),
            _ => None,
        }
    }

    /// What esbuild made of these sources, each output with its map.
    fn outputs(&self, outputs: Vec<Output>, paths: &[&str]) -> Result<Vec<Unnamed>> {
        let entries: BTreeMap<String, &str> =
            paths.iter().map(|path| (self.entry_name(path), *path)).collect();
        let (maps, texts): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| output.name.ends_with(".map"));
        let mut maps: BTreeMap<String, Vec<u8>> =
            maps.into_iter().map(|map| (map.name, map.content)).collect();
        let mut unnamed = Vec::new();
        for Output { name, content } in texts {
            let map = maps.remove(&format!("{name}.map")).context("esbuild made no source map")?;
            let mut map = SourceMap::parse(&map)?;
            let place = Path::new(OUT).join(&name);
            for source in &mut map.sources {
                // Written as an address.
                let file = whole_from(place.parent().unwrap_or(&place), &decoded(source));
                let file = file_of(file);
                *source = file.display().to_string();
            }
            let text = String::from_utf8(content).context("esbuild's output is not UTF-8")?;
            let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
            let source = entries.get(stem).map(|path| (*path).to_owned());
            let plain = match &source {
                Some(source) => {
                    let path = sources::plain(source);
                    let stem = path.rsplit_once('.').map_or(&*path, |(stem, _)| stem);
                    format!("{stem}.{extension}")
                }
                None => names::without_hash(&name),
            };
            unnamed.push(Unnamed { key: source, plain, token: format!("/{name}"), text, map });
        }
        Ok(unnamed)
    }

    /// Puts tokens for the addresses that no compiler follows, and calls sources as everybody does.
    fn finish(&self, compiled: &mut Compiled, addresses: fn(&str) -> Vec<Address>) -> Result<()> {
        let mut wrong = BTreeSet::new();
        for output in &mut compiled.outputs {
            let found = addresses(&output.text);
            if !found.is_empty() {
                self.follow(output, found, &mut wrong)?;
            }
            for source in &mut output.map.sources {
                *source = self.finder.stable(Path::new(source));
            }
        }
        for (file, line, message) in wrong {
            let path = self.finder.source(Path::new(&file)).unwrap_or_default();
            let text = self.read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let written = message.split('`').nth(1).unwrap_or_default();
            let found = text.lines().nth(line).and_then(|line| line.find(written));
            let place = Place { line: line + 1, column: found.map_or(1, |at| at.max(1)) };
            compiled.problems.push(Problem::at(&self.shown(path), &text, place, message));
        }
        Ok(())
    }

    /// Puts tokens into one output; what is wrong as file, line from 0 and words.
    fn follow(
        &self,
        output: &mut Unnamed,
        addresses: Vec<Address>,
        wrong: &mut BTreeSet<(String, usize, String)>,
    ) -> Result<()> {
        let lookup = output.map.lookup()?;
        let mut positions = Positions::new(&output.text);
        let mut edits = Vec::new();
        for Address { range: address, is_whole } in addresses {
            let (line, column) = positions.of(address.start);
            let Some(original) = lookup.find(line, column) else { continue };
            let Some(file) = output.map.sources.get(original.source) else { continue };
            let mut directories: Vec<PathBuf> = Vec::new();
            if file.ends_with(".scss") || file.ends_with(".sass") {
                // Sass leaves addresses as they are: they are meant from the whole sheet.
                directories.extend(output.key.as_ref().map(|key| self.finder.path(key)));
            }
            directories.push(file.into());
            let directories: Vec<&Path> =
                directories.iter().filter_map(|file| file.parent()).collect();
            let written = &output.text[address.clone()];
            let token = match is_whole {
                true => self.finder.token(&directories, written),
                false => Err(format!("`{written}` {PIECES}")),
            };
            match token {
                Ok(Some(token)) => edits.push((address, token)),
                Ok(None) => {}
                // What a package names and has not is its own affair.
                Err(_) if self.finder.source(Path::new(file)).is_none() => {}
                Err(message) => drop(wrong.insert((file.clone(), original.line, message))),
            }
        }
        names::edit(&mut output.text, &mut output.map, edits)
    }
}
