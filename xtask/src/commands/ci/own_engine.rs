//! Docker engines of our own: each has an empty data directory, and ends with the run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::commands::doctor;
use crate::commands::setup::{self, killed_engine};
use crate::ctx::{self, Ctx};
use crate::exit;
use crate::tools::docker;

/// How long our engine may take to end by itself.
const ENGINE_END: Duration = Duration::from_secs(60);

/// An engine with an empty data directory, which ends with the run.
pub(crate) struct OwnEngine {
    directory: tempfile::TempDir,
    process: std::process::Child,
}

impl OwnEngine {
    /// `None` where an engine runs already: two of them disturb each other.
    pub(in crate::commands) fn start(ctx: &Ctx) -> Result<Option<OwnEngine>> {
        let engine = doctor::engine(ctx);
        if let doctor::Engine::Ready { version, .. } = engine {
            ctx.warn(format_args!(
                "using the Docker engine {version} that runs here; what it holds can hide a \
                 missing step"
            ));
            return Ok(None);
        }
        if let Some(problem) = engine.problem().filter(|_| !engine.is_to_be_set_up()) {
            return Err(exit::missing(problem));
        }
        if std::path::Path::new("/run/systemd/system").is_dir() {
            ctx.warn(
                "the engine of this machine is started; what it holds can hide a missing step",
            );
            setup::start_engine(ctx)?;
            return Ok(None);
        }
        let directory = tempfile::Builder::new()
            .prefix(killed_engine::OWN_ENGINE)
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
        OwnEngine::run(ctx, directory, cmd, || setup::wait_for_engine(ctx)).map(Some)
    }

    /// Runs an engine in its directory; `wait` returns when it answers.
    pub(in crate::commands) fn run(
        ctx: &Ctx,
        directory: tempfile::TempDir,
        cmd: xshell::Cmd<'_>,
        wait: impl FnOnce() -> Result<()>,
    ) -> Result<OwnEngine> {
        setup::prepare_machine(ctx)?;
        let log = ctx.log_file(&directory.path().join("dockerd.log"))?;
        let process = ctx::beside(cmd, log)?;
        let engine = OwnEngine { directory, process };
        if let Err(error) = wait() {
            let log = std::fs::read_to_string(engine.directory.path().join("dockerd.log"));
            let log: Vec<String> = log.unwrap_or_default().lines().map(str::to_owned).collect();
            let tail = log[log.len().saturating_sub(20)..].join("\n  ");
            engine.end(ctx)?;
            return Err(error.context(format!("dockerd says:\n  {tail}")));
        }
        Ok(engine)
    }

    pub(in crate::commands) fn end(mut self, ctx: &Ctx) -> Result<()> {
        ctx.say("ending the Docker engine");
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
        killed_engine::unmount_below(self.directory.path());
        // What the engine left unreadable is not worth a failed run.
        let _ = self.directory.close();
        Ok(())
    }
}
