//! What an image holds: its packages, as it has written them down, or whatever one of its commands
//! prints.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::leftovers;
use crate::ctx::{Answer, Ctx, QUESTION};
use crate::exit;
use crate::release::record::Packages;
use crate::tools::{docker, os_packages};

/// Where dpkg keeps what is installed, and apk.
const DPKG: &str = "/var/lib/dpkg/status";
const APK: &str = "/lib/apk/db/installed";
/// Where a distribution says which it is.
const OS_RELEASE: &str = "/etc/os-release";

/// What an image says of its system.
#[derive(Serialize, Deserialize)]
pub(crate) struct System {
    pub(crate) packages: Packages,
    /// Such as `debian-13`.
    pub(crate) distribution: Option<String>,
}

/// The packages of an image, by whichever manager it has.
pub(crate) fn packages_of(ctx: &Ctx, image: &str) -> Result<Packages> {
    Ok(system_of(ctx, image)?.packages)
}

/// Reads, once in a run, what the package manager of an image has written down; `image` is its id.
/// Nothing of the image is run: a busy engine can lose a part of what a container prints, and says
/// nothing of it.
pub(crate) fn system_of(ctx: &Ctx, image: &str) -> Result<System> {
    let key = format!("packages of {image}");
    if let Some(known) = ctx.learned(&key) {
        return serde_json::from_str(&known).context("can't read what was learned");
    }
    let container = leftovers::name(ctx)?;
    ctx.run(docker::create(&ctx.sh, &container.text, image))?;
    let found = read_system(ctx, &container.text);
    ctx.run(docker::remove_container(&ctx.sh, &container.text))?;
    let found = found?;
    ctx.learn(&key, serde_json::to_string(&found)?);
    Ok(found)
}

fn read_system(ctx: &Ctx, container: &str) -> Result<System> {
    if ctx.dry_run {
        let packages = Packages::None { reason: "not looked at".into() };
        return Ok(System { packages, distribution: None });
    }
    let directory = tempfile::tempdir().context("can't create a directory")?;
    let file = |path: &str| file_of(ctx, container, path, directory.path());
    let packages = match file(DPKG)? {
        Some(text) => Packages::Dpkg { installed: os_packages::parse_dpkg(&text)? },
        None => match file(APK)? {
            Some(text) => Packages::Apk { installed: os_packages::parse_apk(&text)? },
            None => Packages::None { reason: "the image has neither dpkg nor apk".into() },
        },
    };
    let distribution = file(OS_RELEASE)?.and_then(|text| os_packages::parse_os_release(&text));
    Ok(System { packages, distribution })
}

/// A file of a container; nothing where it has none.
fn file_of(ctx: &Ctx, container: &str, path: &str, directory: &Path) -> Result<Option<String>> {
    let target = directory.join("file");
    let cmd = docker::copy_file(&ctx.sh, container, path, &target);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, QUESTION * 2)?;
    if answer.stderr.contains("Could not find the file") {
        return Ok(None);
    }
    answer.success(&shown)?;
    let bytes = std::fs::read(&target).with_context(|| format!("the engine gave no {path}"))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Runs a command of an image to its end, in a container that is gone afterwards whatever happens;
/// nothing in a dry run.
pub(crate) fn ask_image(ctx: &Ctx, image: &str, command: &[String]) -> Result<Option<Answer>> {
    let name = leftovers::name(ctx)?;
    let cmd = docker::run_alone(&ctx.sh, &name.text, image, command);
    if ctx.dry_run {
        ctx.skip(&cmd.to_string());
        return Ok(None);
    }
    let answer = ctx.ask(cmd, QUESTION * 2);
    if answer.is_err() {
        // Our client has ended; the container may not have.
        let interrupted = ctx.interrupted();
        ctx.clear_interrupt();
        let _ = ctx.ask(docker::remove_container(&ctx.sh, &name.text), QUESTION);
        if interrupted {
            return Err(exit::interrupted());
        }
    }
    answer.map(Some)
}
