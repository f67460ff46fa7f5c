//! The host engine: `environments/dev/Procfile` on this machine, with embedded stores.
//!
//! A preview for machines without Docker; gates and releases never use it. A file in the state
//! directory names the supervisor while it runs, so that `stop`, `status` and `logs` find it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::ENVIRONMENT;
use crate::cli::Dev;
use crate::commands::env::{self, Facts};
use crate::commands::{assets, start, status};
use crate::ctx::{self, Ctx};
use crate::exit;
use crate::project::dotenv;
use crate::project::environment::MAIN_PORT;
use crate::project::procfile::{self, RELEASE, TEST};
use crate::project::substitute::substitute;
use crate::supervise::{self, Ended, Process, Setting, Show, group};

/// How long a detached start may take: the first one compiles the app.
const READY: Duration = Duration::from_secs(15 * 60);
/// How long a supervisor may take to end its processes.
const STOPPED: Duration = Duration::from_secs(60);

/// The supervisor that runs, as it describes itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pid: u32,
    started: u64,
    pub(crate) port: Option<u16>,
    /// The names of its processes.
    pub(crate) processes: String,
}

fn directory(ctx: &Ctx, environment: &str) -> PathBuf {
    ctx.state().join(environment).join("host")
}

fn state_path(ctx: &Ctx, environment: &str) -> PathBuf {
    directory(ctx, environment).join("supervisor.json")
}

fn log_path(ctx: &Ctx, environment: &str) -> PathBuf {
    directory(ctx, environment).join("dev.log")
}

/// The supervisor of an environment, when one runs.
pub(crate) fn running(ctx: &Ctx, environment: &str) -> Result<Option<Running>> {
    let Ok(text) = std::fs::read_to_string(state_path(ctx, environment)) else {
        return Ok(None);
    };
    let Ok(running) = serde_json::from_str::<Running>(&text) else {
        return Ok(None);
    };
    let alive = group::start_time(running.pid) == Some(running.started);
    Ok(alive.then_some(running))
}

/// Runs the Procfile until Ctrl-C, or leaves a supervisor of its own behind with `--detach`.
pub(super) fn dev(ctx: &Ctx, flags: &Dev) -> Result<()> {
    if let Some(running) = running(ctx, ENVIRONMENT)? {
        bail!(
            "dev runs on the host engine already (process {}); stop it with `cargo xtask stop dev`",
            running.pid
        );
    }
    let stage = prepare(ctx, flags.port)?;
    assets::update_if_possible(ctx)?;
    if flags.detach {
        return detach(ctx, &stage, flags);
    }
    if ctx.dry_run {
        for process in stage.release.iter().chain(&stage.processes) {
            ctx.skip(&shell_words::join(&process.words));
        }
        return Ok(());
    }
    let ended = run_all(ctx, &stage, flags);
    let _ = std::fs::remove_file(state_path(ctx, ENVIRONMENT));
    match ended? {
        Ended::Asked => {
            ctx.say("dev is stopped; its data is kept");
            Err(exit::interrupted())
        }
        Ended::Process { name, status } => {
            bail!("{name} ended ({status}), so the others were ended too; its log is above")
        }
    }
}

/// First `release`, then all the others, known to `stop` and `status` from the first moment.
fn run_all(ctx: &Ctx, stage: &HostStage, flags: &Dev) -> Result<Ended> {
    forget_log(ctx)?;
    let show = printer(ctx, &stage.processes);
    if let Some(release) = &stage.release {
        announce_self(ctx, stage.port, std::slice::from_ref(release))?;
        run_once(ctx, release, &stage.setting, &show)?;
    }
    announce_self(ctx, stage.port, &stage.processes)?;
    let mut waiting = true;
    let mut beside = || {
        if waiting && stage.port.is_some_and(answers) {
            waiting = false;
            start::announce(ctx, ENVIRONMENT, stage.port)?;
            super::open_page(ctx, flags.open, stage.port)?;
        }
        Ok(())
    };
    let stop = || ctx.interrupted();
    supervise::run(&stage.processes, &stage.setting, &show, &stop, &mut beside)
}

/// Removes the log of an earlier run, unless it is where our own output goes.
fn forget_log(ctx: &Ctx) -> Result<()> {
    let path = log_path(ctx, ENVIRONMENT);
    let identity = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    let log = rustix::fs::stat(&path).map(identity);
    if log.is_ok() && log != rustix::fs::fstat(std::io::stdout()).map(identity) {
        std::fs::remove_file(&path).context("can't remove the log of an earlier run")?;
    }
    Ok(())
}

struct HostStage {
    release: Option<Process>,
    test: Option<Process>,
    processes: Vec<Process>,
    setting: Setting,
    port: Option<u16>,
}

/// Settings, Procfile and port; nothing runs yet.
fn prepare(ctx: &Ctx, port: Option<u16>) -> Result<HostStage> {
    let facts = env::load(ctx, ENVIRONMENT)?;
    let port = port.or_else(|| facts.environment.main_port());
    if let Some(port) = port.filter(|port| !status::is_free(*port)) {
        bail!(
            "port {port} is in use by {}; choose another with --port, such as --port {}",
            status::owner_of(port),
            status::another(port)
        );
    }
    env::ensure(ctx, &facts)?;
    let variables = variables(ctx, &facts, port)?;
    let name = format!("environments/{ENVIRONMENT}/Procfile");
    let text = std::fs::read_to_string(ctx.root.join(&name)).with_context(|| {
        format!("can't read {name}, which the host engine runs; use Docker: `cargo xtask setup`")
    })?;
    let parsed = procfile::parse(&text).map_err(|problems| {
        exit::problems(&format!("can't use {name}"), &dotenv::in_file(&name, &problems))
    })?;
    let mut stage = HostStage {
        release: None,
        test: None,
        processes: Vec::new(),
        setting: Setting { directory: ctx.root.clone(), variables },
        port,
    };
    for process in parsed {
        let words: Result<Vec<String>, String> = process
            .words
            .iter()
            .map(|word| substitute(word, &mut |name| stage.setting.variables.get(name).cloned()))
            .collect();
        let words =
            words.map_err(|message| anyhow::anyhow!("{name}:{}: {message}", process.line))?;
        let ready = Process { name: process.name.clone(), words };
        match process.name.as_str() {
            RELEASE => stage.release = Some(ready),
            TEST => stage.test = Some(ready),
            _ => stage.processes.push(ready),
        }
    }
    anyhow::ensure!(!stage.processes.is_empty(), "{name} names no process to run");
    Ok(stage)
}

/// What the processes see: public facts, then `.env`, then what the host engine replaces.
fn variables(ctx: &Ctx, facts: &Facts, port: Option<u16>) -> Result<BTreeMap<String, String>> {
    let directory = directory(ctx, &facts.name);
    if !ctx.dry_run {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("can't create {}", ctx.relative(&directory).display()))?;
    }
    let mut variables = env::settings(ctx, facts)?;
    if ctx.dry_run {
        // Before the first start there is no value yet; its name stands for it.
        for name in facts.schema.variables.keys() {
            variables.entry(name.clone()).or_insert(format!("<{name}>"));
        }
    }
    variables.insert("STEVEDORE_STATE".into(), directory.display().to_string());
    variables.insert("STEVEDORE_COMMIT".into(), start::commit(ctx));
    if let Some(port) = port {
        variables.insert(env::port_variable(MAIN_PORT), port.to_string());
        variables.insert("PORT".into(), port.to_string());
    }
    for (name, value) in &facts.environment.host.variables {
        let value = substitute(value, &mut |name| variables.get(name).cloned())
            .map_err(|message| anyhow::anyhow!("{name} in [host.variables]: {message}"))?;
        variables.insert(name.clone(), value);
    }
    Ok(variables)
}

fn run_once(ctx: &Ctx, process: &Process, setting: &Setting, show: &Show) -> Result<()> {
    if ctx.skip(&shell_words::join(&process.words)) {
        return Ok(());
    }
    let stop = || ctx.interrupted();
    let ended =
        supervise::run(std::slice::from_ref(process), setting, show, &stop, &mut || Ok(()))?;
    match ended {
        Ended::Asked => Err(exit::interrupted()),
        Ended::Process { status, .. } if status.success() => Ok(()),
        Ended::Process { name, status } => bail!("{name} failed ({status}); its log is above"),
    }
}

/// Prints each line behind the name of its process, in a colour of its own on a terminal.
fn printer(ctx: &Ctx, processes: &[Process]) -> Show {
    let names: Vec<String> = processes.iter().map(|p| p.name.clone()).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(RELEASE.len());
    let json = ctx.json;
    Arc::new(move |name, line| {
        use std::io::Write;
        const COLORS: [anstyle::AnsiColor; 5] = [
            anstyle::AnsiColor::Cyan,
            anstyle::AnsiColor::Green,
            anstyle::AnsiColor::Magenta,
            anstyle::AnsiColor::Yellow,
            anstyle::AnsiColor::Blue,
        ];
        let index = names.iter().position(|known| known == name).unwrap_or(names.len());
        let style = COLORS[index % COLORS.len()].on_default();
        let line = format!("{style}{name:width$} |{style:#} {line}");
        // With --json stdout is for events.
        let _ = match json {
            true => writeln!(anstream::stderr(), "{line}"),
            false => writeln!(anstream::stdout(), "{line}"),
        };
    })
}

fn announce_self(ctx: &Ctx, port: Option<u16>, processes: &[Process]) -> Result<()> {
    let pid = std::process::id();
    let names: Vec<&str> = processes.iter().map(|p| p.name.as_str()).collect();
    let running = Running {
        pid,
        started: group::start_time(pid).unwrap_or_default(),
        port,
        processes: names.join(", "),
    };
    let text = serde_json::to_vec(&running)?;
    ctx.write_cache(&state_path(ctx, ENVIRONMENT), &text)
}

fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(200)).is_ok()
}

/// Starts ourselves again in a session of our own, and waits until the app answers.
fn detach(ctx: &Ctx, stage: &HostStage, flags: &Dev) -> Result<()> {
    let program = std::env::current_exe().context("can't find my own program")?;
    let port = stage.port.map(|port| format!("--port={port}"));
    let cmd = ctx.sh.cmd(program).args(["dev", "--engine=host", "--color=never"]).args(port);
    if ctx.skip(&cmd.to_string()) {
        return Ok(());
    }
    let log = log_path(ctx, ENVIRONMENT);
    let _ = std::fs::remove_file(&log);
    let mut child = ctx::detach(cmd, ctx.log_file(&log)?)?;
    let started = Instant::now();
    while !is_up(ctx, stage)? {
        if let Some(status) = child.try_wait()? {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("dev did not start ({status}):\n{}", text.trim_end());
        }
        let too_long = started.elapsed() > READY;
        if too_long || ctx.interrupted() {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            child.wait()?;
            if !too_long {
                return Err(exit::interrupted());
            }
            bail!("dev did not answer within {} s", READY.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    start::announce(ctx, ENVIRONMENT, stage.port)?;
    super::open_page(ctx, flags.open, stage.port)
}

/// Whether the port answers; where there is none, whether the processes were started.
fn is_up(ctx: &Ctx, stage: &HostStage) -> Result<bool> {
    if let Some(port) = stage.port {
        return Ok(answers(port));
    }
    let running = running(ctx, ENVIRONMENT)?;
    Ok(running.is_some_and(|running| running.processes != RELEASE))
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
            started.elapsed() < STOPPED,
            "process {pid} does not end; end it with `kill -KILL {pid}`",
            pid = running.pid
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    ctx.say(format_args!("{environment} is stopped; its data is kept"));
    Ok(true)
}

/// Shows the log of a detached supervisor.
pub(crate) fn logs(ctx: &Ctx, environment: &str, tail: u32, follow: bool) -> Result<()> {
    let path = log_path(ctx, environment);
    if !path.exists() {
        bail!("dev runs in the foreground of another terminal and shows its log there");
    }
    let follow = follow.then_some("--follow");
    let lines = format!("--lines={tail}");
    let cmd = xshell::cmd!(ctx.sh, "tail {follow...} {lines} {path}");
    match ctx.run_shown(cmd, &mut || Ok(())) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Ok(()),
        result => result,
    }
}

/// Runs the Procfile's `test` process.
pub(crate) fn test(ctx: &Ctx) -> Result<()> {
    let facts = env::load(ctx, ENVIRONMENT)?;
    let free = facts.environment.main_port().filter(|port| status::is_free(*port));
    let stage = prepare(ctx, free.or(Some(0)))?;
    let test = stage.test.with_context(|| {
        format!("environments/{ENVIRONMENT}/Procfile has no `{TEST}:` line; use Docker: `cargo xtask setup`")
    })?;
    let show = printer(ctx, std::slice::from_ref(&test));
    run_once(ctx, &test, &stage.setting, &show).map_err(|error| match exit::code(&error) {
        exit::FAILED => exit::gate(format!("{error:#}")),
        _ => error,
    })
}
