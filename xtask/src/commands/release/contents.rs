//! Files of a commit that do not lie in it: those of submodules and of Git LFS.
//!
//! The commit pins both, a submodule by the hash of its commit and a file of LFS by the hash of its
//! content. So a release has them where they can be had, and is refused with the reason where they
//! cannot. Other filters of `.gitattributes` are programs of one machine: a release takes the bytes
//! of the commit.

mod large_files;
mod submodules;

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::repository::Repository;
use crate::ctx::{Ctx, QUESTION};
use crate::tools::git::{self, Places};

pub(crate) use large_files::storage as lfs_storage;

/// Which paths of a tree are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    All,
    /// What describes the stack: a bundle holds nothing else.
    Stack,
}

impl Needed {
    fn has(self, places: &Places, path: &str) -> bool {
        let below = |directory: &str| {
            let directory = format!("{}{directory}", places.prefix);
            path.strip_prefix(&directory)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || directory.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        self == Needed::All || below("docker") || below("environments")
    }
}

/// Adds them to a tree that was checked out, in the place where git would put them.
pub(super) fn complete(ctx: &Ctx, places: &Places, tree: &Path, needed: Needed) -> Result<()> {
    let remote = Repository::usual_remote(ctx)?;
    let url = ctx.ask(git::fetch_url(&ctx.sh, &remote), QUESTION)?;
    let own = ctx.ask(git::repository_of(&ctx.sh, &ctx.root), QUESTION)?;
    let common = Path::new(&places.common);
    let source = submodules::Source {
        // A linked working tree has modules of its own.
        modules: vec![PathBuf::from(own.stdout.trim_end()).join("modules"), common.join("modules")],
        checkout: Some(places.top.clone().into()),
        url: url.stdout.trim().to_owned(),
    };
    let needed = |path: &str| needed.has(places, path);
    large_files::complete(
        ctx,
        &large_files::Source { repository: common, remote: &remote },
        tree,
        "",
        &needed,
    )?;
    submodules::complete(ctx, &source, tree, "", &needed)
}
