//! One file per outside program: what we say to it and how we read its answer.
//!
//! Functions here return a command or parse a text; they never run anything, so that every argv
//! can be tested as a value.

use anyhow::{Context, Result};
use xshell::{Cmd, Shell};

pub(crate) mod apt;
pub(crate) mod assets;
pub(crate) mod aws;
pub(crate) mod bake;
pub(crate) mod beanstalk;
pub(crate) mod cargo;
pub(crate) mod compose;
pub(crate) mod curl;
pub(crate) mod docker;
pub(crate) mod docker_archive;
pub(crate) mod docker_config;
pub(crate) mod docker_container;
pub(crate) mod docker_engine;
pub(crate) mod docker_volume;
pub(crate) mod eb;
pub(crate) mod engine_packages;
pub(crate) mod getent;
pub(crate) mod git;
pub(crate) mod ip;
pub(crate) mod mmdebstrap;
pub(crate) mod npm;
pub(crate) mod os_packages;
pub(crate) mod pip;
pub(crate) mod registry;
pub(crate) mod shell;
pub(crate) mod tar;
pub(crate) mod xtask;

#[cfg(test)]
mod tests;

/// A command as somebody wrote it in one line of a configuration, without a shell.
pub(crate) fn words<'s>(sh: &'s Shell, line: &str) -> Result<Cmd<'s>> {
    let words = shell_words::split(line)?;
    let (program, arguments) = words.split_first().context("an empty command")?;
    Ok(sh.cmd(program).args(arguments))
}
