//! This program itself, as a rehearsal calls it: in another project, by the same words that
//! everybody types.

use std::path::Path;

use xshell::{Cmd, Shell};

pub(crate) fn call<'s>(
    sh: &'s Shell,
    program: &Path,
    project: &Path,
    arguments: &[&str],
) -> Cmd<'s> {
    sh.cmd(program).arg("-C").arg(project).args(arguments)
}
