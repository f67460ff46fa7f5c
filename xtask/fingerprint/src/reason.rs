//! Why an image is dirty: the difference between the inputs it was built from and today's, in
//! words that name the file, the argument, the base or the ignore rule.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::Inputs;
use crate::ignore::Ignore;
use crate::tree::{Entry, Kind, compare, escape};

/// Where an image's inputs lie, from the project's root.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    pub context: &'p str,
    pub dockerfile: &'p str,
    /// The build argument that only repeats the lock's epoch.
    pub epoch_argument: &'p str,
    /// The ignore file and its rules, when it is another than at the last build.
    pub new_rules: Option<(&'p str, &'p Ignore)>,
}

/// Every difference, most telling first.
pub fn differences(old: &Inputs, new: &Inputs, place: &Place<'_>) -> Vec<String> {
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
        let echo = format!("build argument {} changed", place.epoch_argument);
        reasons.retain(|reason| *reason != echo);
    }
    if old.dockerfile != new.dockerfile {
        reasons.push(format!("{} changed", place.dockerfile));
    }
    if old.target != new.target {
        let name = |target: &Option<String>| target.clone().unwrap_or_else(|| "the last".into());
        reasons.push(format!("target: {} instead of {}", name(&new.target), name(&old.target)));
    }
    if old.platform != new.platform {
        reasons.push(format!("platform: {} instead of {}", new.platform, old.platform));
    }
    reasons.extend(entry_differences(old, new, place));
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

/// Changed and new entries in order, then those that are gone.
fn entry_differences(old: &Inputs, new: &Inputs, place: &Place<'_>) -> Vec<String> {
    let name = |path: &[u8]| match place.context {
        "." => escape(path),
        context => format!("{context}/{}", escape(path)),
    };
    let mut reasons = Vec::new();
    let mut gone = Vec::new();
    let (mut before, mut after) = (old.tree.iter().peekable(), new.tree.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => compare(one.path, other.path),
        };
        let one = if order == Ordering::Greater { None } else { before.next() };
        let other = if order == Ordering::Less { None } else { after.next() };
        match (one, other) {
            (Some(one), Some(other)) => {
                reasons.extend(entry_difference(&name(one.path), &one, &other));
            }
            (Some(one), None) => {
                gone.push(format!("{} is gone{}", name(one.path), rule(place, one.path, true)));
            }
            (None, Some(other)) => reasons.push(format!(
                "{} is new{}",
                name(other.path),
                rule(place, other.path, false)
            )),
            (None, None) => {}
        }
    }
    reasons.extend(gone);
    reasons
}

fn entry_difference(path: &str, old: &Entry<'_>, new: &Entry<'_>) -> Option<String> {
    if old.kind != new.kind {
        return Some(format!("{path} is a {} now", new.kind.name()));
    }
    if old.target != new.target {
        return Some(format!("{path} points to {} now", escape(new.target)));
    }
    if old.content != new.content {
        return Some(match new.kind {
            Kind::File => format!("{path} changed"),
            Kind::Directory | Kind::Symlink => format!("{path} is another"),
        });
    }
    (old.mode != new.mode)
        .then(|| format!("{path} has mode {:04o} instead of {:04o}", new.mode, old.mode))
}

/// Which rule of a changed ignore file has let an entry in, or put it out.
fn rule(place: &Place<'_>, path: &[u8], gone: bool) -> String {
    let Some((file, ignore)) = place.new_rules else {
        return String::new();
    };
    match ignore.rule_for(path) {
        Some(rule) if rule.ignores == gone => {
            let does = if gone { "ignores it" } else { "keeps it" };
            format!(" (`{}` in {file}:{} {does})", rule.text, rule.line)
        }
        None if !gone => format!(" ({file} no longer ignores it)"),
        _ => String::new(),
    }
}

/// The reasons as one line: the first three, and how many more.
pub fn summary(reasons: &[String]) -> String {
    let mut line = reasons[..reasons.len().min(3)].join(", ");
    if reasons.len() > 3 {
        line.push_str(&format!(", and {} more", reasons.len() - 3));
    }
    line
}
