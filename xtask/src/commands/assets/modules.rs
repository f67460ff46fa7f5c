//! The packages of the project's own `package.json`, as its `package-lock.json` pins them: npm puts
//! them into a directory that is named after both files.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fingerprint::sha256;

use super::packages::{get_once, hash_of};
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::assets::SOURCE;
use crate::tools::npm;

const FILES: [&str; 2] = ["package.json", "package-lock.json"];

pub(super) struct Modules {
    /// Where npm works; what it installs lies below, in `node_modules`.
    directory: PathBuf,
    texts: [String; 2],
}

impl Modules {
    /// Nothing where the project has no `package.json`.
    pub(super) fn load(ctx: &Ctx) -> Result<Option<Modules>> {
        let path = |name: &str| ctx.root.join(SOURCE).join(name);
        if !path(FILES[0]).exists() {
            return Ok(None);
        }
        let read = |name: &str| {
            std::fs::read_to_string(path(name)).with_context(|| {
                format!(
                    "can't read {SOURCE}/{name}; both files are needed: `npm install \
                     --package-lock-only` in {SOURCE} makes the second"
                )
            })
        };
        let texts = [read(FILES[0])?, read(FILES[1])?];
        let hash = sha256(texts.concat().as_bytes());
        let directory = ctx.common().join("packages").join(format!("npm-{}", &hash[..16]));
        Ok(Some(Modules { directory, texts }))
    }

    pub(super) fn load_path(&self) -> PathBuf {
        self.directory.join("node_modules")
    }

    fn stamp_path(&self) -> PathBuf {
        self.directory.join("stamp")
    }

    /// What the stamp says when everything lies here as npm has installed it.
    fn stamp(&self, ctx: &Ctx) -> Result<String> {
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        let cache = ctx.state().join("assets").join(format!("stats-{name}"));
        hash_of(ctx, &self.load_path(), b"", &cache)
    }

    pub(super) fn is_here(&self, ctx: &Ctx) -> Result<bool> {
        let Ok(found) = std::fs::read_to_string(self.stamp_path()) else { return Ok(false) };
        Ok(self.load_path().is_dir() && found == self.stamp(ctx)?)
    }

    /// Installs what is not here; false in a dry run that would have to.
    pub(super) fn ready(&self, ctx: &Ctx) -> Result<bool> {
        let lock = self.directory.with_extension("lock");
        get_once(ctx, &lock, &|| self.is_here(ctx), &|| self.install(ctx))
    }

    fn install(&self, ctx: &Ctx) -> Result<()> {
        if which::which("npm").is_err() {
            return Err(exit::missing(format!(
                "{SOURCE}/package.json names packages, and npm is not here to get them; install \
                 npm: `cargo xtask setup`"
            )));
        }
        ctx.say(format_args!("getting the packages of {SOURCE}/package.json"));
        if self.directory.exists() {
            ctx.remove_state(&self.directory)?;
        }
        ctx.state_directory(&self.directory)?;
        for (name, text) in FILES.iter().zip(&self.texts) {
            ctx.write_cache(&self.directory.join(name), text.as_bytes())?;
        }
        let cmd = npm::install(&ctx.sh, &self.directory);
        if ctx.skip(&cmd.to_string()) {
            return Ok(());
        }
        let answer = ctx.ask(cmd, LONG)?;
        if !answer.status.success() {
            return Err(exit::missing(format!(
                "npm can't install the packages of {SOURCE}/package.json:\n{}",
                npm::reasons(&answer.stderr)
            )));
        }
        // A project without dependencies gets no directory.
        ctx.state_directory(&self.load_path())?;
        ctx.write_cache(&self.stamp_path(), self.stamp(ctx)?.as_bytes())
    }
}
