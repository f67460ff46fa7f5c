//! `test`: the app's own tests, where they will run in earnest: in the `test` stage of each image.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::image::build;
use super::image::builder::BuilderFailed;
use super::image::plan::Request;
use super::{dev, doctor};
use crate::cli::{self, Cache, Engine};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::{dockerfile, image};

/// The stage whose build runs the tests of an image.
const STAGE: &str = "test";

impl cli::Test {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match dev::choose_engine(ctx, self.engine)? {
            Engine::Host => dev::test_host(ctx),
            Engine::Docker => test_images(ctx),
        }
    }
}

/// The `test` stage of every image of dev that has one; `None` where none has.
pub(crate) fn request(ctx: &Ctx) -> Result<Option<Request>> {
    let mut request = Request::load(ctx, "dev")?;
    let mut names = BTreeSet::new();
    for service in request.stack.services.values_mut() {
        let Some(build) = &mut service.build else {
            continue;
        };
        let text = std::fs::read_to_string(ctx.root.join(&build.dockerfile))
            .with_context(|| format!("can't read {}", build.dockerfile))?;
        let has_stage = dockerfile::has_stage(&text, STAGE)
            .map_err(|message| anyhow::anyhow!("{}:{message}", build.dockerfile))?;
        if has_stage {
            build.target = Some(STAGE.into());
            names.extend(image::folder_of(&build.dockerfile));
        }
    }
    // Its records are its own: the dev images are not what was tested here.
    request.facts.name = "test".into();
    request.needs_assets = false;
    request.only = names.into_iter().collect();
    Ok((!request.only.is_empty()).then_some(request))
}

/// Builds the `test` stages: that runs the tests.
pub(crate) fn test_images(ctx: &Ctx) -> Result<()> {
    doctor::require_engine(ctx)?;
    let Some(mut request) = request(ctx)? else {
        ctx.say(format_args!("no Dockerfile has a stage `{STAGE}`: nothing to run"));
        return Ok(());
    };
    build::build(ctx, &mut request, Cache::Off).map_err(|error| {
        match error.downcast_ref::<BuilderFailed>() {
            Some(_) => exit::gate(format!("the tests did not pass: {error:#}")),
            None => error,
        }
    })?;
    ctx.say(format_args!("the tests of {} passed", request.only.join(", ")));
    Ok(())
}
