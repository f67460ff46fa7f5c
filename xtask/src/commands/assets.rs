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
    let program = Program::find(ctx)?;
    if !program.is_current() {
        return Ok(Some("the asset pipeline is not compiled yet".into()));
    }
    why(ctx, &places(ctx, program.path, !packages.is_empty()))
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

fn places(ctx: &Ctx, program: PathBuf, has_packages: bool) -> Places {
    let packages = has_packages.then(|| packages_directory(ctx));
    let relative = |path: PathBuf| ctx.relative(&path).to_path_buf();
    Places {
        program,
        state: relative(ctx.state().join("assets")),
        packages: packages.map(relative),
    }
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
        let _lock = ctx.lock("packages")?;
        // Who had the lock may have got it.
        if !is_here(ctx, name, package)? {
            fetch(ctx, name, package)?;
            is_complete &= !ctx.dry_run;
        }
    }
    let program = Program::find(ctx)?;
    if !program.is_current() {
        program.compile(ctx)?;
        is_complete &= !ctx.dry_run;
    }
    let places = places(ctx, program.path, !packages.is_empty());
    Ok(Some(Prepared { places, is_complete }))
}

// --- packages -----------------------------------------------------------------------------------

fn packages_directory(ctx: &Ctx) -> PathBuf {
    ctx.state().join("packages")
}

/// Says which package lies in the directory of its name, and what is in it; written last.
fn stamp_path(ctx: &Ctx, name: &str) -> PathBuf {
    packages_directory(ctx).join(format!("{}.stamp", name.replace('/', "+")))
}

/// What the stamp says when a package lies here as it was unpacked.
fn stamp(ctx: &Ctx, name: &str, package: &Package) -> Result<String> {
    let directory = packages_directory(ctx).join(name);
    let cache = ctx.state().join("assets").join(format!("stats-{}", name.replace('/', "+")));
    let tree = hash_of(ctx, &directory, b"", &cache)?;
    Ok(format!("{} {tree}", package.integrity))
}

fn is_here(ctx: &Ctx, name: &str, package: &Package) -> Result<bool> {
    let Ok(found) = std::fs::read_to_string(stamp_path(ctx, name)) else { return Ok(false) };
    if !packages_directory(ctx).join(name).is_dir() {
        return Ok(false);
    }
    Ok(found == stamp(ctx, name, package)?)
}

/// SHA-256 over what a directory holds; what has not changed is not read again.
fn hash_of(ctx: &Ctx, directory: &Path, rules: &[u8], cache_path: &Path) -> Result<String> {
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
    let stamp_path = stamp_path(ctx, name);
    for old in [&stamp_path, &parent.join(name)] {
        if old.exists() {
            ctx.remove_state(old)?;
        }
    }
    let place = parent.join(name);
    ctx.state_directory(place.parent().unwrap_or(&parent))?;
    std::fs::rename(&unpacked, &place).context("can't put the package into its place")?;
    ctx.write_cache(&stamp_path, stamp(ctx, name, package)?.as_bytes())
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
        let cache = ctx.state().join("assets").join("stats-program");
        sources += &hash_of(ctx, crates, PROGRAM_SOURCES.as_bytes(), &cache)?;
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
