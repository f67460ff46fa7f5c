//! Git LFS: a commit has pointers, which name the content of a file by its hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::ctx::{Ctx, LONG, QUESTION};
use crate::secret::Secret;
use crate::tools::git;
use crate::tools::registry::unpack;

/// A pointer is never longer, in bytes (the specification of Git LFS).
const POINTER: u64 = 1024;

/// What a pointer names.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    /// Hexadecimal SHA-256.
    hash: String,
    /// In bytes.
    size: u64,
}

/// Puts contents in the place of pointers. `repository` is the one that the tree comes from, and
/// `remote` the name of where Git LFS gets what is missing.
pub(super) fn complete(ctx: &Ctx, repository: &Path, remote: &str, tree: &Path) -> Result<()> {
    if !ctx.ask(git::mentions_filters(&ctx.sh, tree), QUESTION)?.status.success() {
        return Ok(());
    }
    let files = ctx.ask(git::files_of(&ctx.sh, tree), QUESTION)?.stdout;
    let filters = git::filters(&ctx.sh, tree);
    let filters = ctx.ask_with_input(filters, &Secret::new(files), LONG)?;
    let mut pointers = BTreeMap::new();
    for (path, filter) in git::parse_filters(&filters.stdout) {
        if filter != "lfs" {
            refuse_filter(ctx, &path, &filter)?;
        } else if let Some(content) = pointer(&tree.join(&path))? {
            pointers.insert(path, content);
        }
    }
    let storage = storage(ctx, repository)?;
    let is_missing = |content: &Content| !object(&storage, content).is_file();
    if pointers.values().any(is_missing) && which::which("git-lfs").is_ok() {
        if ctx.dry_run {
            ctx.say("a dry run does not get the files that Git LFS keeps");
            return Ok(());
        }
        fetch(ctx, repository, remote, tree)?;
    }
    let missing: Vec<&str> =
        pointers.iter().filter(|it| is_missing(it.1)).map(|it| it.0.as_str()).collect();
    if !missing.is_empty() {
        let program = match which::which("git-lfs") {
            Ok(_) => "get them with `git lfs fetch --all`",
            Err(_) => "install git-lfs, and get them with `git lfs fetch --all`",
        };
        bail!(
            "Git LFS keeps files of this release that are not here: {}; {program}",
            missing.join(", ")
        );
    }
    for (path, content) in &pointers {
        take(ctx, &object(&storage, content), &tree.join(path), content)
            .with_context(|| format!("can't take {path} from Git LFS"))?;
    }
    Ok(())
}

/// A filter that this machine would run. One that git is not told about changes nothing.
fn refuse_filter(ctx: &Ctx, path: &str, filter: &str) -> Result<()> {
    for key in ["smudge", "process"] {
        let answer = ctx.ask(git::filter_program(&ctx.sh, filter, key), QUESTION)?;
        ensure!(
            answer.stdout.trim().is_empty(),
            "{path} goes through the filter {filter} (.gitattributes) when it is checked out, and \
             what comes out of that is not in the commit; take the filter away from it, or let the \
             build run it"
        );
    }
    Ok(())
}

fn pointer(path: &Path) -> Result<Option<Content>> {
    let found = path.symlink_metadata().context("can't look at a file of the release")?;
    if !found.is_file() || found.len() > POINTER {
        return Ok(None);
    }
    Ok(std::fs::read_to_string(path).ok().and_then(|text| parse(&text)))
}

fn parse(text: &str) -> Option<Content> {
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?;
    if !version.starts_with("https://git-lfs.github.com/spec/") {
        return None;
    }
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let hash = value("oid sha256:")?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = value("size ")?.parse().ok()?;
    is_hash.then(|| Content { hash: hash.to_owned(), size })
}

/// Where Git LFS keeps what it has got (`lfs.storage`).
fn storage(ctx: &Ctx, repository: &Path) -> Result<PathBuf> {
    let answer = ctx.ask(git::lfs_storage(&ctx.sh), QUESTION)?;
    let named = answer.stdout.trim();
    Ok(repository.join(if named.is_empty() { "lfs" } else { named }).join("objects"))
}

fn object(storage: &Path, content: &Content) -> PathBuf {
    let hash = &content.hash;
    storage.join(&hash[..2]).join(&hash[2..4]).join(hash)
}

/// Lets Git LFS get what the commit of a tree needs.
fn fetch(ctx: &Ctx, repository: &Path, remote: &str, tree: &Path) -> Result<()> {
    let commit = ctx.ask(git::head_of(&ctx.sh, tree), QUESTION)?;
    ctx.say("getting the files that Git LFS keeps");
    // What is still missing afterwards is named by our own error.
    let cmd = git::lfs_fetch(&ctx.sh, repository, remote, commit.stdout.trim());
    let answer = ctx.ask(cmd, LONG)?;
    if !answer.status.success() {
        ctx.warn(answer.last_lines(3).join("; "));
    }
    Ok(())
}

/// Copies a content over its pointer, which keeps its permissions, and checks it.
fn take(ctx: &Ctx, from: &Path, to: &Path, content: &Content) -> Result<()> {
    let mut input = unpack::Hashing::new(File::open(from)?);
    let mut output = File::create(to)?;
    std::io::copy(&mut input, &mut output)?;
    if ctx.interrupted() {
        return Err(crate::exit::interrupted());
    }
    let found = input.into_layer();
    ensure!(
        found.diff_id == format!("sha256:{}", content.hash) && found.size == content.size,
        "{} is damaged; remove it, and run `git lfs fetch --all`",
        from.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_a_file_that_is_like_one() {
        let hash = "b".repeat(64);
        let text = format!(
            "version https://git-lfs.github.com/spec/v1\nx-extra 1\noid sha256:{hash}\nsize 12\n"
        );
        assert_eq!(parse(&text), Some(Content { hash, size: 12 }));
        for text in
            ["", "version 1\n", "version https://git-lfs.github.com/spec/v1\noid sha256:x\n"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
