//! `image list`: the images of an environment, and whether they are fresh.

use anyhow::Result;
use fingerprint::short;

use super::plan::{self, Request};
use crate::cli::ImageList;
use crate::ctx::Ctx;

impl ImageList {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let plan = plan::plan(ctx, &Request::question(ctx, &self.environment)?)?;
        for planned in &plan.images {
            let image = &planned.recipe.image;
            let megabytes = planned.found.as_ref().map(|found| found.size / 1_000_000);
            let status = if planned.found.is_some() { "fresh" } else { "dirty" };
            if ctx.json {
                ctx.event(&serde_json::json!({
                    "event": "image", "image": image, "fingerprint": planned.fingerprint,
                    "status": status, "reason": planned.reason(),
                    "id": planned.found.as_ref().map(|found| &found.id), "megabytes": megabytes,
                }))?;
                continue;
            }
            let detail = match megabytes {
                Some(megabytes) => format!("{megabytes} MB"),
                None => planned.reason(),
            };
            let id = short(&planned.fingerprint);
            ctx.print(format_args!("{status:7} {image:12} {id}  {detail}"))?;
        }
        Ok(())
    }
}
