//! Which images an environment needs, and which of them are fresh.
//!
//! Freshness is read from the artifact: the tag that carries the fingerprint exists, and the image
//! behind it says the same of itself. The inputs of the last build are kept only to say why not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use fingerprint::{Inputs, Record, reason};

use super::external;
use super::inputs::{self, Files};
use super::{last, unknown};
use crate::commands::env::{self, Facts};
use crate::commands::{assets, doctor};
use crate::ctx::{Ctx, QUESTION};
use crate::project::assets::OUTPUT;
use crate::project::image::{self, EPOCH_ARGUMENT, Recipe};
use crate::project::lock::{self, Lock};
use crate::project::stack::Stack;
use crate::tools::docker;
use crate::tools::registry::index::may_be_platform;

pub(crate) const LABEL_IMAGE: &str = "dev.stevedore.image";
pub(crate) const LABEL_FINGERPRINT: &str = "dev.stevedore.fingerprint";
/// What the image holds, so that one that was changed under its name tells on itself.
pub(crate) const LABEL_CONTENT: &str = "dev.stevedore.content";

/// How many images one question names; the client asks for one after the other.
const REFERENCES: usize = 250;

/// What becomes of the assets before images are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assets {
    /// They are made, or nothing is built.
    Required,
    /// A development stack shows a page without style where they cannot be made.
    IfPossible,
    /// No image holds them, and the caller makes them afterwards.
    Later,
}

/// What a plan is made for.
pub(crate) struct Request {
    pub(crate) facts: Facts,
    pub(crate) stack: Stack,
    pub(crate) lock: Lock,
    /// Only these images and what they are built from; all when empty.
    pub(crate) only: Vec<String>,
    /// Believe no stat cache.
    pub(crate) paranoid: bool,
    /// Take an image for fresh only when its build was verified here.
    pub(crate) verified: bool,
    pub(crate) assets: Assets,
    /// Why a build would first make the assets anew, in a question or a dry run.
    pub(crate) stale_assets: Option<String>,
}

impl Request {
    /// All images of an environment.
    pub(crate) fn load(ctx: &Ctx, environment: &str) -> Result<Request> {
        let facts = env::load(ctx, environment)?;
        let stack = env::load_stack(ctx, &facts)?;
        Ok(Request::new(facts, stack, lock::load(&ctx.root)?))
    }

    /// Like [`Request::load`], for who only asks and builds nothing.
    pub(crate) fn question(ctx: &Ctx, environment: &str) -> Result<Request> {
        let mut request = Request::load(ctx, environment)?;
        request.stale_assets = assets::stale(ctx)?;
        Ok(request)
    }

    /// What is to be built: the named images with what they are built from, or all.
    fn recipes(&self) -> Result<Vec<Recipe>> {
        let Request { facts, stack, lock, only, .. } = self;
        let (project, environment) = (&facts.project, &facts.environment);
        match only.is_empty() {
            true => image::recipes(project, stack, environment, &lock.epoch),
            false => image::recipes_of(project, stack, environment, &lock.epoch, only),
        }
    }

    /// Which external bases its images are built from.
    pub(crate) fn bases(&self) -> external::Wanted<'_> {
        let platform = self.facts.environment.images.platform.as_deref();
        external::Wanted { lock: &self.lock, platform }
    }

    pub(crate) fn new(facts: Facts, stack: Stack, lock: Lock) -> Request {
        Request {
            facts,
            stack,
            lock,
            only: Vec::new(),
            paranoid: false,
            verified: false,
            assets: Assets::Required,
            stale_assets: None,
        }
    }
}

/// The images of an environment, bases before what is built from them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) images: Vec<Planned>,
}

#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) recipe: Recipe,
    pub(crate) inputs: Inputs,
    /// SHA-256 of the ignore file.
    pub(crate) ignore: String,
    pub(crate) fingerprint: String,
    /// `NAME/IMAGE:f-FINGERPRINT`: exists only for what was built from exactly these inputs.
    pub(crate) reference: String,
    /// The image, when it is fresh.
    pub(crate) found: Option<docker::Image>,
    /// A dry run would have it by now.
    pub(crate) pretended: bool,
    /// Why it is not fresh, in words, most telling first; empty when it is.
    pub(crate) reasons: Vec<String>,
    /// External bases that this engine does not have. What was last known of them stands in, so
    /// the fingerprint may be a different one once they are here. Empty when the image is fresh.
    pub(crate) unknown_bases: BTreeSet<String>,
    /// It holds assets that a build makes anew, or is built from an image that does: nobody knows
    /// its fingerprint before. False when the image is fresh.
    pub(crate) waits_for_assets: bool,
}

impl Plan {
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &Planned> {
        self.images.iter().filter(|planned| planned.found.is_none() && !planned.pretended)
    }

    /// Image -> its ID; in a dry run it may not be known yet.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        self.images.iter().map(|it| (it.recipe.image.clone(), it.id())).collect()
    }

    /// The names that the images have, or will have, in this engine.
    pub(crate) fn references(&self) -> Vec<String> {
        self.images.iter().map(|planned| planned.reference.clone()).collect()
    }

    pub(crate) fn of(&self, image: &str) -> Option<&Planned> {
        self.images.iter().find(|planned| planned.recipe.image == image)
    }
}

impl Planned {
    /// The image's ID; in a dry run it may not be known yet.
    pub(crate) fn id(&self) -> String {
        let unknown = || format!("<id of {}>", self.recipe.image);
        self.found.as_ref().map_or_else(unknown, |found| found.id.clone())
    }

    pub(crate) fn reason(&self) -> String {
        reason::summary(&self.reasons)
    }
}

/// Reads all inputs and asks the engine once for all images.
///
/// The platform is the engine's where the environment names none. It is remembered, since asking
/// takes longer than all the rest, and asked again before anything is called dirty.
pub(crate) fn plan(ctx: &Ctx, request: &Request) -> Result<Plan> {
    let Request { facts, .. } = request;
    let recipes = request.recipes()?;
    if let Some(platform) = &facts.environment.images.platform {
        return plan_for(ctx, request, &recipes, platform);
    }
    let remembered = doctor::remembered_platform(ctx);
    if let Some(platform) = &remembered {
        let plan = plan_for(ctx, request, &recipes, platform)?;
        if plan.dirty().next().is_none() || doctor::still_has(ctx, platform) {
            return Ok(plan);
        }
    }
    plan_for(ctx, request, &recipes, &doctor::require_engine(ctx)?)
}

fn plan_for(ctx: &Ctx, request: &Request, recipes: &[Recipe], platform: &str) -> Result<Plan> {
    let externals: BTreeSet<&String> =
        recipes.iter().flat_map(|recipe| &recipe.externals).collect();
    let mut contents = external::remembered(ctx, request.bases());
    let files: Result<Vec<Files>> =
        recipes.iter().map(|recipe| inputs::read(ctx, recipe, request.paranoid)).collect();
    let files = files?;
    // What was remembered of the external bases is checked by the same question that asks for the
    // images; only where a base has moved are there two.
    loop {
        let mut images = fingerprint_all(request, recipes, &files, platform, &contents);
        let mut references: Vec<String> =
            images.iter().map(|planned| planned.reference.clone()).collect();
        references.extend(externals.iter().map(|name| request.bases().reference(name)));
        let mut found = inspect(ctx, &references)?;
        let mut moved = false;
        for name in &externals {
            let Some(image) = found.get(&request.bases().reference(name)) else {
                continue;
            };
            let content = image.content();
            moved |= contents.insert((*name).clone(), content.clone()).as_ref() != Some(&content);
        }
        if moved {
            external::remember(ctx, request.bases(), &contents);
            continue;
        }
        let is_here = |name: &&String| found.contains_key(&request.bases().reference(name));
        let absent: BTreeSet<String> =
            externals.iter().copied().filter(|name| !is_here(name)).cloned().collect();
        for (planned, files) in images.iter_mut().zip(&files) {
            judge(ctx, request, planned, files, found.remove(&planned.reference));
        }
        unknown::mark(&mut images, &absent);
        return Ok(Plan { images });
    }
}

/// The images of an environment from its files alone, with given external bases; no engine is
/// asked, so none of them is found.
pub(crate) fn from_files(
    ctx: &Ctx,
    request: &Request,
    platform: &str,
    contents: &BTreeMap<String, String>,
) -> Result<Vec<Planned>> {
    let recipes = request.recipes()?;
    let files: Result<Vec<Files>> =
        recipes.iter().map(|recipe| inputs::read(ctx, recipe, request.paranoid)).collect();
    Ok(fingerprint_all(request, &recipes, &files?, platform, contents))
}

/// Reference -> image, for those that exist.
pub(crate) fn inspect(ctx: &Ctx, references: &[String]) -> Result<BTreeMap<String, docker::Image>> {
    let questions = references.chunks(REFERENCES).map(|part| docker::inspect_images(&ctx.sh, part));
    let mut found = BTreeMap::new();
    for answer in ctx.ask_all(questions.collect(), QUESTION)? {
        let images = docker::parse_images(&answer.stdout).with_context(|| answer.stderr.clone())?;
        if !answer.status.success() && !docker::lacks_images(&answer.stderr) {
            // Not that there is no such image: nobody knows.
            doctor::require_engine(ctx)?;
            anyhow::bail!("the Docker engine can't say which images it has: {}", answer.stderr);
        }
        // Two references can name one image, which is then listed with all its tags.
        for image in images {
            for tag in &image.repo_tags {
                found.insert(tag.clone(), image.clone());
            }
        }
    }
    let wanted: BTreeSet<&String> = references.iter().collect();
    found.retain(|reference, _| wanted.contains(reference));
    Ok(found)
}

fn fingerprint_all(
    request: &Request,
    recipes: &[Recipe],
    files: &[Files],
    platform: &str,
    contents: &BTreeMap<String, String>,
) -> Vec<Planned> {
    let mut fingerprints: BTreeMap<String, String> = BTreeMap::new();
    let pick = |names: &BTreeSet<String>, from: &BTreeMap<String, String>| {
        let value = |name: &String| from.get(name).cloned().unwrap_or_default();
        names.iter().map(|name| (name.clone(), value(name))).collect()
    };
    let mut images = Vec::new();
    for (recipe, files) in recipes.iter().zip(files) {
        let inputs = Inputs {
            image: recipe.image.clone(),
            dockerfile: files.dockerfile.clone(),
            target: recipe.target.clone(),
            platform: platform.to_owned(),
            args: recipe.args.clone(),
            epoch: request.lock.epoch.clone(),
            bases: pick(&recipe.bases, &fingerprints),
            externals: pick(&recipe.externals, contents),
            tree: files.tree.clone(),
        };
        let fingerprint = inputs.fingerprint();
        fingerprints.insert(recipe.image.clone(), fingerprint.clone());
        images.push(Planned {
            reference: reference(&request.stack, &recipe.image, &fingerprint),
            recipe: recipe.clone(),
            inputs,
            ignore: files.ignore_hash(),
            fingerprint,
            found: None,
            pretended: false,
            reasons: Vec::new(),
            unknown_bases: BTreeSet::new(),
            waits_for_assets: false,
        });
    }
    images
}

/// The tag that exists only for what was built from exactly these inputs.
pub(crate) fn reference(stack: &Stack, image: &str, fingerprint: &str) -> String {
    format!("{}/{image}:f-{fingerprint}", stack.name)
}

/// Fresh, or the reasons why not.
fn judge(
    ctx: &Ctx,
    request: &Request,
    planned: &mut Planned,
    files: &Files,
    found: Option<docker::Image>,
) {
    if ctx.pretends(&planned.reference) {
        planned.pretended = true;
        return;
    }
    if let Some(reason) = request.stale_assets.as_ref().filter(|_| files.hold(OUTPUT)) {
        planned.reasons = vec![format!("{reason}, so {OUTPUT} is made anew")];
        planned.waits_for_assets = true;
        return;
    }
    if let Some(image) = found {
        match doubts(planned, &image) {
            Some(doubt) => planned.reasons = vec![format!("its tag holds an image {doubt}")],
            None if request.verified && !is_verified(ctx, planned, &image) => {
                planned.reasons = vec!["its build was not verified here".into()];
            }
            None => planned.found = Some(image),
        }
        return;
    }
    planned.reasons = match last::last_record(ctx, &request.facts.name, &planned.recipe.image) {
        None => vec!["never built here".into()],
        Some(last) if last.fingerprint == planned.fingerprint => vec!["the image is gone".into()],
        Some(last) => differences(planned, files, &last),
    };
}

/// What speaks against an image that lies under the right name.
pub(crate) fn doubts(planned: &Planned, image: &docker::Image) -> Option<String> {
    if image.label(LABEL_IMAGE) != Some(&planned.recipe.image)
        || image.label(LABEL_FINGERPRINT) != Some(&planned.fingerprint)
    {
        return Some("that was not built from these inputs".into());
    }
    if !is_unchanged(image) {
        return Some("that was changed after it was built".into());
    }
    let platform = image.platform();
    (!may_be_platform(&platform, &planned.inputs.platform)).then(|| format!("for {platform}"))
}

/// Whether an image holds what its build has written on its label.
pub(crate) fn is_unchanged(image: &docker::Image) -> bool {
    image.label(LABEL_CONTENT) == Some(&image.content())
}

fn is_verified(ctx: &Ctx, planned: &Planned, image: &docker::Image) -> bool {
    verified_path(ctx, &planned.fingerprint, &image.content()).exists()
}

/// Remembers that what the builder received for an image was compared with what was hashed.
pub(crate) fn remember_verified(ctx: &Ctx, fingerprint: &str, content: &str) -> Result<()> {
    ctx.write_cache(&verified_path(ctx, fingerprint, content), b"")
}

/// A file whose name says it all: of one build, whichever the environment.
fn verified_path(ctx: &Ctx, fingerprint: &str, content: &str) -> PathBuf {
    let content = content.trim_start_matches("sha256:");
    ctx.common().join("verified").join(format!("{fingerprint}-{content}"))
}

/// What differs between an image's last build and today, in words.
fn differences(planned: &Planned, files: &Files, last: &Record) -> Vec<String> {
    let changed = last.ignore != planned.ignore;
    let place = reason::Place {
        context: &planned.recipe.context,
        dockerfile: &planned.recipe.dockerfile,
        epoch_argument: EPOCH_ARGUMENT,
        new_rules: changed.then_some((&files.ignore_name, &files.ignore)),
    };
    reason::differences(&last.inputs, &planned.inputs, &place)
}

/// The ID of an image in the engine, by any of its names.
pub(crate) fn id_of(ctx: &Ctx, name: &str) -> Result<Option<String>> {
    let answer = ctx.ask(docker::inspect_images(&ctx.sh, &[name.to_owned()]), QUESTION)?;
    if !answer.status.success() && !docker::lacks_images(&answer.stderr) {
        doctor::require_engine(ctx)?;
    }
    Ok(docker::parse_images(&answer.stdout)?.pop().map(|image| image.id))
}
