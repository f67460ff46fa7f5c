//! `ci`: everything that must pass before a change lands, from a machine that has only Rust.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use super::gate::{self, Gates, clock};
use super::release::SHIPPED;
use super::test::{self, Trial};
use super::{check, doctor, parity, setup};
use crate::cli::Ci;
use crate::ctx::Ctx;
use crate::project::Project;

mod another_day;
mod clone;
mod own_engine;
pub(super) use clone::Clone;
pub(super) use own_engine::OwnEngine;

impl Ci {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let started = Instant::now();
        let mut declared = gate::declared(ctx, &Project::load(&ctx.root)?)?;
        if self.another_day {
            let faketime = another_day::FAKETIME.to_owned();
            declared.programs.insert(faketime.clone(), faketime);
        }
        with_engine(ctx, &declared.programs, || match self.another_day {
            true => another_day::clone(ctx).and_then(|clone| checks(&clone.ctx, &self)),
            false => checks(ctx, &self),
        })?;
        if !ctx.dry_run {
            let budget = declared.budget_minutes.map(|minutes| format!(" (budget {minutes}:00)"));
            let (took, budget) = (clock(started.elapsed()), budget.unwrap_or_default());
            ctx.say(format_args!("ci: everything passed in {took}{budget}"));
        }
        Ok(())
    }
}

/// Does something with an engine: the one that runs here, or one of our own that ends afterwards.
/// Installs before what is missing for that, and these programs, each with its Debian package.
pub(super) fn with_engine(
    ctx: &Ctx,
    programs: &BTreeMap<String, String>,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    setup::install(ctx, programs)?;
    let engine = OwnEngine::start(ctx)?;
    let done = work();
    match engine {
        Some(engine) => done.and(engine.end(ctx)),
        None => done,
    }
}

/// The gates, cheapest first.
fn checks(ctx: &Ctx, flags: &Ci) -> Result<()> {
    let project = Project::load(&ctx.root)?;
    let declared = gate::declared(ctx, &project)?;
    let mut gates = Gates::new(ctx);
    check::run(ctx, &mut gates, &project)?;
    let mut variables = vec![("STEVEDORE_REQUIRE_DOCKER", "1")];
    variables.extend(flags.full.then_some(("STEVEDORE_FULL", "1")));
    variables.extend(flags.another_day.then_some((another_day::VARIABLE, "1")));
    let more = declared.full.iter().filter(|_| flags.full);
    for (name, line) in declared.ci.iter().chain(more) {
        gates.run_program(name, line, &variables, true)?;
    }
    if ctx.dry_run && doctor::engine(ctx).problem().is_some() {
        // The engine that would answer does not run: its images cannot be asked about.
        ctx.skip("cargo xtask test");
        return Ok(());
    }
    test::run(ctx, &mut gates, &Trial::of(SHIPPED))?;
    parity::gate(ctx, &mut gates, &project, SHIPPED)?;
    gates.finish()
}
