//! Why an image is dirty: the difference between the inputs it was built from and today's, in
//! words that name the file, the argument or the base.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Inputs, Kind};
use crate::project::image::EPOCH_ARGUMENT;

/// Every difference, most telling first; paths from the project's root.
pub(crate) fn differences(
    old: &Inputs,
    new: &Inputs,
    context: &str,
    dockerfile: &str,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if old.epoch != new.epoch {
        reasons.push(format!("docker/stack.lock: epoch moved from {} to {}", old.epoch, new.epoch));
    }
    for (kind, old, new) in [
        ("base image", &old.bases, &new.bases),
        ("external base", &old.externals, &new.externals),
        ("build argument", &old.args, &new.args),
    ] {
        reasons.extend(map_differences(kind, old, new));
    }
    if old.epoch != new.epoch {
        // The argument that carries the epoch has moved with it, which is said already.
        let echo = format!("build argument {EPOCH_ARGUMENT} changed");
        reasons.retain(|reason| *reason != echo);
    }
    if old.dockerfile != new.dockerfile {
        reasons.push(format!("{dockerfile} changed"));
    }
    if old.target != new.target {
        let name = |target: &Option<String>| target.clone().unwrap_or_else(|| "the last".into());
        reasons.push(format!("target: {} instead of {}", name(&new.target), name(&old.target)));
    }
    if old.platform != new.platform {
        reasons.push(format!("platform: {} instead of {}", new.platform, old.platform));
    }
    let prefix = if context == "." { String::new() } else { format!("{context}/") };
    for (path, entry) in &new.entries {
        let path = format!("{prefix}{path}");
        match old.entries.get(path.strip_prefix(&prefix).unwrap_or(&path)) {
            None => reasons.push(format!("{path} is new")),
            Some(before) => reasons.extend(entry_difference(&path, before, entry)),
        }
    }
    let gone = old.entries.keys().filter(|path| !new.entries.contains_key(*path));
    reasons.extend(gone.map(|path| format!("{prefix}{path} is gone")));
    // A Dockerfile that lies in its own context is an input twice and a reason once.
    let mut seen = BTreeSet::new();
    reasons.retain(|reason| seen.insert(reason.clone()));
    reasons
}

fn map_differences(
    kind: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<String> {
    let changed = new.iter().filter_map(|(name, value)| match old.get(name) {
        None => Some(format!("{kind} {name} is new")),
        Some(before) if before != value => Some(format!("{kind} {name} changed")),
        Some(_) => None,
    });
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    changed.chain(gone.map(|name| format!("{kind} {name} is gone"))).collect()
}

fn entry_difference(path: &str, old: &Entry, new: &Entry) -> Option<String> {
    if old.kind != new.kind {
        return Some(format!("{path} is a {} now", kind(new.kind)));
    }
    if old.content != new.content {
        return Some(match new.kind {
            Kind::Symlink => format!("{path} points to {} now", new.content),
            Kind::File | Kind::Directory => format!("{path} changed"),
        });
    }
    (old.mode != new.mode)
        .then(|| format!("{path} has mode {:04o} instead of {:04o}", new.mode, old.mode))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
    }
}

/// The reasons as one line: the first three, and how many more.
pub(crate) fn summary(reasons: &[String]) -> String {
    let mut line = reasons[..reasons.len().min(3)].join(", ");
    if reasons.len() > 3 {
        line.push_str(&format!(", and {} more", reasons.len() - 3));
    }
    line
}
