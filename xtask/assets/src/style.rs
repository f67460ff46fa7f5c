//! Style sheets: Sass to CSS by dart-sass, then bundled, prefixed and minified by esbuild, with a
//! map back to the sources.
//!
//! Two steps, because the first does not depend on how other outputs are named: a [`Sheet`] is kept
//! as long as nothing that it was made of has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fingerprint::sha256;
use serde::{Deserialize, Serialize};

use crate::chance;
use crate::esbuild::{Esbuild, Host, Meaning, Message, Question, Text};
use crate::look::whole;
use crate::make::{Compiled, Maker, Moved};
use crate::names::{self, Positions};
use crate::problem::{Place, Problem};
use crate::sass::{self, Complaint, ComplaintPlace};
use crate::source_map::{self, SourceMap};
use crate::sources::{self, Treatment};
use crate::{css_text, memory};

/// A style sheet as plain CSS, and what it came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sheet {
    css: String,
    /// Source map of the CSS, with the texts of the sources; nothing where it is its own source.
    map: Option<SourceMap>,
    /// The files it was made of besides the sheet itself, each with its SHA-256.
    pub(crate) loaded: Vec<(PathBuf, String)>,
    /// What Sass warned of in files of our own.
    warnings: Vec<String>,
}

/// The mark of byte order, which some editors put first; in the middle of a text it is a letter.
const MARK: char = '\u{feff}';

/// Makes all style sheets.
pub(crate) fn all(maker: &Maker<'_>) -> Result<Compiled> {
    let mut compiled = Compiled::default();
    let paths = maker.of(Treatment::Style);
    if paths.is_empty() {
        return Ok(compiled);
    }
    // It starts while the sheets are compiled.
    let (sheets, esbuild) = std::thread::scope(|scope| {
        let esbuild = scope.spawn(|| Esbuild::start(&maker.places.esbuild));
        let sheets = sheets(maker, &paths, &mut compiled);
        (sheets, esbuild.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let mut sheets = sheets?;
    for (path, sheet) in &mut sheets {
        follow(maker, path, sheet)?;
    }
    // What is wrong with the others is told at the same time.
    let paths: Vec<&str> = paths.into_iter().filter(|path| sheets.contains_key(*path)).collect();
    if paths.is_empty() {
        return Ok(compiled);
    }
    let mut flags = vec!["--bundle".to_owned()];
    flags.extend(maker.target_flag());
    let mut host = Sheets { maker, sheets: &sheets };
    let outcome = esbuild?.build(&maker.request(&paths, flags), &mut host)?;
    maker.take(outcome, &paths, &mut compiled, &|message| host.locate(message))?;
    for sheet in sheets.values() {
        compiled.warnings.extend(sheet.warnings.iter().cloned());
    }
    Ok(compiled)
}

/// Puts tokens for the addresses of a sheet that Sass has made: it leaves them as they are. They
/// are meant from the whole sheet, or else from the file that they were written in.
fn follow(maker: &Maker<'_>, path: &str, sheet: &mut Sheet) -> Result<()> {
    let Some(map) = &mut sheet.map else { return Ok(()) };
    let mut addresses = css_text::urls(&sheet.css);
    addresses.retain(|address| sources::is_relative(&sheet.css[address.clone()]));
    if addresses.is_empty() {
        return Ok(());
    }
    let lookup = map.lookup()?;
    let own = maker.finder.path(path);
    let mut positions = Positions::new(&sheet.css);
    let mut edits = Vec::new();
    for address in addresses {
        let (line, column) = positions.of(address.start);
        let origin = lookup.find(line, column).and_then(|it| map.sources.get(it.source));
        let files = [Some(own.as_path()), origin.map(Path::new)];
        let directories: Vec<&Path> =
            files.into_iter().flatten().filter_map(Path::parent).collect();
        // esbuild tells what is wrong when it reads the sheet.
        if let Ok(Some(token)) = maker.finder.token(&directories, &sheet.css[address.clone()])
            && maker.treatment_of(&token) != Some(Treatment::Script)
        {
            edits.push((address, token));
        }
    }
    names::edit(&mut sheet.css, map, edits)
}

/// Compiles what is Sass; what would come out as the last time is taken from there.
fn sheets(
    maker: &Maker<'_>,
    paths: &[&str],
    compiled: &mut Compiled,
) -> Result<BTreeMap<String, Sheet>> {
    let mut sheets = BTreeMap::new();
    let mut missing = Vec::new();
    for path in paths {
        match maker.text(path) {
            Err(problem) => compiled.problems.push(problem),
            Ok(text) if path.ends_with(".css") => {
                let css = text.trim_start_matches(MARK).to_owned();
                let (map, loaded, warnings) = Default::default();
                sheets.insert((*path).to_owned(), Sheet { css, map, loaded, warnings });
            }
            Ok(_) => match memory::sheet(maker.places, maker.look, path) {
                Some(sheet) => drop(sheets.insert((*path).to_owned(), sheet)),
                None => missing.push(*path),
            },
        }
    }
    if missing.is_empty() {
        return Ok(sheets);
    }
    let files: Vec<PathBuf> = missing.iter().map(|path| maker.finder.path(path)).collect();
    let answers = maker.sass.compile(&maker.places.sass, &files, &maker.finder.load_paths)?;
    for (path, answer) in missing.iter().zip(answers) {
        match sheet(maker, path, answer)? {
            Ok(sheet) => {
                memory::keep_sheet(maker.places, maker.look, path, &sheet)?;
                sheets.insert((*path).to_owned(), sheet);
            }
            Err(problem) => compiled.problems.push(problem),
        }
    }
    Ok(sheets)
}

fn sheet(maker: &Maker<'_>, path: &str, answer: sass::Compiled) -> Result<Result<Sheet, Problem>> {
    let own = maker.finder.path(path);
    let mut loaded = Vec::new();
    for file in answer.loaded {
        let text = std::fs::read(&file).unwrap_or_default();
        let hash = sha256(&text);
        match maker.look.hash_of(maker.places, &file) {
            Some(known) if *known == hash => {}
            Some(_) => return Err(Moved(maker.finder.shown(&file)).into()),
            None => {
                let message = format!(
                    "loads {} from outside of the sources and packages, or through a link",
                    file.display()
                );
                return Ok(Err(Problem::of_file(&maker.shown(path), message)));
            }
        }
        let text = String::from_utf8_lossy(&text);
        if let Some((offset, name)) = chance::find(&text) {
            let shown = maker.finder.shown(&file);
            return Ok(Err(Problem::at_offset(&shown, &text, offset, &chance::message(name))));
        }
        if file != own {
            loaded.push((file, hash));
        }
    }
    let warnings = told(maker, path, &answer.warnings);
    let (css, map) = match answer.result {
        Ok(result) => result,
        Err(complaint) => return Ok(Err(explain(maker, path, &complaint))),
    };
    let mut map = SourceMap::parse(map.as_bytes())?;
    for source in &mut map.sources {
        if let Some(file) = sass::path_of(source) {
            *source = file.display().to_string();
        }
    }
    Ok(Ok(Sheet { css, map: Some(map), loaded, warnings }))
}

/// Warnings of our own files; each deprecation once, with its count.
fn told(maker: &Maker<'_>, path: &str, warnings: &[Complaint]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let ours: Vec<&Complaint> = warnings
        .iter()
        .filter(|it| {
            let place = it.place.clone().or_else(|| it.trace.lines().find_map(step));
            place.is_none_or(|at| maker.finder.package(&at.file).is_none())
        })
        .collect();
    for warning in &ours {
        if let Some(name) = &warning.deprecation {
            *counts.entry(name).or_default() += 1;
        }
    }
    let mut lines = Vec::new();
    for warning in &ours {
        let mut problem = explain(maker, path, warning);
        let count = match &warning.deprecation {
            Some(name) => counts.remove(name.as_str()).unwrap_or_default(),
            None => 1,
        };
        if count > 1 {
            problem.message += &format!(" ({} more of this kind)", count - 1);
        }
        if count > 0 {
            lines.push(problem.to_string());
        }
    }
    lines
}

/// What Sass says, in our form. Its trace has the places that lead there, one a line:
/// `FILE LINE:COLUMN  WHAT`, the innermost first.
fn explain(maker: &Maker<'_>, path: &str, complaint: &Complaint) -> Problem {
    let message = complaint.message.trim_end();
    let steps: Vec<ComplaintPlace> = complaint.trace.lines().filter_map(step).collect();
    let Some(at) = complaint.place.as_ref().or(steps.first()) else {
        return Problem::of_file(&maker.shown(path), message);
    };
    let text = std::fs::read_to_string(&at.file).unwrap_or_default();
    let line = text.lines().nth(at.line).unwrap_or_default();
    let place = Place { line: at.line + 1, column: characters(line, at.column) + 1 };
    let shown = maker.finder.shown(&at.file);
    let mut problem = Problem::at(&shown, &text, place, message);
    let way = steps.iter().skip(1);
    let way = way.map(|at| (maker.finder.shown(&at.file), at.line + 1, at.column + 1));
    problem.way = way.map(|(file, line, column)| format!("{file}:{line}:{column}")).collect();
    problem
}

/// A line of a trace: `FILE LINE:COLUMN  WHAT`. The compiler runs where we do.
fn step(line: &str) -> Option<ComplaintPlace> {
    let (file, numbers) = line.trim().split_once("  ")?.0.rsplit_once(' ')?;
    let (line, column) = numbers.split_once(':')?;
    let file = sass::path_of(file).unwrap_or_else(|| file.into());
    let number = |text: &str| Some(text.parse::<usize>().ok()?.saturating_sub(1));
    Some(ComplaintPlace { file: whole(&file), line: number(line)?, column: number(column)? })
}

/// How many characters the first units of UTF-16 of a line are.
fn characters(line: &str, units: usize) -> usize {
    let mut left = units;
    let before = line.chars().take_while(|sign| {
        let fits = left > 0;
        left = left.saturating_sub(sign.len_utf16());
        fits
    });
    before.count()
}

/// Answers what esbuild asks of style sheets.
struct Sheets<'s> {
    maker: &'s Maker<'s>,
    sheets: &'s BTreeMap<String, Sheet>,
}

impl Sheets<'_> {
    fn sheet(&self, path: &Path) -> Option<&Sheet> {
        self.sheets.get(self.maker.finder.source(path)?)
    }

    fn import(&self, question: &Question<'_>) -> Meaning {
        let (path, _) = sources::split_suffix(question.path);
        let beside = question.directory().join(path);
        let beside = whole(&beside);
        let finder = &self.maker.finder;
        let own = beside.strip_prefix(finder.path("")).ok().and_then(Path::to_str);
        if let Some(source) = own.and_then(|own| finder.output_of(own)) {
            return match finder.treatment(&source) {
                Some(Treatment::Style) => Meaning::File(finder.path(&source)),
                _ => Meaning::Wrong(format!("`{}` is not a style sheet", question.path)),
            };
        }
        match finder.in_packages(path) {
            Some(file) if path.ends_with(".css") => Meaning::File(file),
            _ if own.is_some() && !finder.has_package(path) => {
                let shown = finder.shown(&beside);
                Meaning::Wrong(format!("`{}`: there is no {shown}", question.path))
            }
            _ => Meaning::Open,
        }
    }

    /// A message of esbuild at the place where its cause was written, and whether that is ours.
    fn locate(&self, message: &Message) -> (Problem, bool) {
        let finder = &self.maker.finder;
        let compiled = message.place.as_ref().and_then(|at| {
            let map = self.sheet(&at.file)?.map.as_ref()?;
            let (file, content, place) = original(map, at.line, source_map::units(at.before()))?;
            let mut problem = Problem::at(&finder.shown(&file), &content, place, message.words());
            if file != at.file {
                problem.way.push(finder.shown(&at.file));
            }
            Some((problem, finder.package(&file).is_none()))
        });
        compiled.unwrap_or_else(|| self.maker.located(message, message.words()))
    }
}

/// Where a place of the CSS (line from 1, column from 0) came from: file, its text, place.
fn original(map: &SourceMap, line: usize, column: usize) -> Option<(PathBuf, String, Place)> {
    let found = map.lookup().ok()?.find(line.checked_sub(1)?, column)?;
    let content = map.content(found.source);
    let text = content.lines().nth(found.line).unwrap_or_default();
    let place = Place { line: found.line + 1, column: characters(text, found.column) + 1 };
    Some((map.sources.get(found.source)?.into(), content, place))
}

impl Host for Sheets<'_> {
    fn resolve(&mut self, question: &Question<'_>) -> Meaning {
        match question.kind {
            "entry-point" => Meaning::File(question.path.into()),
            _ if !sources::is_relative(question.path) => Meaning::Address(question.path.to_owned()),
            "url-token" => {
                let directory = question.directory();
                match self.maker.finder.token(&[directory], question.path) {
                    Ok(Some(token)) => match self.maker.treatment_of(&token) {
                        Some(Treatment::Script) => {
                            Meaning::Wrong(format!("`{}` is a script", question.path))
                        }
                        _ => Meaning::Address(token),
                    },
                    Ok(None) => Meaning::Address(question.path.to_owned()),
                    Err(message) => Meaning::Wrong(message),
                }
            }
            _ => self.import(question),
        }
    }

    fn load(&mut self, path: &Path) -> Result<Option<Text>, String> {
        if let Some(sheet) = self.sheet(path) {
            let text = match &sheet.map {
                Some(map) => {
                    let map = source_map::inline(map).map_err(|error| format!("{error:#}"))?;
                    (sheet.css.clone() + &map).into_bytes()
                }
                None => source_map::without_map(sheet.css.clone().into_bytes()).0,
            };
            return Ok(Some(Text { text, loader: "css" }));
        }
        self.maker.load_other(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_in_characters() {
        assert_eq!(characters("a😀b", 3), 2);
        assert_eq!(characters("a", 9), 1);
    }
}
