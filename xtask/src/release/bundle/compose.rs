//! The Docker branch: a compose file of the services that go along.
//!
//! Elastic Beanstalk writes the properties of the environment into `.env` beside it, where compose
//! finds them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::forms::is_empty;
use super::quantity::duration_text;
use super::service::{Health, Mount, Service};
use super::variables::{self, Given};
use super::{Input, Problems, object};
use crate::project::hints::Lossy;

pub(super) fn definition(
    input: &Input<'_>,
    services: &[Service<'_>],
    problems: &mut Problems<'_>,
) -> Value {
    let (mut volumes, mut networks) = (BTreeSet::new(), BTreeSet::new());
    let mut written = Map::new();
    for service in services {
        for mount in &service.mounts {
            if let Some(volume) = &mount.volume {
                let words = "a volume lives no longer than the instance, which the next version \
                             may replace";
                service.lossy(Lossy::Volumes, "volumes", words, problems);
                volumes.insert(volume.clone());
            }
        }
        networks.extend(service.networks.keys().cloned());
        written.insert(service.name.to_owned(), one(service));
    }
    // What says something of itself counts though no service names it.
    networks.insert("default".to_owned());
    Value::Object(object([
        ("networks", parts(input, "networks", &networks, problems)),
        ("services", Value::Object(written)),
        ("volumes", parts(input, "volumes", &volumes, problems)),
    ]))
}

fn one(service: &Service<'_>) -> Value {
    let variable = |(name, given): (&String, &Given)| {
        let value = match given {
            Given::Literal(text) => escaped(&Value::from(text.as_str())),
            Given::Property { .. } => format!("${{{name}}}").into(),
        };
        (name.clone(), value)
    };
    let dependencies = service.depends_on.iter().map(|(name, dependency)| {
        let mut fields = json!({"condition": dependency.condition});
        if dependency.restart {
            fields["restart"] = true.into();
        }
        (name.clone(), fields)
    });
    let link = |(name, alias): &(String, String)| match name == alias {
        true => name.clone(),
        false => format!("{name}:{alias}"),
    };
    let port = |port: &crate::project::hints::Port| {
        let (host, container, protocol) = (port.host, port.container, &port.protocol);
        format!("{host}:{container}/{protocol}")
    };
    let mut fields = object([
        ("depends_on", Value::Object(dependencies.collect())),
        ("healthcheck", service.healthcheck.as_ref().map_or(Value::Null, health)),
        ("links", service.links.iter().map(link).collect()),
        ("networks", escaped(&Value::Object(service.networks.clone()))),
        ("ports", service.ports.iter().map(port).collect()),
        ("volumes", service.mounts.iter().map(mount).collect()),
    ]);
    // Their texts are ours, or free of dollars.
    fields.insert("image".to_owned(), service.image.into());
    fields.extend(service.keys.iter().map(|(key, value)| (key.clone(), escaped(value))));
    let environment: Map<String, Value> = service.environment.iter().map(variable).collect();
    if !environment.is_empty() {
        fields.insert("environment".to_owned(), environment.into());
    }
    Value::Object(fields)
}

fn health(health: &Health) -> Value {
    if health.disable {
        return json!({"disable": true});
    }
    let duration = |given: Option<_>| given.map_or(Value::Null, |it| duration_text(it).into());
    Value::Object(object([
        ("interval", duration(health.interval)),
        ("retries", json!(health.retries)),
        ("start_interval", duration(health.start_interval)),
        ("start_period", duration(health.start_period)),
        ("test", escaped(&json!(health.test))),
        ("timeout", duration(health.timeout)),
    ]))
}

fn mount(mount: &Mount) -> Value {
    let kind = if mount.volume.is_some() { "volume" } else { "tmpfs" };
    Value::Object(object([
        ("read_only", if mount.read_only { true.into() } else { Value::Null }),
        ("source", json!(mount.volume)),
        ("target", escaped(&json!(mount.target))),
        ("tmpfs", mount.size.map_or(Value::Null, |size| json!({"size": size}))),
        ("type", kind.into()),
    ]))
}

/// The networks or volumes that are named, as the project's files describe them.
fn parts(
    input: &Input<'_>,
    kind: &str,
    names: &BTreeSet<String>,
    problems: &mut Problems<'_>,
) -> Value {
    let mut parts = Map::new();
    for name in names {
        let mut fields = input.merged[kind][name].as_object().cloned().unwrap_or_default();
        let path = |key: &str| format!("{kind}.{name}.{key}");
        if fields.get("external").is_some_and(|external| *external != false) {
            let words = "an instance has none but the bundle's own";
            problems.at(&path("external"), words);
        }
        // Compose makes a name up where none is given.
        let own = fields
            .remove("name")
            .is_some_and(|given| given != format!("{}_{name}", input.stack.name).as_str());
        if own {
            problems
                .at(&path("name"), "an instance has none but the bundle's own; remove the name");
        }
        if !variables::are_none(&Value::Object(fields.clone())) {
            problems.at(&format!("{kind}.{name}"), "a bundle has no variables here");
        }
        if name != "default" || !fields.is_empty() {
            fields.retain(|_, value| !is_empty(value));
            parts.insert(name.clone(), Value::Object(fields));
        }
    }
    Value::Object(parts)
}

/// Compose reads a dollar as the beginning of a variable.
fn escaped(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace('$', "$$").into(),
        Value::Array(items) => items.iter().map(escaped).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (name.clone(), escaped(value));
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}
