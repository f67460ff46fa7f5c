//! pip: puts the EB CLI and the AWS CLI into a Python environment of their own, as no package
//! manager of Debian has the one, and the two have to agree on a library.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

/// The package for the environments, on Debian and Ubuntu.
pub(crate) const VENV: &str = "python3-venv";

/// Asks whether Python can make environments with pip; Debian leaves that out of `python3`.
pub(crate) fn can_make_environments(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "python3 -c").arg("import ensurepip, venv")
}

/// Makes an empty environment.
pub(crate) fn environment<'s>(sh: &'s Shell, directory: &Path) -> Cmd<'s> {
    cmd!(sh, "python3 -m venv --clear {directory}")
}

pub(crate) fn install<'s>(sh: &'s Shell, directory: &Path, packages: &[String]) -> Cmd<'s> {
    let pip = directory.join("bin/pip");
    cmd!(sh, "{pip} install --quiet --disable-pip-version-check {packages...}")
}
