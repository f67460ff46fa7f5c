//! `test`: the app's own tests, where they will run in earnest: in the `test` stage of each image.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::image::build;
use super::{dev, doctor, env};
use crate::cli::{self, Engine};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::{dockerfile, image, lock};

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

/// Builds the `test` stage of every image that has one.
pub(crate) fn test_images(ctx: &Ctx) -> Result<()> {
    doctor::require_engine(ctx)?;
    let facts = env::load(ctx, "dev")?;
    let mut stack = env::load_stack(ctx, &facts)?;
    let mut names = BTreeSet::new();
    for service in stack.services.values_mut() {
        let Some(build) = &mut service.build else {
            continue;
        };
        let text = std::fs::read_to_string(ctx.root.join(&build.dockerfile))
            .with_context(|| format!("can't read {}", build.dockerfile))?;
        if dockerfile::has_stage(&text, STAGE) {
            build.target = Some(STAGE.into());
            names.extend(image::folder_of(&build.dockerfile));
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() {
        ctx.say(format_args!("no Dockerfile has a stage `{STAGE}`: nothing to run"));
        return Ok(());
    }
    // Its records are its own: the dev images are not what was tested here.
    let facts = env::Facts { name: "test".into(), ..facts };
    build::build(ctx, &facts, &stack, &lock::load(&ctx.root)?, &names).map_err(|error| {
        match error.downcast_ref::<build::BuilderFailed>() {
            Some(_) => exit::gate(format!("the tests did not pass: {error:#}")),
            None => error,
        }
    })?;
    ctx.say(format_args!("the tests of {} passed", names.join(", ")));
    Ok(())
}
