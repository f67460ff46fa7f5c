//! getent: the C library's own answer to which addresses a name has.

use xshell::{Cmd, Shell, cmd};

/// One address a line, each behind it what kind it is.
pub(crate) fn addresses<'s>(sh: &'s Shell, name: &str) -> Cmd<'s> {
    cmd!(sh, "getent ahosts {name}")
}
