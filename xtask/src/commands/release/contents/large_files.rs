//! Git LFS: a commit has pointers, which name the content of a file by its hash.

use std::collections::{BTreeMap, BTreeSet};
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

/// Where the files of a tree come from.
pub(super) struct Source<'s> {
    /// The repository that has the tree's commit.
    pub(super) repository: &'s Path,
    /// The name of its remote repository.
    pub(super) remote: &'s str,
}

/// Puts contents in the place of pointers. `below` is the way to the tree from the release's.
pub(super) fn complete(
    ctx: &Ctx,
    source: &Source<'_>,
    tree: &Path,
    below: &str,
    needed: &dyn Fn(&str) -> bool,
) -> Result<()> {
    if !ctx.ask(git::mentions_filters(&ctx.sh, tree), QUESTION)?.status.success() {
        return Ok(());
    }
    let files = ctx.ask(git::files_of(&ctx.sh, tree), QUESTION)?.stdout;
    let filters = git::filters(&ctx.sh, tree);
    let filters = ctx.ask_with_input(filters, &Secret::new(files), LONG)?;
    let mut pointers = BTreeMap::new();
    let mut others = BTreeSet::new();
    for (path, filter) in git::parse_filters(&filters.stdout) {
        if !needed(&format!("{below}{path}")) {
            continue;
        }
        if filter != "lfs" {
            others.insert(filter);
        } else if let Some(content) = pointer(&tree.join(&path))? {
            pointers.insert(path, content);
        }
    }
    for filter in others {
        ctx.warn(format_args!(
            "{below}.gitattributes names the filter {filter}; a release takes its files as they are \
             in the commit"
        ));
    }
    let storage = storage(ctx, source.repository)?;
    let is_missing = |content: &Content| !object(&storage, content).is_file();
    if pointers.values().any(is_missing) && which::which("git-lfs").is_ok() {
        if ctx.dry_run {
            ctx.say("a dry run does not get the files that Git LFS keeps");
            return Ok(());
        }
        fetch(ctx, source, tree)?;
    }
    let missing: Vec<String> = pointers
        .iter()
        .filter(|it| is_missing(it.1))
        .map(|it| format!("{below}{}", it.0))
        .collect();
    if !missing.is_empty() {
        let program = if which::which("git-lfs").is_ok() { "" } else { "install git-lfs, and " };
        let command = match below.trim_end_matches('/') {
            "" => "git lfs fetch --all".to_owned(),
            path => format!("git -C {path} lfs fetch --all"),
        };
        bail!(
            "Git LFS keeps files of this release that are not here: {}; {program}get them with \
             `{command}`",
            missing.join(", ")
        );
    }
    for (path, content) in &pointers {
        take(ctx, &object(&storage, content), &tree.join(path), content)
            .with_context(|| format!("can't take {below}{path} from Git LFS"))?;
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
pub(crate) fn storage(ctx: &Ctx, repository: &Path) -> Result<PathBuf> {
    let answer = ctx.ask(git::lfs_storage(&ctx.sh, repository), QUESTION)?;
    let named = answer.stdout.trim();
    Ok(repository.join(if named.is_empty() { "lfs" } else { named }))
}

fn object(storage: &Path, content: &Content) -> PathBuf {
    let hash = &content.hash;
    storage.join("objects").join(&hash[..2]).join(&hash[2..4]).join(hash)
}

/// Lets Git LFS get what the commit of a tree needs.
fn fetch(ctx: &Ctx, source: &Source<'_>, tree: &Path) -> Result<()> {
    let commit = ctx.ask(git::head_of(&ctx.sh, tree), QUESTION)?;
    ctx.say("getting the files that Git LFS keeps");
    // What is still missing afterwards is named by our own error.
    let cmd = git::lfs_fetch(&ctx.sh, source.repository, source.remote, commit.stdout.trim());
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
