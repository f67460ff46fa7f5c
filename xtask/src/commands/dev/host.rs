//! The host engine: `environments/dev/Procfile` on this machine, with embedded stores.
//!
//! A preview for machines without Docker; gates and releases never use it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::ENVIRONMENT;
use super::follow::{Follower, LateAssets, Outage, Place};
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
use crate::watch::Watch;

/// How long a detached start may take: the first one compiles the app.
const READY: Duration = Duration::from_secs(15 * 60);

/// Runs the Procfile until Ctrl-C, or leaves a supervisor of its own behind with `--detach`.
pub(super) fn dev(ctx: &Ctx, flags: &Dev) -> Result<()> {
    if let Some(running) = procfile::running(ctx, ENVIRONMENT)? {
        bail!("{}", running.says_so(ENVIRONMENT));
    }
    let watch = super::watch(ctx, flags)?;
    let stage = procfile::prepare(ctx, ENVIRONMENT, flags.port, "")?;
    let assets_follow = (flags.detach || watch.is_some()) && assets::may_follow(ctx)?;
    if !assets_follow && !flags.no_assets {
        assets::update_if_possible(ctx)?;
    }
    if flags.detach {
        detach(ctx, &stage, flags)?;
        return if assets_follow { assets::update_if_possible(ctx) } else { Ok(()) };
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
    let over = match watch {
        None => procfile::run_all(ctx, &stage, &mut |_| announce())?,
        Some(watch) => {
            let late = LateAssets::of(assets_follow, stage.port);
            follow(ctx, watch, (&stage, late), &line, &mut announce)?
        }
    };
    // Nobody wanted the end, so it is a failure in any case.
    Err(procfile::failed(&over))
}

/// Runs the processes, and again when they are other ones; meanwhile files are watched. What a
/// saved file has broken waits for the next one.
fn follow(
    ctx: &Ctx,
    watch: Watch,
    (stage, late): (&Stage, Option<LateAssets>),
    line: &StatusLine,
    announce: &mut dyn FnMut() -> Result<()>,
) -> Result<Over> {
    let live = Live::start(stage.port)?;
    let requests = Requests::default();
    let (workshop, over) = ctx.apart()?;
    let first = procfile::read(ctx, ENVIRONMENT, stage.port, &live.variable().1)?;
    std::thread::scope(|scope| {
        let (live, requests, stage) = (&live, &requests, first.clone());
        scope.spawn(move || {
            let place = Box::new(Processes::new(&workshop, stage, requests));
            let (place, outage) = (Place::Processes(place), Outage::default());
            let follower = Follower::new(&workshop, place, (live, line)).with_late_assets(late);
            super::follow(&workshop, follower, watch, &outage);
        });
        let mut stage = first;
        let result = loop {
            let mut beside = |supervisor: &mut Supervisor<'_>| {
                announce()?;
                requests.obey(supervisor)
            };
            let result = procfile::run_all(ctx, &stage, &mut beside);
            let problem = match &result {
                Err(error) if error.is::<Again>() => None,
                Err(error) if !exit::is_asked_for(error) => Some(format!("{error:#}")),
                Ok(over) => Some(procfile::over_in_words(over)),
                Err(_) => break result,
            };
            if let Some(problem) = problem {
                if !requests.were_made() {
                    break result;
                }
                ctx.complain(problem);
                ctx.say("waiting for the next change");
                let waiting = procfile::claimed(ctx, &stage, || requests.wait(ctx))?;
                if !waiting {
                    ctx.say(format_args!("{ENVIRONMENT} is stopped; its data is kept"));
                    break Err(exit::by_signal(ctx.signal().unwrap_or_default()));
                }
            }
            stage = requests.take().unwrap_or(stage);
        };
        over.store(1, Ordering::Relaxed);
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
        .args(["dev", "--engine=host", "--no-watch", "--no-assets", "--color=never"])
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

/// Shows the log of a detached supervisor: all of it, or the lines of some processes.
pub(crate) fn logs(
    ctx: &Ctx,
    environment: &str,
    names: &[String],
    tail: u32,
    follow: bool,
    tell: &mut dyn FnMut(&str),
) -> Result<()> {
    let path = procfile::log_path(ctx, environment);
    if !path.exists() {
        bail!("{environment} runs in the foreground of another terminal and shows its log there");
    }
    let follow = follow.then_some("--follow");
    let lines = format!("--lines={tail}");
    let cmd = xshell::cmd!(ctx.sh, "tail {follow...} {lines} {path}");
    if !ctx.json && names.is_empty() {
        return ctx.run_shown(cmd, &mut || Ok(()));
    }
    let is_theirs = |line: &str| {
        let name = line.split_once('|').map(|(name, _)| name.trim());
        names.is_empty() || name.is_some_and(|name| names.iter().any(|it| it == name))
    };
    ctx.run_lines(cmd, &mut |line| {
        if is_theirs(line) {
            tell(line);
        }
    })
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
