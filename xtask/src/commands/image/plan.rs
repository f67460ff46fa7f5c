//! Which images an environment needs, and which of them are fresh.
//!
//! Freshness is read from the artifact: the tag that carries the fingerprint exists, and the image
//! behind it says the same of itself. The inputs of the last build are kept only to say why not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::external;
use crate::commands::env::Facts;
use crate::ctx::{Ctx, QUESTION};
use crate::fingerprint::{Inputs, context, reason, sha256};
use crate::project;
use crate::project::image::{Recipe, recipes};
use crate::project::lock::Lock;
use crate::project::stack::Stack;
use crate::tools::docker;

pub(crate) const LABEL_IMAGE: &str = "dev.stevedore.image";
pub(crate) const LABEL_FINGERPRINT: &str = "dev.stevedore.fingerprint";

/// The images of an environment, bases before what is built from them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) images: Vec<Planned>,
}

#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) recipe: Recipe,
    pub(crate) inputs: Inputs,
    pub(crate) fingerprint: String,
    /// `NAME/IMAGE:f-FINGERPRINT`: exists only for what was built from exactly these inputs.
    pub(crate) reference: String,
    /// `NAME/IMAGE:building`: what was built last, whatever it was built from.
    pub(crate) building: String,
    /// The image, when it is fresh.
    pub(crate) found: Option<docker::Image>,
    /// Why it is not fresh, in words; empty when it is.
    pub(crate) reason: String,
}

impl Plan {
    pub(crate) fn dirty(&self) -> impl Iterator<Item = &Planned> {
        self.images.iter().filter(|planned| planned.found.is_none())
    }

    pub(crate) fn of(&self, image: &str) -> Option<&Planned> {
        self.images.iter().find(|planned| planned.recipe.image == image)
    }

    /// The plan for some images and what they are built from; a name that is not here is an error.
    pub(crate) fn select(mut self, names: &[String]) -> Result<Plan> {
        if names.is_empty() {
            return Ok(self);
        }
        let known: BTreeSet<String> =
            self.images.iter().map(|planned| planned.recipe.image.clone()).collect();
        names.iter().try_for_each(|name| project::known("image", name, &known))?;
        let mut wanted: BTreeSet<String> = names.iter().cloned().collect();
        for planned in self.images.iter().rev() {
            if wanted.contains(&planned.recipe.image) {
                wanted.extend(planned.recipe.bases.iter().cloned());
            }
        }
        self.images.retain(|planned| wanted.contains(&planned.recipe.image));
        Ok(self)
    }
}

/// Reads all inputs and asks the engine once for all images.
pub(crate) fn plan(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    lock: &Lock,
    engine_platform: &str,
) -> Result<Plan> {
    let recipes = recipes(&facts.project, stack, &facts.environment, &lock.epoch)?;
    let platform = facts.environment.images.platform.as_deref().unwrap_or(engine_platform);
    let externals: BTreeSet<&String> =
        recipes.iter().flat_map(|recipe| &recipe.externals).collect();
    let mut contents = external::remembered(ctx, lock);
    // What was remembered of the external bases is checked by the same question that asks for the
    // images; only where a base has moved are there two.
    loop {
        let mut images = fingerprint_all(ctx, stack, &recipes, lock, platform, &contents)?;
        let mut references: Vec<String> =
            images.iter().map(|planned| planned.reference.clone()).collect();
        references.extend(externals.iter().map(|name| external::reference(name, &lock.epoch)));
        let found = inspect(ctx, &references)?;
        let mut moved = false;
        for name in &externals {
            let Some(image) = found.get(&external::reference(name, &lock.epoch)) else {
                continue;
            };
            let content = image.content();
            moved |= contents.insert((*name).clone(), content.clone()).as_ref() != Some(&content);
        }
        if moved {
            external::remember(ctx, lock, &contents)?;
            continue;
        }
        let mut found = found;
        for planned in &mut images {
            judge(ctx, &facts.name, planned, found.remove(&planned.reference));
        }
        return Ok(Plan { images });
    }
}

/// Reference -> image, for those that exist.
pub(crate) fn inspect(ctx: &Ctx, references: &[String]) -> Result<BTreeMap<String, docker::Image>> {
    let mut found = BTreeMap::new();
    if references.is_empty() {
        return Ok(found);
    }
    let answer = ctx.ask(docker::inspect_images(&ctx.sh, references), QUESTION)?;
    let images = docker::parse_images(&answer.stdout).with_context(|| answer.stderr.clone())?;
    // Two references can name one image, which is then listed twice with all its tags.
    let by_tag = |image: &docker::Image, reference: &String| image.repo_tags.contains(reference);
    let mut images: Vec<Option<docker::Image>> = images.into_iter().map(Some).collect();
    for reference in references {
        let hit =
            images.iter_mut().find(|slot| slot.as_ref().is_some_and(|i| by_tag(i, reference)));
        if let Some(image) = hit.and_then(Option::take) {
            found.insert(reference.clone(), image);
        }
    }
    Ok(found)
}

fn fingerprint_all(
    ctx: &Ctx,
    stack: &Stack,
    recipes: &[Recipe],
    lock: &Lock,
    platform: &str,
    contents: &BTreeMap<String, String>,
) -> Result<Vec<Planned>> {
    let mut fingerprints: BTreeMap<String, String> = BTreeMap::new();
    let mut images = Vec::new();
    for recipe in recipes {
        let inputs = inputs(ctx, recipe, lock, platform, &fingerprints, contents)?;
        let fingerprint = inputs.fingerprint();
        fingerprints.insert(recipe.image.clone(), fingerprint.clone());
        images.push(Planned {
            reference: reference(stack, &recipe.image, &fingerprint),
            building: format!("{}/{}:building", stack.name, recipe.image),
            recipe: recipe.clone(),
            inputs,
            fingerprint,
            found: None,
            reason: String::new(),
        });
    }
    Ok(images)
}

/// The inputs of one image as they are now.
fn inputs(
    ctx: &Ctx,
    recipe: &Recipe,
    lock: &Lock,
    platform: &str,
    fingerprints: &BTreeMap<String, String>,
    contents: &BTreeMap<String, String>,
) -> Result<Inputs> {
    let (dockerfile, entries) = read_files(ctx, recipe)?;
    let pick = |names: &BTreeSet<String>, from: &BTreeMap<String, String>| {
        names
            .iter()
            .map(|name| (name.clone(), from.get(name).cloned().unwrap_or_default()))
            .collect()
    };
    Ok(Inputs {
        image: recipe.image.clone(),
        dockerfile,
        target: recipe.target.clone(),
        platform: platform.to_owned(),
        args: recipe.args.clone(),
        epoch: lock.epoch.clone(),
        bases: pick(&recipe.bases, fingerprints),
        externals: pick(&recipe.externals, contents),
        entries,
    })
}

/// The part of the inputs that lies in files: the Dockerfile's hash and the context.
pub(crate) fn read_files(
    ctx: &Ctx,
    recipe: &Recipe,
) -> Result<(String, BTreeMap<String, crate::fingerprint::Entry>)> {
    let tried = || format!("can't read {}", recipe.dockerfile);
    let dockerfile = std::fs::read(ctx.root.join(&recipe.dockerfile)).with_context(tried)?;
    let ignore = context::load_ignore(&ctx.root, &recipe.dockerfile, &recipe.context)?;
    let entries = context::read(&ctx.root.join(&recipe.context), &ignore)?;
    Ok((sha256(&dockerfile), entries))
}

/// Where the inputs of the last build of an image are kept.
pub(crate) fn record_path(ctx: &Ctx, environment: &str, image: &str) -> PathBuf {
    ctx.state().join(environment).join("inputs").join(format!("{image}.json"))
}

/// The inputs of the last build of an image, where they are known.
pub(crate) fn last_inputs(ctx: &Ctx, environment: &str, image: &str) -> Option<Inputs> {
    let record = std::fs::read(record_path(ctx, environment, image)).ok()?;
    serde_json::from_slice(&record).ok()
}

/// The tag that exists only for what was built from exactly these inputs.
pub(crate) fn reference(stack: &Stack, image: &str, fingerprint: &str) -> String {
    format!("{}/{image}:f-{fingerprint}", stack.name)
}

/// What differs between two states of an image's inputs, in one line.
pub(crate) fn difference(recipe: &Recipe, old: &Inputs, new: &Inputs) -> String {
    reason::summary(&reason::differences(old, new, &recipe.context, &recipe.dockerfile))
}

/// Fresh, or the reason why not.
fn judge(ctx: &Ctx, environment: &str, planned: &mut Planned, found: Option<docker::Image>) {
    if let Some(image) = found {
        let says_so = image.label(LABEL_IMAGE) == Some(&planned.recipe.image)
            && image.label(LABEL_FINGERPRINT) == Some(&planned.fingerprint);
        if says_so {
            planned.found = Some(image);
            return;
        }
        planned.reason = "its tag holds an image that was not built from these inputs".into();
        return;
    }
    planned.reason = match last_inputs(ctx, environment, &planned.recipe.image) {
        None => "never built here".into(),
        Some(last) if last == planned.inputs => "the image is gone".into(),
        Some(last) => difference(&planned.recipe, &last, &planned.inputs),
    };
}
