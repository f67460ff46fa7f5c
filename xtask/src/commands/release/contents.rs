//! Files of a commit that do not lie in it: those of submodules and of Git LFS.
//!
//! The commit pins both, a submodule by the hash of its commit and a file of LFS by the hash of its
//! content. So a release has them where they can be had, and is refused with the reason where they
//! cannot. What any other filter of `.gitattributes` would make of a file is pinned by nothing.

mod large_files;
mod submodules;

use std::path::Path;

use anyhow::Result;

use super::repository::REMOTE;
use crate::ctx::{Ctx, QUESTION};
use crate::tools::git::{self, Places};

/// Adds them to a tree that was checked out, in the place where git would put them.
pub(super) fn complete(ctx: &Ctx, places: &Places, tree: &Path) -> Result<()> {
    let remotes = ctx.ask(git::remotes(&ctx.sh), QUESTION)?.stdout;
    let named = remotes.lines().find(|name| *name == REMOTE).or(remotes.lines().next());
    let remote = named.unwrap_or(REMOTE);
    let url = ctx.ask(git::fetch_url(&ctx.sh, remote), QUESTION)?;
    let source = submodules::Source {
        modules: Path::new(&places.common).join("modules"),
        checkout: Some(places.top.clone().into()),
        url: url.stdout.trim().to_owned(),
    };
    large_files::complete(ctx, Path::new(&places.common), remote, tree)?;
    submodules::complete(ctx, &source, tree, "")
}
