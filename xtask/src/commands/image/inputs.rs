//! `image inputs`: everything that decides what an image's build yields, each with its hash. Also
//! how the part that lies in files is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use fingerprint::ignore::Ignore;
use fingerprint::tree::escape;
use fingerprint::{StatCache, Tree, Walk, sha256};

use super::plan::{self, Planned, Request};
use crate::cli::ImageInputs;
use crate::ctx::Ctx;
use crate::project::image::Recipe;

impl ImageInputs {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::question(ctx, &self.environment)?;
        request.only = vec![self.image.clone()];
        request.paranoid = self.paranoid;
        let plan = plan::plan(ctx, &request)?;
        let planned = plan.of(&self.image).context("the image is not in its own plan")?;
        match (self.fingerprint, ctx.json) {
            (true, false) => ctx.print(&planned.fingerprint),
            (only, true) => print_events(ctx, planned, only),
            (false, false) => print_lines(ctx, planned),
        }
    }
}

/// Kind, name and value of each input that is not in the context.
fn settings(planned: &Planned) -> Vec<(&'static str, String, String)> {
    let inputs = &planned.inputs;
    let mut settings = vec![
        ("dockerfile", planned.recipe.dockerfile.clone(), inputs.dockerfile.clone()),
        ("platform", String::new(), inputs.platform.clone()),
        ("epoch", String::new(), inputs.epoch.clone()),
    ];
    settings.extend(inputs.target.iter().map(|target| ("target", String::new(), target.clone())));
    for (kind, map) in
        [("argument", &inputs.args), ("base", &inputs.bases), ("external", &inputs.externals)]
    {
        settings.extend(map.iter().map(|(name, value)| (kind, name.clone(), value.clone())));
    }
    settings
}

fn print_lines(ctx: &Ctx, planned: &Planned) -> Result<()> {
    ctx.print(format_args!("fingerprint {}", planned.fingerprint))?;
    for (kind, name, value) in settings(planned) {
        let name = if name.is_empty() { name } else { format!(" {name}") };
        ctx.print(format_args!("{kind}{name} {value}"))?;
    }
    // Nearly as long as the context: one write, not one a line.
    ctx.print(planned.inputs.tree.text().trim_end_matches('\n'))
}

fn print_events(ctx: &Ctx, planned: &Planned, only_fingerprint: bool) -> Result<()> {
    use std::fmt::Write;
    let image = &planned.recipe.image;
    let fingerprint = &planned.fingerprint;
    let head =
        serde_json::json!({"event": "fingerprint", "image": image, "fingerprint": fingerprint});
    ctx.event(&head)?;
    if only_fingerprint {
        return Ok(());
    }
    for (kind, name, value) in settings(planned) {
        ctx.event(&serde_json::json!({
            "event": "input", "kind": kind, "name": name, "content": value,
        }))?;
    }
    let mut lines = String::new();
    for entry in planned.inputs.tree.iter() {
        let line = serde_json::json!({
            "event": "input", "kind": entry.kind.name(), "path": escape(entry.path),
            "mode": format!("{:04o}", entry.mode), "content": entry.content_text(),
        });
        let _ = writeln!(lines, "{line}");
    }
    if lines.is_empty() { Ok(()) } else { ctx.print(lines.trim_end_matches('\n')) }
}

/// The part of an image's inputs that lies in files.
pub(crate) struct Files {
    /// SHA-256 of the Dockerfile.
    pub(crate) dockerfile: String,
    pub(crate) tree: Arc<Tree>,
    pub(crate) ignore: Ignore,
    context: String,
    /// The ignore file, from the project's root; the one that would be read where there is none.
    pub(crate) ignore_name: String,
    ignore_bytes: Vec<u8>,
}

impl Files {
    /// Whether the builder gets a directory of the project, should it exist.
    pub(crate) fn hold(&self, directory: &str) -> bool {
        let context = Path::new(&self.context);
        let inside = match self.context.as_str() {
            "." => Ok(Path::new(directory)),
            _ => Path::new(directory).strip_prefix(context),
        };
        inside.is_ok_and(|path| {
            let bytes = path.as_os_str().as_encoded_bytes();
            !self.ignore.matches(bytes, None).0 || self.ignore.may_reinclude_below(bytes)
        })
    }

    pub(crate) fn ignore_hash(&self) -> String {
        sha256(&self.ignore_bytes)
    }
}

/// Whether a build sends a file, named from the project's root, to the builder, should it exist:
/// the ignore file that would have to name it, and the file's path in the context.
pub(crate) fn sends(ctx: &Ctx, recipe: &Recipe, file: &str) -> Result<Option<(String, String)>> {
    let path = match recipe.context.as_str() {
        "." => file,
        context => match file.strip_prefix(context).and_then(|rest| rest.strip_prefix('/')) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let (name, bytes) = ignore_file(ctx, recipe)?;
    let ignore = Ignore::parse(&bytes).with_context(|| format!("can't use {name}"))?;
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let (mut ignored, mut above) = (false, None);
    for end in ends {
        let (matched, parents) = ignore.matches(&path.as_bytes()[..end], above.as_ref());
        (ignored, above) = (matched, Some(parents));
    }
    Ok((!ignored).then(|| (name, path.to_owned())))
}

/// Reads them; `paranoid` hashes every file and compares that with what the stat cache says.
pub(crate) fn read(ctx: &Ctx, recipe: &Recipe, paranoid: bool) -> Result<Files> {
    let tried = || format!("can't read {}", recipe.dockerfile);
    let dockerfile = std::fs::read(ctx.root.join(&recipe.dockerfile)).with_context(tried)?;
    let (ignore_name, ignore_bytes) = ignore_file(ctx, recipe)?;
    let ignore =
        Ignore::parse(&ignore_bytes).with_context(|| format!("can't use {ignore_name}"))?;
    let tree = Arc::new(read_tree(ctx, recipe, &ignore, paranoid)?);
    let (dockerfile, context) = (sha256(&dockerfile), recipe.context.clone());
    Ok(Files { dockerfile, tree, ignore, context, ignore_name, ignore_bytes })
}

fn read_tree(ctx: &Ctx, recipe: &Recipe, ignore: &Ignore, paranoid: bool) -> Result<Tree> {
    let root = match recipe.context.as_str() {
        "." => ctx.root.clone(),
        context => ctx.root.join(context),
    };
    let state = ctx.state();
    let path = cache_path(ctx, recipe, "source");
    let walk = Walk { root: &root, ignore, leave_out: Some(state), exact_modes: false };
    // Where it cannot be made, nothing is remembered.
    let _ = ctx.state_directory(state);
    let cache = StatCache::load(&path, &root);
    let walked = walk.read(&cache, Some(state))?;
    if !paranoid {
        if let Some(bytes) = walked.cache {
            ctx.remember(&path, &bytes);
        }
        return Ok(walked.tree);
    }
    let hashed = walk.read(&StatCache::empty(&root), Some(state))?;
    let wrong = fingerprint::stage::received_differences(&hashed.tree, &walked.tree);
    if !wrong.is_empty() {
        ctx.warn(format_args!(
            "what was remembered of {} was wrong and is forgotten: {}",
            recipe.context,
            fingerprint::reason::summary(&wrong)
        ));
    }
    if let Some(bytes) = hashed.cache {
        ctx.remember(&path, &bytes);
    }
    Ok(hashed.tree)
}

/// Where the stat cache of an image's context lies, or that of its copy for the builder.
pub(crate) fn cache_path(ctx: &Ctx, recipe: &Recipe, of: &str) -> PathBuf {
    ctx.state().join("stats").join(format!("{of}-{}", directory_name(recipe)))
}

/// Tells an image's context from that of the same image elsewhere: environments may differ.
pub(crate) fn directory_name(recipe: &Recipe) -> String {
    format!("{}-{}", recipe.image, &sha256(recipe.context.as_bytes())[..8])
}

/// The ignore file of a build: the Dockerfile's own, else the context's, else an empty one.
fn ignore_file(ctx: &Ctx, recipe: &Recipe) -> Result<(String, Vec<u8>)> {
    let own = format!("{}.dockerignore", recipe.dockerfile);
    let common = match recipe.context.as_str() {
        "." => ".dockerignore".to_owned(),
        context => format!("{context}/.dockerignore"),
    };
    for name in [own, common.clone()] {
        match std::fs::read(ctx.root.join(&name)) {
            Ok(bytes) => return Ok((name, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("can't read {name}")),
        }
    }
    Ok((common, Vec::new()))
}
