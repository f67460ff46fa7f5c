//! Scripts. Modules are bundled by esbuild: each source is an entry of its own, and what several of
//! them import is split off, so it exists once in a page. Classic scripts are minified one by one:
//! what they declare belongs to all scripts of a page.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use crate::config;
use crate::esbuild::{Esbuild, Host, Meaning, Message, Outcome, Question, Text, UNRESOLVED};
use crate::look::whole;
use crate::make::{Address, Compiled, Maker};
use crate::problem::{Place, Problem};
use crate::references::decoded;
use crate::source_map::without_map;
use crate::sources::{self, Treatment};

/// Makes all scripts.
pub(crate) fn all(maker: &Maker<'_>) -> Result<Compiled> {
    let mut compiled = Compiled::default();
    let paths = maker.of(Treatment::Script);
    let (mut modules, mut classic) = (Vec::new(), Vec::new());
    for path in paths {
        match maker.text(path) {
            Err(problem) => compiled.problems.push(problem),
            Ok(text) => {
                compiled.warnings.extend(left_over(maker, path, text));
                match may_be_module(path, text) {
                    true => modules.push(path),
                    false => classic.push(path),
                }
            }
        }
    }
    compiled.problems.extend(extended(maker));
    if modules.len() + classic.len() == 0 {
        return Ok(compiled);
    }
    let mut esbuild = Esbuild::start(&maker.places.esbuild)?;
    let mut outcome = Outcome::default();
    // Only esbuild knows for sure; without those that are none it is done again.
    while !modules.is_empty() {
        outcome = build(maker, &mut esbuild, &modules, Way::Modules)?;
        // What is not a module may be wrong as one: asked again, without following anything.
        let known = match outcome.errors.is_empty() {
            true => outcome.modules.clone(),
            false => build(maker, &mut esbuild, &modules, Way::Classic)?.modules,
        };
        let is_module =
            |path: &&str| path.ends_with(".mjs") || known.contains(&maker.finder.path(path));
        let (found, others): (Vec<&str>, Vec<&str>) = modules.iter().partition(|it| is_module(it));
        if others.is_empty() {
            break;
        }
        modules = found;
        classic.extend(others);
        outcome = Outcome::default();
    }
    maker.take(outcome, &modules, &mut compiled, &|it| locate(maker, it))?;
    if !classic.is_empty() {
        let outcome = build(maker, &mut esbuild, &classic, Way::Classic)?;
        maker.take(outcome, &classic, &mut compiled, &|it| locate(maker, it))?;
    }
    Ok(compiled)
}

/// Makes scripts that stand alone: each with all that it imports in one file.
pub(crate) fn single(maker: &Maker<'_>, paths: &[&str], compiled: &mut Compiled) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut esbuild = Esbuild::start(&maker.places.esbuild)?;
    for path in paths {
        let text = match maker.text(path) {
            Ok(text) => text,
            Err(problem) => {
                compiled.problems.push(problem);
                continue;
            }
        };
        let way = if may_be_module(path, text) { Way::Alone } else { Way::Classic };
        let outcome = build(maker, &mut esbuild, &[path], way)?;
        maker.take(outcome, &[path], compiled, &|it| locate(maker, it))?;
    }
    Ok(())
}

/// Whether a text has words that only a module may have. It may have them in a comment, too.
fn may_be_module(path: &str, text: &str) -> bool {
    let is_part = |sign: char| sign.is_alphanumeric() || "_$".contains(sign);
    let has = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
        })
    };
    path.ends_with(".mjs") || ["import", "export", "await"].into_iter().any(has)
}

/// A `tsconfig.json` that builds on another file, which may lie anywhere.
fn extended(maker: &Maker<'_>) -> Option<Problem> {
    const NAME: &str = "tsconfig.json";
    maker.look.sources.get(NAME)?;
    let text = String::from_utf8(maker.read(NAME).ok()?).ok()?;
    let offset = text.find("\"extends\"")?;
    let message = "`extends` names a file that is not a source; write here what it says";
    Some(Problem::at_offset(&maker.shown(NAME), &text, offset, message))
}

/// `debugger` on lines of its own: somebody forgot it.
fn left_over(maker: &Maker<'_>, path: &str, text: &str) -> Vec<String> {
    if !text.contains("debugger") {
        return Vec::new();
    }
    let is_left = |line: &str| line.trim().trim_end_matches(';') == "debugger";
    let lines = text.lines().enumerate().filter(|(_, line)| is_left(line));
    let warning = |(number, line): (usize, &str)| {
        let column = line.find("debugger").unwrap_or_default() + 1;
        let place = Place { line: number + 1, column };
        Problem::at(&maker.shown(path), text, place, "`debugger` is left here").to_string()
    };
    lines.map(warning).collect()
}

/// How scripts are built.
#[derive(Clone, Copy)]
enum Way {
    /// Modules, with chunks for what several of them import.
    Modules,
    /// A module and all that it imports, as one script.
    Alone,
    /// Scripts whose names belong to the whole page.
    Classic,
}

fn build(maker: &Maker<'_>, esbuild: &mut Esbuild, paths: &[&str], way: Way) -> Result<Outcome> {
    let flags: &[&str] = match way {
        Way::Modules => {
            &["--bundle", "--splitting", "--format=esm", "--chunk-names=chunks/[name]-[hash]"]
        }
        Way::Alone => &["--bundle", "--format=iife", DEFINED],
        Way::Classic => &[],
    };
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    // Older syntax needs helpers, whose names would belong to the whole page.
    flags.extend(maker.target_flag().filter(|_| !matches!(way, Way::Classic)));
    let tsconfig = maker.finder.path("tsconfig.json");
    flags.push(match maker.look.sources.contains_key("tsconfig.json") {
        true => format!("--tsconfig={}", tsconfig.display()),
        // One of a directory above would be another on another machine.
        false => "--tsconfig-raw={}".to_owned(),
    });
    let mut scripts = Scripts { maker, large: BTreeSet::new() };
    let outcome = esbuild.build(&maker.request(paths, flags), &mut scripts)?;
    scripts.large.iter().try_for_each(|source| maker.require_unchanged(source))?;
    Ok(outcome)
}

/// A message of esbuild as a problem of a source, and whether that is ours.
fn locate(maker: &Maker<'_>, message: &Message) -> (Problem, bool) {
    let unresolved = message.text.strip_prefix(UNRESOLVED).zip(message.place.as_ref());
    let text = match unresolved {
        Some((path, at)) => unresolved_text(maker, &at.file, path.trim_end_matches('"')),
        None => message.words(),
    };
    maker.located(message, text)
}

/// Why an import leads to nothing, and what to do.
fn unresolved_text(maker: &Maker<'_>, from: &Path, path: &str) -> String {
    if path.starts_with('.') {
        let wanted = whole(&from.parent().unwrap_or(from).join(path));
        return format!("`{path}`: there is no {}", maker.finder.shown(&wanted));
    }
    if maker.finder.has_package(path) {
        return format!("`{path}`: the package has no such file, or does not offer it");
    }
    let file = maker.shown(config::NAME);
    format!(
        "`{path}` names a package that {file} does not have: add it to [packages], or to `external` \
         of [scripts] where the page has an import map"
    )
}

const IS_A_SHEET: &str = "is a style sheet, which a script cannot import; let a page or another \
                          style sheet load it";

/// esbuild takes a second for each 10 MB that are sent to it: a script of this size, in bytes, it
/// reads itself.
const LARGE: usize = 1 << 20;

/// Answers what esbuild asks of scripts.
struct Scripts<'s> {
    maker: &'s Maker<'s>,
    /// The sources that esbuild reads itself.
    large: BTreeSet<String>,
}

impl Scripts<'_> {
    /// Files that scripts import for their address.
    fn file(&self, question: &Question<'_>) -> Option<Meaning> {
        let finder = &self.maker.finder;
        let (path, _) = sources::split_suffix(question.path);
        let directory = question.directory();
        let beside = whole(&directory.join(decoded(path)));
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_code = extension == "json" || sources::loader(extension).is_some();
        // esbuild knows what another type means, or refuses it.
        if extension.is_empty() || is_code || !question.with.is_empty() {
            return None;
        }
        let is_style = ["css", "scss", "sass"].contains(&extension);
        let known = match finder.source(&beside) {
            Some(source) => finder.treatment(source).is_some() || is_style,
            None => finder.package(&beside).is_some() || finder.in_packages(path).is_some(),
        };
        if !known {
            return None;
        }
        if is_style {
            return Some(Meaning::Wrong(format!("`{}` {IS_A_SHEET}", question.path)));
        }
        Some(match finder.token(&[directory], question.path) {
            Ok(Some(token)) => Meaning::AddressModule(token),
            Ok(None) => Meaning::Open,
            Err(message) => Meaning::Wrong(message),
        })
    }
}

impl Host for Scripts<'_> {
    fn resolve(&mut self, question: &Question<'_>) -> Meaning {
        let path = question.path;
        let is_external = |name: &String| {
            path == name || path.strip_prefix(name.as_str()).is_some_and(|it| it.starts_with('/'))
        };
        match question.kind {
            "entry-point" => Meaning::File(path.into()),
            _ if self.maker.look.config.external.iter().any(is_external) => {
                Meaning::Address(path.to_owned())
            }
            // Another host, or an absolute path of this one.
            _ if !sources::is_relative(path) && !path.starts_with("data:") => {
                Meaning::Address(path.to_owned())
            }
            _ => self.file(question).unwrap_or_else(|| {
                // Packages have dependencies of their own beside them; our sources have not.
                let is_ours = self.maker.finder.source(question.importer).is_some();
                match is_ours && !path.starts_with('.') && !path.starts_with("data:") {
                    true => Meaning::Package,
                    false => Meaning::Open,
                }
            }),
        }
    }

    fn load(&mut self, path: &Path) -> Result<Option<Text>, String> {
        let finder = &self.maker.finder;
        if let Some(source) = finder.source(path) {
            let extension = source.rsplit_once('.').map_or("", |(_, extension)| extension);
            let known = if extension == "json" { Some("json") } else { sources::loader(extension) };
            let text = self.maker.read(source).map_err(|error| format!("{error:#}"))?;
            let size = text.len();
            let (text, had_map) = without_map(text);
            if size > LARGE && known.is_some() && !had_map {
                self.large.insert(source.to_owned());
                return Ok(None);
            }
            return Ok(Some(Text { text, loader: known.unwrap_or("text") }));
        }
        if path.extension().is_some_and(|it| it == "css") {
            return Err(format!("{} {IS_A_SHEET}", finder.shown(path)));
        }
        self.maker.load_other(path)
    }
}

/// A script that stands alone has no `import.meta`: this name stands for its address meanwhile.
const OWN_ADDRESS: &str = "STEVEDORE_OWN_ADDRESS";
const DEFINED: &str = "--define:import.meta.url=STEVEDORE_OWN_ADDRESS";

/// What stands before an address, and what follows it.
const FORMS: [(&str, &str); 4] = [
    // Of classic scripts; modules have the outputs' names there already.
    ("import(", ")"),
    ("new URL(", ",import.meta.url)"),
    ("new URL(", ",STEVEDORE_OWN_ADDRESS)"),
    ("import.meta.resolve(", ")"),
];

/// The text of a script that stands alone, once its addresses are known.
pub(crate) fn with_own_address(text: &str) -> String {
    text.replace(OWN_ADDRESS, "location.href")
}

/// Texts between quotes that stand right behind a word, without the quotes.
pub(crate) fn quoted_after(text: &str, word: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(word).filter_map(|(at, word)| {
        let quote = text[at + word.len()..].chars().next().filter(|it| "\"'`".contains(*it))?;
        let from = at + word.len() + 1;
        Some(from..from + text[from..].find(quote)?)
    })
}

/// Addresses in a compiled script that no compiler follows, such as `new URL("…", import.meta.url)`:
/// the texts between the quotes. esbuild prints no needless blanks.
pub(crate) fn addresses(text: &str) -> Vec<Address> {
    let mut found = Vec::new();
    for (before, after) in FORMS {
        for range in quoted_after(text, before) {
            let (address, rest) = (&text[range.clone()], &text[range.end + 1..]);
            let has_pieces = address.contains("${");
            let is_sum = rest.starts_with('+') || rest.starts_with(".concat(");
            let follows = rest.starts_with(after);
            if follows && !has_pieces && !address.contains(['\\', '\n']) {
                found.push(Address { range, is_whole: true });
            } else if address.starts_with('.') && (is_sum || (has_pieces && follows)) {
                let end = rest.find([';', '\n']).unwrap_or(rest.len());
                if rest[..end].contains(after) {
                    found.push(Address { range, is_whole: false });
                }
            }
        }
    }
    found.sort_by_key(|address| address.range.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_nothing_else_changes_them() {
        let found = |text: &str| -> Vec<String> {
            addresses(text).into_iter().map(|it| text[it.range].to_owned()).collect()
        };
        assert_eq!(found("a(new URL(\"./x.svg\",import.meta.url))"), ["./x.svg"]);
        assert_eq!(
            found("new URL(`./x`,import.meta.url),import.meta.resolve('./y')"),
            ["./x", "./y"]
        );
        for pieces in ["new URL(`./${x}`,import.meta.url)", "new URL(\"./\"+x,import.meta.url)"] {
            let found = addresses(pieces);
            assert!(found.len() == 1 && !found[0].is_whole, "{pieces}");
        }
        for other in ["new URL(x,import.meta.url)", "new URL("] {
            assert!(found(other).is_empty(), "{other}");
        }
        assert!(found("new URL(\"./x\",document.baseURI)").is_empty());
    }

    #[test]
    fn words_of_modules_are_whole_words() {
        assert!(may_be_module("a.js", "export{a}") && may_be_module("a.js", "x\nawait 1"));
        assert!(may_be_module("a.mjs", ""));
        assert!(!may_be_module("a.js", "exports.a=1;important();$import()"));
    }
}
