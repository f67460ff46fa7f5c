//! Gates: checks and tests that must pass, one after the other, a line for each at the end.
//!
//! A gate that fails does not keep the others from running, so that one run names everything. What
//! the failed thing itself said comes first. Of gates on images a pass is remembered, under a key
//! of the images and of what the gate is; a failure never is.

use std::time::{Duration, Instant};

use anyhow::Result;
use fingerprint::sha256;

use super::{dev, env};
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::Project;
use crate::project::environment::Gates as Declared;
use crate::release::record;
use crate::tools::words;

/// The gates that the project's files add: those of dev, where there is one.
pub(crate) fn declared(ctx: &Ctx, project: &Project) -> Result<Declared> {
    match project.environments.contains(dev::ENVIRONMENT) {
        true => Ok(env::load(ctx, dev::ENVIRONMENT)?.environment.gates),
        false => Ok(Declared::default()),
    }
}

/// The gates of one run.
pub(crate) struct Gates<'c> {
    ctx: &'c Ctx,
    began: Instant,
    results: Vec<Line>,
}

struct Line {
    name: String,
    status: Status,
    seconds: f64,
    /// The hash of what it was run on and of what it is, where there is one.
    fingerprint: Option<String>,
}

/// What became of a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Passed,
    /// It passed before, on exactly this.
    Reused,
    Failed,
    /// It could not run: something is not here.
    Missing,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Passed => "passed",
            Status::Reused => "reused",
            Status::Failed => "failed",
            Status::Missing => "missing",
        }
    }
}

impl<'c> Gates<'c> {
    pub(crate) fn new(ctx: &'c Ctx) -> Gates<'c> {
        Gates { ctx, began: Instant::now(), results: Vec::new() }
    }

    /// Runs a gate. Only an interrupt is an error here.
    pub(crate) fn run(
        &mut self,
        name: &str,
        gate: impl FnOnce() -> Result<Status>,
    ) -> Result<Status> {
        let ctx = self.ctx;
        if ctx.interrupted() {
            return Err(exit::interrupted());
        }
        let started = Instant::now();
        ctx.say(format_args!("gate: {name} (after {})", clock(self.began.elapsed())));
        ctx.begin_section(name);
        let result = gate();
        ctx.end_section(name);
        let status = match result {
            Ok(status) => status,
            Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
            Err(error) => {
                let words = format!("{error:#}");
                ctx.complain(&words);
                ctx.annotate(&words);
                match exit::code(&error) {
                    exit::MISSING => Status::Missing,
                    _ => Status::Failed,
                }
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        self.results.push(Line { name: name.to_owned(), status, seconds, fingerprint: None });
        Ok(status)
    }

    /// Says what the last gate was run on, for whoever reads of its pass later.
    pub(crate) fn identify(&mut self, fingerprint: String) {
        if let Some(line) = self.results.last_mut() {
            line.fingerprint = Some(fingerprint);
        }
    }

    /// Runs a gate whose pass counts for as long as its key is the same; each time without one.
    pub(crate) fn run_once(
        &mut self,
        name: &str,
        key: Option<&str>,
        gate: impl FnOnce() -> Result<()>,
    ) -> Result<Status> {
        let ctx = self.ctx;
        let Some(key) = key else { return self.run(name, || gate().map(|()| Status::Passed)) };
        let fingerprint = fingerprint(name, key);
        let path = ctx.common().join("gates").join(&fingerprint);
        let status = self.run(name, || {
            if path.exists() {
                return Ok(Status::Reused);
            }
            gate()?;
            ctx.write_cache(&path, format!("{name}\n").as_bytes())?;
            Ok(Status::Passed)
        })?;
        self.identify(fingerprint);
        Ok(status)
    }

    /// Runs a program of the environment's `[gates]`; shows its output only when it fails, or all
    /// along for one that takes its time.
    pub(crate) fn run_program(
        &mut self,
        name: &str,
        line: &str,
        variables: &[(&str, &str)],
        shown: bool,
    ) -> Result<Status> {
        let ctx = self.ctx;
        self.run(name, || {
            let cmd = words(&ctx.sh, line)?.envs(variables.iter().copied());
            let text = cmd.to_string();
            if shown {
                ctx.run_shown(cmd, &mut || Ok(()))?;
            } else if !ctx.skip(&text) {
                let answer = ctx.ask(cmd, LONG)?;
                if !answer.status.success() {
                    let said = format!("{}{}", answer.stdout, answer.stderr);
                    return Err(exit::gate(format!("{}\n`{text}` failed", said.trim_end())));
                }
            }
            Ok(Status::Passed)
        })
    }

    /// A line for each gate, and the failure when one of them did not pass.
    pub(crate) fn finish(self) -> Result<()> {
        self.report()?;
        let (failed, missing) = (self.named(Status::Failed), self.named(Status::Missing));
        match (failed.is_empty(), missing.is_empty()) {
            (true, true) => Ok(()),
            (false, _) => Err(exit::gate(format!("did not pass: {}", failed.join(", ")))),
            (true, false) => Err(exit::missing(format!("could not run: {}", missing.join(", ")))),
        }
    }

    /// A line for each gate.
    pub(crate) fn report(&self) -> Result<()> {
        let ctx = self.ctx;
        if ctx.dry_run {
            // Only what failed is sure: what passes would have to be run.
            return Ok(());
        }
        let width = self.results.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        for Line { name, status, seconds, .. } in &self.results {
            let status = status.name();
            match ctx.json {
                true => ctx.event(&serde_json::json!({
                    "event": "gate", "gate": name, "status": status,
                    "seconds": (seconds * 100.0).round() / 100.0,
                }))?,
                false => ctx.print(format_args!("{status:7} {name:width$} {seconds:7.1} s"))?,
            }
        }
        Ok(())
    }

    /// The gates with which it ended like that.
    pub(crate) fn named(&self, wanted: Status) -> Vec<&str> {
        let lines = self.results.iter().filter(|line| line.status == wanted);
        lines.map(|line| line.name.as_str()).collect()
    }

    /// What passed, now or before.
    pub(crate) fn passed(&self) -> Vec<record::Gate> {
        let passed = |line: &&Line| matches!(line.status, Status::Passed | Status::Reused);
        let gate = |line: &Line| record::Gate {
            name: line.name.clone(),
            fingerprint: line.fingerprint.clone(),
        };
        self.results.iter().filter(passed).map(gate).collect()
    }
}

/// The pass of [`Gates::run_once`], as it is recorded.
pub(crate) fn expected(name: &str, key: Option<&str>) -> record::Gate {
    record::Gate { name: name.to_owned(), fingerprint: key.map(|key| fingerprint(name, key)) }
}

/// What a gate that is run once has passed on: the hash of its name and of its key.
fn fingerprint(name: &str, key: &str) -> String {
    sha256(format!("{name}\n{key}").as_bytes())
}

/// Minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
