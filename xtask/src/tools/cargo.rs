//! cargo and rustc: this repository's own programs, and the installed toolchain.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

/// Compiles a program of this repository to where it lies beside the others.
pub(crate) fn build_program<'s>(
    sh: &'s Shell,
    manifest: &Path,
    target: &Path,
    profile: &str,
) -> Cmd<'s> {
    cmd!(
        sh,
        "cargo build --manifest-path {manifest} --target-dir {target} --profile {profile} --locked"
    )
}

/// The directory of the installed toolchain.
pub(crate) fn sysroot(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "rustc --print sysroot")
}
