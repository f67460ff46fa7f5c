//! `plan`: what a build would build, reuse or pull, and why; changes nothing.

use anyhow::Result;
use fingerprint::short;

use super::image::plan::{self, Request};
use super::image::share;
use crate::cli::{self, Cache};
use crate::ctx::Ctx;

impl cli::Plan {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut request = Request::question(ctx, &self.environment)?;
        request.paranoid = self.paranoid;
        share::check(&request, self.cache)?;
        let plan = plan::plan(ctx, &request)?;
        let mut counts = [0; 3];
        let mut ask = self.cache != Cache::Off;
        for planned in &plan.images {
            let mut pull = false;
            if ask && planned.found.is_none() {
                let there = share::look(ctx, &request, planned)?;
                ask = there.is_some();
                pull = there == Some(true);
            }
            let (action, count) = match (&planned.found, pull) {
                (Some(_), _) => ("reuse", 0),
                (None, true) => ("pull", 1),
                (None, false) => ("build", 2),
            };
            counts[count] += 1;
            let (image, fingerprint) = (&planned.recipe.image, &planned.fingerprint);
            if ctx.json {
                ctx.event(&serde_json::json!({
                    "event": "plan", "image": image, "fingerprint": fingerprint,
                    "action": action, "reasons": planned.reasons,
                }))?;
                continue;
            }
            let reason = planned.reason();
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            ctx.print(format_args!("{action:6} {image} {}{reason}", short(fingerprint)))?;
        }
        let [reuse, pull, build] = counts;
        ctx.say(format_args!("{reuse} to reuse, {pull} to pull, {build} to build"));
        Ok(())
    }
}
