//! `image list`: the images of an environment, and whether they are fresh.

use anyhow::Result;

use super::plan;
use crate::cli::ImageList;
use crate::commands::{doctor, env};
use crate::ctx::Ctx;
use crate::fingerprint::short;
use crate::project::lock;

impl ImageList {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let facts = env::load(ctx, &self.environment)?;
        let platform = doctor::require_engine(ctx)?;
        let stack = env::load_stack(ctx, &facts)?;
        let plan = plan::plan(ctx, &facts, &stack, &lock::load(&ctx.root)?, &platform)?;
        for planned in &plan.images {
            let image = &planned.recipe.image;
            let megabytes = planned.found.as_ref().map(|found| found.size / 1_000_000);
            let status = if planned.found.is_some() { "fresh" } else { "dirty" };
            if ctx.json {
                ctx.event(&serde_json::json!({
                    "event": "image", "image": image, "fingerprint": planned.fingerprint,
                    "status": status, "reason": planned.reason,
                    "id": planned.found.as_ref().map(|found| &found.id), "megabytes": megabytes,
                }))?;
                continue;
            }
            let detail = match megabytes {
                Some(megabytes) => format!("{megabytes} MB"),
                None => planned.reason.clone(),
            };
            let id = short(&planned.fingerprint);
            ctx.print(format_args!("{status:7} {image:12} {id}  {detail}"))?;
        }
        Ok(())
    }
}
