//! npm, only to get packages: their scripts are never run.

use std::path::Path;

use anyhow::{Context, Result};
use semver::Version;
use xshell::{Cmd, Shell, cmd};

/// Downloads a package as an archive into a directory.
pub(crate) fn pack<'s>(sh: &'s Shell, package: &str, directory: &Path) -> Cmd<'s> {
    cmd!(sh, "npm pack {package} --ignore-scripts --json --pack-destination {directory}")
}

/// Installs what the lock file of a directory pins, each package compared with its integrity.
pub(crate) fn install<'s>(sh: &'s Shell, directory: &Path) -> Cmd<'s> {
    cmd!(sh, "npm ci --prefix {directory} --ignore-scripts --no-audit --no-fund")
}

/// Asks for the newest version of a package and its integrity, or for those of one version.
pub(crate) fn view<'s>(sh: &'s Shell, package: &str) -> Cmd<'s> {
    cmd!(sh, "npm view {package} version dist.integrity --json")
}

/// What [`view`] says: version and integrity.
pub(crate) fn parse_view(stdout: &str) -> Result<(Version, String)> {
    let answer: serde_json::Value = serde_json::from_str(stdout).context("npm printed no JSON")?;
    let text = |key: &str| answer[key].as_str().with_context(|| format!("npm stated no {key}"));
    Ok((Version::parse(text("version")?)?, text("dist.integrity")?.to_owned()))
}

/// Why npm failed, without the paths of its logs.
pub(crate) fn reasons(stderr: &str) -> String {
    let lines = stderr.lines().filter_map(|line| line.strip_prefix("npm error "));
    let telling = lines.filter(|line| !line.contains("log") && !line.starts_with("   "));
    telling.take(6).map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

/// The name of the archive that [`pack`] has written.
pub(crate) fn parse_pack(stdout: &str) -> Result<String> {
    let answer: serde_json::Value = serde_json::from_str(stdout).context("npm printed no JSON")?;
    let name = answer[0]["filename"].as_str().context("npm named no archive")?;
    anyhow::ensure!(!name.contains('/'), "npm named an archive elsewhere: {name}");
    Ok(name.to_owned())
}
