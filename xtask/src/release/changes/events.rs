//! Changes as JSON: one object for each, with the facts of both sides as the records have them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Change, Changes, Commit};

impl Changes {
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events = vec![json!({
            "event": "diff", "old": self.old, "new": self.new, "same": self.is_empty(),
            "commits_known": self.commits.is_some(),
        })];
        if let Some(commits) = &self.commits {
            events.extend(commits.gained.iter().map(|it| commit("added", it)));
            events.extend(commits.lost.iter().map(|it| commit("removed", it)));
        }
        each(&mut events, "fact", &self.facts);
        each(&mut events, "base", &self.bases);
        each(&mut events, "image", &self.images);
        same(&mut events, "image", &self.same_images);
        for package in &self.packages {
            let mut event = event("package", &package.change);
            event["images"] = json!(package.images);
            events.push(event);
        }
        each(&mut events, "service", &self.services);
        each(&mut events, "store", &self.stores);
        in_each(&mut events, "dependency", "lock", &self.dependencies);
        each(&mut events, "asset", &self.assets);
        in_each(&mut events, "migration", "service", &self.migrations);
        in_each(&mut events, "key", "environment", &self.configuration);
        each(&mut events, "gate", &self.gates);
        same(&mut events, "gate", &self.same_gates);
        each(&mut events, "tool", &self.tools);
        events
    }
}

fn event<T: Serialize>(kind: &str, change: &Change<T>) -> Value {
    let Change { name, old, new } = change;
    json!({"event": kind, kind: name, "status": change.status(), "old": old, "new": new})
}

fn commit(status: &str, commit: &Commit) -> Value {
    let Commit { commit, subject } = commit;
    json!({"event": "commit", "commit": commit, "status": status, "subject": subject})
}

fn each<T: Serialize>(events: &mut Vec<Value>, kind: &str, changes: &[Change<T>]) {
    events.extend(changes.iter().map(|change| event(kind, change)));
}

fn same(events: &mut Vec<Value>, kind: &str, names: &[String]) {
    let event = |name| json!({"event": kind, kind: name, "status": "same"});
    events.extend(names.iter().map(event));
}

fn in_each<T: Serialize>(
    events: &mut Vec<Value>,
    kind: &str,
    of: &str,
    lists: &BTreeMap<String, Vec<Change<T>>>,
) {
    for (name, changes) in lists {
        for change in changes {
            let mut event = event(kind, change);
            event[of] = json!(name);
            events.push(event);
        }
    }
}
