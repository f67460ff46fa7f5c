//! `build` and `check`: look, make, write.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::cli::{Build, Places};
use crate::dist::{Dist, Written};
use crate::look::{Last, Look, whole};
use crate::made::Made;
use crate::make::{self, Moved};
use crate::sass::Kept;
use crate::{dist, memory, print, warn};

/// How often a build begins again because somebody edits meanwhile.
const ROUNDS: usize = 3;

impl Build {
    pub(crate) fn run(self) -> Result<()> {
        let places = &self.places;
        if self.dry_run {
            keep_apart(places)?;
            let stale = Look::new(places, None)?.why_stale(places, memory::last(places).as_ref());
            return report(places, if stale.is_some() { "stale" } else { "fresh" }, stale, None);
        }
        update(places, &Kept::default())
    }
}

/// Brings the output up to date, and says what was done.
pub(crate) fn update(places: &Places, sass: &Kept) -> Result<()> {
    let started = Instant::now();
    keep_apart(places)?;
    let _lock = memory::lock(places)?;
    let last = memory::last(places);
    for _ in 0..ROUNDS {
        let look = Look::new(places, Some(&places.state))?;
        let Some(reason) = look.why_stale(places, last.as_ref()) else {
            return report(places, "fresh", None, None);
        };
        let is_known = last.as_ref().is_some_and(|last| last.place == whole(&places.output));
        if !is_known && !look.output.is_empty() && !dist::is_ours(&places.output) {
            bail!(
                "{} holds what was not made here, and would be removed; move it away first",
                places.output.display()
            );
        }
        let mut made = match make::make(places, &look, sass) {
            Err(error) if error.downcast_ref::<Moved>().is_some() => continue,
            made => made?,
        };
        made.warnings.iter().for_each(warn);
        let dist = Dist::new(places, &mut made, &look, last.as_ref())?;
        let (written, output) = match dist.write(&places.output, &look) {
            Err(error) if error.downcast_ref::<Moved>().is_some() => continue,
            written => written?,
        };
        let Look { key, setting, sources, kept, .. } = look;
        let place = whole(&places.output);
        memory::remember(places, &Last { key, setting, sources, kept, output, place })?;
        let done = Done { made, written, seconds: started.elapsed().as_secs_f64() };
        return report(places, "built", Some(reason), Some(done));
    }
    bail!("{} changes faster than it is built; run it again", places.source.display())
}

/// Makes everything, writes nothing; a warning is an error here.
pub(crate) fn check(places: &Places) -> Result<()> {
    keep_apart(places)?;
    let _lock = memory::lock(places)?;
    let look = Look::new(places, Some(&places.state))?;
    let made = make::make(places, &look, &Kept::default())?;
    if !made.warnings.is_empty() {
        bail!("{}", made.warnings.join("\n"));
    }
    let count = made.manifest.len();
    match places.json {
        true => print(serde_json::json!({"event": "assets", "status": "passed", "files": count})),
        false => print(format_args!("{count} assets are sound")),
    }
}

/// What is not an output is removed from the output directory: nothing else may lie there. And what
/// a build writes must not be a source of the next.
fn keep_apart(places: &Places) -> Result<()> {
    let Places { source, output, state, load_paths, keep, .. } = places;
    let others = load_paths.iter().chain(keep).map(|other| (other, output));
    let pairs = [(source, output), (output, source), (state, output), (state, source)];
    for (inner, outer) in pairs.into_iter().chain(others) {
        if whole(inner).starts_with(whole(outer)) {
            bail!("{} must not lie in {}", inner.display(), outer.display());
        }
    }
    Ok(())
}

/// What a build did.
struct Done {
    made: Made,
    written: Written,
    seconds: f64,
}

fn report(places: &Places, status: &str, reason: Option<String>, done: Option<Done>) -> Result<()> {
    if places.json {
        let (files, written, removed, seconds) = done.as_ref().map_or((0, 0, 0, 0.0), |done| {
            (done.made.manifest.len(), done.written.written, done.written.removed, done.seconds)
        });
        return print(serde_json::json!({
            "event": "assets", "status": status, "reason": reason.unwrap_or_default(),
            "files": files, "written": written, "removed": removed,
            "seconds": (seconds * 1000.0).round() / 1000.0,
        }));
    }
    let Some(done) = done else {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        return print(format_args!("{status}   {}{reason}", places.output.display()));
    };
    print(format_args!(
        "built   {} in {:.2} s: {} ({} files, {} written, {} removed)",
        places.output.display(),
        done.seconds,
        reason.unwrap_or_default(),
        done.made.manifest.len(),
        done.written.written,
        done.written.removed,
    ))
}
