//! `assets build|check|watch`: the asset pipeline, a program of its own that is compiled when it is
//! first needed, and the packages that its style sheets load.
//!
//! Its outputs are ordinary files of the images' contexts, so [`update`] comes before every
//! fingerprint. What only looks asks [`stale`] instead.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::ignore::Ignore;
use fingerprint::{StatCache, Walk, sha256};
use sha2::{Digest as _, Sha512};

use crate::cli;
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::assets::{self, OUTPUT, Package, SOURCE};
use crate::tools::assets::{self as pipeline, Answer, Places};
use crate::tools::{cargo, npm, tar};

/// What the pipeline is compiled from, below the directory of the tool's crates.
const PROGRAM_SOURCES: &str = "*\n!assets\n!fingerprint\n";

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
        ctx.say("the assets are sound");
        Ok(())
    }
}

impl cli::AssetsWatch {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        require(ctx)?;
        let Some(places) = prepare(ctx)? else { return Ok(()) };
        ctx.run_shown(call(ctx, &places, &["watch"]), &mut || Ok(()))
    }
}

/// Fails where the project has no assets, for commands that are about nothing else.
fn require(ctx: &Ctx) -> Result<()> {
    anyhow::ensure!(ctx.root.join(SOURCE).is_dir(), "this project has no assets: no {SOURCE}");
    Ok(())
}

/// Whether all assets are sound; nothing is written. Their problems are the error.
pub(crate) fn check(ctx: &Ctx) -> Result<()> {
    let Some(places) = prepare(ctx)? else { return Ok(()) };
    let cmd = call(ctx, &places, &["check"]);
    if ctx.skip(&cmd.to_string()) {
        return Ok(());
    }
    let answer = ctx.ask(cmd, LONG)?;
    match answer.status.success() {
        true => Ok(()),
        false => Err(exit::gate(words(&answer.stderr))),
    }
}

/// Brings the outputs up to date: what was done; nothing where the project has no assets.
///
/// Fails with [`exit::MISSING`] where a package is not here and cannot be had.
pub(crate) fn update(ctx: &Ctx) -> Result<Option<Answer>> {
    let Some(places) = prepare(ctx)? else { return Ok(None) };
    let cmd = call(ctx, &places, &["build"]);
    if ctx.dry_run {
        if why(ctx, &places)?.is_some() {
            ctx.skip(&cmd.to_string());
        }
        return Ok(None);
    }
    let answer = ctx.ask(cmd.arg("--json"), LONG)?;
    if !answer.status.success() {
        bail!("{}", words(&answer.stderr));
    }
    answer.stderr.lines().for_each(|line| ctx.say(line));
    let answer = pipeline::parse(&answer.stdout)?;
    if answer.status == "built" {
        ctx.say(format_args!("assets built: {}", answer.reason));
    }
    Ok(Some(answer))
}

/// Like [`update`], for who can do without: a development stack shows a page without style.
pub(crate) fn update_if_possible(ctx: &Ctx) -> Result<()> {
    match update(ctx) {
        Err(error) if exit::code(&error) == exit::MISSING => {
            ctx.warn(format_args!("the page will have no style: {error:#}"));
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Why the outputs would be made anew; nothing when they are up to date. Changes nothing.
pub(crate) fn stale(ctx: &Ctx) -> Result<Option<String>> {
    if !ctx.root.join(SOURCE).is_dir() {
        return Ok(None);
    }
    if !Program::find(ctx)?.is_current() {
        return Ok(Some("the asset pipeline is not compiled yet".into()));
    }
    let packages = assets::load(&ctx.root)?;
    if let Some((name, package)) = packages.iter().find(|(name, it)| !is_here(ctx, name, it)) {
        return Ok(Some(format!("package {name} {} is not here yet", package.version)));
    }
    why(ctx, &places(ctx, Program::find(ctx)?.path, !packages.is_empty()))
}

fn why(ctx: &Ctx, places: &Places) -> Result<Option<String>> {
    if !places.program.exists() {
        return Ok(Some("never built here".into()));
    }
    let cmd = call(ctx, places, &["build", "--dry-run", "--json"]);
    let answer = ctx.ask(cmd, LONG)?;
    if !answer.status.success() {
        bail!("{}", words(&answer.stderr));
    }
    let answer = pipeline::parse(&answer.stdout)?;
    Ok((answer.status == "stale").then_some(answer.reason))
}

/// What the pipeline said, without the mark that we put there too.
fn words(stderr: &str) -> String {
    stderr.trim_end().trim_start_matches("error: ").to_owned()
}

fn call<'c>(ctx: &'c Ctx, places: &Places, action: &[&str]) -> xshell::Cmd<'c> {
    pipeline::call(&ctx.sh, places, SOURCE, OUTPUT, action)
}

fn places(ctx: &Ctx, program: PathBuf, has_packages: bool) -> Places {
    let packages = has_packages.then(|| packages_directory(ctx));
    let relative = |path: PathBuf| ctx.relative(&path).to_path_buf();
    Places {
        program,
        state: relative(ctx.state().join("assets")),
        packages: packages.map(relative),
    }
}

/// Compiles the pipeline and gets the packages, where that is still to be done.
fn prepare(ctx: &Ctx) -> Result<Option<Places>> {
    if !ctx.root.join(SOURCE).is_dir() {
        return Ok(None);
    }
    let packages = assets::load(&ctx.root)?;
    for (name, package) in &packages {
        if !is_here(ctx, name, package) {
            fetch(ctx, name, package)?;
        }
    }
    let program = Program::find(ctx)?;
    if !program.is_current() {
        program.compile(ctx)?;
    }
    Ok(Some(places(ctx, program.path, !packages.is_empty())))
}

// --- packages -----------------------------------------------------------------------------------

fn packages_directory(ctx: &Ctx) -> PathBuf {
    ctx.state().join("packages")
}

/// Says which package lies in the directory of its name; written last.
fn stamp_path(ctx: &Ctx, name: &str) -> PathBuf {
    packages_directory(ctx).join(format!("{}.integrity", name.replace('/', "+")))
}

fn is_here(ctx: &Ctx, name: &str, package: &Package) -> bool {
    let stamp = std::fs::read_to_string(stamp_path(ctx, name)).unwrap_or_default();
    stamp == package.integrity && packages_directory(ctx).join(name).is_dir()
}

/// Downloads a package, compares it with its integrity, and unpacks it.
fn fetch(ctx: &Ctx, name: &str, package: &Package) -> Result<()> {
    let wanted = format!("{name}@{}", package.version);
    let parent = packages_directory(ctx);
    if which::which("npm").is_err() {
        return Err(exit::missing(format!(
            "style sheets load {wanted}, and npm is not here to get it; install npm (its package \
             is called so on Debian), or unpack that package into {}",
            ctx.relative(&parent.join(name)).display()
        )));
    }
    ctx.say(format_args!("getting {wanted}"));
    ctx.state_directory(&parent)?;
    let scratch = match ctx.dry_run {
        true => None,
        false => Some(tempfile::Builder::new().prefix(".new-").tempdir_in(&parent)?),
    };
    let directory = scratch.as_ref().map_or(parent.as_path(), |scratch| scratch.path());
    let cmd = npm::pack(&ctx.sh, &wanted, directory);
    if ctx.skip(&cmd.to_string()) {
        return Ok(());
    }
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, LONG)?.success(&shown)?;
    let archive = directory.join(npm::parse_pack(&answer)?);
    let bytes = std::fs::read(&archive).context("can't read what npm downloaded")?;
    let integrity = format!("sha512-{}", BASE64.encode(Sha512::digest(&bytes)));
    anyhow::ensure!(
        integrity == package.integrity,
        "{wanted} is not what {} says: it has the integrity {integrity}",
        assets::NAME
    );
    let unpacked = directory.join("package");
    ctx.state_directory(&unpacked)?;
    ctx.run(tar::unpack(&ctx.sh, &archive, &unpacked))?;
    let place = parent.join(name);
    if place.exists() {
        ctx.remove_state(&place)?;
    }
    ctx.state_directory(place.parent().unwrap_or(&parent))?;
    std::fs::rename(&unpacked, &place).context("can't put the package into its place")?;
    ctx.write_cache(&stamp_path(ctx, name), package.integrity.as_bytes())
}

// --- the program --------------------------------------------------------------------------------

/// The compiled pipeline, beside this program.
struct Program {
    path: PathBuf,
    /// Of everything that it is compiled from; nothing where the sources are not here.
    sources: Option<String>,
}

impl Program {
    fn find(ctx: &Ctx) -> Result<Program> {
        let own = std::env::current_exe().context("can't find this program's own file")?;
        let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = crates.parent().unwrap_or(crates);
        let mut sources = String::new();
        for file in ["Cargo.toml", "Cargo.lock"] {
            sources += &std::fs::read_to_string(workspace.join(file)).unwrap_or_default();
        }
        let path = own.with_file_name("assets");
        if !crates.join("assets").is_dir() || sources.is_empty() {
            return Ok(Program { path, sources: None });
        }
        let ignore = Ignore::parse(PROGRAM_SOURCES.as_bytes())?;
        let walk = Walk { root: crates, ignore: &ignore, leave_out: None, exact_modes: false };
        let cache_path = ctx.state().join("assets").join("stats-program");
        let cache = StatCache::load(&cache_path, crates);
        let scratch = cache_path.parent().filter(|directory| directory.is_dir());
        let walked = walk.read(&cache, scratch)?;
        if let (Some(bytes), Some(_)) = (&walked.cache, scratch) {
            ctx.remember(&cache_path, bytes);
        }
        sources += &walked.tree.text();
        Ok(Program { path, sources: Some(sha256(sources.as_bytes())) })
    }

    fn stamp_path(&self) -> PathBuf {
        self.path.with_file_name("assets.sources")
    }

    /// What a stamp says when the program was compiled from exactly these sources.
    fn stamp(&self) -> Option<String> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{} {} {}", self.sources.as_ref()?, metadata.len(), modified.as_nanos()))
    }

    fn is_current(&self) -> bool {
        match &self.sources {
            None => self.path.exists(),
            Some(_) => self.stamp().is_some_and(|stamp| {
                std::fs::read_to_string(self.stamp_path()).is_ok_and(|found| found == stamp)
            }),
        }
    }

    fn compile(&self, ctx: &Ctx) -> Result<()> {
        if self.sources.is_none() {
            return Err(exit::missing(format!(
                "the asset pipeline is not here, and its sources are not either; clone the \
                 repository of this program, or put the program to {}",
                self.path.display()
            )));
        }
        let directory = self.path.parent().context("a program without a directory")?;
        let target = directory.parent().context("a program outside of a target directory")?;
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(profile) => profile,
        };
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join("Cargo.toml");
        if !self.path.exists() {
            ctx.say("compiling the asset pipeline, which takes a minute or two the first time");
        }
        let bar = ctx.spinner("compiling the asset pipeline".into());
        let cmd = cargo::build_program(&ctx.sh, &manifest, target, profile);
        let compiled = ctx.run_lines(cmd, &mut |line| bar.set_message(line.trim().to_owned()));
        bar.finish_and_clear();
        compiled?;
        match self.stamp() {
            Some(stamp) => ctx.write_cache(&self.stamp_path(), stamp.as_bytes()),
            None if ctx.dry_run => Ok(()),
            None => bail!("cargo compiled no {}", self.path.display()),
        }
    }
}
