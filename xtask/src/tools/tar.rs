//! tar: unpacks what was downloaded.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

/// Unpacks an archive of npm, whose files all lie in one directory of some name.
pub(crate) fn unpack<'s>(sh: &'s Shell, archive: &Path, directory: &Path) -> Cmd<'s> {
    cmd!(
        sh,
        "tar --extract --gzip --file {archive} --directory {directory} --strip-components 1
         --no-same-owner --no-same-permissions"
    )
}
