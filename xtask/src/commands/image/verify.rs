//! `image build --verify`: that the builder got what was hashed, and put it where it belongs.
//!
//! In the same call as the image, the builder also writes two archives: all of the context as it
//! received it, and the files that the image's own stage copies. The first has to equal the inputs.
//! The second is compared with the image. What differs there was changed by a later step, or lies
//! where the base's WORKDIR says; it is listed, since nobody can tell a change that was meant from
//! one that was not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fingerprint::tree::{Entry, Kind, escape};
use fingerprint::{Tree, received, stage};

use super::builder::Workshop;
use super::leftovers;
use super::plan::Planned;
use crate::ctx::Ctx;
use crate::project::dockerfile;
use crate::tools::{bake, docker};

/// Most differences that one error or line lists.
const MOST: usize = 10;

/// What the builder makes beside an image, to be looked at.
pub(crate) fn targets(
    ctx: &Ctx,
    planned: &Planned,
    instructions: &str,
    target: &bake::Target,
    workshop: &Workshop,
) -> Result<Vec<(String, bake::Target)>> {
    let recipe = &planned.recipe;
    let all = Some("FROM scratch\nCOPY . /\n".to_owned());
    let direct = dockerfile::direct_copies(instructions, recipe.target.as_deref())
        .map_err(|message| anyhow::anyhow!("{}:{message}", recipe.dockerfile))?;
    let mut looks = Vec::new();
    // No image can have a name with an underscore.
    for (kind, text) in [("received", all), ("direct", direct)] {
        let Some(text) = text else { continue };
        let archive = archive(workshop, kind, planned);
        let dockerfile = format!("{}-{kind}", recipe.image);
        let look = bake::Target {
            context: target.context.clone(),
            dockerfile: workshop.dockerfile(ctx, &dockerfile, &text)?,
            args: target.args.clone(),
            platforms: target.platforms.clone(),
            output: vec![format!("type=tar,dest={}", archive.display())],
            ..bake::Target::default()
        };
        looks.push((target_name(kind, planned), look));
    }
    Ok(looks)
}

fn target_name(kind: &str, planned: &Planned) -> String {
    format!("{kind}_{}", planned.recipe.image)
}

fn archive(workshop: &Workshop, kind: &str, planned: &Planned) -> std::path::PathBuf {
    workshop.path(&format!("{kind}-{}.tar", planned.recipe.image))
}

/// Compares what came out of it. A context that was not received as it was hashed is an error.
pub(crate) fn check(
    ctx: &Ctx,
    planned: &Planned,
    built: &str,
    workshop: &Workshop,
    definition: &bake::Definition,
) -> Result<()> {
    let image = &planned.recipe.image;
    if ctx.dry_run {
        if definition.target.contains_key(&target_name("direct", planned)) {
            read_image(ctx, built, &workshop.path(&format!("image-{image}.tar")))?;
        }
        return Ok(());
    }
    let got = received::read(&archive(workshop, "received", planned))?;
    let differences = stage::received_differences(&planned.inputs.tree, &got);
    if !differences.is_empty() {
        let list = differences[..differences.len().min(MOST)].join("\n  ");
        anyhow::bail!(
            "the builder received something else for {image} than what was hashed, so nothing was \
             recorded; `docker builder prune` makes it forget what it has:\n  {list}"
        );
    }
    let direct = archive(workshop, "direct", planned);
    let direct = if direct.exists() { received::read(&direct)? } else { Tree::default() };
    let (same, changed) = compare_with_image(ctx, &direct, built, workshop, image)?;
    if ctx.json {
        return ctx.event(&serde_json::json!({
            "event": "verify", "image": image, "received": got.len(), "copied": same,
            "not_verifiable": changed,
        }));
    }
    ctx.say(format_args!(
        "verified {image}: the builder received all {} entries as hashed; {same} files lie in the \
         image as they were copied",
        got.len()
    ));
    if !changed.is_empty() {
        let more = if changed.len() > MOST { ", …" } else { "" };
        let list = changed[..changed.len().min(MOST)].join(", ");
        let count = changed.len();
        ctx.say(format_args!(
            "  not verifiable, since a later step or the base decides about them ({count}): \
             {list}{more}"
        ));
    }
    Ok(())
}

/// How many of the copied files the image holds unchanged, and which not.
fn compare_with_image(
    ctx: &Ctx,
    direct: &Tree,
    built: &str,
    workshop: &Workshop,
    image: &str,
) -> Result<(usize, Vec<String>)> {
    if direct.is_empty() {
        return Ok((0, Vec::new()));
    }
    let archive = workshop.path(&format!("image-{image}.tar"));
    let tree = read_image(ctx, built, &archive)?;
    let files: BTreeMap<&[u8], Entry<'_>> = tree.iter().map(|entry| (entry.path, entry)).collect();
    let mut same = 0;
    let mut changed = Vec::new();
    for copied in direct.iter().filter(|entry| entry.kind != Kind::Directory) {
        let found =
            resolve(&files, copied.path).and_then(|path| files.get(path.as_slice()).copied());
        let equal = found.is_some_and(|found| {
            (found.kind, found.content, found.target)
                == (copied.kind, copied.content, copied.target)
        });
        if equal {
            same += 1;
        } else {
            changed.push(format!("/{}", escape(copied.path)));
        }
    }
    Ok((same, changed))
}

/// All files of an image, by way of a container that never runs.
fn read_image(ctx: &Ctx, image: &str, archive: &Path) -> Result<Tree> {
    let container = leftovers::name(ctx)?;
    ctx.run(docker::create(&ctx.sh, &container.text, image))?;
    let exported = ctx.run(docker::export(&ctx.sh, &container.text, archive));
    ctx.run(docker::remove_container(&ctx.sh, &container.text))?;
    exported?;
    if ctx.dry_run {
        return Ok(Tree::default());
    }
    let tree = received::read(archive)?;
    std::fs::remove_file(archive)?;
    Ok(tree)
}

/// A path with the links of its directories followed, as a copy into it follows them.
fn resolve(files: &BTreeMap<&[u8], Entry<'_>>, path: &[u8]) -> Option<Vec<u8>> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut left: Vec<Vec<u8>> =
        path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect();
    let mut at: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                let end = at.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                at.truncate(end);
                continue;
            }
            _ => {}
        }
        let mut next = at.clone();
        if !next.is_empty() {
            next.push(b'/');
        }
        next.extend_from_slice(&part);
        match files.get(next.as_slice()) {
            Some(entry) if entry.kind == Kind::Symlink && !left.is_empty() => {
                links += 1;
                if links > LINKS {
                    return None;
                }
                if entry.target.starts_with(b"/") {
                    at.clear();
                }
                left.extend(entry.target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
            }
            _ => at = next,
        }
    }
    Some(at)
}
