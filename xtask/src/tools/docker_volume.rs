//! Volumes of the engine: where data outlive containers, and where it is written whose they are.

use xshell::{Cmd, Shell, cmd};

/// Makes a volume, or does nothing where there is one of that name.
pub(crate) fn create<'s>(sh: &'s Shell, name: &str, labels: &[String]) -> Cmd<'s> {
    let labels = labels.iter().flat_map(|label| ["--label", label]);
    cmd!(sh, "docker volume create {labels...} {name}")
}

/// Volumes with a label, `NAME<tab>VALUE` a line: the value is that of another label.
pub(crate) fn list<'s>(sh: &'s Shell, label: &str, value_of: &str) -> Cmd<'s> {
    let format = format!("{{{{.Name}}}}\t{{{{.Label {value_of:?}}}}}");
    cmd!(sh, "docker volume ls --filter label={label} --format {format}")
}
