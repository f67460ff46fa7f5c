//! The `ARG`s before the first `FROM`: the only ones whose values a `FROM` sees.

use std::collections::{BTreeMap, BTreeSet};

use super::words;

/// What the builder sets by itself, from platforms that are not known here.
const PREDEFINED: [&str; 9] = [
    "BUILDARCH",
    "BUILDOS",
    "BUILDPLATFORM",
    "BUILDVARIANT",
    "TARGETARCH",
    "TARGETOS",
    "TARGETPLATFORM",
    "TARGETSTAGE",
    "TARGETVARIANT",
];

pub(super) struct Global<'a> {
    escape: char,
    /// What the build gives.
    args: &'a BTreeMap<String, String>,
    /// What is wrong with a value matters only where it is used.
    values: BTreeMap<String, Result<String, String>>,
    without_value: BTreeSet<String>,
}

impl<'a> Global<'a> {
    pub(super) fn new(escape: char, args: &'a BTreeMap<String, String>) -> Global<'a> {
        Global { escape, args, values: BTreeMap::new(), without_value: BTreeSet::new() }
    }

    /// Takes what follows an `ARG`. A default may hold what was declared before it.
    pub(super) fn declare(&mut self, text: &str) {
        for word in words::split(text, self.escape).0 {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word, None),
            };
            let given = self.args.get(name).map(|value| Ok(value.clone()));
            match given.or_else(|| default.map(|default| self.fill(default))) {
                Some(value) => {
                    self.values.insert(name.to_owned(), value);
                }
                None => {
                    self.values.remove(name);
                    self.without_value.insert(name.to_owned());
                }
            }
        }
    }

    /// A word with its arguments filled in and its quotes removed.
    pub(super) fn fill(&self, word: &str) -> Result<String, String> {
        let filled = self.fill_where(word, None)?;
        // To some builders an `ARG` without a value is not set, to others it is empty.
        if self.fill_where(word, Some(""))? != filled {
            return Err(format!("{word} needs `:` before its operator: an ARG has no value"));
        }
        Ok(filled)
    }

    /// `missing` stands for what is declared without a value.
    fn fill_where(&self, word: &str, missing: Option<&str>) -> Result<String, String> {
        let mut problem = None;
        let mut lookup = |name: &str| match self.values.get(name) {
            Some(Ok(value)) => Some(value.clone()),
            Some(Err(message)) => {
                problem = Some(message.clone());
                None
            }
            None if PREDEFINED.contains(&name) => {
                let depends = format!("FROM depends on {name}, which is not supported");
                problem = Some(format!("{depends}; name the image"));
                None
            }
            None if self.without_value.contains(name) => missing.map(str::to_owned),
            None => None,
        };
        let filled = words::expand(word, self.escape, &mut lookup);
        match (problem, filled) {
            (Some(problem), _) => Err(problem),
            (None, Err(message)) if message.ends_with("has no value") => {
                Err(format!("{message}; give ARG a default"))
            }
            (None, filled) => filled,
        }
    }
}
