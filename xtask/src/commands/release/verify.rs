//! `release verify`: finds out everything of a release again and compares, believing nothing.
//!
//! The tag and its commit are looked at as git stores them. The files of the released commit say
//! what was built; the registry's own bytes, every one of them, say what lies there. Where the two
//! and the record disagree, somebody has changed one of them.

use std::collections::BTreeMap;

use anyhow::Result;
use semver::Version;
use serde_json::json;

use super::repository::{self, Repository};
use super::{SHIPPED, cannot_list, collect, make, old_assets, schema, short};
use crate::commands::image::plan::{self, Planned, Request};
use crate::commands::image::{destroy, identity, pull};
use crate::commands::publish::NO_REMOTE;
use crate::commands::publish::images::{Shelf, There, check_config, path};
use crate::commands::{assets, check, doctor, parity, releases, test};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::Project;
use crate::project::lock::epoch_seconds;
use crate::release::record::{Layer, Record, paths};
use crate::release::{sbom, version};
use crate::tools::git::{self, Places, Reference};

mod compare;

use compare::compare;

pub(super) fn verify(ctx: &Ctx, version: &Version) -> Result<()> {
    let places = repository::places(ctx)?;
    let _lock = repository::lock(ctx, &places)?;
    let repository = Repository::observe(ctx, places)?;
    let tag = version::tag(version);
    let Some(here) = repository.here.get(&format!("refs/tags/{tag}")) else {
        return Err(exit::usage(format!(
            "{version} is not here; get it with `git fetch {} tag {tag}`",
            repository.remote_name()
        )));
    };
    let record = releases::load(ctx, version)?;
    let mut problems = commit_problems(ctx, &repository.places, here, &record)?;
    problems.extend(remote_problems(&repository, &tag, here));
    match look_at(ctx, &repository, &record, &mut problems) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
        Err(error) => problems.push(format!("it can't be found out again: {error:#}")),
        Ok(()) => {}
    }
    problems.dedup();
    if !problems.is_empty() {
        return Err(exit::problems(&format!("{version} is not what it was"), &problems));
    }
    match (ctx.dry_run, ctx.json) {
        (true, _) => Ok(()),
        (false, true) => ctx.event(&json!({"event": "verified", "version": version})),
        (false, false) => {
            ctx.print(format_args!("verified {version}: tag, commit, record and images agree"))
        }
    }
}

/// Finds out again what was built and what the registry has, and compares.
fn look_at(
    ctx: &Ctx,
    repository: &Repository,
    record: &Record,
    problems: &mut Vec<String>,
) -> Result<()> {
    let shelf = Shelf::open(ctx, record)?;
    problems.extend(registry_problems(ctx, &shelf, record)?);
    ctx.say(format_args!("finding out again what {} is", short(&record.commit)));
    let tree = repository::check_out(ctx, &repository.places, &record.commit, "verify")?;
    let tools = Tools::of(ctx, record)?;
    if tools.stevedore {
        let previous = record.previous.as_ref();
        old_assets::keep(ctx, repository, &tree.ctx, previous)?;
    }
    let mut found = again(&tree.ctx, &shelf, record)?;
    if ctx.dry_run {
        // Nothing was pulled, so nothing is known.
        return Ok(());
    }
    if tools.stevedore && tools.compose {
        let gate = schema::expected(ctx, &repository.places, &tree.ctx, record, &found)?;
        found.gates.extend(gate);
    }
    compare(record, &found, problems)?;
    if !tools.stevedore {
        return Ok(());
    }
    if let Some(previous) = &record.previous {
        let tag = version::tag(previous);
        if !repository.here.contains_key(&format!("refs/tags/{tag}")) {
            problems.push(format!(
                "{previous}, which the record follows, is not here; get it with `git fetch {} tag \
                 {tag}`",
                repository.remote_name()
            ));
            return Ok(());
        }
    }
    for (path, text) in paths(&record.version).into_iter().zip([
        record.text()?,
        sbom::text(record)?,
        make::news(ctx, record)?,
    ]) {
        let answer = ctx.ask(git::blob(&ctx.sh, &held(record, &path)), QUESTION)?;
        if answer.stdout != text {
            let tag = version::tag(&record.version);
            problems.push(format!("{path} in {tag} is not what the record makes of it"));
        }
    }
    Ok(())
}

/// A file of a release as git names it, from where we are.
fn held(record: &Record, path: &str) -> String {
    format!("refs/tags/{}:./{path}", version::tag(&record.version))
}

/// Which of the tools that decide something are those that made a release.
struct Tools {
    stevedore: bool,
    compose: bool,
}

impl Tools {
    fn of(ctx: &Ctx, record: &Record) -> Result<Tools> {
        let here = make::tools(ctx)?;
        let same = |name: &str| here.get(name) == record.tools.get(name);
        Ok(Tools { stevedore: same(make::STEVEDORE), compose: same(make::COMPOSE) })
    }
}

/// What is wrong with the tag and the commit of a release.
pub(crate) fn commit_problems(
    ctx: &Ctx,
    places: &Places,
    tag: &Reference,
    record: &Record,
) -> Result<Vec<String>> {
    let name = version::tag(&record.version);
    let mut problems = Vec::new();
    let Some(commit) = &tag.target else {
        return Ok(vec![format!("{name} is no annotated tag, so no release made it")]);
    };
    let tag = ctx.read(git::object(&ctx.sh, "tag", &tag.object))?;
    let (head, message) = tag.split_once("\n\n").unwrap_or((&tag, ""));
    if !head.lines().any(|line| line == format!("tag {name}")) {
        problems.push(format!("the tag {name} was made under another name"));
    }
    let seconds = epoch_seconds(&record.created).unwrap_or_default();
    let by = format!("{} <{}> {seconds} +0000", record.by.name, record.by.email);
    if !head.lines().any(|line| line == format!("tagger {by}")) {
        problems.push(format!("the tagger of {name} is not who the record says"));
    }
    let object = ctx.read(git::object(&ctx.sh, "commit", commit))?;
    let (head, _) = object.split_once("\n\n").unwrap_or((&object, ""));
    let of = |key: &str| -> Vec<&str> {
        head.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
    };
    if of("parent") != [record.commit.as_str()] {
        problems.push(format!(
            "the parent of {} is {}, and the record says {}",
            short(commit),
            of("parent").join(" "),
            record.commit
        ));
    }
    for key in ["author", "committer"] {
        if of(key) != [by.as_str()] {
            problems.push(format!("the {key} of {} is not who the record says", short(commit)));
        }
    }
    let changed = ctx.ask(git::changed_files(&ctx.sh, &record.commit, commit), QUESTION)?;
    let expected: Vec<String> = paths(&record.version).to_vec();
    let listed: Vec<&str> = changed.stdout.split('\0').filter(|it| !it.is_empty()).collect();
    if !changed.status.success() {
        anyhow::ensure!(
            !places.shallow,
            "this clone is shallow and lacks the commit of {}; `git fetch --unshallow` gets it; in \
             a CI job set `fetch-depth: 0` of actions/checkout, or `GIT_DEPTH: \"0\"` of GitLab CI",
            record.version
        );
        problems.push(format!("the commit {} is not here", record.commit));
    }
    for file in &listed {
        if !expected.iter().any(|path| **file == format!("{}{path}", places.prefix)) {
            problems.push(format!("{} changes {file} too", short(commit)));
        }
    }
    for path in expected {
        let answer = ctx.ask(git::blob(&ctx.sh, &held(record, &path)), QUESTION)?;
        let sum = make::sum(&path, &answer.stdout);
        if !answer.status.success() {
            problems.push(format!("{path} is missing in {name}"));
        } else if !message.lines().any(|line| line == sum) {
            problems.push(format!("{path} is not the one that {name} was made with"));
        }
    }
    Ok(problems)
}

/// Whether the remote repository has the same tag.
fn remote_problems(repository: &Repository, tag: &str, here: &Reference) -> Vec<String> {
    let name = repository.remote_name();
    match repository.remote.as_ref().map(|remote| &remote.references) {
        None => vec![NO_REMOTE.into()],
        Some(Err(words)) => vec![cannot_list(name, words)],
        Some(Ok(there)) => match there.get(&format!("refs/tags/{tag}")) {
            Some(found) if found.object == here.object => Vec::new(),
            Some(found) => vec![format!("{tag} is {} in {name}", short(&found.object))],
            None => vec![format!("{name} has no tag {tag}")],
        },
    }
}

/// What is wrong with the registry's bytes.
fn registry_problems(ctx: &Ctx, shelf: &Shelf<'_>, record: &Record) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    for (image, recorded) in &record.images {
        let name = shelf.name(record, image);
        ctx.say(format_args!("reading {name}"));
        let manifest = match shelf.look(record, image) {
            Ok(There::Same(manifest)) => manifest,
            Ok(There::Other(found)) => {
                problems.push(format!("{name} has the configuration {found}"));
                continue;
            }
            Ok(There::Nothing) => {
                problems.push(format!("{name} is not there"));
                continue;
            }
            Err(error) => {
                problems.push(ended(error, &name)?);
                continue;
            }
        };
        let config = shelf.registry.blob(&path(record, image), &manifest.config.digest);
        let config = config.and_then(|bytes| check_config(&bytes, recorded));
        problems.extend(config.err().map(|error| ended(error, &name)).transpose()?);
        let mut found = Vec::new();
        for blob in &manifest.layers {
            if !layers.contains_key(&blob.digest) {
                match shelf.registry.layer(&path(record, image), blob) {
                    Ok(layer) => drop(layers.insert(blob.digest.clone(), layer)),
                    Err(error) => problems.push(ended(error, &name)?),
                }
            }
            found.extend(layers.get(&blob.digest).cloned());
        }
        if found.len() == manifest.layers.len() && found != recorded.layers {
            problems.push(format!("{name} has other layers than the record"));
        }
    }
    Ok(problems)
}

/// A failure as a problem of an image; an interrupt stays what it is.
fn ended(error: anyhow::Error, name: &str) -> Result<String> {
    match exit::code(&error) {
        exit::INTERRUPTED => Err(error),
        _ => Ok(format!("{name}: {error:#}")),
    }
}

/// The record as the files of its commit and the images of the registry give it today. What nobody
/// can find out again is taken over: it stands under the hash in the tag.
fn again(ctx: &Ctx, shelf: &Shelf<'_>, record: &Record) -> Result<Record> {
    let project = Project::load(&ctx.root)?;
    assets::update(ctx)?;
    let request = Request::load(ctx, SHIPPED)?;
    let contents: BTreeMap<String, String> =
        record.bases.iter().map(|(name, base)| (name.clone(), base.content.clone())).collect();
    let images = plan::from_files(ctx, &request, &record.platform, &contents)?;
    let is_needed = |image: &String| images.iter().any(|it| it.recipe.image == *image);
    let needed = record.images.iter().filter(|(image, _)| is_needed(image));
    let configs: BTreeMap<String, String> =
        needed.map(|(image, recorded)| (image.clone(), recorded.config.clone())).collect();
    let named: Vec<&str> = images.iter().map(|planned| planned.recipe.image.as_str()).collect();
    anyhow::ensure!(
        named.iter().all(|image| configs.contains_key(*image)),
        "the stack of that commit has the images {}",
        named.join(", ")
    );
    let mut fetched = Vec::new();
    let found = ids(ctx, shelf, record, configs.keys(), &mut fetched).and_then(|ids| {
        let here = Here { images: &images, ids: &ids, configs: &configs };
        look(ctx, &project, &request, record, &here, &contents)
    });
    let removed = match fetched.is_empty() {
        true => Ok(()),
        false => destroy::remove(ctx, &fetched),
    };
    found.and_then(|found| removed.map(|()| found))
}

/// Image -> the ID that the engine has for it. Those that it lacks come from the registry, by
/// digest; `fetched` gets the names under which they are here then.
fn ids<'i>(
    ctx: &Ctx,
    shelf: &Shelf<'_>,
    record: &Record,
    images: impl Iterator<Item = &'i String>,
    fetched: &mut Vec<String>,
) -> Result<BTreeMap<String, String>> {
    doctor::require_engine(ctx)?;
    let mut ids = BTreeMap::new();
    for image in images {
        let id = match identity::find(ctx, &record.images[image])? {
            Some(id) => id,
            None => {
                let There::Same(manifest) = shelf.look(record, image)? else {
                    anyhow::bail!("the registry does not have {}", shelf.name(record, image));
                };
                let name = shelf.exact_name(record, image, &manifest);
                fetched.push(name.clone());
                pull::fetch(ctx, &name, &manifest)?
            }
        };
        ids.insert(image.clone(), id);
    }
    Ok(ids)
}

/// The images of a release, as its files and this engine have them.
struct Here<'h> {
    images: &'h [Planned],
    /// Image -> the ID that the engine has for it.
    ids: &'h BTreeMap<String, String>,
    /// Image -> its configuration.
    configs: &'h BTreeMap<String, String>,
}

fn look(
    ctx: &Ctx,
    project: &Project,
    request: &Request,
    record: &Record,
    here: &Here<'_>,
    contents: &BTreeMap<String, String>,
) -> Result<Record> {
    let Here { images, ids, configs } = here;
    let tools = Tools::of(ctx, record)?;
    let mut found = record.clone();
    found.branch = version::branch(&record.version);
    found.name = request.stack.name.clone();
    found.environment = SHIPPED.into();
    found.registry = request.facts.environment.registry.repository.clone();
    found.epoch = request.lock.epoch.clone();
    found.bases = collect::bases(request, contents);
    found.images = collect::images(ctx, images, ids)?;
    found.services = collect::services(ctx, request, ids)?;
    for (name, service) in &mut found.services {
        // What others call an image may be another one by now.
        if let Some(recorded) = record.services.get(name).filter(|it| it.config.is_some()) {
            (service.config, service.store) = (recorded.config.clone(), recorded.store.clone());
        }
    }
    found.dependencies = collect::dependencies(ctx, images)?;
    found.migrations = collect::migrations(ctx, request)?;
    found.configuration = collect::configuration(ctx, project)?;
    if tools.stevedore {
        found.assets = collect::assets(ctx)?;
    } else {
        ctx.warn(
            "another cargo xtask made this release, so fingerprints, gates, assets and the texts \
             beside the record are not compared; check that release's commit out for all of it",
        );
        for (name, image) in &mut found.images {
            image.fingerprint = record.images[name].fingerprint.clone();
        }
    }
    if tools.stevedore && tools.compose {
        found.gates = check::expected(ctx, project);
        found.gates.extend(test::expected(
            ctx,
            project,
            request,
            configs,
            &record.platform,
            contents,
        )?);
        found.gates.extend(parity::expected(project, SHIPPED));
    }
    Ok(found)
}
