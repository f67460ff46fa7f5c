//! `assets build|check|watch`: the asset pipeline, a program of its own that is compiled when it is
//! first needed, and the packages that it needs.
//!
//! Its outputs are ordinary files of the images' contexts, so [`update`] comes before every
//! fingerprint. What only looks asks [`stale`] instead.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::packages::Needs;
use super::program::{Found, Program};
use crate::cli;
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::assets::{OUTPUT, SOURCE};
use crate::tools::assets::{self as pipeline, Answer, Places};

mod modules;
pub(super) mod packages;
mod update;

const PIPELINE: Program =
    Program { name: "assets", what: "the asset pipeline", crates: &["assets", "fingerprint"] };

impl cli::AssetsBuild {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        require(ctx)?;
        match update(ctx)? {
            Some(answer) if ctx.json => ctx.event(&serde_json::json!({
                "event": "assets", "status": answer.status, "reason": answer.reason,
                "files": answer.files, "seconds": answer.seconds,
            })),
            Some(answer) if answer.status == "fresh" => ctx.print(format_args!("fresh   {OUTPUT}")),
            Some(answer) => ctx.print(format_args!(
                "built   {OUTPUT} in {:.2} s: {} files ({})",
                answer.seconds, answer.files, answer.reason
            )),
            None => Ok(()),
        }
    }
}

impl cli::AssetsCheck {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        require(ctx)?;
        check(ctx)?;
        match (ctx.dry_run, ctx.json) {
            (true, _) => Ok(()),
            (false, true) => ctx.event(&serde_json::json!({"event": "assets", "status": "passed"})),
            (false, false) => ctx.print("the assets are sound"),
        }
    }
}

impl cli::AssetsWatch {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        require(ctx)?;
        let Some(prepared) = prepare(ctx)? else { return Ok(()) };
        let cmd = call(ctx, &prepared.places, &["watch"]);
        let cmd = if ctx.json { cmd.arg("--json") } else { cmd };
        ctx.run_shown(cmd, &mut || Ok(()))
    }
}

/// Fails where the project has no assets, for commands that are about nothing else.
fn require(ctx: &Ctx) -> Result<()> {
    anyhow::ensure!(ctx.root.join(SOURCE).is_dir(), "this project has no assets: no {SOURCE}");
    Ok(())
}

/// Whether all assets are sound; nothing is written. Their problems are the error.
pub(crate) fn check(ctx: &Ctx) -> Result<()> {
    let Some(prepared) = prepare(ctx)? else { return Ok(()) };
    let cmd = call(ctx, &prepared.places, &["check"]);
    let shown = cmd.to_string();
    if ctx.skip(&shown) {
        return Ok(());
    }
    let answer = ctx.ask(cmd, LONG)?;
    match answer.status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(exit::gate(words(&answer.stderr))),
        _ => answer.success(&shown).map(drop),
    }
}

/// Brings the outputs up to date: what was done; nothing where the project has no assets.
///
/// Fails with [`exit::MISSING`] where a package is not here and cannot be had.
pub(crate) fn update(ctx: &Ctx) -> Result<Option<Answer>> {
    let Some(prepared) = prepare(ctx)? else { return Ok(None) };
    let cmd = call(ctx, &prepared.places, &["build"]);
    let shown = cmd.to_string();
    if ctx.dry_run {
        if !prepared.is_complete || why(ctx, &prepared.places)?.is_some() {
            ctx.skip(&shown);
        }
        return Ok(None);
    }
    let answer = pipeline_answer(ctx, cmd.arg("--json"), &shown)?;
    if answer.status == "built" {
        ctx.say(format_args!("assets built: {}", answer.reason));
    }
    Ok(Some(answer))
}

/// Whether a page may come before its assets: where something has to be downloaded or compiled for
/// them, the page does not wait.
pub(crate) fn may_follow(ctx: &Ctx) -> Result<bool> {
    if ctx.dry_run || !ctx.root.join(SOURCE).is_dir() {
        return Ok(false);
    }
    let reason = lacks(ctx, &Needs::load(ctx)?, &PIPELINE.find(ctx)?)?;
    if let Some(reason) = &reason {
        ctx.say(format_args!("{reason}: the page comes first, and its style follows"));
    }
    Ok(reason.is_some())
}

/// Like [`update`], for who can do without: a development stack goes on with what there was.
pub(crate) fn update_if_possible(ctx: &Ctx) -> Result<()> {
    match update(ctx) {
        Err(error) if exit::code(&error) == exit::INTERRUPTED => Err(error),
        Err(error) => {
            let left = match ctx.root.join(OUTPUT).exists() {
                true => "the page looks as it did before",
                false => "the page will have no style",
            };
            ctx.warn(format_args!("{error:#}\n{left}"));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Why the outputs would be made anew; nothing when they are up to date. Changes nothing.
pub(crate) fn stale(ctx: &Ctx) -> Result<Option<String>> {
    if !ctx.root.join(SOURCE).is_dir() {
        return Ok(None);
    }
    let needs = Needs::load(ctx)?;
    let program = PIPELINE.find(ctx)?;
    match lacks(ctx, &needs, &program)? {
        Some(missing) => Ok(Some(missing)),
        None => why(ctx, &places(ctx, program.path, &needs)),
    }
}

/// What has to be downloaded or compiled before any output can be made.
fn lacks(ctx: &Ctx, needs: &Needs, program: &Found) -> Result<Option<String>> {
    let compiled = || match program.is_current() {
        true => None,
        false => Some("the asset pipeline is not compiled yet".into()),
    };
    Ok(needs.missing(ctx)?.or_else(compiled))
}

fn why(ctx: &Ctx, places: &Places) -> Result<Option<String>> {
    let cmd = call(ctx, places, &["build", "--dry-run", "--json"]);
    let shown = cmd.to_string();
    let answer = pipeline_answer(ctx, cmd, &shown)?;
    Ok((answer.status == "stale").then_some(answer.reason))
}

/// Runs the pipeline to its end; what is wrong with the assets is the error.
fn pipeline_answer(ctx: &Ctx, cmd: xshell::Cmd<'_>, shown: &str) -> Result<Answer> {
    let answer = ctx.ask(cmd, LONG)?;
    if answer.status.code() == Some(1) {
        bail!("{}", words(&answer.stderr));
    }
    answer.stderr.lines().for_each(|line| ctx.say(line));
    pipeline::parse(&answer.success(shown)?)
}

/// What the pipeline said, without the mark that we put there too.
fn words(stderr: &str) -> String {
    stderr.trim_end().trim_start_matches("error: ").to_owned()
}

fn call<'c>(ctx: &'c Ctx, places: &Places, action: &[&str]) -> xshell::Cmd<'c> {
    pipeline::call(&ctx.sh, places, SOURCE, OUTPUT, action)
}

fn places(ctx: &Ctx, program: PathBuf, needs: &Needs) -> Places {
    let relative = |path: PathBuf| ctx.relative(&path).to_path_buf();
    Places {
        program,
        state: relative(ctx.state().join("assets")),
        sass: needs.sass.directory(),
        esbuild: needs.esbuild.directory().join("bin/esbuild"),
        packages: needs.load_paths().into_iter().map(relative).collect(),
        keep: Some(kept(ctx.state())).filter(|kept| kept.is_dir()).map(relative),
    }
}

/// Files that stay in the outputs besides what is built: the state of a release may have some.
pub(crate) fn kept(state: &Path) -> PathBuf {
    state.join("kept")
}

/// What a call of the pipeline needs.
struct Prepared {
    places: Places,
    /// False in a dry run that would first have had to compile or to download something.
    is_complete: bool,
}

/// Compiles the pipeline and gets the packages, where that is still to be done.
fn prepare(ctx: &Ctx) -> Result<Option<Prepared>> {
    if !ctx.root.join(SOURCE).is_dir() {
        return Ok(None);
    }
    let needs = Needs::load(ctx)?;
    let mut is_complete = needs.ready(ctx)?;
    let (program, is_ready) = PIPELINE.ready(ctx)?;
    is_complete &= is_ready;
    let places = places(ctx, program, &needs);
    Ok(Some(Prepared { places, is_complete }))
}
