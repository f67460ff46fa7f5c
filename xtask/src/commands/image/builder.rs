//! The builder's part of `image build`: what it gets, what it makes, and what is believed of it.
//!
//! It never gets the project's own directories, only private copies that hold exactly what was
//! hashed (`fingerprint::stage`). What it makes has a name that claims nothing. Only when that was
//! looked at does a second, tiny build put the labels on: the claim and what the image holds. The
//! tag that stands for the fingerprint comes with them, last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fingerprint::sha256;
use fingerprint::stage::{self, Moved};

use super::plan::{self, LABEL_CONTENT, LABEL_FINGERPRINT, LABEL_IMAGE, Planned, Request};
use super::{destroy, identity, inputs, last, leftovers, verify};
use crate::commands::doctor;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::bake;

/// How much of a step's heading is shown, in characters.
const STEP_WIDTH: usize = 100;
/// Most images in one call: an engine that is asked for hundreds at once forgets some and fails.
pub(crate) const MOST: usize = 50;
/// The secret by which a build step that talks TLS gets this machine's certificates.
const CERTIFICATES: &str = "certificates";

/// OCI's annotation for what an image is called by people.
const LABEL_TITLE: &str = "org.opencontainers.image.title";

/// Most lines of a failed step that are shown, the last ones.
const LINES: usize = 150;

/// Marks an error as the builder's own: the instructions of an image failed. What they said comes
/// first: it is what has to be mended.
#[derive(Debug)]
pub(crate) struct BuilderFailed(String);

impl std::fmt::Display for BuilderFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl BuilderFailed {
    fn new(error: &anyhow::Error, log: &[String]) -> BuilderFailed {
        let failures = bake::failures(log);
        if failures.is_empty() {
            return BuilderFailed(format!("can't build the images: {error:#}"));
        }
        let mut text = String::from("can't build the images");
        for bake::Failure { step, said, error } in failures {
            let shown = &said[said.len().saturating_sub(LINES)..];
            if shown.len() < said.len() {
                text += &format!("\n  … {} lines before these", said.len() - shown.len());
            }
            shown.iter().for_each(|line| text += &format!("\n  {line}"));
            let step: String = step.chars().take(STEP_WIDTH).collect();
            // BuildKit repeats the whole instruction; how it ended stands behind that.
            let end = error.rsplit_once("successfully: ").map_or(error.as_str(), |(_, end)| end);
            text += &format!("\n{step}\nfailed: {end}");
        }
        BuilderFailed(text)
    }
}

/// Builds images in one call, then labels and tags them; what they are built from is fresh or
/// among them. Fails with [`Moved`] when a file was edited since the plan was made.
pub(crate) fn build(ctx: &Ctx, request: &Request, images: &[&Planned]) -> Result<()> {
    for planned in images {
        ctx.say(format_args!("building {}: {}", planned.recipe.image, planned.reason()));
    }
    let workshop = Workshop::open(ctx)?;
    let mut definition = bake::Definition::default();
    for planned in images {
        let instructions = instructions(ctx, planned)?;
        let target = target(ctx, request, images, planned, &instructions, &workshop)?;
        if request.verified {
            let looks = verify::targets(ctx, planned, &instructions, &target, &workshop)?;
            definition.target.extend(looks);
        }
        definition.target.insert(planned.recipe.image.clone(), target);
    }
    let file = workshop.path("bake.json");
    let cmd = write_definition(ctx, &file, &definition)?;
    let names: Vec<&str> = images.iter().map(|planned| planned.recipe.image.as_str()).collect();
    let built = run(ctx, cmd, &names.join(", "));
    let result = built.and_then(|()| {
        for planned in images.iter().filter(|_| request.verified) {
            let name = building(ctx, request, planned, &workshop);
            verify::check(ctx, planned, &name, &workshop, &definition)?;
        }
        seal(ctx, request, images, &workshop)
    });
    if let Err(error) = &result {
        salvage(ctx, request, images, &workshop, error);
    }
    result
}

/// After a failure: keeps the images that were done before it, and removes the names that claim
/// nothing. The failure is what counts, so what fails here is not reported.
fn salvage(
    ctx: &Ctx,
    request: &Request,
    images: &[&Planned],
    workshop: &Workshop,
    error: &anyhow::Error,
) {
    let names = building_names(ctx, request, images, workshop);
    let Ok(found) = plan::inspect(ctx, &names) else { return };
    let all = images.iter().copied().zip(&names);
    let done: Vec<&Planned> =
        all.filter(|(_, name)| found.contains_key(*name)).map(|(planned, _)| planned).collect();
    if done.is_empty() {
        return;
    }
    let keep = error.is::<BuilderFailed>() && !request.verified;
    if !keep || seal(ctx, request, &done, workshop).is_err() {
        let names: Vec<String> = found.into_keys().collect();
        let _ = destroy::remove(ctx, &names);
    }
}

/// A directory for one build, gone afterwards.
pub(crate) struct Workshop {
    directory: Option<tempfile::TempDir>,
    fallback: PathBuf,
}

impl Workshop {
    fn open(ctx: &Ctx) -> Result<Workshop> {
        let directory = if ctx.dry_run { None } else { Some(leftovers::directory(ctx)?) };
        Ok(Workshop { directory, fallback: leftovers::directories(ctx) })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.as_ref().map_or(&*self.fallback, |directory| directory.path()).join(name)
    }

    /// A name that no other build has.
    fn name(&self) -> String {
        self.path("").file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The builder tells directories apart by the last part of their path: one never used before.
    fn unique(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}-{}", self.name()))
    }

    /// Instructions as a file: where it lies. A private copy holds no ignored file any more, so an
    /// empty ignore file stands beside it, which counts instead of the context's own.
    pub(crate) fn dockerfile(&self, ctx: &Ctx, name: &str, text: &str) -> Result<PathBuf> {
        let directory = self.unique(&format!("{name}-dockerfile"));
        let path = directory.join("Dockerfile");
        ctx.write_cache(&path, text.as_bytes())?;
        ctx.write_cache(&directory.join("Dockerfile.dockerignore"), b"")?;
        Ok(path)
    }
}

/// Every [`building`] tag of this checkout begins like this, those of its releases too.
pub(crate) fn building_tag(ctx: &Ctx) -> String {
    let checkout = sha256(ctx.common().as_os_str().as_encoded_bytes());
    format!("building-{}-", &checkout[..12])
}

/// The name of an image until it is known to be what it should be. It keeps the image from being
/// cleaned away, and belongs to one build: the same path can be two checkouts in two containers.
fn building(ctx: &Ctx, request: &Request, planned: &Planned, workshop: &Workshop) -> String {
    let tag = building_tag(ctx) + &workshop.name();
    format!("{}/{}:{tag}", request.stack.name, planned.recipe.image)
}

fn building_names(
    ctx: &Ctx,
    request: &Request,
    images: &[&Planned],
    workshop: &Workshop,
) -> Vec<String> {
    images.iter().map(|planned| building(ctx, request, planned, workshop)).collect()
}

/// The Dockerfile that was hashed.
fn instructions(ctx: &Ctx, planned: &Planned) -> Result<String> {
    let name = &planned.recipe.dockerfile;
    let text = std::fs::read_to_string(ctx.root.join(name))
        .with_context(|| format!("can't read {name}"))?;
    if sha256(text.as_bytes()) != planned.inputs.dockerfile {
        return Err(Moved(name.clone()).into());
    }
    Ok(text)
}

/// One image's part of the definition.
fn target(
    ctx: &Ctx,
    request: &Request,
    images: &[&Planned],
    planned: &Planned,
    instructions: &str,
    workshop: &Workshop,
) -> Result<bake::Target> {
    let recipe = &planned.recipe;
    let context = workshop.path(&stage::name(
        &ctx.root,
        &recipe.image,
        &recipe.context,
        &planned.inputs.tree,
    ));
    if !ctx.dry_run {
        let staged = stage_context(ctx, planned, request.paranoid)?;
        std::os::unix::fs::symlink(staged, &context)?;
    }
    let dockerfile = workshop.dockerfile(ctx, &recipe.image, instructions)?;
    let mut contexts = BTreeMap::new();
    for base in &recipe.bases {
        let beside = images.iter().any(|planned| planned.recipe.image == *base);
        let fingerprint = &planned.inputs.bases[base];
        let source = match beside {
            true => format!("target:{base}"),
            false => {
                format!("docker-image://{}", plan::reference(&request.stack, base, fingerprint))
            }
        };
        contexts.insert(base.clone(), source);
    }
    for name in &recipe.externals {
        let reference = request.bases().reference(name);
        contexts.insert(name.clone(), format!("docker-image://{reference}"));
    }
    // Makes it an image of its own: were it the same as another build's, the engine would remove it
    // together with the last name of that one.
    let unfinished = format!("unfinished, of {}", workshop.name());
    let certificates = ctx.certificates();
    let secret = certificates.map(|path| format!("id={CERTIFICATES},src={}", path.display()));
    Ok(bake::Target {
        context,
        dockerfile,
        target: recipe.target.clone(),
        args: recipe.args.clone(),
        contexts,
        labels: BTreeMap::from([
            (LABEL_FINGERPRINT.into(), unfinished),
            // Of its own, since one from its base would be inherited. No version: a release does
            // not change an image.
            (LABEL_TITLE.into(), format!("{}/{}", request.stack.name, recipe.image)),
        ]),
        platforms: vec![planned.inputs.platform.clone()],
        tags: vec![building(ctx, request, planned, workshop)],
        output: vec!["type=docker".into()],
        secret: secret.into_iter().collect(),
    })
}

/// Brings the private copy of an image's context up to date: where it lies.
fn stage_context(ctx: &Ctx, planned: &Planned, paranoid: bool) -> Result<PathBuf> {
    let recipe = &planned.recipe;
    let source = ctx.root.join(&recipe.context);
    let directory = ctx.state().join("contexts");
    ctx.state_directory(&directory)?;
    let staging = directory.join(inputs::directory_name(recipe));
    let cache_path = inputs::cache_path(ctx, recipe, "staged");
    let tree = &planned.inputs.tree;
    if let Some(bytes) = stage::stage(&source, tree, &staging, &cache_path, paranoid)? {
        ctx.write_cache(&cache_path, &bytes)?;
    }
    Ok(staging)
}

/// The call to the builder for all targets of a definition.
fn write_definition<'c>(
    ctx: &'c Ctx,
    file: &Path,
    definition: &bake::Definition,
) -> Result<xshell::Cmd<'c>> {
    ctx.write_cache(file, &definition.text()?)?;
    let targets: Vec<String> = definition.target.keys().cloned().collect();
    Ok(bake::bake(&ctx.sh, &ctx.docker_context(), file, &targets))
}

/// Runs the builder and shows its steps as they come.
fn run(ctx: &Ctx, cmd: xshell::Cmd<'_>, what: &str) -> Result<()> {
    let bar = ctx.spinner(format!("building {what}"));
    let mut seen = BTreeSet::new();
    let mut log = Vec::new();
    let built = ctx.run_lines(cmd, &mut |line| {
        log.push(line.to_owned());
        let step: String = bake::step(line).unwrap_or_default().chars().take(STEP_WIDTH).collect();
        if step.is_empty() || !seen.insert(step.clone()) {
            return;
        }
        bar.set_message(step.clone());
        if bar.is_hidden() {
            ctx.say(format_args!("  {step}"));
        }
    });
    bar.finish_and_clear();
    built.map_err(|error| explain_failure(ctx, error, &log))
}

fn explain_failure(ctx: &Ctx, error: anyhow::Error, log: &[String]) -> anyhow::Error {
    if exit::code(&error) == exit::INTERRUPTED {
        return error;
    }
    match doctor::engine(ctx).problem() {
        None => anyhow::Error::msg(BuilderFailed::new(&error, log)),
        Some(problem) => exit::missing(format!(
            "the Docker engine stopped during the build: {problem}; nothing was recorded, so run \
             the same command again"
        )),
    }
}

/// Labels what was built with what it is and what it holds, gives it the tag that counts, and
/// records its inputs.
fn seal(ctx: &Ctx, request: &Request, images: &[&Planned], workshop: &Workshop) -> Result<()> {
    let names = building_names(ctx, request, images, workshop);
    let built = if ctx.dry_run { BTreeMap::new() } else { plan::inspect(ctx, &names)? };
    let context = workshop.unique("nothing");
    ctx.state_directory(&context)?;
    let dockerfile = workshop.dockerfile(ctx, "seal", "FROM built\n")?;
    let mut definition = bake::Definition::default();
    let mut contents = BTreeMap::new();
    for (planned, name) in images.iter().zip(&names) {
        let image = &planned.recipe.image;
        let content = match built.get(name) {
            Some(built) => built.content(),
            None if ctx.dry_run => format!("<content of {image}>"),
            None => anyhow::bail!("the builder left no image of {image}; run it again"),
        };
        let labels = [
            (LABEL_IMAGE, image),
            (LABEL_FINGERPRINT, &planned.fingerprint),
            (LABEL_CONTENT, &content),
        ];
        let target = bake::Target {
            context: context.clone(),
            dockerfile: dockerfile.clone(),
            contexts: BTreeMap::from([("built".into(), format!("docker-image://{name}"))]),
            labels: labels.map(|(name, value)| (name.to_owned(), value.clone())).into(),
            platforms: vec![planned.inputs.platform.clone()],
            tags: vec![planned.reference.clone()],
            output: vec!["type=docker".into()],
            ..bake::Target::default()
        };
        definition.target.insert(image.clone(), target);
        contents.insert(image.clone(), content);
    }
    let file = workshop.path("seal.json");
    let metadata = workshop.path("made.json");
    let cmd = bake::with_metadata(write_definition(ctx, &file, &definition)?, &metadata);
    ctx.run(cmd).map_err(|error| explain_failure(ctx, error, &[]))?;
    destroy::remove(ctx, &names)?;
    if ctx.dry_run {
        images.iter().for_each(|planned| ctx.pretend(&planned.reference));
        return Ok(());
    }
    // Where it wrote nothing, the images are read when their configuration is asked for.
    if let Ok(text) = std::fs::read_to_string(&metadata) {
        for (id, config) in bake::parse_metadata(&text)? {
            identity::remember(ctx, &id, &config);
        }
    }
    for planned in images {
        let content = contents.remove(&planned.recipe.image).unwrap_or_default();
        if request.verified {
            plan::remember_verified(ctx, &planned.fingerprint, &content)?;
        }
        last::record(ctx, request, planned, content)?;
    }
    Ok(())
}
