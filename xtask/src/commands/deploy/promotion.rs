//! What another environment has proven of a release, before the same digests go on to the next one.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use semver::Version;

use super::log::Ledger;
use crate::commands::release::repository::Repository;
use crate::commands::releases;
use crate::ctx::Ctx;
use crate::project;

/// A release that runs somewhere, as its deployment left it.
pub(super) struct Proven {
    pub(super) version: Version,
    /// Image -> its exact name by digest.
    pub(super) images: BTreeMap<String, String>,
}

/// What an environment runs by its log. The last that was done there has to be a success.
pub(super) fn proven(ctx: &Ctx, repository: &Repository, from: &str) -> Result<Proven> {
    project::check_name(from)?;
    let ledger = Ledger::read(ctx, repository, from)?;
    let current = ledger.log.current();
    let current = current.with_context(|| format!("nothing succeeded in {from} yet"))?;
    let last = ledger.log.0.iter().rev().find(|it| it.may_have_run());
    anyhow::ensure!(
        last.is_none_or(|last| last.number == current.number),
        "the last deployment to {from} is not a success; see `cargo xtask status {from}`"
    );
    let record = releases::load(ctx, &current.version)?;
    let gates: Vec<&str> = record.gates.iter().map(|gate| gate.name.as_str()).collect();
    anyhow::ensure!(
        !gates.is_empty(),
        "no gate of {version} is on record; `cargo xtask release verify {version}` says more",
        version = current.version
    );
    ctx.say(format_args!(
        "{} runs in {from} since {}; passed: {}",
        current.version,
        current.verdict.as_ref().map_or("", |it| &it.ended),
        gates.join(", ")
    ));
    Ok(Proven { version: current.version.clone(), images: current.images.clone() })
}
