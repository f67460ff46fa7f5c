//! What a service names that must exist: other services, volumes, networks, secrets, configs.
//!
//! `docker compose config --no-interpolate` accepts a name that nothing defines; compose refuses it
//! when it starts the stack. A service behind a profile is not started, so nothing may need it.
//! Names with a variable in them are left to compose, which knows the values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A service that another service names.
struct Need<'v> {
    key: &'static str,
    service: &'v str,
    required: bool,
}

/// Everything that is missing for the services of a stack. `merged` is what compose makes of its
/// files without values.
pub(super) fn problems(merged: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let services: BTreeMap<&String, &Value> = entries(&merged["services"]).collect();
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in services.iter().filter(|(_, service)| profiles(service).is_empty()) {
        for need in needs(service) {
            match services.get(&need.service.to_owned()).map(|it| profiles(it)) {
                None if need.required => problems.push(missing(name, &need, &services)),
                Some(profiles) if !profiles.is_empty() && need.required => {
                    problems.push(switched_off(name, &need, &profiles));
                }
                _ => drop(graph.entry(name).or_default().insert(need.service)),
            }
        }
        problems.extend(undefined(merged, service).map(|it| format!("service {name}: {it}")));
        if service["image"].is_null() && service["build"].is_null() {
            problems.push(format!("service {name}: it has neither `image` nor `build`"));
        }
    }
    problems.extend(circle(&graph).map(|circle| {
        let circle = circle.join(" → ");
        format!("the services need each other in a circle: {circle}; remove one `depends_on`")
    }));
    problems
}

/// The profiles that a service is behind; without one it is always started.
pub(super) fn profiles(service: &Value) -> Vec<&str> {
    let profiles = service["profiles"].as_array().into_iter().flatten();
    profiles.filter_map(Value::as_str).collect()
}

fn missing(name: &str, need: &Need<'_>, services: &BTreeMap<&String, &Value>) -> String {
    let known: Vec<&str> = services.keys().map(|it| it.as_str()).collect();
    format!(
        "service {name}: {}: there is no service {}; known: {}",
        need.key,
        need.service,
        known.join(", ")
    )
}

fn switched_off(name: &str, need: &Need<'_>, profiles: &[&str]) -> String {
    let Need { key, service, .. } = need;
    let optional = match *key {
        "depends_on" => format!(
            ", or write `depends_on: {{{service}: {{condition: service_started, required: false}}}}`"
        ),
        _ => String::new(),
    };
    let profiles = behind(profiles);
    format!("service {name}: {key}: {service} is {profiles}; remove its `profiles`{optional}")
}

/// Such as `behind the profile dev`.
pub(crate) fn behind(profiles: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = profiles.iter().map(AsRef::as_ref).collect();
    let word = if names.len() == 1 { "profile" } else { "profiles" };
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("behind the {word} {}, which {verb} not started", names.join(", "))
}

fn needs(service: &Value) -> Vec<Need<'_>> {
    let mut needs = Vec::new();
    for (service, how) in entries(&service["depends_on"]) {
        needs.push(Need { key: "depends_on", service, required: how["required"] != false });
    }
    for key in ["depends_on", "links", "volumes_from"] {
        for text in texts(&service[key]).filter(|text| !text.starts_with("container:")) {
            let service = text.split(':').next().unwrap_or(text);
            needs.push(Need { key, service, required: true });
        }
    }
    for key in ["network_mode", "pid", "ipc"] {
        let service = service[key].as_str().and_then(|text| text.strip_prefix("service:"));
        needs.extend(service.map(|service| Need { key, service, required: true }));
    }
    needs.retain(|need| !need.service.contains('$'));
    needs
}

/// Names of volumes, networks, secrets and configs that no top-level key defines.
fn undefined(merged: &Value, service: &Value) -> impl Iterator<Item = String> {
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for mount in service["volumes"].as_array().into_iter().flatten() {
        let source = mount["source"].as_str().filter(|_| mount["type"] == "volume");
        used.extend(source.map(|source| ("volumes", source)));
    }
    used.extend(texts(&service["networks"]).map(|name| ("networks", name)));
    used.extend(entries(&service["networks"]).map(|(name, _)| ("networks", name.as_str())));
    for kind in ["secrets", "configs"] {
        used.extend(texts(&service[kind]).map(|name| (kind, name)));
        let long = service[kind].as_array().into_iter().flatten();
        used.extend(long.filter_map(|it| it["source"].as_str()).map(|name| (kind, name)));
    }
    let is_defined = |(kind, name): &(&str, &str)| {
        let implicit = *kind == "networks" && *name == "default";
        implicit || name.contains('$') || merged[*kind].get(*name).is_some()
    };
    let undefined: Vec<String> = used
        .into_iter()
        .filter(|it| !is_defined(it))
        .map(|(kind, name)| {
            format!("{kind}: {name} is not defined; add it under the top-level `{kind}:`")
        })
        .collect();
    undefined.into_iter()
}

/// A circle of names, its first name again at the end.
fn circle<'g>(graph: &BTreeMap<&'g str, BTreeSet<&'g str>>) -> Option<Vec<&'g str>> {
    let mut done = BTreeSet::new();
    graph.keys().find_map(|name| circle_from(graph, name, &mut Vec::new(), &mut done))
}

fn circle_from<'g>(
    graph: &BTreeMap<&'g str, BTreeSet<&'g str>>,
    name: &'g str,
    open: &mut Vec<&'g str>,
    done: &mut BTreeSet<&'g str>,
) -> Option<Vec<&'g str>> {
    if let Some(at) = open.iter().position(|it| *it == name) {
        return Some([&open[at..], &[name]].concat());
    }
    if !done.insert(name) {
        return None;
    }
    open.push(name);
    let needed = graph.get(name).into_iter().flatten();
    let found = needed.copied().find_map(|it| circle_from(graph, it, open, done));
    open.pop();
    found
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(app: Value, expected: &Expect) {
        let mut app = app;
        app["image"] = "a".into();
        let stack = json!({
            "services": {
                "app": app, "mail": {"image": "a", "profiles": ["dev"]}, "db": {"image": "a"},
            },
            "volumes": {"data": null}, "networks": {"back": null},
        });
        expected.assert_eq(&format!("{:#?}", problems(&stack)));
    }

    #[test]
    fn a_service_that_is_missing_or_behind_a_profile_is_named_with_its_key() {
        check(
            json!({
                "depends_on": {"mail": {"required": true}, "none": {"required": true}},
                "links": ["mail:m"], "volumes_from": ["mail:ro", "container:x"],
                "network_mode": "service:mail", "pid": "service:none", "ipc": "service:mail",
            }),
            &expect![[r#"
                [
                    "service app: depends_on: mail is behind the profile dev, which is not started; remove its `profiles`, or write `depends_on: {mail: {condition: service_started, required: false}}`",
                    "service app: depends_on: there is no service none; known: app, db, mail",
                    "service app: links: mail is behind the profile dev, which is not started; remove its `profiles`",
                    "service app: volumes_from: mail is behind the profile dev, which is not started; remove its `profiles`",
                    "service app: network_mode: mail is behind the profile dev, which is not started; remove its `profiles`",
                    "service app: pid: there is no service none; known: app, db, mail",
                    "service app: ipc: mail is behind the profile dev, which is not started; remove its `profiles`",
                ]"#]],
        );
    }

    #[test]
    fn what_is_defined_or_optional_or_a_variable_is_no_problem() {
        check(
            json!({
                "depends_on": {"mail": {"required": false}, "db": {"required": true}},
                "links": ["db:d", "${OTHER}"], "network_mode": "host",
                "volumes": [
                    {"type": "volume", "source": "data"}, {"type": "volume", "target": "/x"},
                    {"type": "bind", "source": "./x"}, {"type": "volume", "source": "${V}"},
                ],
                "networks": {"default": null, "back": {"aliases": ["x"]}},
            }),
            &expect!["[]"],
        );
    }

    #[test]
    fn a_volume_network_secret_or_config_that_nothing_defines_is_named() {
        check(
            json!({
                "volumes": [{"type": "volume", "source": "dta"}], "networks": ["front"],
                "secrets": [{"source": "key"}], "configs": ["conf"],
            }),
            &expect![[r#"
                [
                    "service app: configs: conf is not defined; add it under the top-level `configs:`",
                    "service app: networks: front is not defined; add it under the top-level `networks:`",
                    "service app: secrets: key is not defined; add it under the top-level `secrets:`",
                    "service app: volumes: dta is not defined; add it under the top-level `volumes:`",
                ]"#]],
        );
    }

    #[test]
    fn a_circle_is_shown_from_its_first_service() {
        let needs = |name: &str| json!({"image": "a", "depends_on": {name: {"required": true}}});
        let stack = json!({"services": {
            "a": needs("b"), "b": needs("c"),
            "c": {"image": "a", "network_mode": "service:b"},
        }});
        expect![[r#"
            [
                "the services need each other in a circle: b → c → b; remove one `depends_on`",
            ]"#]]
        .assert_eq(&format!("{:#?}", problems(&stack)));
    }
}
