//! `assets update`: asks the npm registry for the newest compilers, and pins them.

use anyhow::{Context, Result};

use crate::cli;
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::project::compilers::{self, Compiler, Compilers, Kind};
use crate::tools::npm;

impl cli::AssetsUpdate {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        super::require(ctx)?;
        if which::which("npm").is_err() {
            return Err(exit::missing("npm is not here; install it: `cargo xtask setup`"));
        }
        let old = Compilers::load(&ctx.root)?;
        let new = Compilers {
            sass: newest(ctx, &old, Kind::Sass)?,
            esbuild: newest(ctx, &old, Kind::Esbuild)?,
        };
        for kind in [Kind::Sass, Kind::Esbuild] {
            let (before, now) = (&old.get(kind).version, &new.get(kind).version);
            if ctx.json {
                ctx.event(&serde_json::json!({
                    "event": "compiler", "name": kind.name(), "before": before, "now": now,
                }))?;
            } else if before == now {
                ctx.print(format_args!("{}: {now}", kind.name()))?;
            } else {
                ctx.print(format_args!("{}: {before} -> {now}", kind.name()))?;
            }
        }
        ctx.write(&ctx.root.join(compilers::NAME), new.text()?.as_bytes())
    }
}

/// The newest version for this machine, with the packages of other machines that have it too.
fn newest(ctx: &Ctx, old: &Compilers, kind: Kind) -> Result<Compiler> {
    let own = kind.package();
    let (version, integrity) =
        view(ctx, &own)?.with_context(|| format!("the registry has no {own}"))?;
    let mut found = Compiler { version, integrity: [(own.clone(), integrity)].into() };
    for package in old.get(kind).integrity.keys().filter(|package| **package != own) {
        match view(ctx, &format!("{package}@{}", found.version))? {
            Some((_, integrity)) => drop(found.integrity.insert(package.clone(), integrity)),
            None => ctx.warn(format_args!(
                "the registry has no {package} {}, so such a machine cannot build these assets",
                found.version
            )),
        }
    }
    Ok(found)
}

fn view(ctx: &Ctx, package: &str) -> Result<Option<(semver::Version, String)>> {
    let answer = ctx.ask(npm::view(&ctx.sh, package), LONG)?;
    if answer.status.success() {
        return npm::parse_view(&answer.stdout).map(Some);
    }
    if answer.stderr.contains("E404") {
        return Ok(None);
    }
    Err(exit::missing(format!("npm can't ask for {package}:\n{}", npm::reasons(&answer.stderr))))
}
