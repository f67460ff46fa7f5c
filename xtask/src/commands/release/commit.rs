//! Makes a commit of files that we know, by git's plumbing: with an index of its own and no hook,
//! whatever is checked out or staged. No branch names it.

use std::path::Path;

use anyhow::Result;

use crate::ctx::Ctx;
use crate::tools::git::{self, Signature};

/// A file of a commit: its path from the repository's top, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What a commit has besides its author.
pub(crate) struct Content<'c> {
    /// Whose files it has too.
    pub(crate) parent: Option<&'c str>,
    pub(crate) files: &'c [File],
    pub(crate) message: &'c str,
}

/// Always the same commit for the same content and signature. `workshop` is a directory for this
/// alone.
pub(crate) fn commit(
    ctx: &Ctx,
    workshop: &Path,
    content: &Content<'_>,
    by: &Signature<'_>,
) -> Result<String> {
    if !ctx.dry_run {
        // What a killed run left, the locks of its git among it.
        let _ = std::fs::remove_dir_all(workshop);
    }
    let mut stored = Vec::new();
    for File { path, text } in content.files {
        let file = workshop.join(path);
        ctx.write_cache(&file, text.as_bytes())?;
        let object = ctx.run_for(git::store(&ctx.sh, &file), &format!("object of {path}"))?;
        stored.push((path.clone(), object));
    }
    let index = workshop.join("index");
    if let Some(parent) = content.parent {
        ctx.run(git::read_tree(&ctx.sh, &index, parent))?;
    }
    ctx.run(git::update_index(&ctx.sh, &index, &stored))?;
    let tree = ctx.run_for(git::write_tree(&ctx.sh, &index), "tree")?;
    let message = workshop.join("commit.txt");
    ctx.write_cache(&message, content.message.as_bytes())?;
    let cmd = git::commit_tree(&ctx.sh, &tree, content.parent, &message, by);
    ctx.run_for(cmd, "commit")
}
