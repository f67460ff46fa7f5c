//! git: which commit this is, and which files belong to it.

use xshell::{Cmd, Shell, cmd};

/// The files that git knows, each ended by a NUL.
pub(crate) fn list_files(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "git ls-files -z")
}

/// The commit of the checkout, with `-dirty` when files differ from it.
pub(crate) fn describe(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "git describe --always --abbrev=40 --exclude=* --dirty")
}
