//! The project as a machine meets it on another day: a clone of the commit that is checked out,
//! whose `docker/stack.lock` fits no base that can be had and names bases that no engine holds.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use fingerprint::sha256;

use super::clone::Clone;
use crate::ctx::Ctx;
use crate::project::lock::{self, Lock, epoch_seconds};
use crate::tools::git;

/// What tests hear of it: they run the tool with a clock in another year.
pub(super) const VARIABLE: &str = "STEVEDORE_ANOTHER_DAY";
/// The program that comes with what sets such a clock, and the Debian package of both.
pub(super) const FAKETIME: &str = "faketime";

/// Makes the clone. Changes that are not committed are not in it.
pub(super) fn clone(ctx: &Ctx) -> Result<Clone> {
    let clone = Clone::of(ctx)?;
    for (key, value) in
        [("user.name", "Another day"), ("user.email", "ci@localhost"), ("commit.gpgSign", "false")]
    {
        ctx.run(git::configure(&ctx.sh, clone.top(), key, value))?;
    }
    let moved = moved(lock::load(&ctx.root)?)?;
    ctx.write(&clone.ctx.root.join(lock::PATH), moved.text()?.as_bytes())?;
    ctx.run(git::commit_all(&ctx.sh, clone.top(), "A lock of another day"))?;
    Ok(clone)
}

/// The lock with an epoch that nobody has had, and contents that no base has.
fn moved(mut lock: Lock) -> Result<Lock> {
    let epoch = UNIX_EPOCH + Duration::from_secs(epoch_seconds(&lock.epoch)? + 1);
    lock.epoch = lock::epoch(epoch);
    for (name, external) in &mut lock.external {
        external.content = format!("sha256:{}", sha256(format!("not {name}").as_bytes()));
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_epoch_nor_content_is_the_old_one() {
        let old = lock::parse(
            "epoch = \"2026-11-21T11:35:01Z\"\n[external.\"debian:trixie-slim\"]\n\
             content = \"sha256:8f14\"\n",
        )
        .unwrap();
        let new = moved(old.clone()).unwrap();
        assert_eq!(new.epoch, "2026-11-21T11:35:02Z");
        let content = |lock: &Lock| lock.external["debian:trixie-slim"].content.clone();
        assert_ne!(content(&new), content(&old));
        assert_eq!(content(&new).len(), "sha256:".len() + 64);
    }
}
