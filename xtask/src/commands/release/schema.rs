//! The gate on a new schema: that the release before still runs after the new migrations, so that a
//! rollback over them can be allowed.
//!
//! An author's mark says that the release before can live with a migration; here it has to. The new
//! release's own services migrate new data first. Then those of the release before start on it, as
//! its commit describes them and with its images; what holds data stays the new one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use semver::Version;

use super::repository;
use super::{SHIPPED, collect};
use crate::commands::env::{self, Facts};
use crate::commands::gate::{self, Gates};
use crate::commands::image::plan::Request;
use crate::commands::image::{identity, pull};
use crate::commands::releases;
use crate::commands::test::trial_start::{self, TrialStart, of_services};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::stack::{self, Service, Stack};
use crate::release::record::{self, Migration, Record};
use crate::tools::git::Places;

/// What the gate's name begins with; the version of the release before follows.
pub(super) const NAME: &str = "schema";
/// Changes whenever what this gate does means something else.
const DEFINITION: &str = "schema 1";
/// What the tree of the release before is for.
pub(super) const PREVIOUS: &str = "previous";

/// The gate's name where this release is the one before.
pub(crate) fn name(previous: &Version) -> String {
    format!("{NAME} {previous}")
}

/// Runs the gate where new migrations ask for it; `ids` are those that the engine has for the new
/// images.
pub(super) fn gate(
    ctx: &Ctx,
    places: &Places,
    tree: &Ctx,
    gates: &mut Gates<'_>,
    previous: &Record,
    ids: &BTreeMap<String, String>,
) -> Result<()> {
    let request = Request::load(tree, SHIPPED)?;
    let migrations = collect::migrations(tree, &request)?;
    let new = previous.lacks(&migrations);
    if let Some(unmarked) = unmarked(&new) {
        ctx.warn(format_args!(
            "a rollback over {unmarked} will be refused; where {} still works after it, say so in \
             a comment of its file: `stevedore: compatible, REASON`",
            previous.version
        ));
        return Ok(());
    }
    if new.is_empty() {
        return Ok(());
    }
    let before = repository::check_out(ctx, places, &previous.commit, PREVIOUS)?;
    let ids_of_new = of_services(&request, ids);
    let configs = identity::configs_of(ctx, ids)?;
    let pair = Pair::load(tree, request, &configs, &before.ctx, previous)?;
    let (version, key) = (&previous.version, pair.key());
    gates.run_once(&name(version), key.as_deref(), || {
        let ids = pair.get_images(ctx, previous, ids_of_new)?;
        let starts = pair.starts(tree, &before.ctx, version, &names(&new), ids)?;
        trial_start::try_out(tree, NAME, starts)
    })?;
    Ok(())
}

/// The gate that a release must have passed, by what was found of it.
pub(super) fn expected(
    ctx: &Ctx,
    places: &Places,
    tree: &Ctx,
    record: &Record,
    found: &Record,
) -> Result<Option<record::Gate>> {
    let Some(version) = &record.previous else { return Ok(None) };
    let Ok(previous) = releases::load(ctx, version) else {
        // That it is not here is said elsewhere.
        return Ok(record.gates.iter().find(|gate| gate.name == name(version)).cloned());
    };
    let new = previous.lacks(&found.migrations);
    if new.is_empty() || unmarked(&new).is_some() {
        return Ok(None);
    }
    let configs = found.images.iter();
    let configs = configs.map(|(image, it)| (image.clone(), it.config.clone())).collect();
    let before = repository::check_out(ctx, places, &previous.commit, PREVIOUS)?;
    let request = Request::load(tree, SHIPPED)?;
    let pair = Pair::load(tree, request, &configs, &before.ctx, &previous)?;
    Ok(Some(gate::expected(&name(version), pair.key().as_deref())))
}

/// The names of those that nobody has marked compatible.
fn unmarked(new: &[&Migration]) -> Option<String> {
    let unmarked: Vec<&Migration> =
        new.iter().filter(|it| it.compatible.is_none()).copied().collect();
    (!unmarked.is_empty()).then(|| names(&unmarked))
}

fn names(migrations: &[&Migration]) -> String {
    let names: Vec<&str> = migrations.iter().map(|it| it.name.as_str()).collect();
    names.join(", ")
}

/// The stack that migrates, and the one that has to run afterwards.
struct Pair {
    new: Half,
    old: Half,
    /// What compose reads of the latter: the services of the release before, but for those that
    /// hold data, and those that migrate it and end.
    description: String,
    /// Service -> the image of the release before that it needs.
    images: BTreeMap<String, String>,
    /// The services of the new release that the release before meets.
    kept: BTreeSet<String>,
}

struct Half {
    facts: Facts,
    stack: Stack,
    /// Service -> the configuration of the image that it runs.
    configs: BTreeMap<String, String>,
}

/// Service -> the ID that the engine has for the image that it runs, of each half.
struct Ids {
    new: BTreeMap<String, String>,
    old: BTreeMap<String, String>,
}

impl Pair {
    fn load(
        tree: &Ctx,
        request: Request,
        configs: &BTreeMap<String, String>,
        before: &Ctx,
        previous: &Record,
    ) -> Result<Pair> {
        let configs = of_services(&request, configs);
        let Request { facts, stack, .. } = request;
        let new = Half { facts, stack, configs };
        let stays =
            |it: &&Service| it.facts.attached || it.facts.migrations.is_some() && it.facts.once;
        let kept = new.stack.services.iter().filter(|(_, it)| stays(it));
        let kept: BTreeSet<String> = kept.map(|(name, _)| name.clone()).collect();
        let facts = env::load(before, &previous.environment)?;
        let older = env::describe(before, &facts)?;
        let description = stack::combine(&older, &env::describe(tree, &new.facts)?, &kept)?;
        let stack = stack::parse(&description, &facts.environment.variables)?;
        let (mut configs, mut images) = (BTreeMap::new(), BTreeMap::new());
        for name in stack.services.keys() {
            if kept.contains(name) {
                let config = new.configs.get_key_value(name);
                configs.extend(config.map(|(name, config)| (name.clone(), config.clone())));
            } else if let Some(service) = previous.services.get(name)
                && let Some(image) = previous.images.get(&service.image)
            {
                configs.insert(name.clone(), image.config.clone());
                images.insert(name.clone(), service.image.clone());
            }
        }
        Ok(Pair { new, old: Half { facts, stack, configs }, description, images, kept })
    }

    /// On what a pass counts; nothing where that cannot be told.
    fn key(&self) -> Option<String> {
        let key = |half: &Half| trial_start::key(&half.facts, &half.stack, &half.configs);
        Some(format!("{DEFINITION} {}\n{}", key(&self.new)?, key(&self.old)?))
    }

    /// Gets the images of the release before that this engine lacks; `new` are the IDs of
    /// the new release's.
    fn get_images(
        &self,
        ctx: &Ctx,
        previous: &Record,
        new: BTreeMap<String, String>,
    ) -> Result<Ids> {
        let is_kept = |(name, _): &(&String, &String)| self.kept.contains(*name);
        let kept = new.iter().filter(is_kept);
        let mut old: BTreeMap<String, String> =
            kept.map(|(name, id)| (name.clone(), id.clone())).collect();
        let mut shelf = None;
        for (service, image) in &self.images {
            match pull::get(ctx, previous, image, &mut shelf) {
                Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
                Err(error) => {
                    let version = &previous.version;
                    return Err(exit::missing(format!(
                        "the image {image} of {version} is not here and can't be had: {error:#}\n  \
                         `cargo xtask publish {version}`, where it was released, puts it into the \
                         registry"
                    )));
                }
                Ok(got) => drop(old.insert(service.clone(), got.id)),
            }
        }
        Ok(Ids { new, old })
    }

    /// First the new release's services that hold data or migrate it, then the old release.
    fn starts<'c>(
        self,
        tree: &'c Ctx,
        before: &'c Ctx,
        previous: &Version,
        marked: &str,
        ids: Ids,
    ) -> Result<Vec<TrialStart<'c>>> {
        let Pair { new, old, description, .. } = self;
        let path = tree.state().join(SHIPPED).join("schema-stack.yml");
        tree.write_cache(&path, description.as_bytes())?;
        let mut settings = env::trial_settings(&old.facts);
        settings.extend(env::trial_settings(&new.facts));
        let with_data = |it: &Service| it.facts.attached || it.facts.migrations.is_some();
        let only = new.stack.services.iter().filter(|(_, it)| with_data(it));
        let first = TrialStart {
            ctx: tree,
            only: only.map(|(name, _)| name.clone()).collect(),
            settings: settings.clone(),
            files: new.facts.compose_files(),
            failure: "the new release's data did not come up".into(),
            facts: new.facts,
            stack: new.stack,
            ids: ids.new,
        };
        let then = TrialStart {
            ctx: before,
            only: Vec::new(),
            settings,
            files: vec![path],
            failure: format!(
                "{marked} is marked compatible, and {previous} does not run after it (change the \
                 migration, or remove the mark: a rollback over it will then be refused)"
            ),
            facts: old.facts,
            stack: old.stack,
            ids: ids.old,
        };
        Ok(vec![first, then])
    }
}
