//! `image why`: every reason why an image would be built, one a line.

use anyhow::{Context, Result};
use fingerprint::short;

use super::last;
use super::plan::{self, Request};
use crate::cli::ImageWhy;
use crate::ctx::Ctx;

impl ImageWhy {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::question(ctx, &self.environment)?;
        request.only = vec![self.image.clone()];
        let plan = plan::plan(ctx, &request)?;
        let planned = plan.of(&self.image).context("the image is not in its own plan")?;
        let status = if planned.found.is_some() { "fresh" } else { "dirty" };
        if ctx.json {
            return ctx.event(&serde_json::json!({
                "event": "image", "image": self.image, "fingerprint": planned.fingerprint,
                "status": status, "reasons": planned.reasons,
            }));
        }
        let last = last::last_record(ctx, &request.facts.name, &self.image);
        let id = short(&planned.fingerprint);
        match (&planned.found, last) {
            (Some(image), _) => ctx.print(format_args!("fresh {id}: {}", image.id))?,
            (None, Some(last)) => {
                ctx.print(format_args!("dirty {id}, last built as {}", short(&last.fingerprint)))?;
            }
            (None, None) => ctx.print(format_args!("dirty {id}"))?,
        }
        if let Some(until) = planned.unknown_until() {
            ctx.print(format_args!("  the fingerprint is {until}; docker/stack.lock stands in"))?;
        }
        planned.reasons.iter().try_for_each(|reason| ctx.print(format_args!("  {reason}")))
    }
}
