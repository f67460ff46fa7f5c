//! `selftest`: the tests of this tool itself. Those that start an engine run in processes of their
//! own, several at a time and the longest first, since they wait more than they compute; it is said
//! how long each took.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::gate::{self, clock};
use super::{ci, doctor};
use crate::cli::{Selftest, Store};
use crate::ctx::{Answer, Ctx, LONG};
use crate::exit;
use crate::project::Project;
use crate::supervise::group;
use crate::tools::cargo::{self, Executable};

mod breaks;
mod second_engine;

use second_engine::SecondEngine;

/// The slowest tests, as [`report`] prints them: they begin first.
const SLOWEST: &str = "xtask/tests/slowest.txt";
/// How many of them are named at the end.
const NAMED: usize = 20;
/// Tests that run at a time, more than there are processors.
const MORE: usize = 2;
/// A test that takes longer hangs.
const MOST: Duration = Duration::from_secs(25 * 60);
/// The tests of two engines at once, which only `--store` starts.
const BOTH: &str = "both_stores::";
/// What all other tests together say of the engine that is here, in one test for another engine: it
/// runs where it is named.
const ANY: &str = "any_engine::";
/// The target whose tests share nothing, and start what they need.
const APART: &str = "it";

impl Selftest {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        ensure!(
            ctx.root.join("xtask/tests").is_dir(),
            "the tests of the tool are in its own repository, and this is another project; its \
             tests run with `cargo xtask test`"
        );
        let work = || match self.breaks {
            true => breaks::run_all(ctx, &self.names),
            false => self.tests(ctx),
        };
        if let Some(Store::Other) = self.store.filter(|_| !second_engine::is_possible()) {
            ctx.warn(format_args!(
                "not run: {}; only root can start a second engine (`sudo -E cargo xtask selftest \
                 --store other`)",
                self.names.join(" ")
            ));
            return Ok(());
        }
        if self.store.is_some() && !second_engine::is_possible() {
            return Err(exit::missing(
                "only root can start a second engine; to test an engine that runs, set DOCKER_HOST \
                 and leave --store out",
            ));
        }
        if doctor::engine(ctx).problem().is_none() {
            return work();
        }
        let declared = gate::declared(ctx, &Project::load(&ctx.root)?)?;
        ci::with_engine(ctx, &declared.programs, work)
    }

    fn tests(&self, ctx: &Ctx) -> Result<()> {
        let cmd = cargo::build_tests(&ctx.sh);
        if ctx.skip(&cmd.to_string()) {
            return Ok(());
        }
        let started = Instant::now();
        let executables = compile(ctx, cmd)?;
        let mut jobs = Vec::new();
        for executable in executables {
            jobs.extend(jobs_of(ctx, executable, self)?);
        }
        ensure!(!jobs.is_empty(), "no test has {} in its name", self.names.join(" or "));
        let slowest = std::fs::read_to_string(ctx.root.join(SLOWEST)).unwrap_or_default();
        let place = |job: &Job| {
            let name = format!(" {}", job.name());
            slowest.lines().position(|line| line.ends_with(&name))
        };
        jobs.sort_by_key(|job| place(job).unwrap_or(usize::MAX));
        ctx.say(format_args!(
            "{} to run; compiled in {}",
            several(jobs.iter().map(|job| job.count).sum(), "test"),
            clock(started.elapsed())
        ));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = self.jobs.map_or(processors + MORE, usize::from);
        let second = self.store.map(|store| SecondEngine::start(ctx, store)).transpose()?;
        let results = run_all(ctx, &jobs, at_once, second.as_ref());
        let ended = second.map_or(Ok(()), |engine| engine.end(ctx));
        report(ctx, &results?, started.elapsed()).and(ended)
    }
}

/// What is started at once: one test, or all of an executable.
struct Job {
    executable: Executable,
    /// Nothing: all that it has.
    test: Option<String>,
    /// How many tests that are.
    count: usize,
}

impl Job {
    fn name(&self) -> String {
        let Executable { package, target, .. } = &self.executable;
        match &self.test {
            Some(test) => format!("{package} {test}"),
            None if package == target => package.clone(),
            None => format!("{package} {target}"),
        }
    }

    /// The suite of a test: its module.
    fn suite(&self) -> String {
        let name = self.name();
        name.split("::").next().unwrap_or(&name).to_owned()
    }
}

/// How a job ended.
struct Done {
    name: String,
    suite: String,
    seconds: f64,
    /// What it said, where it failed.
    failure: Option<String>,
}

fn compile(ctx: &Ctx, cmd: xshell::Cmd<'_>) -> Result<Vec<Executable>> {
    ctx.say("compiling the tests");
    let bar = ctx.spinner("compiling the tests".into());
    let answer = ctx.ask(cmd, LONG)?;
    bar.finish_and_clear();
    if !answer.status.success() {
        return Err(exit::gate(answer.stderr));
    }
    cargo::parse_tests(&answer.stdout)
}

/// Those with one of the names in theirs; all where there are none.
fn jobs_of(ctx: &Ctx, executable: Executable, wanted: &Selftest) -> Result<Vec<Job>> {
    let names = &wanted.names;
    let listed = ctx.read(cargo::list_tests(&ctx.sh, &executable.path))?;
    let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_wanted = |test: &&str| {
        let whole = format!("{} {test}", executable.package);
        let is_possible = wanted.store.is_some() || !test.starts_with(BOTH);
        let is_wanted = match names.is_empty() {
            true => wanted.store.is_some() || !test.starts_with(ANY),
            false => names.iter().any(|name| whole.contains(name.as_str())),
        };
        is_possible && is_wanted
    };
    let tests: Vec<String> = tests.filter(is_wanted).map(str::to_owned).collect();
    if executable.target != APART && names.is_empty() {
        let count = tests.len();
        return Ok(Vec::from_iter((count > 0).then_some(Job { executable, test: None, count })));
    }
    let job = |test| Job { executable: executable.clone(), test: Some(test), count: 1 };
    Ok(tests.into_iter().map(job).collect())
}

fn run_all(
    ctx: &Ctx,
    jobs: &[Job],
    at_once: usize,
    second: Option<&SecondEngine>,
) -> Result<Vec<Done>> {
    let (started, next) = (Instant::now(), Mutex::new(jobs.iter()));
    let results: Mutex<Vec<Done>> = Mutex::default();
    let work = |ctx: Ctx| -> Result<()> {
        loop {
            let job = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(job) = job else { return Ok(()) };
            let done = run(&ctx, job, second)?;
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push(done);
            let done = &results[results.len() - 1];
            tell(&ctx, done, (results.len(), jobs.len()), started.elapsed())?;
        }
    };
    let contexts: Vec<Ctx> =
        (0..at_once.min(jobs.len())).map(|_| ctx.for_a_thread()).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let work = &work;
        let start = |ctx| scope.spawn(move || work(ctx));
        let threads: Vec<_> = contexts.into_iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(worked) => worked,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().try_for_each(join)
    })?;
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn run(ctx: &Ctx, job: &Job, second: Option<&SecondEngine>) -> Result<Done> {
    let Executable { path, directory, .. } = &job.executable;
    let ctx = ctx.at(directory.clone(), ctx.state().to_path_buf())?;
    let started = Instant::now();
    let enter = second.map(|engine| engine.enter(&ctx));
    let cmd = cargo::run_tests(&ctx.sh, enter, path, directory, job.test.as_deref());
    // There is an engine: a test that finds none has not passed.
    let cmd = cmd.env("STEVEDORE_REQUIRE_DOCKER", "1");
    let mut is_late = || {
        let is_late = started.elapsed() > MOST;
        ensure!(!is_late, "did not end within {}; there were\n{}", clock(MOST), group::described());
        Ok(())
    };
    let failure = match ctx.ask_beside(cmd, &mut is_late) {
        Ok(Answer { status, stdout, stderr }) => {
            let ran = format!("{} passed; 0 failed", job.count);
            let passed = status.success() && stdout.contains(&ran);
            (!passed).then(|| format!("{}\n{}", stdout.trim(), stderr.trim()))
        }
        Err(error) if exit::is_asked_for(&error) => return Err(error),
        Err(error) => Some(format!("{error:#}")),
    };
    let seconds = started.elapsed().as_secs_f64();
    Ok(Done { name: job.name(), suite: job.suite(), seconds, failure })
}

fn tell(ctx: &Ctx, done: &Done, (number, of): (usize, usize), elapsed: Duration) -> Result<()> {
    let Done { name, seconds, failure, .. } = done;
    let status = if failure.is_some() { "failed" } else { "passed" };
    if ctx.json {
        return ctx.event(&json!({
            "event": "test", "test": name, "status": status,
            "seconds": (seconds * 100.0).round() / 100.0,
        }));
    }
    ctx.say(format_args!("{number:4}/{of} {:>6} {status} {seconds:6.1} s {name}", clock(elapsed)));
    Ok(())
}

/// The slowest, the time of each suite, and last what the failed ones said.
fn report(ctx: &Ctx, results: &[Done], elapsed: Duration) -> Result<()> {
    let mut suites: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for done in results {
        let (count, seconds) = suites.entry(&done.suite).or_default();
        (*count, *seconds) = (*count + 1, *seconds + done.seconds);
    }
    let mut suites: Vec<_> = suites.into_iter().collect();
    suites.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
    let mut slowest: Vec<&Done> = results.iter().collect();
    slowest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    slowest.truncate(NAMED);
    if !ctx.json {
        ctx.say("\nthe suites:");
        for (suite, (count, seconds)) in suites {
            ctx.say(format_args!("{seconds:8.1} s  {suite} ({})", several(count, "part")));
        }
        ctx.say("\nthe slowest:");
        for Done { name, seconds, .. } in slowest {
            ctx.say(format_args!("{seconds:8.1} s  {name}"));
        }
    }
    let failed: Vec<&Done> = results.iter().filter(|done| done.failure.is_some()).collect();
    if failed.is_empty() {
        let parts = several(results.len(), "part");
        return ctx.print(format_args!("{parts} passed in {}", clock(elapsed)));
    }
    for Done { name, failure, .. } in &failed {
        ctx.say(format_args!("\n--- {name}\n{}", failure.as_deref().unwrap_or_default()));
    }
    let names: Vec<&str> = failed.iter().map(|done| done.name.as_str()).collect();
    Err(exit::gate(format!("failed: {}", names.join(", "))))
}

fn several(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
