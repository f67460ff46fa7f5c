//! The asset pipeline, the crate `xtask/assets`: how it is called and what it answers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// What the pipeline needs to know of a project.
pub(crate) struct Places {
    pub(crate) program: PathBuf,
    pub(crate) state: PathBuf,
    /// The package of dart-sass, unpacked.
    pub(crate) sass: PathBuf,
    /// The program esbuild.
    pub(crate) esbuild: PathBuf,
    /// Where packages are found by their names.
    pub(crate) packages: Vec<PathBuf>,
    /// Files that stay in the output besides what is built.
    pub(crate) keep: Option<PathBuf>,
}

/// One call; the paths of the project are relative, so that what it says is too.
pub(crate) fn call<'s>(
    sh: &'s Shell,
    places: &Places,
    source: &str,
    output: &str,
    action: &[&str],
) -> Cmd<'s> {
    let Places { program, state, sass, esbuild, packages, keep } = places;
    let load_path = packages.iter().flat_map(|path| [Path::new("--load-path"), path.as_path()]);
    let keep = keep.iter().flat_map(|path| [Path::new("--keep"), path.as_path()]);
    cmd!(
        sh,
        "{program} {action...} --source {source} --output {output} --state {state} --sass {sass}
         --esbuild {esbuild}"
    )
    .args(load_path)
    .args(keep)
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
