//! cargo and rustc: the checks of this repository's own Rust code, and the installed toolchain.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

pub(crate) fn fmt_check(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "cargo fmt --all --check")
}

pub(crate) fn clippy(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "cargo clippy --workspace --all-targets --locked -- --deny warnings")
}

pub(crate) fn test(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "cargo test --workspace --locked")
}

pub(crate) fn bench(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "cargo bench --package xtask --locked")
}

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
