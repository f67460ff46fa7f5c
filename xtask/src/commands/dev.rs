//! `dev`: from a fresh clone to a running app, and its log until Ctrl-C.
//!
//! Where a Docker engine answers, the stack runs in containers; elsewhere the Procfile runs on this
//! machine. Either way nothing is left running that this command started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use super::start::answers::{self, Pages, Step};
use super::start::startup::{self, Startup};
use super::start::verdict::Verdict;
use super::start::watched::Watched;
use super::start::{self, Stage};
use super::{doctor, env, procfile, volumes};
use crate::cli::{Dev, Engine};
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::compose::{self, Lines};
use crate::watch::Watch;

mod containers;
mod effects;
mod follow;
mod host;
pub(crate) mod live;
mod pages;
mod processes;
mod status_line;
use containers::Containers;
use follow::{Follower, LateAssets, Outage, Place};
pub(crate) use host::{logs as host_logs, test as test_host};
use live::Live;
use status_line::StatusLine;

pub(crate) const ENVIRONMENT: &str = "dev";
/// One page has to begin within this time; the log waits meanwhile.
const PAGE_DEADLINE: Duration = Duration::from_secs(2);

impl Dev {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match choose_engine(ctx, self.engine, doctor::Engine::problem_for_a_start)? {
            Engine::Host => host::dev(ctx, &self),
            Engine::Docker if self.detach => {
                refuse_host(ctx)?;
                let stage = start::start(ctx, ENVIRONMENT, self.port)?;
                open_page(ctx, self.open, stage.facts.environment.main_port())
            }
            Engine::Docker => in_containers(ctx, &self),
        }
    }
}

/// The engine that was asked for, or the best one that is here, said in one line. `problem` is what
/// keeps a Docker engine from being used.
pub(crate) fn choose_engine(
    ctx: &Ctx,
    wanted: Option<Engine>,
    problem: fn(&doctor::Engine) -> Option<String>,
) -> Result<Engine> {
    match wanted {
        Some(Engine::Docker) => doctor::require(ctx, problem).map(|_| Engine::Docker),
        Some(Engine::Host) => Ok(Engine::Host),
        None => Ok(match problem(&doctor::engine_in_use(ctx)) {
            None => Engine::Docker,
            Some(_) if ctx.interrupted() => return Err(exit::interrupted()),
            Some(problem) => {
                ctx.say(format_args!("engine: host, a preview ({problem})"));
                Engine::Host
            }
        }),
    }
}

/// The files as they are before anything is made of them, so that nothing saved from now on is
/// missed. That they can't be watched is no reason not to start.
fn watch(ctx: &Ctx, flags: &Dev) -> Result<Option<Watch>> {
    if flags.no_watch || flags.detach || ctx.dry_run {
        return Ok(None);
    }
    env::ensure(ctx, &env::load(ctx, ENVIRONMENT)?)?;
    Ok(follow::watch(ctx)
        .map_err(|error| ctx.warn(format_args!("no file is watched: {error:#}")))
        .ok())
}

/// The stack in the foreground: compose shows the log, we watch for health beside it.
fn in_containers(ctx: &Ctx, flags: &Dev) -> Result<()> {
    refuse_host(ctx)?;
    let watch = watch(ctx, flags)?;
    let mut stage = match watch {
        Some(_) => start::prepare_page(ctx, ENVIRONMENT, flags.port)?,
        None => start::prepare(ctx, ENVIRONMENT, flags.port)?,
    };
    let live = Live::start(stage.facts.environment.main_port())?;
    if watch.is_some() {
        stage.target.variables.push(live.variable());
        live.announce(ctx)?;
    }
    // In a dry run the overlay that names the images may not be written yet.
    let known = stage.target.files.iter().all(|file| ctx.root.join(file).exists());
    let ran_before = known && start::runs(ctx, &stage)?;
    if known && !ran_before {
        // What an earlier run left behind would look like a failure of this one.
        ctx.run(compose::down(&ctx.sh, &stage.target))?;
    }
    let line = StatusLine::new(ctx, ENVIRONMENT);
    if ctx.dry_run {
        return show(ctx, &stage, flags, &line, ran_before, &Outage::default());
    }
    let (stage, outage) = (Arc::new(stage), Outage::default());
    let (workshop, over) = ctx.apart()?;
    let late = LateAssets::of(stage.assets_follow, stage.facts.environment.main_port());
    let ended = std::thread::scope(|scope| {
        let (same, live, line) = (Arc::clone(&stage), &live, &line);
        let outage = &outage;
        if let Some(watch) = watch {
            scope.spawn(move || match Containers::new(&workshop, same) {
                Ok(place) => {
                    let follower = Follower::new(&workshop, Place::Containers(place), (live, line));
                    let follower = follower.with_late_assets(late);
                    follow(&workshop, follower, watch, outage);
                }
                Err(error) => workshop.warn(format_args!("no file is watched: {error:#}")),
            });
        }
        let ended = show(ctx, &stage, flags, line, ran_before, outage);
        over.store(1, Ordering::Relaxed);
        ended
    });
    live::forget(ctx);
    if ran_before {
        ctx.say("dev ran before and goes on; end it with `cargo xtask stop dev`");
        return ended;
    }
    ctx.clear_interrupt();
    drop(line);
    ctx.say("stopping dev");
    // What was saved last may be no compose file.
    let down = ctx.run(compose::down(&ctx.sh, &stage.target));
    let by_name = |_| ctx.run(compose::down(&ctx.sh, &stage.target.by_name()));
    ended.and(down.or_else(by_name))
}

/// Acts on changed files until it is over. That it can't is no reason to end what runs.
fn follow(ctx: &Ctx, follower: Follower<'_>, watch: Watch, outage: &Outage) {
    if let Err(error) = follower.run(watch, outage)
        && !ctx.interrupted()
    {
        ctx.warn(format_args!("no file is watched any more: {error:#}; start `dev` again"));
    }
}

/// Starts what does not run, and shows the log until Ctrl-C.
///
/// Compose ends when all that it shows has ended, even where that is only to be started again, now
/// or after the next save: `outage` says so, and the log goes on where it was.
fn show(
    ctx: &Ctx,
    stage: &Stage,
    flags: &Dev,
    line: &StatusLine,
    ran_before: bool,
    outage: &Outage,
) -> Result<()> {
    let mut ready = Ready::of(ctx, stage);
    let mut beside = || {
        line.look();
        ready.look(ctx, stage, flags, line)
    };
    let (sh, target) = (&ctx.sh, &stage.target);
    // However wrong the files are by then.
    let known = target.by_name();
    let mut lines = Lines { follow: true, tail: Some(20), ..Lines::default() };
    let mut cmd = match ran_before {
        true => {
            let failed = Startup::new(ctx, stage).up(&[])?;
            if !failed.is_empty() {
                return Err(start::explain_failure(ctx, stage, &failed));
            }
            compose::logs(sh, target, &lines, &[])
        }
        false => compose::up(sh, target),
    };
    loop {
        let ended = ctx.run_log(cmd, &mut beside);
        let since = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        while outage.goes_on() && !ctx.interrupted() {
            std::thread::sleep(Duration::from_millis(20));
        }
        if ctx.interrupted() {
            return ended.and(Err(exit::interrupted()));
        }
        if ended.is_err() || ctx.dry_run || !start::runs(ctx, stage)? {
            return ended;
        }
        lines = Lines { follow: true, since: Some(since), ..Lines::default() };
        cmd = compose::logs(sh, &known, &lines, &[]);
    }
}

/// Refuses when the host engine has the environment's port and data.
fn refuse_host(ctx: &Ctx) -> Result<()> {
    if procfile::running(ctx, ENVIRONMENT)?.is_some() {
        bail!("dev runs on the host engine; stop it first with `cargo xtask stop dev`");
    }
    Ok(())
}

/// Looks for the verdict now and then, and says once where the app answers.
struct Ready {
    /// Until it is said.
    watched: Option<Watched>,
    next: Instant,
    told: Instant,
    /// From when all is ready until the page answers.
    pages: Option<Pages<'static>>,
    is_late: bool,
}

impl Ready {
    fn of(ctx: &Ctx, stage: &Stage) -> Ready {
        let (watched, now) = (Some(Watched::of(ctx, stage)), Instant::now());
        Ready { watched, next: now, told: now, pages: None, is_late: false }
    }

    fn look(&mut self, ctx: &Ctx, stage: &Stage, flags: &Dev, line: &StatusLine) -> Result<()> {
        let Some(watched) = self.watched.as_mut().filter(|_| Instant::now() >= self.next) else {
            return Ok(());
        };
        match watched.verdict(ctx, false)? {
            Verdict::Ready => {
                let port = stage.facts.environment.main_port();
                if self.answers(ctx, stage, port)? {
                    self.watched = None;
                    volumes::warn(
                        ctx,
                        ENVIRONMENT,
                        volumes::of(&start::containers(ctx, &stage.target.project)?),
                    );
                    line.answers(port);
                    open_page(ctx, flags.open, port)?;
                }
            }
            Verdict::Failed(failed) => return Err(start::explain_failure(ctx, stage, &failed)),
            Verdict::Waiting(waiting) => {
                if self.told.elapsed() > startup::TELL_INTERVAL && !ctx.has_line() {
                    self.told = Instant::now();
                    ctx.say(startup::waiting_for(&waiting));
                }
            }
        }
        self.next = Instant::now() + Duration::from_millis(500);
        Ok(())
    }

    /// Whether the page answers, which is said; that it is late is said once.
    fn answers(&mut self, ctx: &Ctx, stage: &Stage, port: Option<u16>) -> Result<bool> {
        if let Some(port) = port {
            if !answers::is_published(ctx, stage, port)? {
                ctx.say(format_args!("{ENVIRONMENT} runs; no service publishes port {port}"));
                return Ok(true);
            }
            let pages = self.pages.get_or_insert_with(|| Pages::new([port].into(), None));
            match pages.step(ctx, stage, PAGE_DEADLINE)? {
                Step::Answers => {}
                Step::Waiting => return Ok(false),
                Step::Late(port, answer) => {
                    if !std::mem::replace(&mut self.is_late, true) {
                        ctx.warn(answers::late(ENVIRONMENT, port, answer));
                    }
                    return Ok(false);
                }
            }
        }
        start::announce(ctx, ENVIRONMENT, port)?;
        Ok(true)
    }
}

/// Opens the page with the desktop's own opener; where there is none the address is enough.
fn open_page(ctx: &Ctx, wanted: bool, port: Option<u16>) -> Result<()> {
    let Some(port) = port.filter(|_| wanted) else {
        return Ok(());
    };
    let opener = ["xdg-open", "open"].into_iter().find(|program| which::which(program).is_ok());
    match opener {
        Some(opener) => {
            let url = format!("http://127.0.0.1:{port}/");
            let opened = ctx.run(ctx.sh.cmd(opener).arg(&url));
            opened.unwrap_or_else(|error| ctx.warn(format_args!("can't open {url}: {error:#}")));
            Ok(())
        }
        None => {
            ctx.warn("there is no xdg-open or open here; open the address above yourself");
            Ok(())
        }
    }
}
