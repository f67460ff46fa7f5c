//! Which service waits for which: `depends_on`, and what follows from it for a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Service, Stack};

/// One entry of `depends_on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// `service_started`, `service_healthy` or `service_completed_successfully`.
    pub(crate) condition: String,
    /// Compose restarts the dependent service with this one.
    pub(crate) restart: bool,
}

impl Dependency {
    /// Whether the dependency has to be ready, and not only started.
    fn is_waited_for(&self) -> bool {
        self.condition != "service_started"
    }
}

/// `depends_on` of a service, in compose's long form or as a list of names.
pub(super) fn parse(service: &Value) -> BTreeMap<String, Dependency> {
    let one = |name: &str, value: &Value| {
        let condition = value["condition"].as_str().unwrap_or("service_started").to_owned();
        (name.to_owned(), Dependency { condition, restart: value["restart"] == true })
    };
    match &service["depends_on"] {
        Value::Object(map) => map.iter().map(|(name, value)| one(name, value)).collect(),
        Value::Array(list) => {
            list.iter().filter_map(Value::as_str).map(|name| one(name, &Value::Null)).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// The services that others wait for until they have ended successfully: those run once.
pub(super) fn awaited_ends(merged: &Value) -> BTreeSet<String> {
    let services = merged["services"].as_object().into_iter().flatten();
    let dependencies = services.flat_map(|(_, service)| parse(service));
    let ends = |dependency: &Dependency| dependency.condition == "service_completed_successfully";
    dependencies.filter(|(_, it)| ends(it)).map(|(name, _)| name).collect()
}

impl Stack {
    /// These services and those that compose restarts with them (`depends_on: … restart: true`).
    pub(crate) fn restarted_with(&self, services: &BTreeSet<String>) -> BTreeSet<String> {
        self.with_dependents(services, &|dependency| dependency.restart)
    }

    /// The services that depend on one of these, directly or by way of others.
    pub(crate) fn dependents(&self, services: &BTreeSet<String>) -> BTreeSet<String> {
        let all = self.with_dependents(services, &|_| true);
        all.difference(services).cloned().collect()
    }

    /// These services and all that they depend on, directly or by way of others.
    pub(crate) fn with_dependencies(&self, services: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = services.clone();
        loop {
            let known = found.iter().filter_map(|name| self.services.get(name));
            let more: BTreeSet<String> =
                known.flat_map(|service| service.depends_on.keys().cloned()).collect();
            if more.is_subset(&found) {
                return found;
            }
            found.extend(more);
        }
    }

    fn with_dependents(
        &self,
        services: &BTreeSet<String>,
        counts: &dyn Fn(&Dependency) -> bool,
    ) -> BTreeSet<String> {
        let mut found = services.clone();
        loop {
            let depends = |service: &Service| {
                service.depends_on.iter().any(|(name, it)| found.contains(name) && counts(it))
            };
            let more: Vec<String> = self
                .services
                .iter()
                .filter(|(name, service)| !found.contains(*name) && depends(service))
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Services in the order in which they are started: each group depends on those before it.
    pub(crate) fn in_order(&self, services: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
        let mut left = services.clone();
        let mut groups = Vec::new();
        while !left.is_empty() {
            let is_free = |name: &&String| {
                let service = self.services.get(*name);
                service.is_none_or(|it| !it.depends_on.keys().any(|other| left.contains(other)))
            };
            let mut group: BTreeSet<String> = left.iter().filter(is_free).cloned().collect();
            if group.is_empty() {
                // Compose refuses a cycle; what cannot be ordered is one group.
                group = left.clone();
            }
            left.retain(|name| !group.contains(name));
            groups.push(group);
        }
        groups
    }

    /// Those of some services that others wait for until they are ready.
    pub(crate) fn waited_for(&self, services: &BTreeSet<String>) -> BTreeSet<String> {
        let dependencies = self.services.values().flat_map(|service| &service.depends_on);
        let waited = dependencies.filter(|(_, dependency)| dependency.is_waited_for());
        waited.map(|(name, _)| name).filter(|name| services.contains(*name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::project::stack;

    fn stack() -> stack::Stack {
        let text = r#"{"name": "shop", "services": {
            "db": {},
            "migrate": {"depends_on": {"db": {"condition": "service_healthy"}}},
            "app": {"depends_on": {
                "db": {"condition": "service_healthy"},
                "migrate": {"condition": "service_completed_successfully"}}},
            "proxy": {"depends_on": {"app": {"condition": "service_started", "restart": true}}},
            "mail": {"depends_on": ["db"]}
        }}"#;
        stack::parse(text, &BTreeMap::new()).unwrap()
    }

    fn set(names: &[&str]) -> std::collections::BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_service_whose_successful_end_another_one_waits_for_runs_once() {
        let once: Vec<String> = stack()
            .services
            .into_iter()
            .filter(|(_, service)| service.facts.once)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(once, ["migrate"]);
    }

    #[test]
    fn dependents_are_found_by_way_of_others() {
        let stack = stack();
        assert_eq!(stack.dependents(&set(&["db"])), set(&["app", "mail", "migrate", "proxy"]));
        assert_eq!(stack.dependents(&set(&["proxy"])), set(&[]));
        assert_eq!(stack.with_dependencies(&set(&["app"])), set(&["app", "db", "migrate"]));
        assert_eq!(stack.restarted_with(&set(&["app"])), set(&["app", "proxy"]));
        assert_eq!(stack.restarted_with(&set(&["db"])), set(&["db"]));
        assert_eq!(stack.waited_for(&set(&["app", "db", "mail"])), set(&["db"]));
    }

    #[test]
    fn a_group_depends_on_those_before_it() {
        let groups = stack().in_order(&set(&["db", "migrate", "app", "proxy", "mail"]));
        let expected = [&["db"][..], &["mail", "migrate"], &["app"], &["proxy"]].map(set);
        assert_eq!(groups, expected);
    }
}
