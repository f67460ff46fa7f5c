//! Which supervisor runs an environment here: a file in the state directory names it while it
//! runs, so that `stop`, `status`, `logs` and `restart` find it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::stage::{Stage, directory};
use crate::ctx::Ctx;
use crate::exit;
use crate::supervise::{Process, group};

/// How long a supervisor may take beyond the grace of its processes.
const MORE: Duration = Duration::from_secs(50);

/// The supervisor that runs, as it describes itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pid: u32,
    started: u64,
    pub(crate) port: Option<u16>,
    /// The names of its processes.
    pub(crate) processes: String,
    #[serde(default)]
    grace: Duration,
}

impl Running {
    pub(crate) fn says_so(&self, environment: &str) -> String {
        format!(
            "{environment} runs on the host engine already (process {}); stop it with \
             `cargo xtask stop {environment}`",
            self.pid
        )
    }

    /// Fails where it has no process of one of these names.
    pub(crate) fn check_names(&self, names: &[String]) -> Result<()> {
        let is_known = |name: &&String| self.processes.split(", ").any(|known| known == *name);
        match names.iter().find(|name| !is_known(name)) {
            None => Ok(()),
            Some(name) => Err(exit::usage(format!(
                "there is no process {name:?}; there are: {}",
                self.processes
            ))),
        }
    }
}

fn path(ctx: &Ctx, environment: &str) -> PathBuf {
    directory(ctx, environment).join("supervisor.json")
}

/// Names of processes to start again, one a line, until the supervisor takes it.
fn requests_path(ctx: &Ctx, environment: &str) -> PathBuf {
    directory(ctx, environment).join("restart")
}

pub(crate) fn log_path(ctx: &Ctx, environment: &str) -> PathBuf {
    directory(ctx, environment).join("dev.log")
}

/// The supervisor of an environment, when one runs.
pub(crate) fn running(ctx: &Ctx, environment: &str) -> Result<Option<Running>> {
    let Ok(text) = std::fs::read_to_string(path(ctx, environment)) else {
        return Ok(None);
    };
    let Ok(running) = serde_json::from_str::<Running>(&text) else {
        return Ok(None);
    };
    let alive = group::start_time(running.pid) == Some(running.started);
    Ok(alive.then_some(running))
}

/// Says that we run these processes.
pub(super) fn announce(ctx: &Ctx, stage: &Stage, processes: &[Process]) -> Result<()> {
    let pid = std::process::id();
    let names: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
    let running = Running {
        pid,
        started: group::start_time(pid).unwrap_or_default(),
        port: stage.port,
        processes: names.join(", "),
        grace: stage.rules.grace,
    };
    let _ = std::fs::remove_file(requests_path(ctx, &stage.environment));
    ctx.write_cache(&path(ctx, &stage.environment), &serde_json::to_vec(&running)?)
}

pub(crate) fn remove(ctx: &Ctx, environment: &str) {
    let _ = std::fs::remove_file(path(ctx, environment));
}

/// Removes the log of an earlier run, unless it is where our own output goes.
pub(super) fn forget_log(ctx: &Ctx, environment: &str) -> Result<()> {
    let path = log_path(ctx, environment);
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let log = rustix::fs::stat(&path).map(identity);
    if log.is_ok() && log != rustix::fs::fstat(std::io::stdout()).map(identity) {
        std::fs::remove_file(&path).context("can't remove the log of an earlier run")?;
    }
    Ok(())
}

/// Ends the supervisor of an environment and waits for it; false when none runs.
pub(crate) fn stop(ctx: &Ctx, environment: &str) -> Result<bool> {
    let Some(running) = running(ctx, environment)? else {
        return Ok(false);
    };
    if ctx.skip(&format!("kill -TERM {}", running.pid)) {
        return Ok(true);
    }
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw).context("bad process id")?;
    kill_process(pid, Signal::TERM).context("can't end the supervisor")?;
    let started = Instant::now();
    while self::running(ctx, environment)?.is_some() {
        anyhow::ensure!(
            started.elapsed() < running.grace + MORE,
            "process {pid} does not end; end it with `kill -KILL {pid}`",
            pid = running.pid
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    ctx.say(format_args!("{environment} is stopped; its data is kept"));
    Ok(true)
}

/// Has the supervisor of an environment start processes again, all without a name; false when none
/// runs.
pub(crate) fn ask_restart(ctx: &Ctx, environment: &str, names: &[String]) -> Result<bool> {
    let Some(running) = running(ctx, environment)? else {
        return Ok(false);
    };
    running.check_names(names)?;
    let names = match names {
        [] => running.processes.replace(", ", "\n"),
        names => names.join("\n"),
    };
    let path = requests_path(ctx, environment);
    if ctx.skip(&format!("write {}", ctx.relative(&path).display())) {
        return Ok(true);
    }
    ctx.write_cache(&path, names.as_bytes())?;
    while path.exists() && self::running(ctx, environment)?.is_some() {
        ctx.pause(Duration::from_millis(50))?;
    }
    ctx.say(format_args!("started again: {}", names.replace('\n', ", ")));
    Ok(true)
}

/// The processes that somebody wants started again since the last look.
pub(super) fn take_requests(ctx: &Ctx, environment: &str) -> Vec<String> {
    let path = requests_path(ctx, environment);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Vec::new();
    };
    let _ = std::fs::remove_file(&path);
    text.lines().map(str::to_owned).collect()
}
