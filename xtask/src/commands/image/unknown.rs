//! What a plan cannot know: while an external base is not in this engine, the fingerprints above it
//! rest on what `docker/stack.lock` says of it, and may be different ones once it is here. The same
//! is true above an image whose assets are made anew.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::plan::{Planned, Request, reference};
use crate::ctx::Ctx;
use crate::tools::docker;

impl Planned {
    /// Which bases have to be here before anybody knows what becomes of the image; `None` where
    /// that is known.
    pub(crate) fn unknown_until(&self) -> Option<String> {
        let names: Vec<&str> = self.unknown_bases.iter().map(String::as_str).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        (!names.is_empty()).then(|| format!("unknown until {} {verb} here", names.join(", ")))
    }
}

/// Notes on each image that is not fresh which of the absent bases its fingerprint rests on.
pub(super) fn mark(images: &mut [Planned], absent: &BTreeSet<String>) {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut waiting: BTreeSet<String> = BTreeSet::new();
    for planned in images {
        if planned.found.is_none() && planned.recipe.bases.iter().any(|it| waiting.contains(it)) {
            planned.waits_for_assets = true;
        }
        if planned.waits_for_assets {
            waiting.insert(planned.recipe.image.clone());
        }
        let recipe = &planned.recipe;
        let mut unknown: BTreeSet<String> =
            recipe.externals.intersection(absent).cloned().collect();
        unknown.extend(recipe.bases.iter().filter_map(|base| below.get(base)).flatten().cloned());
        below.insert(recipe.image.clone(), unknown.clone());
        if planned.found.is_none() && !planned.pretended {
            planned.unknown_bases = unknown;
        }
    }
}

/// Whether this engine has any build of an image, whatever its inputs were.
pub(crate) fn has_builds(ctx: &Ctx, request: &Request, image: &str) -> Result<bool> {
    let pattern = reference(&request.stack, image, "*");
    Ok(!ctx.read(docker::list_images(&ctx.sh, &[pattern]))?.trim().is_empty())
}
