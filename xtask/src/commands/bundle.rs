//! `bundle`: a release as Elastic Beanstalk takes it: one zip, whose images are named by digest.
//!
//! Made of the tag's record, of the released commit's own files and of what the registry has; never
//! of what is checked out. The same release has the same bytes everywhere, so its label, which
//! holds a part of their hash, names one content.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use semver::Version;
use serde_json::{Value, json};

use super::env;
use super::publish::images::{Shelf, There};
use super::release::repository;
use super::release::{SHIPPED, commit_problems, contents};
use super::releases;
use crate::cli;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::beanstalk::Target;
use crate::project::image::{self, Recipe};
use crate::project::lock;
use crate::project::schema::Schema;
use crate::project::stack::{self, Stack};
use crate::release::bundle::{self, FOLDERS, Input, MOST_BYTES, Made, Property};
use crate::release::record::Record;
use crate::release::version;
use crate::tools::git::{self, Places};

mod archive;
mod list;
#[cfg(test)]
mod tests;

use archive::{Content, Entry};

/// How much of the hash is in the label.
const LABELLED: usize = 12;

/// A bundle, and what has to be known to run it.
pub(crate) struct Bundle {
    pub(crate) record: Record,
    /// How the released commit describes it, with defaults filled in.
    pub(crate) target: Target,
    /// Image -> its exact name by digest.
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) file: PathBuf,
    /// Of the file; a placeholder in a dry run, which writes none.
    pub(crate) sha256: String,
    /// What Elastic Beanstalk calls this version of the application.
    pub(crate) label: String,
    pub(crate) properties: BTreeMap<String, Property>,
    /// The attached services as a compose definition, variables not filled in.
    pub(crate) attached: Option<Value>,
    /// The public variables of that commit, version and commit among them.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) schema: Schema,
}

impl cli::Bundle {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        if let Some(file) = &self.list {
            return list::list(ctx, file);
        }
        let version = self.version.context("a bundle is of a version")?;
        let file = self.out.unwrap_or_else(|| format!("{version}-{}.zip", self.environment).into());
        let bundle = make(ctx, &version, &self.environment, &file)?;
        say_done(ctx, &bundle)
    }
}

fn say_done(ctx: &Ctx, bundle: &Bundle) -> Result<()> {
    if ctx.dry_run {
        return Ok(());
    }
    let (file, label) = (bundle.file.display(), &bundle.label);
    let size = std::fs::metadata(&bundle.file)?.len();
    if ctx.json {
        let properties: Vec<&String> = bundle.properties.keys().collect();
        return ctx.event(&json!({
            "event": "bundle", "version": bundle.record.version, "file": file.to_string(),
            "label": label, "sha256": bundle.sha256, "size_bytes": size, "images": bundle.images,
            "properties": properties, "application": bundle.target.application,
            "environment": bundle.target.environment,
        }));
    }
    ctx.print(format_args!("{label}  {file}"))?;
    if !bundle.properties.is_empty() {
        let names: Vec<&str> = bundle.properties.keys().map(String::as_str).collect();
        ctx.say(format_args!("not in it, but properties of the environment: {}", names.join(", ")));
    }
    if let Some(attached) = &bundle.attached {
        let services = attached["services"].as_object().into_iter().flatten();
        let names: Vec<&str> = services.map(|(name, _)| name.as_str()).collect();
        ctx.say(format_args!("not in it, since it is attached: {}", names.join(", ")));
    }
    Ok(())
}

/// Writes the bundle of a release for an environment.
///
/// Fails where an image is not in the registry that the record names, or is another one there, and
/// where the environment has what no bundle can carry.
pub(crate) fn make(ctx: &Ctx, version: &Version, environment: &str, file: &Path) -> Result<Bundle> {
    let places = repository::places(ctx)?;
    let record = releases::load(ctx, version)?;
    check_tag(ctx, &places, &record)?;
    let images = published(ctx, &record)?;
    // The tree of the commit has one place.
    let _lock = ctx.lock("bundle")?;
    let stack = contents::Needed::Stack;
    let tree = repository::check_out_part(ctx, &places, &record.commit, "bundle", stack)?;
    let commit = Commit::load(&tree.ctx, &record, environment)?;
    let made = commit.make(&images)?;
    let entries = entries(&commit.facts, &made)?;
    let bar = ctx.spinner(format!("bundling {version}"));
    let alive = || match ctx.interrupted() {
        true => Err(exit::interrupted()),
        false => Ok(()),
    };
    let sha256 = ctx.write_by(file, |file| archive::write(file, entries, MOST_BYTES, &alive))?;
    bar.finish_and_clear();
    let sha256 = sha256.unwrap_or_else(|| format!("<sha256 of {}>", file.display()));
    let part = sha256.get(..LABELLED).filter(|_| !ctx.dry_run);
    let label = format!("{version}-{}", part.unwrap_or("<sha256>"));
    let Commit { facts, target, variables, .. } = commit;
    Ok(Bundle {
        record,
        target,
        images,
        file: file.to_path_buf(),
        sha256,
        label,
        properties: made.properties,
        attached: made.attached,
        variables,
        schema: facts.schema,
    })
}

/// What `release verify` says of tag and commit, as far as nothing has to be fetched for it.
fn check_tag(ctx: &Ctx, places: &Places, record: &Record) -> Result<()> {
    let references = git::parse_references(&ctx.read(git::references(&ctx.sh))?);
    let tag = version::tag(&record.version);
    let here = references.get(&format!("refs/tags/{tag}"));
    let here = here.with_context(|| format!("the tag {tag} is not here"))?;
    let problems = commit_problems(ctx, places, here, record)?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(exit::problems(&format!("{} is not what it was", record.version), &problems)),
    }
}

/// Image -> the exact name of what the registry has of it, which is what was released.
fn published(ctx: &Ctx, record: &Record) -> Result<BTreeMap<String, String>> {
    let shelf = Shelf::open(ctx, record)?;
    let version = &record.version;
    let (mut names, mut problems) = (BTreeMap::new(), Vec::new());
    for image in record.images.keys() {
        match shelf.look(record, image)? {
            There::Same(manifest) => {
                names.insert(image.clone(), shelf.exact_name(record, image, &manifest));
            }
            There::Other(found) => problems.push(format!(
                "{} is another image there, with the configuration {found}; `cargo xtask release \
                 verify {version}` says what is wrong",
                shelf.name(record, image)
            )),
            There::Nothing => problems.push(format!(
                "{} is not there; `cargo xtask publish {version}` brings it",
                shelf.name(record, image)
            )),
        }
    }
    match problems.is_empty() {
        true => Ok(names),
        false => Err(exit::problems(&format!("{version} is not in its registry"), &problems)),
    }
}

/// An environment as the released commit describes it.
struct Commit {
    facts: env::Facts,
    /// What compose says of it, and the stack that it is.
    description: String,
    stack: Stack,
    overlay: Option<String>,
    target: Target,
    variables: BTreeMap<String, String>,
    /// Service -> the image of this project that it runs, and how that is built otherwise than what
    /// was released.
    images: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Commit {
    fn load(ctx: &Ctx, record: &Record, environment: &str) -> Result<Commit> {
        let facts = env::load(ctx, environment)?;
        let description = env::describe(ctx, &facts)?;
        let stack = stack::parse(&description, &facts.environment.variables)?;
        let overlay = env::load_overlay(ctx, &facts)?;
        let target = facts.environment.beanstalk.target(&stack.name, environment)?;
        let mut variables = facts.environment.variables.clone();
        variables.insert("STEVEDORE_VERSION".into(), record.version.to_string());
        variables.insert("STEVEDORE_COMMIT".into(), record.commit.clone());
        let of = |service| image::of_service(&facts.project, &stack, service);
        let services = stack.services.iter();
        let images: BTreeMap<String, String> =
            services.filter_map(|(name, it)| Some((name.clone(), of(it)?))).collect();
        let problems = built_otherwise(ctx, &facts, &recipes(ctx, &facts, &stack)?, &images)?;
        Ok(Commit { facts, description, stack, overlay, target, variables, images, problems })
    }

    fn make(&self, names: &BTreeMap<String, String>) -> Result<Made> {
        if !self.problems.is_empty() {
            let what = format!("{} is not what was released", self.facts.name);
            return Err(exit::problems(&what, &self.problems));
        }
        let said = "compose printed no JSON";
        let merged: Value = serde_json::from_str(&self.description).context(said)?;
        let overlay = self.overlay.as_deref().unwrap_or("null");
        let overlay: Value = serde_json::from_str(overlay).context(said)?;
        let stack = &self.stack;
        let exact = |(service, facts): (&String, &stack::Service)| {
            let name = match self.images.get(service) {
                Some(image) => names.get(image)?.clone(),
                None => facts.image.clone().filter(|it| it.contains("@sha256:"))?,
            };
            Some((service.clone(), name))
        };
        bundle::make(&Input {
            environment: &self.facts.name,
            files: &self.facts.compose,
            merged: &merged,
            overlay: &overlay,
            stack,
            images: &stack.services.iter().filter_map(exact).collect(),
            public: &self.variables,
            schema: &self.facts.schema,
            target: &self.target,
        })
    }
}

fn recipes(ctx: &Ctx, facts: &env::Facts, stack: &Stack) -> Result<Vec<Recipe>> {
    let lock = lock::load(&ctx.root)?;
    image::recipes(&facts.project, stack, &facts.environment, &lock.epoch)
}

/// Images that this environment builds in another way than the one whose images were released.
fn built_otherwise(
    ctx: &Ctx,
    facts: &env::Facts,
    own: &[Recipe],
    images: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let environment = &facts.name;
    if environment == SHIPPED {
        return Ok(Vec::new());
    }
    let shipped = env::load(ctx, SHIPPED)?;
    let shipped = recipes(ctx, &shipped, &env::load_stack(ctx, &shipped)?)?;
    let file = facts.compose.overlay().unwrap_or(facts.compose.base()).display();
    let other = own.iter().filter(|recipe| {
        images.values().any(|image| *image == recipe.image) && !shipped.contains(recipe)
    });
    Ok(other
        .map(|recipe| {
            format!(
                "{environment} builds the image {} in another way than {SHIPPED}, whose images \
                 were released; remove its build section from {file}",
                recipe.image
            )
        })
        .collect())
}

/// The generated files and those that the environment brings.
fn entries(facts: &env::Facts, made: &Made) -> Result<Vec<Entry>> {
    let text = |(name, text): (&String, &String)| Entry {
        name: name.clone(),
        executable: false,
        content: Content::Text(text.clone()),
    };
    let mut entries: Vec<Entry> = made.files.iter().map(text).collect();
    let mut problems = Vec::new();
    for folder in FOLDERS.map(|folder| facts.directory.join(folder)) {
        if std::fs::symlink_metadata(&folder).is_err() {
            continue;
        }
        for found in walkdir::WalkDir::new(&folder).sort_by_file_name() {
            let found = found?;
            let path = found.path().strip_prefix(&facts.directory)?;
            match entry(&found, path, made) {
                Ok(entry) => entries.extend(entry),
                Err(words) => problems.push(format!(
                    "environments/{}/{:?}: {words}",
                    facts.name,
                    path.display().to_string()
                )),
            }
        }
    }
    match problems.is_empty() {
        true => Ok(entries),
        false => Err(exit::problems("there are files that can't be bundled", &problems)),
    }
}

/// A file of the environment; nothing for a directory.
fn entry(
    found: &walkdir::DirEntry,
    path: &Path,
    made: &Made,
) -> std::result::Result<Option<Entry>, String> {
    let kind = found.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err("it is no regular file; a bundle has no links".into());
    }
    let name = path.to_str().ok_or("its name is not UTF-8")?;
    if name.chars().any(|letter| letter.is_control() || letter == '\\') {
        return Err("its name has a letter that zip readers take in different ways".into());
    }
    if made.files.contains_key(name) {
        return Err("this name belongs to the tool; give it another one".into());
    }
    let meta = found.metadata().map_err(|error| error.to_string())?;
    Ok(Some(Entry {
        name: name.to_owned(),
        executable: meta.permissions().mode() & 0o100 != 0,
        content: Content::File(found.path().to_path_buf(), meta.len()),
    }))
}
