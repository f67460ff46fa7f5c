//! npm, only to get the packages of style sheets: nothing of them is ever run here.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

/// Downloads a package as an archive into a directory.
pub(crate) fn pack<'s>(sh: &'s Shell, package: &str, directory: &Path) -> Cmd<'s> {
    cmd!(sh, "npm pack {package} --ignore-scripts --json --pack-destination {directory}")
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
