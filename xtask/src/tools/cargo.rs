//! cargo and rustc: this repository's own programs, and the installed toolchain.

use std::path::Path;

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

/// The directory of the installed toolchain.
pub(crate) fn sysroot(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "rustc --print sysroot")
}
