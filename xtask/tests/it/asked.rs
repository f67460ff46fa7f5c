//! What a test begins with that is more than a unit test, here and in the suite of the local
//! Elastic Beanstalk; `tiers.rs` says what the tiers are.

use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Begins a test with real parts: a Docker engine, a registry, `eb`, a browser.
macro_rules! engine {
    () => {
        if !$crate::asked::all_tests_are_wanted() {
            return;
        }
    };
}
pub(crate) use engine;

/// Begins a test of many rounds, bounded unless `STEVEDORE_FULL=1` asks for all of them.
macro_rules! campaign {
    () => {
        $crate::asked::engine!()
    };
}
pub(crate) use campaign;

/// Whether a test of this process may use the engine; `selftest` gives each a process of its own.
pub(crate) static HAS_ENGINE: AtomicBool = AtomicBool::new(false);

/// Whether more than unit tests are to run, as in `cargo xtask selftest`; without an engine that
/// fails. `tiers::` says how many do not run.
pub(crate) fn all_tests_are_wanted() -> bool {
    let is_set = |name| std::env::var_os(name).is_some();
    let are_wanted = is_set("STEVEDORE_REQUIRE_DOCKER") || is_set("STEVEDORE_FULL");
    let is_possible = !are_wanted || engine_answers();
    assert!(is_possible, "no Docker engine answers; `cargo xtask selftest` starts one");
    HAS_ENGINE.fetch_or(are_wanted, Ordering::Relaxed);
    are_wanted
}

pub(crate) fn engine_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        let cmd = Command::new("docker").args(["version", "--format", "{{.Server.Os}}"]).output();
        cmd.is_ok_and(|output| output.status.success())
    })
}
