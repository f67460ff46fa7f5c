//! `procfile`: the processes of an environment on this machine, until Ctrl-C.
//!
//! The host engine's part of `dev` too: settings, ports, `release` before the others, and what the
//! end of a process means.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::start;
use crate::cli::Procfile;
use crate::ctx::Ctx;
use crate::exit;
use crate::supervise::{End, Event, Over, Process, Supervisor, TICK};

mod claim;
mod lines;
mod stage;
pub(crate) use claim::{ask_restart, log_path, remove as remove_claim, running, stop};
pub(crate) use stage::{Stage, prepare, read};

/// Who waits for longer wants to know what for.
const LONG: Duration = Duration::from_secs(1);

impl Procfile {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let name = &self.environment;
        if let Some(running) = running(ctx, name)? {
            bail!("{}", running.says_so(name));
        }
        let mut stage = prepare(ctx, name, self.port, "")?;
        if let Some(seconds) = self.grace {
            stage.rules.grace = Duration::from_secs(seconds.into());
        }
        if let Some(restarts) = self.restarts {
            stage.rules.restarts = restarts.into();
        }
        if ctx.dry_run {
            stage.show(ctx);
            return Ok(());
        }
        let mut waiting = true;
        let mut beside = |_: &mut Supervisor<'_>| {
            if waiting && stage.port.is_some_and(start::answers) {
                waiting = false;
                start::announce(ctx, name, stage.port)?;
            }
            Ok(())
        };
        let over = run_all(ctx, &stage, &mut beside)?;
        match &over.end {
            End::Status(status) if status.success() => {
                ctx.say(over_in_words(&over));
                Ok(())
            }
            _ => Err(failed(&over)),
        }
    }
}

/// What is done at every tick beside watching: it may start processes again.
pub(crate) type Beside<'b> = dyn FnMut(&mut Supervisor<'_>) -> Result<()> + 'b;

/// First `release`, then all the others, known to `stop` and `status` from the first moment.
///
/// Comes back when a process has ended for good; an interrupt is an error.
pub(crate) fn run_all(ctx: &Ctx, stage: &Stage, beside: &mut Beside<'_>) -> Result<Over> {
    let result = claim::forget_log(ctx, &stage.environment).and_then(|()| {
        if let Some(release) = &stage.release {
            claim::announce(ctx, stage, std::slice::from_ref(release))?;
            run_once(ctx, stage, release)?;
        }
        claim::announce(ctx, stage, &stage.processes)?;
        supervise(ctx, stage, &stage.processes, beside)
    });
    remove_claim(ctx, &stage.environment);
    if result.as_ref().is_err_and(exit::is_asked_for) {
        ctx.say(format_args!("{} is stopped; its data is kept", stage.environment));
    }
    result
}

/// Does something while nothing runs, and `stop` and `status` know of us all the same.
pub(crate) fn claimed<T>(ctx: &Ctx, stage: &Stage, act: impl FnOnce() -> T) -> Result<T> {
    claim::announce(ctx, stage, &stage.processes)?;
    let done = act();
    remove_claim(ctx, &stage.environment);
    Ok(done)
}

/// Runs a process to its end, which has to be a good one.
pub(crate) fn run_once(ctx: &Ctx, stage: &Stage, process: &Process) -> Result<()> {
    if ctx.skip(&shell_words::join(&process.words)) {
        return Ok(());
    }
    let once = Stage { rules: stage.rules_for_once(), ..stage.clone() };
    let over = supervise(ctx, &once, std::slice::from_ref(process), &mut |_| Ok(()))?;
    match over.end {
        End::Status(status) if status.success() => Ok(()),
        End::Status(status) => {
            let message = format!("{} failed ({status}); its log is above", over.name);
            Err(exit::Exit { code: exit::of_status(status), message }.into())
        }
        End::NotStarted(_) => Err(failed(&over)),
    }
}

/// Keeps processes running until one has ended for good or somebody wants the end of all.
fn supervise(
    ctx: &Ctx,
    stage: &Stage,
    processes: &[Process],
    beside: &mut Beside<'_>,
) -> Result<Over> {
    let show = lines::printer(ctx, processes);
    let tell = |name: &str, event: &Event| lines::tell(ctx, name, event);
    let mut supervisor = Supervisor::start(processes, stage.rules, &show, &tell)?;
    let result = watch(ctx, stage, &mut supervisor, beside);
    // Only the signal that was obeyed is forgotten, so that the next one counts as the second.
    if result.as_ref().is_err_and(exit::is_asked_for) {
        ctx.clear_interrupt();
    }
    // TERM and HUP often come twice, from a terminal that closes or from `timeout`.
    let hurry = [Signal::INT, Signal::QUIT].map(|signal| signal.as_raw().unsigned_abs());
    let (begun, said) = (Instant::now(), Cell::new(false));
    supervisor.stop(&|| {
        if begun.elapsed() >= LONG && !said.replace(true) {
            ctx.say("waiting for the processes to end; Ctrl-C kills them");
        }
        ctx.signal().is_some_and(|signal| hurry.contains(&signal.into()))
    });
    result
}

fn watch(
    ctx: &Ctx,
    stage: &Stage,
    supervisor: &mut Supervisor<'_>,
    beside: &mut Beside<'_>,
) -> Result<Over> {
    loop {
        if let Some(signal) = ctx.signal() {
            return Err(exit::by_signal(signal));
        }
        if let Some(over) = supervisor.poll()? {
            return Ok(over);
        }
        for name in claim::take_requests(ctx, &stage.environment) {
            supervisor.restart(&name).unwrap_or_else(|error| ctx.warn(error));
        }
        beside(supervisor)?;
        std::thread::sleep(TICK);
    }
}

/// What it means for all that one process has ended for good.
pub(crate) fn over_in_words(over: &Over) -> String {
    let name = &over.name;
    match (&over.end, over.failures) {
        (End::NotStarted(why), _) => format!("can't start {name}: {why}"),
        (End::Status(status), 0 | 1) => {
            format!("{name} ended ({status}), so the others were ended too; its log is above")
        }
        (End::Status(status), failures) => format!(
            "{name} failed {failures} times in a row, at first with {status}, so the others were \
             ended too; its log is above"
        ),
    }
}

/// The same as an error with the process's own exit code.
pub(crate) fn failed(over: &Over) -> anyhow::Error {
    let code = match &over.end {
        End::Status(status) => exit::of_status(*status).max(exit::FAILED),
        End::NotStarted(_) => exit::FAILED,
    };
    exit::Exit { code, message: over_in_words(over) }.into()
}
