//! `ci`: everything that must pass before a change lands, from a machine that has only Rust.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::gate::{self, Gates, clock};
use super::release::SHIPPED;
use super::test::{self, Trial};
use super::{check, doctor, parity, setup};
use crate::cli::Ci;
use crate::ctx::{self, Ctx};
use crate::project::Project;
use crate::tools::docker;

mod another_day;
mod clone;
pub(super) use clone::Clone;

/// How long our engine may take to end by itself.
const ENGINE_END: Duration = Duration::from_secs(60);

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

/// An engine with an empty data directory, which ends with the run.
struct OwnEngine {
    directory: tempfile::TempDir,
    process: std::process::Child,
}

impl OwnEngine {
    /// `None` where an engine runs already: two of them disturb each other.
    fn start(ctx: &Ctx) -> Result<Option<OwnEngine>> {
        if let doctor::Engine::Ready { version, .. } = doctor::engine(ctx) {
            ctx.warn(format_args!(
                "using the Docker engine {version} that runs here; what it holds can hide a \
                 missing step"
            ));
            return Ok(None);
        }
        if std::path::Path::new("/run/systemd/system").is_dir() {
            ctx.warn(
                "the engine of this machine is started; what it holds can hide a missing step",
            );
            setup::start_engine(ctx)?;
            return Ok(None);
        }
        let directory = tempfile::Builder::new()
            .prefix("stevedore-ci-")
            .tempdir()
            .context("can't create a directory for the engine")?;
        let (data, run) = (directory.path().join("data"), directory.path().join("run"));
        let socket = PathBuf::from("/var/run/docker.sock");
        let directories = docker::EngineDirectories { data: &data, run: &run, socket: &socket };
        let cmd = docker::dockerd(&ctx.sh, Some(&directories));
        ctx.say("ci: starting an empty Docker engine");
        if ctx.skip(&cmd.to_string()) {
            return Ok(None);
        }
        std::fs::create_dir_all(&run)?;
        setup::weigh_containers(ctx);
        let log = ctx.log_file(&directory.path().join("dockerd.log"))?;
        let process = ctx::beside(cmd, log)?;
        let engine = OwnEngine { directory, process };
        if let Err(error) = setup::wait_for_engine(ctx) {
            let log = std::fs::read_to_string(engine.directory.path().join("dockerd.log"));
            let log: Vec<String> = log.unwrap_or_default().lines().map(str::to_owned).collect();
            let tail = log[log.len().saturating_sub(20)..].join("\n  ");
            engine.end(ctx)?;
            return Err(error.context(format!("dockerd says:\n  {tail}")));
        }
        Ok(Some(engine))
    }

    fn end(mut self, ctx: &Ctx) -> Result<()> {
        ctx.say("ci: ending the Docker engine");
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let started = Instant::now();
        while self.process.try_wait().context("can't wait for the engine's end")?.is_none() {
            if started.elapsed() > ENGINE_END {
                self.process.kill().context("can't end the engine")?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // What the engine left mounted or unreadable is not worth a failed run.
        let _ = self.directory.close();
        Ok(())
    }
}
