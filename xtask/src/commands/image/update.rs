//! `image update`: the stack as of today, as a change of `docker/stack.lock` that can be reviewed.
//!
//! The lock is written only after everything was rebuilt with it, so a failure leaves the old
//! stack as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use anyhow::Result;

use super::packages::packages_of;
use super::plan::{self, Plan, Request};
use super::{build, external};
use crate::cli::{Cache, ImageUpdate};
use crate::commands::{doctor, env};
use crate::ctx::Ctx;
use crate::project::image::recipes;
use crate::project::lock::{self, Lock};
use crate::project::{Project, known};

impl ImageUpdate {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let project = Project::load(&ctx.root)?;
        let names = match self.environments.is_empty() {
            true => project.environments.iter().cloned().collect(),
            false => self.environments,
        };
        names.iter().try_for_each(|name| known("environment", name, &project.environments))?;
        doctor::require_engine(ctx)?;
        let old = lock::load(&ctx.root).unwrap_or_default();
        let mut new = Lock { epoch: lock::epoch(SystemTime::now()), external: BTreeMap::new() };
        let mut environments = Vec::new();
        for name in &names {
            let facts = env::load(ctx, name)?;
            let stack = env::load_stack(ctx, &facts)?;
            environments.push(Request::new(facts, stack, old.clone()));
        }
        // The lock has one content for a base: that of the environments' platform.
        let mut platforms = environments.iter().map(|it| it.bases().platform);
        let first = platforms.next().flatten();
        let platform = first.filter(|_| platforms.all(|it| it == first)).map(str::to_owned);
        for platform in environments.iter().filter_map(|it| it.bases().platform) {
            build::check_emulation(ctx, platform)?;
        }
        for name in externals(&environments, &new)? {
            ctx.say(format_args!("getting today's {name}"));
            let wanted = external::Wanted { lock: &new, platform: platform.as_deref() };
            let found = external::ensure(ctx, &name, wanted)?;
            new.external.insert(name, found);
        }
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for request in &environments {
            before.extend(packages(ctx, &plan::plan(ctx, request)?)?);
        }
        for request in &mut environments {
            request.lock = new.clone();
            after.extend(packages(ctx, &build::build(ctx, request, Cache::Off)?)?);
        }
        ctx.write(&ctx.root.join(lock::PATH), new.text()?.as_bytes())?;
        if ctx.dry_run {
            return Ok(());
        }
        show(ctx, &before, &after)?;
        ctx.say(format_args!("{} moved to {}; review and commit it", lock::PATH, new.epoch));
        Ok(())
    }
}

fn externals(environments: &[Request], lock: &Lock) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for Request { facts, stack, .. } in environments {
        let recipes = recipes(&facts.project, stack, &facts.environment, &lock.epoch)?;
        names.extend(recipes.into_iter().flat_map(|recipe| recipe.externals));
    }
    Ok(names)
}

/// Image and target -> package -> version.
type Packages = BTreeMap<String, BTreeMap<String, String>>;

/// The packages of the images that are here; images without dpkg have none.
fn packages(ctx: &Ctx, plan: &Plan) -> Result<Packages> {
    let mut all = Packages::new();
    if ctx.dry_run {
        // Asking an image means running it, and nothing is compared.
        return Ok(all);
    }
    for planned in &plan.images {
        let Some(found) = &planned.found else {
            continue;
        };
        let list = packages_of(ctx, &found.id)?.installed().clone();
        let target = planned.recipe.target.as_deref().map(|target| format!(" ({target})"));
        all.insert(format!("{}{}", planned.recipe.image, target.unwrap_or_default()), list);
    }
    Ok(all)
}

fn show(ctx: &Ctx, before: &Packages, after: &Packages) -> Result<()> {
    for (image, new) in after {
        let Some(old) = before.get(image) else {
            ctx.say(format_args!(
                "{image}: {} packages (no earlier image to compare with)",
                new.len()
            ));
            continue;
        };
        let changes = changes(old, new);
        if changes.is_empty() {
            ctx.say(format_args!("{image}: {} packages, none changed", new.len()));
        }
        for (package, old, new) in changes {
            match ctx.json {
                true => ctx.event(&serde_json::json!({
                    "event": "package", "image": image, "package": package, "old": old, "new": new,
                }))?,
                false => ctx.print(format_args!(
                    "{image}: {package} {} → {}",
                    old.as_deref().unwrap_or("(none)"),
                    new.as_deref().unwrap_or("(none)")
                ))?,
            }
        }
    }
    Ok(())
}

type Change = (String, Option<String>, Option<String>);

fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pairs = names
        .into_iter()
        .map(|name| (name.clone(), old.get(name).cloned(), new.get(name).cloned()));
    pairs.filter(|(_, old, new)| old != new).collect()
}
