//! Whether this machine has room for a release.

use std::path::{Path, PathBuf};

use crate::commands::doctor;
use crate::ctx::{Ctx, QUESTION};
use crate::tools::docker;

/// Free space that a release wants, in bytes: images are built, and written once as an archive.
const SPACE: u64 = 2 << 30;

/// Where room is missing, each place with what makes some.
pub(super) fn problems(ctx: &Ctx) -> Vec<String> {
    let mut problems = Vec::new();
    let mut places = vec![("the project lies", ctx.root.clone())];
    if doctor::another_machine(ctx).is_none() {
        let engine = ctx.ask(docker::data_directory(&ctx.sh), QUESTION);
        let engine = engine.map(|answer| PathBuf::from(answer.stdout.trim())).unwrap_or_default();
        places.push(("the engine keeps images", engine));
    }
    for (place, path) in &places {
        if let Some(free) = free_space(path).filter(|free| *free < SPACE) {
            problems.push(format!(
                "only {} MB are free where {place}, and a release wants {}; `cargo xtask image \
                 prune` and `docker builder prune` make room",
                free >> 20,
                SPACE >> 20
            ));
        }
    }
    problems
}

/// Free space where a path lies, in bytes; nothing where that is not on this machine.
fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}
