//! `beanstalk serve|status|stop|environment`: the local Elastic Beanstalk, a program of its own
//! that is compiled when it is first needed.

use std::path::PathBuf;

use anyhow::Result;

use super::doctor;
use super::program::Program;
use crate::cli;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::tools::beanstalk;

const SERVER: Program =
    Program { name: "beanstalk", what: "the local Elastic Beanstalk", crates: &["beanstalk"] };

impl cli::Beanstalk {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            cli::Beanstalk::Serve(flags) => {
                doctor::require_engine_for_a_start(ctx)?;
                let state = state(ctx, flags.place.state);
                let own = attached(ctx);
                if flags.attached.is_none() {
                    ctx.state_directory(&own)?;
                }
                let serve = beanstalk::Serve {
                    port: flags.port,
                    attached: flags.attached.unwrap_or(own),
                    instance_image: flags.instance_image,
                    patience_seconds: flags.patience,
                };
                let program = SERVER.ready(ctx)?.0;
                let cmd = beanstalk::serve(&ctx.sh, &program, &state, &serve);
                // It ends with us, whoever ends us.
                ctx.run_shown(cmd, &mut || Ok(())).map(|()| 0)
            }
            cli::Beanstalk::Status(flags) => {
                let state = state(ctx, flags.place.state);
                let mut options = Vec::new();
                options.extend(flags.beliefs.then_some("--beliefs"));
                options.extend(ctx.json.then_some("--json"));
                let program = SERVER.ready(ctx)?.0;
                ctx.ask_shown(beanstalk::call(&ctx.sh, &program, "status", &state, &options))
            }
            cli::Beanstalk::Stop(place) => {
                let (program, state) = (SERVER.ready(ctx)?.0, state(ctx, place.state));
                ctx.run_interactive(beanstalk::call(&ctx.sh, &program, "stop", &state, &[]))
            }
            cli::Beanstalk::Environment(place) => {
                let (program, state) = (SERVER.ready(ctx)?.0, state(ctx, place.state));
                ctx.ask_shown(beanstalk::call(&ctx.sh, &program, "environment", &state, &[]))
            }
        }
    }
}

/// The variables that lead `eb` and `aws` to the local Elastic Beanstalk of this checkout, and
/// nowhere else.
///
/// Fails where none runs.
pub(crate) fn fence(ctx: &Ctx) -> Result<Vec<(String, String)>> {
    let program = SERVER.ready(ctx)?.0;
    let cmd = beanstalk::call(&ctx.sh, &program, "environment", &state(ctx, None), &[]);
    let answer = ctx.ask(cmd, QUESTION)?;
    if !answer.status.success() {
        return Err(exit::missing(format!(
            "no local Elastic Beanstalk runs; `cargo xtask beanstalk serve` in another terminal \
             starts it, and [beanstalk] region in environment.toml leads to AWS instead\n  {}",
            answer.stderr.trim()
        )));
    }
    Ok(beanstalk::parse_environment(&answer.stdout))
}

/// Where the local Elastic Beanstalk finds what is attached to each environment.
pub(crate) fn attached(ctx: &Ctx) -> PathBuf {
    ctx.common().join("beanstalk-attached")
}

/// Of this checkout, unless another is named; never below a tree that is thrown away.
fn state(ctx: &Ctx, named: Option<PathBuf>) -> PathBuf {
    named.unwrap_or_else(|| ctx.common().join("beanstalk"))
}
