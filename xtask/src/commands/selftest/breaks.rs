//! `selftest --breaks`: do the tests find what is wrong? Each patch of `xtask/tests/breaks/` breaks
//! one promise of the tool. It is applied to a clone, and the test that it names has to fail there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Job, compile, run, several};
use crate::commands::ci::Clone;
use crate::commands::gate::clock;
use crate::ctx::Ctx;
use crate::exit;
use crate::tools::{cargo, git};

const DIRECTORY: &str = "xtask/tests/breaks";
/// Where the clone is compiled, below the tool's state.
const TARGET: &str = "breaks";
/// Begins the line that names the test: a package and what the test is called in it.
const TEST: &str = "Test: ";

/// One patch.
struct Break {
    name: String,
    patch: PathBuf,
    package: String,
    test: String,
}

/// Tries the patches with one of the names in theirs; all where there are none.
pub(super) fn run_all(ctx: &Ctx, names: &[String]) -> Result<()> {
    let breaks = load(&ctx.root.join(DIRECTORY), names)?;
    ctx.say(format_args!("{} to try", several(breaks.len(), "break")));
    let clone = Clone::of(ctx)?;
    if ctx.dry_run {
        return Ok(());
    }
    let (started, target) = (Instant::now(), ctx.state().join(TARGET));
    let mut findings = Vec::new();
    for (number, broken) in (1..).zip(&breaks) {
        ctx.run(git::apply(&ctx.sh, clone.top(), &broken.patch, false))?;
        let finding = not_caught(&clone.ctx, broken, &target)?;
        ctx.run(git::apply(&ctx.sh, clone.top(), &broken.patch, true))?;
        let status = if finding.is_none() { "caught" } else { "missed" };
        if ctx.json {
            ctx.event(&json!({"event": "break", "break": broken.name, "status": status}))?;
        }
        let (of, elapsed) = (breaks.len(), clock(started.elapsed()));
        ctx.say(format_args!("{number:4}/{of} {elapsed:>6} {status} {}", broken.name));
        findings.extend(finding.map(|finding| format!("{}: {finding}", broken.name)));
    }
    if findings.is_empty() {
        let count = several(breaks.len(), "break");
        return ctx.print(format_args!("{count} caught in {}", clock(started.elapsed())));
    }
    Err(exit::gate(findings.join("\n")))
}

/// Reads the patches in the order of their names.
fn load(directory: &Path, names: &[String]) -> Result<Vec<Break>> {
    let mut breaks = Vec::new();
    let entries = directory.read_dir().with_context(|| format!("can't read {DIRECTORY}"))?;
    for entry in entries {
        let patch = entry?.path();
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_wanted = names.is_empty() || names.iter().any(|it| name.contains(it.as_str()));
        if !is_wanted || patch.extension().is_none_or(|it| it != "patch") {
            continue;
        }
        let text = std::fs::read_to_string(&patch)?;
        let test = text.lines().find_map(|line| line.strip_prefix(TEST)?.split_once(' '));
        let (package, test) = test.with_context(|| {
            format!("{DIRECTORY}/{name}.patch has no line `{TEST}PACKAGE NAME`")
        })?;
        let (package, test) = (package.to_owned(), test.trim().to_owned());
        breaks.push(Break { name, patch, package, test });
    }
    breaks.sort_by(|one, other| one.name.cmp(&other.name));
    ensure!(!breaks.is_empty(), "no patch has {} in its name", names.join(" or "));
    Ok(breaks)
}

/// Compiles and runs the test of a break that is applied: why that does not count.
fn not_caught(ctx: &Ctx, broken: &Break, target: &Path) -> Result<Option<String>> {
    let Break { package, test, .. } = broken;
    let executables = match compile(ctx, cargo::build_tests_of(&ctx.sh, package, target)) {
        Ok(executables) => executables,
        Err(error) if exit::is_asked_for(&error) => return Err(error),
        Err(error) => return Ok(Some(format!("it does not compile: {error:#}"))),
    };
    let line = format!("{test}: test");
    for executable in executables {
        let listed = ctx.read(cargo::list_tests(&ctx.sh, &executable.path))?;
        if listed.lines().any(|it| it == line) {
            let job = Job { executable, test: Some(test.clone()), count: 1 };
            let passes = run(ctx, &job, None)?.failure.is_none();
            return Ok(passes.then(|| format!("{package} {test} passes all the same")));
        }
    }
    Ok(Some(format!("{package} has no test {test}")))
}
