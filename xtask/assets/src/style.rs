//! Style sheets: Sass to CSS, prefixed for the browsers, references rewritten, minified, with a map
//! back to the sources.
//!
//! Two steps, because only the first is slow and it does not depend on how other outputs are named:
//! [`compile`] gives a [`Sheet`] that can be kept, [`finish`] makes of it what is served.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use fingerprint::sha256;
use lightningcss::properties::custom::{Function, Token, TokenOrValue};
use lightningcss::rules::CssRule;
use lightningcss::stylesheet::{MinifyOptions, ParserOptions, PrinterOptions, StyleSheet};
use lightningcss::targets::Targets;
use lightningcss::values::image::Image;
use lightningcss::values::url::Url;
use lightningcss::visit_types;
use lightningcss::visitor::{Visit, VisitTypes, Visitor};
use parcel_sourcemap::SourceMap;
use sasso::{
    CanonicalUrl, CanonicalizeContext, FsImporter, Importer, ImporterError, ImporterResult,
};
use serde::{Deserialize, Serialize};

use crate::chance;
use crate::look::whole;
use crate::problem::{Place, Problem};

/// Where style sheets are looked for.
pub(crate) struct Places<'p> {
    /// The source directory.
    pub(crate) source: &'p Path,
    /// Directories that `@use "NAME/…"` searches after the one of the sheet.
    pub(crate) load_paths: &'p [PathBuf],
}

/// A style sheet as plain CSS, and what it came from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sheet {
    css: String,
    /// Source map of the CSS, with the texts of the sources.
    map: String,
    /// The files it was made of besides the sheet itself, each with its SHA-256.
    pub(crate) loaded: Vec<(PathBuf, String)>,
    /// What Sass warned of in files of our own.
    pub(crate) warnings: Vec<String>,
}

/// The mark of byte order, which some editors put first; in the middle of a text it is a letter.
const MARK: char = '\u{feff}';

/// Compiles a sheet by its path from the source directory.
pub(crate) fn compile(places: &Places<'_>, path: &str, text: &str) -> Result<Sheet, Problem> {
    let file = places.source.join(path);
    let shown = file.display().to_string();
    if path.ends_with(".css") {
        let mut map = SourceMap::new("/");
        let text = text.trim_start_matches(MARK);
        let described = describe_itself(&mut map, path, text);
        let map = described.map_err(|error| Problem::of_file(&shown, format!("{error:#}")))?;
        return Ok(Sheet { css: text.to_owned(), map, loaded: Vec::new(), warnings: Vec::new() });
    }
    let importer = Recorder {
        places,
        files: FsImporter::new(places.load_paths.to_vec()),
        loaded: RefCell::new(Vec::new()),
        chance: RefCell::new(chance_in(&shown, text)),
    };
    let warnings: Rc<RefCell<Vec<String>>> = Rc::default();
    let heard = Rc::clone(&warnings);
    let mut options = sasso::Options::default()
        .with_importer(&importer)
        .with_url(&shown)
        .with_unicode(false)
        .with_source_map_include_sources(true)
        .with_quiet_deps(importer.files.dependencies())
        // Libraries that people use can be loaded in parts by @import only; it goes on working.
        .with_silenced_deprecations(["import"])
        .with_warn_handler(Rc::new(move |event| {
            heard.borrow_mut().push(event.formatted.trim_end().to_owned());
        }));
    for (_, name) in chance::FUNCTIONS {
        let fail = Rc::new(move |_: &[u8]| Err(chance::message(name)));
        options = options.with_function(&format!("{name}($arguments...)"), fail);
    }
    if path.ends_with(".sass") {
        options = options.with_syntax(sasso::Syntax::Sass);
    }
    let result = sasso::compile_with_source_map(text, &options);
    if let Some(problem) = importer.chance.borrow_mut().take() {
        return Err(problem);
    }
    let result = result.map_err(|error| explain(&shown, text, &error))?;
    let mut map = result.source_map;
    for source in &mut map.sources {
        *source = stable_name(places, source);
    }
    drop(options);
    Ok(Sheet {
        css: result.css,
        map: map.to_json(),
        loaded: importer.loaded.into_inner(),
        warnings: Rc::unwrap_or_clone(warnings).into_inner(),
    })
}

/// What Sass says, in our form. The text that it would print ends with the places that lead to the
/// error, one a line: `FILE LINE:COLUMN  WHAT`, the innermost first.
fn explain(shown: &str, text: &str, error: &sasso::Error) -> Problem {
    let printed = error.to_string();
    let place = |line: &str| -> Option<(String, Place)> {
        let (file, numbers) = line.strip_prefix("  ")?.split_once("  ")?.0.rsplit_once(' ')?;
        let (line, column) = numbers.split_once(':')?;
        let place = Place { line: line.parse().ok()?, column: column.parse().ok()? };
        Some((file.to_owned(), place))
    };
    let mut places: Vec<_> = printed.lines().rev().map_while(place).collect();
    let message = error.message.trim_end();
    let Some((file, at)) = places.pop() else { return Problem::of_file(shown, message) };
    let text = match file == shown {
        true => text.to_owned(),
        false => std::fs::read_to_string(&file).unwrap_or_default(),
    };
    let mut problem = Problem::at(&file, &text, at, message);
    let way = places.into_iter().rev();
    problem.way = way.map(|(file, at)| format!("{file}:{}:{}", at.line, at.column)).collect();
    problem
}

/// A map of plain CSS to itself, line by line.
fn describe_itself(map: &mut SourceMap, path: &str, text: &str) -> Result<String> {
    let source = map.add_source(&own_name(path));
    map.set_source_content(source as usize, text)?;
    for line in 0..u32::try_from(text.lines().count()).unwrap_or(u32::MAX) {
        let place = parcel_sourcemap::OriginalLocation::new(line, 0, source, None);
        map.add_mapping(line, 0, Some(place));
    }
    Ok(map.to_json(None)?)
}

/// How a sheet of ours is called in maps.
fn own_name(path: &str) -> String {
    format!("/assets/{path}")
}

/// A name that is the same on every machine: from the source directory or a load path.
fn stable_name(places: &Places<'_>, source: &str) -> String {
    let source = sasso::file_url_to_path(source).unwrap_or_else(|| source.to_owned());
    let absolute = whole(Path::new(&source));
    let below = |directory: &Path| {
        Some(absolute.strip_prefix(whole(directory)).ok()?.display().to_string())
    };
    if let Some(path) = below(places.source) {
        return own_name(&path);
    }
    let found = places.load_paths.iter().find_map(|directory| below(directory));
    format!("/{}", found.unwrap_or_else(|| source.trim_start_matches('/').to_owned()))
}

/// A file as the user calls it.
fn shown_path(places: &Places<'_>, path: &Path) -> String {
    let mut directories =
        std::iter::once(places.source).chain(places.load_paths.iter().map(|it| &**it));
    let shown = directories.find_map(|it| Some(it.join(path.strip_prefix(whole(it)).ok()?)));
    shown.unwrap_or_else(|| path.to_owned()).display().to_string()
}

/// Finds files like the Sass compilers do, and remembers what was read.
struct Recorder<'p> {
    places: &'p Places<'p>,
    files: FsImporter,
    loaded: RefCell<Vec<(PathBuf, String)>>,
    /// The first call that would give every build another result.
    chance: RefCell<Option<Problem>>,
}

fn chance_in(shown: &str, text: &str) -> Option<Problem> {
    let (offset, name) = chance::find(text)?;
    Some(Problem::at_offset(shown, text, offset, &chance::message(name)))
}

impl Importer for Recorder<'_> {
    fn canonicalize(
        &self,
        url: &str,
        context: &CanonicalizeContext<'_>,
    ) -> Result<Option<CanonicalUrl>, ImporterError> {
        self.files.canonicalize(url, context)
    }

    fn load(&self, canonical: &CanonicalUrl) -> Result<Option<ImporterResult>, ImporterError> {
        let file = shown_path(self.places, Path::new(canonical.as_str()));
        let result = self.files.load(canonical).map_err(|error| ImporterError {
            message: error.message.replace(canonical.as_str(), &file),
        })?;
        if let Some(found) = &result {
            let mut chance = self.chance.borrow_mut();
            *chance = chance.take().or_else(|| chance_in(&file, &found.contents));
            let hash = sha256(found.contents.as_bytes());
            self.loaded.borrow_mut().push((canonical.as_str().into(), hash));
        }
        Ok(result)
    }
}

/// Makes of a sheet what is served: CSS and its map. `resolve` says how the output calls what it
/// refers to, or what is wrong with the reference.
pub(crate) fn finish(
    sheet: &Sheet,
    path: &str,
    shown: &str,
    targets: Targets,
    resolve: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<(String, String), Vec<Problem>> {
    let unexpected = |error: anyhow::Error| vec![Problem::of_file(shown, format!("{error:#}"))];
    let mut origin = SourceMap::from_json("/", &sheet.map)
        .context("the map of the style sheet is damaged")
        .map_err(unexpected)?;
    let filename = own_name(path);
    let options = ParserOptions { filename: filename.clone(), ..ParserOptions::default() };
    let mut parsed = StyleSheet::parse(&sheet.css, options).map_err(|error| {
        // Its lines count from 0, its columns from 1.
        let place = error.loc.map(|place| (place.line, place.column.saturating_sub(1)));
        vec![locate(&mut origin, path, shown, place, &error.kind.to_string())]
    })?;
    let mut references = References { resolve, problems: Vec::new() };
    let Ok(()) = parsed.visit(&mut references);
    if !references.problems.is_empty() {
        let problems = references.problems.into_iter();
        let locate =
            |(place, message): (_, String)| locate(&mut origin, path, shown, place, &message);
        return Err(problems.map(locate).collect());
    }
    let failed = |message: String| vec![Problem::of_file(shown, message)];
    let minify = MinifyOptions { targets, ..MinifyOptions::default() };
    parsed.minify(minify).map_err(|error| failed(error.to_string()))?;
    let mut map = SourceMap::new("/");
    map.add_source(&filename);
    let printer = PrinterOptions {
        minify: true,
        source_map: Some(&mut map),
        targets,
        ..PrinterOptions::default()
    };
    let css = parsed.to_css(printer).map_err(|error| failed(error.to_string()))?.code;
    let mut extend = || -> Result<String> {
        map.extends(&mut origin)?;
        Ok(map.to_json(None)?)
    };
    let map = extend().map_err(unexpected)?;
    Ok((css, map))
}

/// A problem at a place of the CSS (both from 0), as one of the source that it came from.
fn locate(
    origin: &mut SourceMap,
    path: &str,
    shown: &str,
    place: Option<(u32, u32)>,
    message: &str,
) -> Problem {
    if let (true, Some((line, column))) = (path.ends_with(".css"), place) {
        let text = origin.get_source_content(0).unwrap_or_default();
        let place = Place { line: line as usize + 1, column: column as usize + 1 };
        return Problem::at(shown, text, place, message);
    }
    let original = place
        .and_then(|(line, column)| origin.find_closest_mapping(line, column))
        .and_then(|mapping| mapping.original);
    let Some(original) = original else { return Problem::of_file(shown, message) };
    let name = origin.get_source(original.source).unwrap_or_default().to_owned();
    let text = origin.get_source_content(original.source).unwrap_or_default();
    let place = Place {
        line: original.original_line as usize + 1,
        column: original.original_column as usize + 1,
    };
    // A file of ours is shown as one finds it here; of a library, the name is all there is.
    let directory = shown.strip_suffix(path).unwrap_or_default();
    let own = name.trim_start_matches('/').strip_prefix("assets/");
    let file = own.map_or_else(|| name.clone(), |own| format!("{directory}{own}"));
    let mut problem = Problem::at(&file, text, place, message);
    if file != shown {
        problem.way.push(shown.to_owned());
    }
    problem
}

/// What a sheet refers to, rewritten in place.
struct References<'r> {
    resolve: &'r dyn Fn(&str) -> Result<Option<String>, String>,
    /// Line and column in the CSS, from 0, where they are known, and what is wrong there.
    problems: Vec<(Option<(u32, u32)>, String)>,
}

impl References<'_> {
    /// The new address, where it is another one.
    fn rewrite(&mut self, url: &str, place: Option<(u32, u32)>) -> Option<String> {
        match (self.resolve)(url) {
            Ok(new) => new,
            Err(message) => {
                self.problems.push((place, message));
                None
            }
        }
    }
}

impl<'i> Visitor<'i> for References<'_> {
    type Error = std::convert::Infallible;

    fn visit_types(&self) -> VisitTypes {
        visit_types!(RULES | URLS | IMAGES | FUNCTIONS)
    }

    fn visit_rule(&mut self, rule: &mut CssRule<'i>) -> Result<(), Self::Error> {
        if let CssRule::Import(import) = rule {
            let place = (import.loc.line, import.loc.column.saturating_sub(1));
            if let Some(new) = self.rewrite(&import.url.clone(), Some(place)) {
                import.url = new.into();
            }
        }
        rule.visit_children(self)
    }

    fn visit_url(&mut self, url: &mut Url<'i>) -> Result<(), Self::Error> {
        let place = (url.loc.line.saturating_sub(1), url.loc.column.saturating_sub(1));
        if let Some(new) = self.rewrite(&url.url.clone(), Some(place)) {
            url.url = new.into();
        }
        Ok(())
    }

    /// The visitor does not enter an `image-set()` by itself.
    fn visit_image(&mut self, image: &mut Image<'i>) -> Result<(), Self::Error> {
        match image {
            Image::ImageSet(set) => {
                set.options.iter_mut().try_for_each(|option| option.image.visit(self))
            }
            image => image.visit_children(self),
        }
    }

    /// Nor does it know what strings mean in one that stands beside a variable.
    fn visit_function(&mut self, function: &mut Function<'i>) -> Result<(), Self::Error> {
        if function.name.ends_with("image-set") {
            for argument in &mut function.arguments.0 {
                if let TokenOrValue::Token(Token::String(address)) = argument
                    && let Some(new) = self.rewrite(&address.clone(), None)
                {
                    *address = new.into();
                }
            }
        }
        function.visit_children(self)
    }
}
