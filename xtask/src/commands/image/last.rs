//! The inputs that images had when they were last built or found: kept only to say what has changed
//! since.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::Result;
use fingerprint::Record;

use super::plan::{Plan, Planned, Request};
use crate::ctx::Ctx;

/// Where the inputs of the last build of an image are kept.
pub(crate) fn record_path(ctx: &Ctx, environment: &str, image: &str) -> PathBuf {
    ctx.state().join(environment).join("inputs").join(image)
}

/// Keeps the inputs that an image has, to say later what has changed since.
pub(crate) fn record(
    ctx: &Ctx,
    request: &Request,
    planned: &Planned,
    content: String,
) -> Result<()> {
    let record = Record {
        fingerprint: planned.fingerprint.clone(),
        content,
        ignore: planned.ignore.clone(),
        inputs: planned.inputs.clone(),
    };
    let path = record_path(ctx, &request.facts.name, &planned.recipe.image);
    ctx.write_cache(&path, record.text()?.as_bytes())
}

/// Keeps the inputs of what is fresh without having been built last: pulled, or gone back to.
pub(crate) fn record_fresh(ctx: &Ctx, request: &Request, plan: &Plan) -> Result<()> {
    for planned in &plan.images {
        let Some(found) = &planned.found else { continue };
        let path = record_path(ctx, &request.facts.name, &planned.recipe.image);
        let mut first = String::new();
        let file = std::fs::File::open(path).map(BufReader::new);
        let known = file.and_then(|mut file| file.read_line(&mut first)).is_ok()
            && Record::claim(&first).as_ref() == Some(&planned.fingerprint);
        if !known {
            record(ctx, request, planned, found.content())?;
        }
    }
    Ok(())
}

/// The inputs of the last build of an image, where they are known.
pub(crate) fn last_record(ctx: &Ctx, environment: &str, image: &str) -> Option<Record> {
    let text = std::fs::read_to_string(record_path(ctx, environment, image)).ok()?;
    Record::parse(&text).ok()
}
