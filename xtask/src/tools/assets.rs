//! The asset pipeline, the crate `xtask/assets`: how it is called and what it answers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// What the pipeline needs to know of a project.
pub(crate) struct Places {
    pub(crate) program: PathBuf,
    pub(crate) state: PathBuf,
    /// Where the packages lie, when the project has any.
    pub(crate) packages: Option<PathBuf>,
}

/// One call; the paths of the project are relative, so that what it says is too.
pub(crate) fn call<'s>(
    sh: &'s Shell,
    places: &Places,
    source: &str,
    output: &str,
    action: &[&str],
) -> Cmd<'s> {
    let Places { program, state, packages } = places;
    let load_path = packages.iter().flat_map(|path| [Path::new("--load-path"), path.as_path()]);
    cmd!(sh, "{program} {action...} --source {source} --output {output} --state {state}")
        .args(load_path)
}

/// The answer to `build --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// `fresh`, `stale` or `built`.
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) files: usize,
    pub(crate) seconds: f64,
}

pub(crate) fn parse(stdout: &str) -> Result<Answer> {
    serde_json::from_str(stdout).with_context(|| format!("the asset pipeline answered {stdout:?}"))
}
