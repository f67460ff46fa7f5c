//! git: which commit this is.

use xshell::{Cmd, Shell, cmd};

/// The commit of the checkout, with `-dirty` when files differ from it.
pub(crate) fn describe(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "git describe --always --abbrev=40 --exclude=* --dirty")
}
