//! A clone of the commit that is checked out, to do there what this checkout is not to see.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::commands::release::repository;
use crate::ctx::Ctx;
use crate::tools::git;

/// Ends with this value.
pub(crate) struct Clone {
    /// In the project there, with a state of its own.
    pub(crate) ctx: Ctx,
    top: PathBuf,
    _directory: tempfile::TempDir,
}

impl Clone {
    /// Changes that are not committed are not in it.
    pub(crate) fn of(ctx: &Ctx) -> Result<Clone> {
        let places = repository::places(ctx)?;
        let directory = tempfile::Builder::new()
            .prefix("stevedore-clone-")
            .tempdir()
            .context("can't create a directory for the clone")?;
        let top = directory.path().join("clone");
        ctx.run(git::clone_shared(&ctx.sh, &places.common, &top))?;
        let commit = ctx.read(git::describe(&ctx.sh))?;
        let commit = commit.trim().trim_end_matches("-dirty");
        ctx.run(git::check_out(&ctx.sh, &top, commit))?;
        let root = top.join(&places.prefix);
        let state = root.join(crate::ctx::STATE);
        Ok(Clone { ctx: ctx.at(root, state)?, top, _directory: directory })
    }

    /// The top of its work tree.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }
}
