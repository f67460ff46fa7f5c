//! `assets build|check|watch`: the asset pipeline, a program of its own that is compiled when it is
//! first needed, and the packages that its style sheets load.
//!
//! Its outputs are ordinary files of the images' contexts, so [`update`] comes before every
//! fingerprint. What only looks asks [`stale`] instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::ignore::Ignore;
use fingerprint::{StatCache, Walk, sha256};
use sha2::{Digest as _, Sha512};

use super::program::Program;
use crate::cli;
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::assets::{self, OUTPUT, Package, SOURCE};
use crate::tools::assets::{self as pipeline, Answer, Places};
use crate::tools::{npm, tar};

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
    let packages = assets::load(&ctx.root)?;
    for (name, package) in &packages {
        if !is_here(ctx, name, package)? {
            return Ok(Some(format!("package {name} {} is not here yet", package.version)));
        }
    }
    let program = PIPELINE.find(ctx)?;
    if !program.is_current() {
        return Ok(Some("the asset pipeline is not compiled yet".into()));
    }
    why(ctx, &places(ctx, program.path, &packages))
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

fn places(ctx: &Ctx, program: PathBuf, packages: &BTreeMap<String, Package>) -> Places {
    let packages = packages.iter().map(|(name, package)| load_path(ctx, name, package));
    let relative = |path: PathBuf| ctx.relative(&path).to_path_buf();
    Places {
        program,
        state: relative(ctx.state().join("assets")),
        packages: packages.map(relative).collect(),
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
    let packages = assets::load(&ctx.root)?;
    let mut is_complete = true;
    for (name, package) in &packages {
        if is_here(ctx, name, package)? {
            continue;
        }
        let path = packages_directory(ctx).join("lock");
        let _lock = ctx.lock_file(&path, "another download of packages")?;
        // Who had the lock may have got it.
        if !is_here(ctx, name, package)? {
            fetch(ctx, name, package)?;
            is_complete &= !ctx.dry_run;
        }
    }
    let (program, is_ready) = PIPELINE.ready(ctx)?;
    is_complete &= is_ready;
    let places = places(ctx, program, &packages);
    Ok(Some(Prepared { places, is_complete }))
}

// --- packages -----------------------------------------------------------------------------------

fn packages_directory(ctx: &Ctx) -> PathBuf {
    ctx.common().join("packages")
}

/// Where a package is found by its name. One for each version: two commits may want two.
fn load_path(ctx: &Ctx, name: &str, package: &Package) -> PathBuf {
    packages_directory(ctx).join(format!("{}@{}", name.replace('/', "+"), package.version))
}

/// Says which package lies there, and what is in it; written last.
fn stamp_path(ctx: &Ctx, name: &str, package: &Package) -> PathBuf {
    load_path(ctx, name, package).join("stamp")
}

/// What the stamp says when a package lies here as it was unpacked.
fn stamp(ctx: &Ctx, name: &str, package: &Package) -> Result<String> {
    let directory = load_path(ctx, name, package);
    let cache = directory.file_name().unwrap_or_default().to_string_lossy();
    let cache = ctx.state().join("assets").join(format!("stats-{cache}"));
    let tree = hash_of(ctx, &directory.join(name), b"", &cache)?;
    Ok(format!("{} {tree}", package.integrity))
}

fn is_here(ctx: &Ctx, name: &str, package: &Package) -> Result<bool> {
    let Ok(found) = std::fs::read_to_string(stamp_path(ctx, name, package)) else {
        return Ok(false);
    };
    if !load_path(ctx, name, package).join(name).is_dir() {
        return Ok(false);
    }
    Ok(found == stamp(ctx, name, package)?)
}

/// SHA-256 over what a directory holds; what has not changed is not read again.
pub(super) fn hash_of(
    ctx: &Ctx,
    directory: &Path,
    rules: &[u8],
    cache_path: &Path,
) -> Result<String> {
    let ignore = Ignore::parse(rules)?;
    let walk = Walk { root: directory, ignore: &ignore, leave_out: None, exact_modes: false };
    let cache = StatCache::load(cache_path, directory);
    let scratch = cache_path.parent().filter(|directory| directory.is_dir());
    let walked = walk.read(&cache, scratch)?;
    if let (Some(bytes), Some(_)) = (&walked.cache, scratch) {
        ctx.remember(cache_path, bytes);
    }
    Ok(sha256(walked.tree.text().as_bytes()))
}

/// Downloads a package, compares it with its integrity, and unpacks it.
fn fetch(ctx: &Ctx, name: &str, package: &Package) -> Result<()> {
    let wanted = format!("{name}@{}", package.version);
    let parent = packages_directory(ctx);
    if which::which("npm").is_err() {
        return Err(exit::missing(format!(
            "style sheets load {wanted}, and npm is not here to get it; install npm: \
             `cargo xtask setup`"
        )));
    }
    ctx.say(format_args!("getting {wanted}"));
    ctx.state_directory(&parent)?;
    let scratch = match ctx.dry_run {
        true => None,
        false => Some(tempfile::Builder::new().prefix(".new-").tempdir_in(&parent)?),
    };
    let directory = scratch.as_ref().map_or(parent.as_path(), |scratch| scratch.path());
    let archive = download(ctx, &wanted, package, directory)?;
    let unpacked = directory.join("package");
    ctx.state_directory(&unpacked)?;
    ctx.run(tar::unpack(&ctx.sh, &archive, &unpacked))?;
    if ctx.dry_run {
        return Ok(());
    }
    let load_path = load_path(ctx, name, package);
    if load_path.exists() {
        ctx.remove_state(&load_path)?;
    }
    let place = load_path.join(name);
    ctx.state_directory(place.parent().unwrap_or(&parent))?;
    std::fs::rename(&unpacked, &place).context("can't put the package into its place")?;
    ctx.write_cache(&stamp_path(ctx, name, package), stamp(ctx, name, package)?.as_bytes())
}

/// Downloads the archive of a package that is what its integrity says.
fn download(ctx: &Ctx, wanted: &str, package: &Package, directory: &Path) -> Result<PathBuf> {
    let cmd = npm::pack(&ctx.sh, wanted, directory);
    if ctx.skip(&cmd.to_string()) {
        return Ok(directory.join("<archive>"));
    }
    let answer = ctx.ask(cmd, LONG)?;
    if !answer.status.success() {
        return Err(exit::missing(format!(
            "npm can't get {wanted}, which style sheets load:\n{}",
            npm::reasons(&answer.stderr)
        )));
    }
    let archive = directory.join(npm::parse_pack(&answer.stdout)?);
    let bytes = std::fs::read(&archive).context("can't read what npm downloaded")?;
    let integrity = format!("sha512-{}", BASE64.encode(Sha512::digest(&bytes)));
    anyhow::ensure!(
        integrity == package.integrity,
        "{wanted} is not what {} says: it has the integrity {integrity}",
        assets::NAME
    );
    Ok(archive)
}
