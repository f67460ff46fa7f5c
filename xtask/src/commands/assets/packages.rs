//! Packages of the npm registry: the compilers of the assets, kept once for each user, and what
//! style sheets and scripts load, kept once for each repository. Each is compared with its
//! integrity when it comes, and with what it was then before each use.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fingerprint::ignore::Ignore;
use fingerprint::{StatCache, Walk, sha256};
use sha2::{Digest as _, Sha512};

use super::modules::Modules;
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::assets::{self, Package};
use crate::project::compilers::{self, Compilers, Kind};
use crate::tools::{npm, tar};

/// All packages that the assets of a project need.
pub(super) struct Needs {
    pub(super) sass: Fetched,
    pub(super) esbuild: Fetched,
    pub(super) packages: Vec<Fetched>,
    pub(super) modules: Option<Modules>,
}

/// A package that is here or can be had.
pub(super) struct Fetched {
    name: String,
    package: Package,
    /// Where packages of its kind are kept.
    parent: PathBuf,
    /// What needs it, as in a sentence, and the file that pins it.
    who: &'static str,
    pinned_in: &'static str,
}

impl Needs {
    pub(super) fn load(ctx: &Ctx) -> Result<Needs> {
        let compilers = Compilers::load(&ctx.root)?;
        let parent = ctx.user_cache().unwrap_or_else(|| ctx.common().to_owned()).join("compilers");
        let compiler = |kind: Kind| -> Result<Fetched> {
            let (name, package) = compilers.package(kind)?;
            let (who, pinned_in) = ("assets are compiled by", compilers::NAME);
            Ok(Fetched { name, package, parent: parent.clone(), who, pinned_in })
        };
        let loaded = |(name, package)| Fetched {
            name,
            package,
            parent: ctx.common().join("packages"),
            who: "style sheets or scripts load",
            pinned_in: assets::NAME,
        };
        Ok(Needs {
            sass: compiler(Kind::Sass)?,
            esbuild: compiler(Kind::Esbuild)?,
            packages: assets::load(&ctx.root)?.into_iter().map(loaded).collect(),
            modules: Modules::load(ctx)?,
        })
    }

    /// What is not here yet, as in a sentence; nothing when all is.
    pub(super) fn missing(&self, ctx: &Ctx) -> Result<Option<String>> {
        for package in self.all() {
            if !package.is_here(ctx)? {
                return Ok(Some(format!("package {} is not here yet", package.wanted())));
            }
        }
        match &self.modules {
            Some(modules) if !modules.is_here(ctx)? => {
                Ok(Some("what package-lock.json pins is not here yet".into()))
            }
            _ => Ok(None),
        }
    }

    /// Gets what is not here; false in a dry run that would have to.
    pub(super) fn ready(&self, ctx: &Ctx) -> Result<bool> {
        let mut are_here = true;
        for package in self.all() {
            are_here &= package.ready(ctx)?;
        }
        if let Some(modules) = &self.modules {
            are_here &= modules.ready(ctx)?;
        }
        Ok(are_here)
    }

    /// Where style sheets and scripts look for packages.
    pub(super) fn load_paths(&self) -> Vec<PathBuf> {
        let modules = self.modules.iter().map(Modules::load_path);
        self.packages.iter().flat_map(Fetched::load_paths).chain(modules).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Fetched> {
        [&self.sass, &self.esbuild].into_iter().chain(&self.packages)
    }
}

impl Fetched {
    /// Its name and version, as npm knows them.
    fn wanted(&self) -> String {
        format!("{}@{}", self.name, self.package.version)
    }

    /// Where it is found by its name. One for each version: two commits may want two.
    fn load_path(&self) -> PathBuf {
        let name = self.name.replace('/', "+");
        self.parent.join(format!("{name}@{}", self.package.version))
    }

    /// Where it lies.
    pub(super) fn directory(&self) -> PathBuf {
        self.load_path().join(&self.name)
    }

    /// Where style sheets and scripts look for it.
    fn load_paths(&self) -> Vec<PathBuf> {
        let folders = self.package.load_paths.iter().map(|folder| self.directory().join(folder));
        std::iter::once(self.load_path()).chain(folders).collect()
    }

    /// Says which package lies there, and what is in it; written last.
    fn stamp_path(&self) -> PathBuf {
        self.load_path().join("stamp")
    }

    /// What the stamp says when the package lies here as it was unpacked.
    fn stamp(&self, ctx: &Ctx) -> Result<String> {
        let load_path = self.load_path();
        let cache = load_path.file_name().unwrap_or_default().to_string_lossy();
        let cache = ctx.state().join("assets").join(format!("stats-{cache}"));
        let tree = hash_of(ctx, &self.directory(), b"", &cache)?;
        Ok(format!("{} {tree}", self.package.integrity))
    }

    fn is_here(&self, ctx: &Ctx) -> Result<bool> {
        let Ok(found) = std::fs::read_to_string(self.stamp_path()) else { return Ok(false) };
        Ok(self.directory().is_dir() && found == self.stamp(ctx)?)
    }

    /// Gets it where it is not here; false in a dry run that would have to.
    fn ready(&self, ctx: &Ctx) -> Result<bool> {
        get_once(ctx, &self.parent.join("lock"), &|| self.is_here(ctx), &|| self.fetch(ctx))
    }

    /// Downloads it, compares it with its integrity, and unpacks it.
    fn fetch(&self, ctx: &Ctx) -> Result<()> {
        let wanted = self.wanted();
        if which::which("npm").is_err() {
            return Err(exit::missing(format!(
                "{} {wanted}, and npm is not here to get it; install npm: `cargo xtask setup`",
                self.who
            )));
        }
        ctx.say(format_args!("getting {wanted}"));
        ctx.state_directory(&self.parent)?;
        let scratch = match ctx.dry_run {
            true => None,
            false => Some(tempfile::Builder::new().prefix(".new-").tempdir_in(&self.parent)?),
        };
        let directory = scratch.as_ref().map_or(self.parent.as_path(), |scratch| scratch.path());
        let archive = self.download(ctx, directory)?;
        let unpacked = directory.join("package");
        ctx.state_directory(&unpacked)?;
        ctx.run(tar::unpack(&ctx.sh, &archive, &unpacked))?;
        if ctx.dry_run {
            return Ok(());
        }
        if self.load_path().exists() {
            ctx.remove_state(&self.load_path())?;
        }
        let place = self.directory();
        ctx.state_directory(place.parent().unwrap_or(&self.parent))?;
        std::fs::rename(&unpacked, &place).context("can't put the package into its place")?;
        ctx.write_cache(&self.stamp_path(), self.stamp(ctx)?.as_bytes())
    }

    /// Downloads its archive, which is what its integrity says.
    fn download(&self, ctx: &Ctx, directory: &Path) -> Result<PathBuf> {
        let wanted = self.wanted();
        let cmd = npm::pack(&ctx.sh, &wanted, directory);
        if ctx.skip(&cmd.to_string()) {
            return Ok(directory.join("<archive>"));
        }
        let answer = ctx.ask(cmd, LONG)?;
        if !answer.status.success() {
            return Err(exit::missing(format!(
                "npm can't get {wanted}; {} it:\n{}",
                self.who,
                npm::reasons(&answer.stderr)
            )));
        }
        let archive = directory.join(npm::parse_pack(&answer.stdout)?);
        let bytes = std::fs::read(&archive).context("can't read what npm downloaded")?;
        let integrity = format!("sha512-{}", BASE64.encode(Sha512::digest(&bytes)));
        anyhow::ensure!(
            integrity == self.package.integrity,
            "{wanted} is not what {} says: it has the integrity {integrity}",
            self.pinned_in
        );
        Ok(archive)
    }
}

/// Gets what is not here, one process at a time; false in a dry run that would have to.
pub(super) fn get_once(
    ctx: &Ctx,
    lock: &Path,
    is_here: &dyn Fn() -> Result<bool>,
    get: &dyn Fn() -> Result<()>,
) -> Result<bool> {
    if is_here()? {
        return Ok(true);
    }
    let _lock = ctx.lock_file(lock, "another download of packages")?;
    // The process that had the lock may have got it.
    if is_here()? {
        return Ok(true);
    }
    get()?;
    Ok(!ctx.dry_run)
}

/// SHA-256 over what a directory holds; what has not changed is not read again.
pub(in crate::commands) fn hash_of(
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
