//! Gathers what a record says of a release: from the files of its commit, and from its images.
//!
//! `release verify` gathers the same again, from the tag and the registry, and compares.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use fingerprint::sha256;
use serde::Deserialize;
use walkdir::WalkDir;

use crate::commands::env;
use crate::commands::image::identity;
use crate::commands::image::packages::{System, ask_image, system_of};
use crate::commands::image::plan::{self, Planned, Request};
use crate::ctx::Ctx;
use crate::project::assets::{OUTPUT, SOURCE};
use crate::project::image::of_service;
use crate::project::schema;
use crate::project::{Project, migrations};
use crate::release::record::{
    Asset, Base, Dependency, Image, Key, Layer, Migration, Service, Source, Store,
};
use crate::tools::docker_archive::Parts;

/// The lock files of which the dependencies are listed.
const CARGO_LOCK: &str = "Cargo.lock";

/// Image -> what it is, read back out of the engine. `ids` are those that the engine has for them.
pub(crate) fn images(
    ctx: &Ctx,
    images: &[Planned],
    ids: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Image>> {
    let parts = match ctx.dry_run {
        true => BTreeMap::new(),
        false => identity::parts(ctx, &ids.values().cloned().collect::<Vec<_>>())?,
    };
    let mut found = BTreeMap::new();
    for planned in images {
        let name = &planned.recipe.image;
        let id = &ids[name];
        let System { packages, distribution } = system_of(ctx, id)?;
        let unknown = Parts { config: id.clone(), layers: Vec::<Layer>::new() };
        let Parts { config, layers } = parts.get(id).cloned().unwrap_or(unknown);
        let fingerprint = planned.fingerprint.clone();
        let recipe = &planned.recipe;
        let from = recipe.bases.union(&recipe.externals).cloned().collect();
        let image = Image { fingerprint, config, layers, from, distribution, packages };
        found.insert(name.clone(), image);
    }
    Ok(found)
}

/// External base -> what it was for these images, by what is known of all of them.
pub(crate) fn bases(
    request: &Request,
    contents: &BTreeMap<String, String>,
) -> BTreeMap<String, Base> {
    let base = |(name, content): (&String, &String)| {
        let locked = request.lock.external.get(name)?;
        // One that was made here only has the name of what the registry had.
        let digest = locked.digest.clone().filter(|_| locked.content == *content);
        Some((name.clone(), Base { content: content.clone(), digest }))
    };
    contents.iter().filter_map(base).collect()
}

/// Service -> what it runs; an attached one is asked for its version.
pub(crate) fn services(
    ctx: &Ctx,
    request: &Request,
    ids: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Service>> {
    let Request { facts, stack, .. } = request;
    let mut services = BTreeMap::new();
    for (name, service) in &stack.services {
        let own = of_service(&facts.project, stack, service);
        let foreign = service.image.clone().filter(|_| own.is_none());
        let from_elsewhere = match &foreign {
            Some(reference) => plan::id_of(ctx, reference)?,
            None => None,
        };
        let config = from_elsewhere.as_ref().map(|id| identity::config(ctx, id)).transpose()?;
        let id = own.as_ref().and_then(|image| ids.get(image)).or(from_elsewhere.as_ref());
        let store = match id.filter(|_| !service.facts.version.is_empty()) {
            Some(id) => store(ctx, id, &service.facts.version)?,
            None => None,
        };
        let image = own.or(foreign).unwrap_or_default();
        let attached = service.facts.attached;
        services.insert(name.clone(), Service { image, config, attached, store });
    }
    Ok(services)
}

fn store(ctx: &Ctx, id: &str, command: &[String]) -> Result<Option<Store>> {
    let Some(answer) = ask_image(ctx, id, command)? else { return Ok(None) };
    let said = answer.success(&command.join(" "))?;
    let version = said.lines().next().unwrap_or_default().trim().to_owned();
    let digits = version.split(|sign: char| !sign.is_ascii_digit()).find(|it| !it.is_empty());
    let major = digits.and_then(|digits| digits.parse().ok());
    let major = major.with_context(|| format!("no version in what {command:?} says: {said:?}"))?;
    Ok(Some(Store { version, major }))
}

/// Lock file -> what it names, of those that the images are built from.
pub(crate) fn dependencies(
    ctx: &Ctx,
    images: &[Planned],
) -> Result<BTreeMap<String, Vec<Dependency>>> {
    let mut paths = BTreeSet::new();
    for planned in images {
        for entry in planned.inputs.tree.iter() {
            let path = String::from_utf8_lossy(entry.path);
            if path.rsplit('/').next() == Some(CARGO_LOCK) {
                paths.insert(match planned.recipe.context.as_str() {
                    "." => path.into_owned(),
                    context => format!("{context}/{path}"),
                });
            }
        }
    }
    let mut found = BTreeMap::new();
    for path in paths {
        let text = std::fs::read_to_string(ctx.root.join(&path))
            .with_context(|| format!("can't read {path}"))?;
        let listed = parse_cargo_lock(&text).with_context(|| format!("can't use {path}"))?;
        found.insert(path, listed);
    }
    Ok(found)
}

fn parse_cargo_lock(text: &str) -> Result<Vec<Dependency>> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        source: Option<String>,
        checksum: Option<String>,
    }
    let file: File = toml::from_str(text)?;
    let dependency = |Package { name, version, source, checksum }| Dependency {
        name,
        version,
        source,
        checksum,
    };
    let mut dependencies: Vec<Dependency> = file.package.into_iter().map(dependency).collect();
    dependencies.sort();
    Ok(dependencies)
}

/// Source -> asset that ships.
pub(crate) fn assets(ctx: &Ctx) -> Result<BTreeMap<String, Asset>> {
    let path = ctx.root.join(OUTPUT).join("manifest.json");
    if !ctx.root.join(SOURCE).is_dir() || ctx.dry_run {
        return Ok(BTreeMap::new());
    }
    let bytes = std::fs::read(&path).with_context(|| format!("can't read {OUTPUT}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("can't use {OUTPUT}/manifest.json"))
}

/// Service -> its migrations in their order.
pub(crate) fn migrations(ctx: &Ctx, request: &Request) -> Result<BTreeMap<String, Vec<Migration>>> {
    let mut found = BTreeMap::new();
    for (name, service) in &request.stack.services {
        let Some(folder) = &service.facts.migrations else { continue };
        let tried = || format!("service {name}: can't read the migrations in {folder}");
        let mut files = Vec::new();
        let root = ctx.root.join(folder);
        for entry in WalkDir::new(&root).sort_by_file_name() {
            let entry = entry.with_context(tried)?;
            if entry.file_type().is_dir() {
                continue;
            }
            let bytes = std::fs::read(entry.path()).with_context(tried)?;
            let name = entry.path().strip_prefix(&root).unwrap_or(entry.path());
            files.push(Migration {
                name: name.to_string_lossy().into_owned(),
                sha256: sha256(&bytes),
                compatible: migrations::compatible(&String::from_utf8_lossy(&bytes)),
            });
        }
        anyhow::ensure!(!files.is_empty(), "service {name}: no migration lies in {folder}");
        files.sort_by(|one, other| migrations::order(&one.name, &other.name));
        found.insert(name.clone(), files);
    }
    Ok(found)
}

/// Environment -> key -> what is known of it.
pub(crate) fn configuration(
    ctx: &Ctx,
    project: &Project,
) -> Result<BTreeMap<String, BTreeMap<String, Key>>> {
    let mut all = BTreeMap::new();
    for environment in &project.environments {
        let facts = env::load(ctx, environment)?;
        let stack = env::load_stack(ctx, &facts)?;
        let key = |name: &String, secret: bool, source: Source| {
            let users = stack.services.iter().filter(|(_, service)| service.uses.contains(name));
            let attached = users.clone().any(|(_, service)| service.facts.attached);
            let services = users.map(|(service, _)| service.clone()).collect();
            (name.clone(), Key { secret, source, services, attached })
        };
        let public = facts.environment.variables.keys();
        let mut keys: BTreeMap<String, Key> =
            public.map(|name| key(name, false, Source::Public)).collect();
        keys.extend(facts.schema.variables.iter().map(|(name, variable)| {
            let source = match variable.source {
                schema::Source::Generated { .. } => Source::Generated,
                schema::Source::Required => Source::Required,
                schema::Source::Optional => Source::Optional,
                schema::Source::Default(_) => Source::Default,
            };
            key(name, variable.secret, source)
        }));
        all.insert(environment.clone(), keys);
    }
    Ok(all)
}
