//! The host engine: `environments/dev/Procfile` on this machine, with embedded stores.
//!
//! A preview for machines without Docker; gates and releases never use it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::ENVIRONMENT;
use super::follow::Place;
use super::live::Live;
use super::processes::{Again, Processes, Requests};
use super::status_line::StatusLine;
use crate::cli::Dev;
use crate::commands::procfile::{self, Stage};
use crate::commands::{assets, ports, start};
use crate::ctx::{self, Ctx};
use crate::exit;
use crate::project::procfile::{RELEASE, TEST};
use crate::supervise::{Over, Supervisor};

/// How long a detached start may take: the first one compiles the app.
const READY: Duration = Duration::from_secs(15 * 60);

/// Runs the Procfile until Ctrl-C, or leaves a supervisor of its own behind with `--detach`.
pub(super) fn dev(ctx: &Ctx, flags: &Dev) -> Result<()> {
    if let Some(running) = procfile::running(ctx, ENVIRONMENT)? {
        bail!("{}", running.says_so(ENVIRONMENT));
    }
    let stage = procfile::prepare(ctx, ENVIRONMENT, flags.port, "")?;
    assets::update_if_possible(ctx)?;
    if flags.detach {
        return detach(ctx, &stage, flags);
    }
    if ctx.dry_run {
        stage.show(ctx);
        return Ok(());
    }
    let (line, mut waiting) = (StatusLine::new(ctx, ENVIRONMENT), true);
    let mut announce = || {
        line.look();
        if waiting && stage.port.is_some_and(start::answers) {
            waiting = false;
            start::announce(ctx, ENVIRONMENT, stage.port)?;
            line.answers(stage.port);
            super::open_page(ctx, flags.open, stage.port)?;
        }
        Ok(())
    };
    let over = match flags.no_watch {
        true => procfile::run_all(ctx, &stage, &mut |_| announce())?,
        false => follow(ctx, stage.port, &line, &mut announce)?,
    };
    // Nobody wanted the end, so it is a failure in any case.
    Err(procfile::failed(&over))
}

/// Runs the processes, and again when they are other ones; meanwhile files are watched.
fn follow(
    ctx: &Ctx,
    port: Option<u16>,
    line: &StatusLine,
    announce: &mut dyn FnMut() -> Result<()>,
) -> Result<Over> {
    let live = Live::start(port)?;
    let (requests, over) = (Requests::default(), AtomicBool::new(false));
    let read = || procfile::read(ctx, ENVIRONMENT, port, &live.variable().1);
    let (first, workshop) = (read()?, ctx.for_a_thread()?);
    std::thread::scope(|scope| {
        let (live, requests, ended, stage) = (&live, &requests, &over, first.clone());
        scope.spawn(move || {
            let place = Box::new(Processes::new(&workshop, stage, requests));
            let (place, busy) = (Place::Processes(place), AtomicBool::default());
            super::follow(&workshop, place, (live, line), ended, &busy);
        });
        let mut stage = first;
        let result = loop {
            let mut beside = |supervisor: &mut Supervisor<'_>| {
                announce()?;
                requests.obey(supervisor)
            };
            match procfile::run_all(ctx, &stage, &mut beside) {
                Err(error) if error.is::<Again>() => match read() {
                    Ok(again) => stage = again,
                    Err(error) => break Err(error),
                },
                result => break result,
            }
        };
        over.store(true, Ordering::Relaxed);
        result
    })
}

/// Starts ourselves again in a session of our own, and waits until the app answers.
fn detach(ctx: &Ctx, stage: &Stage, flags: &Dev) -> Result<()> {
    let program = std::env::current_exe().context("can't find my own program")?;
    let port = stage.port.map(|port| format!("--port={port}"));
    let cmd = ctx
        .sh
        .cmd(program)
        .args(["dev", "--engine=host", "--no-watch", "--color=never"])
        .args(port);
    if ctx.skip(&cmd.to_string()) {
        return Ok(());
    }
    let log = procfile::log_path(ctx, ENVIRONMENT);
    let _ = std::fs::remove_file(&log);
    let mut child = ctx::detach(cmd, ctx.log_file(&log)?)?;
    let started = Instant::now();
    while !is_up(ctx, stage)? {
        if let Some(status) = child.try_wait()? {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let message = format!("dev did not start ({status}):\n{}", text.trim_end());
            return Err(exit::Exit { code: exit::of_status(status), message }.into());
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
fn is_up(ctx: &Ctx, stage: &Stage) -> Result<bool> {
    if let Some(port) = stage.port {
        return Ok(start::answers(port));
    }
    let running = procfile::running(ctx, ENVIRONMENT)?;
    Ok(running.is_some_and(|running| running.processes != RELEASE))
}

/// Shows the log of a detached supervisor.
pub(crate) fn logs(ctx: &Ctx, environment: &str, tail: u32, follow: bool) -> Result<()> {
    let path = procfile::log_path(ctx, environment);
    if !path.exists() {
        bail!("{environment} runs in the foreground of another terminal and shows its log there");
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
    let facts = crate::commands::env::load(ctx, ENVIRONMENT)?;
    let free = facts.environment.main_port().filter(|port| ports::is_free(*port));
    let stage = procfile::prepare(ctx, ENVIRONMENT, free.or(Some(0)), "")?;
    let test = stage.test.as_ref().with_context(|| {
        format!("environments/{ENVIRONMENT}/Procfile has no `{TEST}:` line; use Docker: `cargo xtask setup`")
    })?;
    procfile::run_once(ctx, &stage, test).map_err(|error| match exit::is_asked_for(&error) {
        true => error,
        false => exit::gate(format!("{error:#}")),
    })
}
