//! cargo and rustc: this repository's own programs, and the installed toolchain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// Compiles a program of this repository to where it lies beside the others. `manifest` is the
/// tool's: as one of two packages, the program shares the dependencies that the tool has already.
pub(crate) fn build_program<'s>(
    sh: &'s Shell,
    name: &str,
    manifest: &Path,
    target: &Path,
    profile: &str,
) -> Cmd<'s> {
    cmd!(
        sh,
        "cargo build --manifest-path {manifest} --package xtask --package {name} --bin {name}
         --target-dir {target} --profile {profile} --locked"
    )
}

/// Compiles the tests of the whole workspace; what it says on stdout is for [`parse_tests`].
pub(crate) fn build_tests(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "cargo test --workspace --locked --no-run --message-format json-render-diagnostics")
}

/// The same for one package, compiled to a directory of its own.
pub(crate) fn build_tests_of<'s>(sh: &'s Shell, package: &str, target: &Path) -> Cmd<'s> {
    cmd!(
        sh,
        "cargo test --package {package} --target-dir {target} --locked --no-run
         --message-format json-render-diagnostics"
    )
}

/// A compiled target with tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    pub(crate) package: String,
    pub(crate) target: String,
    pub(crate) path: PathBuf,
    /// The package's, in which its tests run.
    pub(crate) directory: PathBuf,
}

/// Reads which executables with tests were compiled.
pub(crate) fn parse_tests(stdout: &str) -> Result<Vec<Executable>> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        target: Option<Target>,
        profile: Option<Profile>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let mut found = Vec::new();
    for line in stdout.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("cargo's answer is damaged")?;
        let Message { executable: Some(path), manifest_path: Some(manifest), .. } = message else {
            continue;
        };
        let (Some(target), Some(Profile { test: true })) = (message.target, message.profile) else {
            continue;
        };
        let directory = manifest.parent().context("a manifest without a folder")?.to_owned();
        let package = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.push(Executable { package, target: target.name, path, directory });
    }
    Ok(found)
}

/// Lists the tests of an executable, a line each.
pub(crate) fn list_tests<'s>(sh: &'s Shell, executable: &Path) -> Cmd<'s> {
    cmd!(sh, "{executable} --list --format terse")
}

/// Runs one test, or all of them, as cargo would.
pub(crate) fn run_tests<'s>(
    sh: &'s Shell,
    enter: Option<Cmd<'s>>,
    executable: &Path,
    directory: &Path,
    test: Option<&str>,
) -> Cmd<'s> {
    let only = test.map(|name| ["--exact", name]);
    let only = only.iter().flatten();
    let cmd = match enter {
        Some(enter) => enter.arg(executable),
        None => sh.cmd(executable),
    };
    cmd.args(only).env("CARGO_MANIFEST_DIR", directory)
}

/// The directory of the installed toolchain.
pub(crate) fn sysroot(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "rustc --print sysroot")
}
