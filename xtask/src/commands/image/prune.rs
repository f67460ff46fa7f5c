//! `image prune`: removes this project's images that nothing needs any more.
//!
//! Kept are those of every environment as it is now, of the tests, and of the last releases, and
//! the external bases of today's lock. Another checkout of this project on the same engine has the
//! same images; what only that one needs goes too, and is built again there.

use std::collections::BTreeSet;

use anyhow::Result;

use super::builder;
use super::destroy;
use super::external;
use super::inputs;
use super::plan::{self, Plan, Request};
use crate::cli::ImagePrune;
use crate::commands::test;
use crate::ctx::Ctx;
use crate::project::Project;
use crate::release::version;
use crate::tools::docker;

impl ImagePrune {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let project = Project::load(&ctx.root)?;
        let _lock = ctx.lock("build")?;
        let mut keep = BTreeSet::new();
        let mut contexts = BTreeSet::new();
        let mut names = BTreeSet::new();
        for environment in &project.environments {
            let request = Request::load(ctx, environment)?;
            names.insert(request.stack.name.clone());
            add(&request, &plan::plan(ctx, &request)?, &mut keep, &mut contexts);
        }
        if project.environments.contains("dev")
            && let Some(request) = test::request(ctx)?
        {
            add(&request, &plan::plan(ctx, &request)?, &mut keep, &mut contexts);
        }
        let mut patterns: Vec<String> = names.iter().map(|name| format!("{name}/*")).collect();
        // Other projects may need the same bases: only those that were got here go.
        let bases = external::got_here(ctx);
        patterns.extend(bases.iter().cloned());
        let listed = ctx.read(docker::list_images(&ctx.sh, &patterns))?;
        let listed: Vec<(&str, &str)> =
            listed.lines().filter_map(|line| line.split_once(' ')).collect();
        let references: Vec<&str> = listed.iter().map(|(_, reference)| *reference).collect();
        let releases = version::newest(&references, self.releases);
        // Under all of its names, so that the release can be checked out and is fresh.
        let of_releases: BTreeSet<&str> =
            listed.iter().filter(|(_, name)| releases.contains(name)).map(|(id, _)| *id).collect();
        let needed = |id: &str, name: &str| keep.contains(name) || of_releases.contains(id);
        let building = builder::building_tag(ctx);
        let is_ours = |name: &str| is_ours(name, &building) || bases.contains(name);
        let spare = listed.iter().filter(|(id, name)| is_ours(name) && !needed(id, name));
        remove(ctx, spare.map(|(_, name)| (*name).to_owned()).collect())?;
        remove_contexts(ctx, &contexts)
    }
}

/// What a plan needs: its images' tags, its bases', and the names of its contexts.
fn add(
    request: &Request,
    plan: &Plan,
    keep: &mut BTreeSet<String>,
    contexts: &mut BTreeSet<String>,
) {
    for planned in &plan.images {
        keep.insert(planned.reference.clone());
        contexts.insert(inputs::directory_name(&planned.recipe));
        let bases = planned.recipe.externals.iter();
        keep.extend(bases.map(|name| request.bases().reference(name)));
    }
}

/// Whether this tool has set a name; any other was set by somebody for a purpose of theirs.
fn is_ours(reference: &str, building: &str) -> bool {
    let tag = reference.rsplit(':').next().unwrap_or_default();
    tag.starts_with("f-") || tag.starts_with(building) || version::of_image_tag(tag).is_some()
}

fn remove(ctx: &Ctx, references: Vec<String>) -> Result<()> {
    let mut removed = 0;
    for reference in &references {
        match destroy::remove(ctx, std::slice::from_ref(reference)) {
            Ok(()) if ctx.dry_run => {}
            Ok(()) => {
                removed += 1;
                match ctx.json {
                    true => {
                        ctx.event(&serde_json::json!({"event": "removed", "image": reference}))?
                    }
                    false => ctx.print(format_args!("removed {reference}"))?,
                }
            }
            Err(error) if format!("{error:#}").contains("container") => {
                ctx.say(format_args!("kept {reference}: a container uses it"));
            }
            Err(error) => return Err(error),
        }
    }
    if removed == 0 && references.is_empty() {
        ctx.say("every image is in use");
    }
    Ok(())
}

/// The private copies and stat caches of images that no environment has any more.
fn remove_contexts(ctx: &Ctx, contexts: &BTreeSet<String>) -> Result<()> {
    for (directory, prefixes) in [("contexts", &[""][..]), ("stats", &["source-", "staged-"])] {
        let entries =
            std::fs::read_dir(ctx.state().join(directory)).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let bare =
                prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
            if !contexts.contains(bare) {
                ctx.remove_state(&entry.path())?;
            }
        }
    }
    Ok(())
}
