//! Tags of applications, versions and environments, by ARN.

use std::collections::BTreeMap;

use super::{Answer, Call};
use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;
use crate::service::{About, Draft};
use crate::state::{Change, Severity, State};

/// As many as the service lets one have.
const MOST: usize = 50;

pub(super) type Tags = BTreeMap<String, String>;

/// # Errors
///
/// When a key is empty or too long, or the service keeps it for itself.
pub(super) fn read(query: &Query, name: &str) -> Result<Tags, Refusal> {
    let mut tags = Tags::new();
    for tag in query.list(name) {
        let key = tag.required("Key")?;
        let value = tag.text("Value").unwrap_or_default();
        if key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(Refusal::invalid(format!("The tag '{key}' is invalid.")));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    if tags.len() > MOST {
        return Err(too_many());
    }
    Ok(tags)
}

fn too_many() -> Refusal {
    let message = format!("A resource has at most {MOST} tags.");
    Refusal { status: 400, code: "TooManyTagsException", message }
}

/// What an ARN names.
enum Resource {
    Application(String),
    Version(String, String),
    Environment(String),
}

fn resource(state: &State, arn: &str) -> Result<Resource, Refusal> {
    let missing = || Refusal {
        status: 400,
        code: "ResourceNotFoundException",
        message: format!("Resource not found: {arn}."),
    };
    let mut parts = arn.splitn(6, ':');
    let service = parts.nth(2).unwrap_or_default();
    let rest = parts.nth(2).unwrap_or_default();
    let mut path = rest.split('/');
    let (kind, one, other) = (path.next(), path.next(), path.next());
    if service != "elasticbeanstalk" {
        return Err(missing());
    }
    let found = match (kind, one, other) {
        (Some("application"), Some(name), None) => {
            let there = state.applications.contains_key(name);
            there.then(|| Resource::Application(name.to_owned()))
        }
        (Some("applicationversion"), Some(name), Some(label)) => {
            let there = state.versions.contains_key(&(name.to_owned(), label.to_owned()));
            there.then(|| Resource::Version(name.to_owned(), label.to_owned()))
        }
        (Some("environment"), Some(application), Some(name)) => {
            let found = state.environment(name).filter(|it| it.application == application);
            found.map(|it| Resource::Environment(it.id.clone()))
        }
        _ => {
            return Err(Refusal {
                status: 400,
                code: "ResourceTypeNotSupportedException",
                message: format!("The resource {arn} has no tags here."),
            });
        }
    };
    found.ok_or_else(missing)
}

fn of(state: &State, resource: &Resource) -> Tags {
    match resource {
        Resource::Application(name) => state.applications.get(name).map(|it| it.tags.clone()),
        Resource::Version(name, label) => {
            state.versions.get(&(name.clone(), label.clone())).map(|it| it.tags.clone())
        }
        Resource::Environment(id) => state.environments.get(id).map(|it| it.tags.clone()),
    }
    .unwrap_or_default()
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let arn = call.query.required("ResourceArn")?;
    call.service.read(|state| {
        let tags = of(state, &resource(state, arn)?);
        let node = |(key, value): (&String, &String)| -> Node {
            Fields::new().with("Key", key.as_str()).with("Value", value.as_str()).into()
        };
        let answer = Fields::new().with("ResourceArn", arn);
        Ok(Some(answer.list("ResourceTags", tags.iter().map(node)).into()))
    })
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let arn = call.query.required("ResourceArn")?;
    let added = read(call.query, "TagsToAdd")?;
    let removed = call.query.texts("TagsToRemove");
    call.service.change(|draft| {
        let resource = resource(draft.state(), arn)?;
        let mut tags = of(draft.state(), &resource);
        tags.retain(|key, _| !removed.contains(key));
        tags.extend(added);
        if tags.len() > MOST {
            return Err(too_many());
        }
        store(draft, call, resource, tags);
        Ok(None)
    })
}

fn store(draft: &mut Draft<'_>, call: &Call<'_>, resource: Resource, tags: Tags) {
    match resource {
        Resource::Application(name) => {
            if let Some(mut it) = draft.state().applications.get(&name).cloned() {
                it.tags = tags;
                draft.put(Change::Application(it));
            }
        }
        Resource::Version(name, label) => {
            if let Some(mut it) = draft.state().versions.get(&(name, label)).cloned() {
                it.tags = tags;
                draft.put(Change::Version(it));
            }
        }
        Resource::Environment(id) => {
            if let Some(mut it) = draft.state().environments.get(&id).cloned() {
                it.tags = tags;
                let about = About::environment(&it, call.request);
                draft.environment(it);
                for text in [
                    "Environment tag update is starting.",
                    "Environment tag update completed successfully.",
                ] {
                    draft.event(&about, Severity::Info, text.to_owned());
                }
            }
        }
    }
}
