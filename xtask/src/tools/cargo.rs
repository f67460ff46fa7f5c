//! cargo and rustc: the checks of this repository's own Rust code, and the installed toolchain.

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

/// The directory of the installed toolchain.
pub(crate) fn sysroot(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "rustc --print sysroot")
}
