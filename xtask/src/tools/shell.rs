//! Shells, only to look at scripts: nothing is run through one.

use xshell::{Cmd, Shell, cmd};

/// Reads a script and runs nothing of it.
pub(crate) fn parse_only<'s>(sh: &'s Shell, shell: &str, script: &str) -> Cmd<'s> {
    cmd!(sh, "{shell} -n {script}")
}

pub(crate) fn shellcheck<'s>(sh: &'s Shell, script: &str) -> Cmd<'s> {
    cmd!(sh, "shellcheck {script}")
}
