//! `assets.toml`, beside the sources: what the pipeline cannot know by itself. May be missing.

use std::path::Path;

use anyhow::{Context, Result};
use lightningcss::targets::{Browsers, Targets};
use serde::Deserialize;

/// The file's name in the source directory.
pub(crate) const NAME: &str = "assets.toml";

/// Words of browserslist that ask the clock, the environment, files elsewhere or another program.
const MOVING: [&str; 5] = ["extends", "browserslist config", "node", "year", "unreleased"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Browsers in browserslist's words: which prefixes CSS gets, and what is rewritten for them.
    targets: Vec<String>,
    /// Libraries; `cargo xtask` gets them and hands them over as a load path.
    packages: toml::Table,
}

pub(crate) struct Config {
    /// What the file means for the outputs, to notice that it has changed.
    pub(crate) identity: String,
    pub(crate) targets: Targets,
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
    let queries = match file.targets.is_empty() {
        true => vec!["defaults".to_owned()],
        false => file.targets,
    };
    for query in &queries {
        if let Some(word) = MOVING.iter().find(|word| query.to_ascii_lowercase().contains(**word)) {
            anyhow::bail!(
                "targets: {query:?} means something else on another machine or another day \
                 ({word}); name browsers and versions, or shares of usage"
            );
        }
    }
    let browsers = Browsers::from_browserslist(&queries).map_err(|error| {
        anyhow::anyhow!("targets: {error}; see browserslist for the words it knows")
    })?;
    let targets = Targets { browsers, ..Targets::default() };
    Ok(Config { identity: format!("{browsers:?}"), targets })
}
