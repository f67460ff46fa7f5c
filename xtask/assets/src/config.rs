//! `assets.toml`, beside the sources: what the pipeline cannot know by itself. May be missing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The file's name in the source directory.
pub(crate) const NAME: &str = "assets.toml";

/// Words of browserslist that ask the clock, the environment, files elsewhere or another program.
const MOVING: [&str; 5] = ["extends", "browserslist config", "node", "year", "unreleased"];

/// Engines as esbuild calls them.
const ENGINES: [&str; 10] =
    ["chrome", "deno", "edge", "firefox", "hermes", "ie", "ios", "opera", "rhino", "safari"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Browsers in browserslist's words, or versions of engines such as `chrome109`: which prefixes
    /// CSS gets, and which syntax is written in an older way.
    targets: Vec<String>,
    scripts: Scripts,
    root: Root,
    /// Packages; `cargo xtask` gets them and hands them over as load paths.
    packages: toml::Table,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Scripts {
    /// Names that the page itself resolves, by an import map.
    external: Vec<String>,
}

/// Files that are served at the root of the site under their own names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Root {
    files: Vec<String>,
    /// Where the other outputs are served; `/static/` if it is not said.
    assets: Option<String>,
}

pub(crate) struct Config {
    /// What the file means for the outputs, to notice that it has changed.
    pub(crate) identity: String,
    /// As esbuild takes them: `chrome109,es2022`.
    pub(crate) targets: String,
    pub(crate) external: Vec<String>,
    /// Sources that are served under their own names, too.
    pub(crate) root_files: Vec<String>,
    /// What these put before the name of another output.
    pub(crate) assets: String,
}

/// Reads the file; an empty or missing one means browserslist's defaults.
pub(crate) fn load(source: &Path) -> Result<Config> {
    let path = source.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    parse(&text).with_context(|| format!("can't use {}", path.display()))
}

fn parse(text: &str) -> Result<Config> {
    let file: File = toml::from_str(text)?;
    let targets = targets(file.targets)?;
    let external = file.scripts.external;
    let assets = file.root.assets.unwrap_or_else(|| "/static/".to_owned());
    anyhow::ensure!(
        assets.ends_with('/'),
        "[root] assets: {assets:?} must end with a slash, as /static/ does"
    );
    let root_files = file.root.files;
    let identity = format!("{targets} {external:?} {root_files:?} {assets}");
    Ok(Config { identity, targets, external, root_files, assets })
}

fn targets(wanted: Vec<String>) -> Result<String> {
    let (mut engines, mut queries): (Vec<String>, Vec<String>) =
        wanted.into_iter().partition(|target| is_engine(target));
    if engines.is_empty() && queries.is_empty() {
        queries.push("defaults".to_owned());
    }
    for query in &queries {
        if let Some(word) = MOVING.iter().find(|word| query.to_ascii_lowercase().contains(**word)) {
            bail!(
                "targets: {query:?} means something else on another machine or another day \
                 ({word}); name browsers and versions, or shares of usage"
            );
        }
    }
    if !queries.is_empty() {
        let browsers = browserslist::resolve(&queries, &browserslist::Opts::default());
        let browsers = browsers.map_err(|error| {
            anyhow::anyhow!("targets: {error}; see browserslist for the words it knows")
        })?;
        engines.extend(oldest(browsers.iter().map(|it| (it.name(), it.version()))));
    }
    Ok(engines.join(","))
}

/// Whether a target is a version of an engine, or of the language.
fn is_engine(target: &str) -> bool {
    let is_version =
        |text: &str| !text.is_empty() && text.split('.').all(|part| part.parse::<u32>().is_ok());
    target == "esnext"
        || target.strip_prefix("es").is_some_and(is_version)
        || ENGINES.iter().any(|engine| target.strip_prefix(engine).is_some_and(is_version))
}

/// The oldest version of each engine that esbuild knows; it has no table of other browsers.
fn oldest<'b>(browsers: impl Iterator<Item = (&'b str, &'b str)>) -> Vec<String> {
    let mut oldest: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (browser, version) in browsers {
        let engine = match browser {
            "chrome" | "and_chr" | "android" => "chrome",
            "firefox" | "and_ff" => "firefox",
            "ios_saf" => "ios",
            "edge" | "ie" | "opera" | "safari" => browser,
            _ => continue,
        };
        // `15.6-15.8` is one entry of browserslist.
        let first = version.split('-').next().unwrap_or(version);
        let Ok(version) = first.split('.').map(str::parse).collect::<Result<Vec<u32>, _>>() else {
            continue;
        };
        let known = oldest.entry(engine).or_insert_with(|| version.clone());
        *known = version.min(known.clone());
    }
    let text = |(engine, version): (&str, Vec<u32>)| {
        let version: Vec<String> = version.iter().map(u32::to_string).collect();
        format!("{engine}{}", version.join("."))
    };
    oldest.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_engine_the_oldest_version_counts() {
        let browsers = [
            ("chrome", "109"),
            ("and_chr", "140"),
            ("ios_saf", "15.6-15.8"),
            ("safari", "TP"),
            ("op_mini", "all"),
            ("firefox", "9"),
            ("firefox", "10"),
        ];
        assert_eq!(oldest(browsers.into_iter()), ["chrome109", "firefox9", "ios15.6"]);
    }

    #[test]
    fn targets_are_browsers_or_versions_of_engines() {
        let parsed = |text: &str| parse(text).map(|config| config.targets);
        assert_eq!(parsed("targets = [\"chrome109\", \"es2022\"]").unwrap(), "chrome109,es2022");
        assert_eq!(parsed("targets = [\"firefox 102\"]").unwrap(), "firefox102");
        assert!(parsed("").unwrap().contains("chrome"), "browserslist's defaults");
        let error = parsed("targets = [\"last 2 years\"]").unwrap_err().to_string();
        assert!(error.contains("another day"), "{error}");
        assert!(parsed("targets = [\"netscape 4\"]").is_err());
    }
}
