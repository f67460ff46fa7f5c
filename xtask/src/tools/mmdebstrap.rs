//! mmdebstrap: base images of Debian from the machine's own mirror, where no registry answers.
//!
//! With `SOURCE_DATE_EPOCH` two runs over one state of the mirror give the same bytes.

use std::path::Path;

use xshell::{Cmd, Shell, cmd};

/// Where this machine gets its Debian packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirrors {
    pub(crate) main: String,
    pub(crate) security: Option<String>,
}

/// What the official slim images leave out of every package, and keep of that.
const SLIM: [&str; 7] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/lintian/overrides/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
];

/// What an image made here consists of.
#[derive(Debug)]
pub(crate) struct Base<'b> {
    pub(crate) suite: &'b str,
    /// Without documentation and translations, as the official images of that name.
    pub(crate) slim: bool,
    pub(crate) packages: &'b [&'b str],
    /// Commands for the tree before it is packed; each sees the tree's path as `$1`.
    pub(crate) hooks: Vec<String>,
    /// Seconds since 1970; no file in the archive is newer.
    pub(crate) epoch_seconds: u64,
}

pub(crate) fn build<'s>(
    sh: &'s Shell,
    base: &Base<'_>,
    mirrors: &Mirrors,
    archive: &Path,
) -> Cmd<'s> {
    let Base { suite, slim, packages, hooks, epoch_seconds } = base;
    let include = (!packages.is_empty()).then(|| format!("--include={}", packages.join(",")));
    let hooks = hooks.iter().map(|hook| format!("--customize-hook={hook}"));
    let main = &mirrors.main;
    let mut sources =
        vec![format!("deb {main} {suite} main"), format!("deb {main} {suite}-updates main")];
    sources.extend(mirrors.security.iter().map(|url| format!("deb {url} {suite}-security main")));
    let languages = "--aptopt=Acquire::Languages \"none\"";
    let slim = SLIM.iter().filter(|_| *slim).map(|path| format!("--dpkgopt={path}"));
    cmd!(sh, "mmdebstrap --variant=minbase --quiet {languages} {slim...} {include...} {hooks...} {suite} {archive} {sources...}")
        .env("SOURCE_DATE_EPOCH", epoch_seconds.to_string())
        .env("LC_ALL", "C.UTF-8")
}
