//! `rehearse`: the whole way of a release on this machine, without an account: release, publish,
//! deploy, traffic, roll back, compare.
//!
//! It happens in a clone with a remote repository, a registry and a local Elastic Beanstalk of its
//! own, by the commands that everybody types. Of the user's repository only commits are read. The
//! release before is deployed first, so that there is something to roll back to: the last one that
//! is tagged, or the same commit where there is none.

use std::time::Instant;

use anyhow::{Context, Result};
use semver::Version;

use super::release::default_branch;
use super::release::repository::{self, Repository};
use super::{doctor, releases, setup};
use crate::cli;
use crate::ctx::Ctx;
use crate::exit;
use crate::release::version;

mod traffic;
mod world;

use traffic::{Page, Traffic};
use world::World;

/// The environment that is rehearsed: the one whose images are released.
const ENVIRONMENT: &str = super::release::SHIPPED;

impl cli::Rehearse {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        doctor::require_engine_for_a_start(ctx)?;
        setup::install_clients(ctx)?;
        let play = Play::of(ctx, &self.version)?;
        ctx.say(format_args!(
            "rehearsing {} of commit {}, after {} of commit {}",
            play.version,
            fingerprint::short(&play.commit),
            play.base,
            fingerprint::short(&play.base_commit)
        ));
        if ctx.skip(&format!("rehearse {}", play.version)) {
            return Ok(());
        }
        let _lock = ctx.lock("rehearsal")?;
        let mut report = Report { ctx, lines: Vec::new() };
        let mut world = World::make(ctx)?;
        let result = rehearse(&mut world, &play, &mut report);
        let log = world.log_path();
        let ended = world.end();
        report.show(&result)?;
        result
            .with_context(|| format!("the rehearsal failed; all of it is in {}", log.display()))
            .and(ended)
    }
}

/// What is rehearsed.
struct Play {
    stack: String,
    version: Version,
    /// The branch that new releases come from.
    main: String,
    commit: String,
    base: Version,
    base_commit: String,
}

impl Play {
    fn of(ctx: &Ctx, version: &Version) -> Result<Play> {
        let repository = Repository::observe(ctx, repository::places(ctx)?)?;
        anyhow::ensure!(
            !version::is_prerelease(version),
            exit::usage(format!(
                "a rehearsal ends in {ENVIRONMENT}, which takes no prerelease; rehearse the release \
                 that {version} leads to"
            ))
        );
        anyhow::ensure!(
            !repository.has_tag(version),
            exit::usage(format!("{version} is released; rehearse what is to be released next"))
        );
        let main = default_branch::find(ctx, &repository)?.map_err(anyhow::Error::msg)?;
        let branch = match version.patch {
            0 => main.clone(),
            _ => version::branch(version),
        };
        let commit = repository.branch(&branch).map(str::to_owned).with_context(|| {
            format!("there is no branch {branch}, which {version} would be released from")
        })?;
        let base_commit = match version::previous(version, &releases::versions(ctx)?) {
            Some(previous) => releases::load(ctx, &previous)?.commit,
            None => commit.clone(),
        };
        let facts = super::env::load(ctx, ENVIRONMENT)?;
        let stack = super::env::load_stack(ctx, &facts)?.name;
        // In the clone nothing is released yet, so each has to be one that may follow the other.
        let (base, version) = match (version.major, version.minor, version.patch) {
            (0, 0, _) => (Version::new(0, 0, 0), Version::new(0, 1, 0)),
            (major, 0, 0) => (Version::new(major - 1, 0, 0), version.clone()),
            (major, minor, 0) => (Version::new(major, minor - 1, 0), version.clone()),
            (major, minor, _) => (Version::new(major, minor, 0), Version::new(major, minor, 1)),
        };
        Ok(Play { stack, version, main, commit, base, base_commit })
    }
}

/// The acts, in their order.
fn rehearse(world: &mut World<'_>, play: &Play, report: &mut Report<'_>) -> Result<()> {
    let (base, new) = (play.base.to_string(), play.version.to_string());
    world.note_images(&play.stack, [&base, &new])?;
    report.act("a registry", || world.start_registry(&play.stack))?;
    world.begin(&play.main, &play.base_commit)?;
    report.act("a local Elastic Beanstalk", || world.start_server())?;
    report.act(&format!("release {base}"), || world.xtask(&["release", &base]))?;
    report.act(&format!("publish {base}"), || world.xtask(&["publish", &base]))?;
    report.act(&format!("deploy {base}"), || world.xtask(&["deploy", &base]))?;
    let port = world.port()?;
    let before = Page::get(port)?;
    let branch = match play.version.patch {
        0 => play.main.clone(),
        _ => version::branch(&play.version),
    };
    world.go_on(&branch, &play.commit)?;
    report.act(&format!("release {new}"), || world.xtask(&["release", &new]))?;
    report.act(&format!("publish {new}"), || world.xtask(&["publish", &new]))?;
    let traffic = Traffic::begin(port);
    let deployed = report.act(&format!("deploy {new}"), || world.xtask(&["deploy", &new]));
    let there = Page::get(port);
    let back = deployed
        .and_then(|()| report.act(&format!("roll back to {base}"), || world.xtask(&["rollback"])));
    let traffic = traffic.end();
    back?;
    report.add(&format!(
        "traffic: {} requests while it changed, {} without an answer, {} refused",
        traffic.asked, traffic.silent, traffic.refused
    ));
    let there = there?;
    anyhow::ensure!(there.is_well(), "{new} answered with status {}", there.status);
    report.act("compare", || {
        world.xtask(&["status", ENVIRONMENT, "--drift"])?;
        before.compare(&Page::get(port)?)
    })
}

/// What was done, with its time in seconds.
struct Report<'c> {
    ctx: &'c Ctx,
    lines: Vec<String>,
}

impl Report<'_> {
    fn act<T>(&mut self, name: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let bar = self.ctx.spinner(name.to_owned());
        if bar.is_hidden() {
            self.ctx.say(format_args!("{name}…"));
        }
        let result = act();
        bar.finish_and_clear();
        let word = if result.is_ok() { "done" } else { "FAILED" };
        let seconds = started.elapsed().as_secs_f64();
        self.lines.push(format!("{word:6}  {name:44}  {seconds:6.1} s"));
        if self.ctx.json {
            self.ctx.event(&serde_json::json!({
                "event": "act", "name": name, "ok": result.is_ok(), "seconds": seconds,
            }))?;
        }
        result
    }

    fn add(&mut self, line: &str) {
        self.lines.push(format!("        {line}"));
    }

    fn show(&self, result: &Result<()>) -> Result<()> {
        if self.ctx.json {
            return self.ctx.event(&serde_json::json!({
                "event": "rehearsal", "ok": result.is_ok(),
            }));
        }
        for line in &self.lines {
            self.ctx.print(line)?;
        }
        if result.is_ok() {
            self.ctx.print(
                "all green; what is believed of AWS and was never observed: \
                 `cargo xtask beanstalk status --beliefs`",
            )?;
        }
        Ok(())
    }
}
