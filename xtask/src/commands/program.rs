//! Programs of this repository that are compiled when they are first needed: most days need none of
//! them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use fingerprint::sha256;

use super::assets::packages::hash_of;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::cargo;

/// A crate of the workspace with a program of its name.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// As it is called in a sentence.
    pub(crate) what: &'static str,
    /// The folders that it is compiled from, below the one of the tool.
    pub(crate) crates: &'static [&'static str],
}

/// Where a program lies, or will: beside this one.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    name: &'static str,
    what: &'static str,
    /// Of everything that it is compiled from; nothing where the sources are not here.
    sources: Option<String>,
}

impl Program {
    pub(crate) fn find(&self, ctx: &Ctx) -> Result<Found> {
        let Program { name, what, crates } = *self;
        let own = std::env::current_exe().context("can't find this program's own file")?;
        let tool = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = tool.parent().unwrap_or(tool);
        let mut sources = String::new();
        for file in ["Cargo.toml", "Cargo.lock"] {
            sources += &std::fs::read_to_string(workspace.join(file)).unwrap_or_default();
        }
        let path = own.with_file_name(name);
        if !tool.join(name).is_dir() || sources.is_empty() {
            return Ok(Found { path, name, what, sources: None });
        }
        let mut rules = String::from("*\n");
        for folder in crates {
            writeln!(rules, "!{folder}")?;
        }
        let cache = ctx.state().join(name).join("stats-program");
        sources += &hash_of(ctx, tool, rules.as_bytes(), &cache)?;
        Ok(Found { path, name, what, sources: Some(sha256(sources.as_bytes())) })
    }

    /// The program, compiled where that is still to be done; false in a dry run that would have to.
    pub(crate) fn ready(&self, ctx: &Ctx) -> Result<(PathBuf, bool)> {
        let found = self.find(ctx)?;
        let current = found.is_current();
        if !current {
            found.compile(ctx)?;
        }
        Ok((found.path, current || !ctx.dry_run))
    }
}

impl Found {
    fn stamp_path(&self) -> PathBuf {
        self.path.with_file_name(format!("{}.sources", self.name))
    }

    /// What a stamp says when the program was compiled from exactly these sources.
    fn stamp(&self) -> Option<String> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{} {} {}", self.sources.as_ref()?, metadata.len(), modified.as_nanos()))
    }

    pub(crate) fn is_current(&self) -> bool {
        match &self.sources {
            None => self.path.exists(),
            Some(_) => self.stamp().is_some_and(|stamp| {
                std::fs::read_to_string(self.stamp_path()).is_ok_and(|found| found == stamp)
            }),
        }
    }

    fn compile(&self, ctx: &Ctx) -> Result<()> {
        let what = self.what;
        if self.sources.is_none() {
            return Err(exit::missing(format!(
                "{what} is not here, and its sources are not either; clone the repository of this \
                 program, or put the program to {}",
                self.path.display()
            )));
        }
        let directory = self.path.parent().context("a program without a directory")?;
        let target = directory.parent().context("a program outside of a target directory")?;
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(profile) => profile,
        };
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        if !self.path.exists() {
            ctx.say(format_args!(
                "compiling {what}, which takes 20 seconds or more the first time"
            ));
        }
        let bar = ctx.spinner(format!("compiling {what}"));
        let cmd = cargo::build_program(&ctx.sh, self.name, &manifest, target, profile);
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
