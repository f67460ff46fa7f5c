//! What Elastic Beanstalk gets of a release: the files that are made of its one compose
//! description, the properties of its environment, and what stays outside.
//!
//! | compose | in a bundle |
//! |---|---|
//! | `image`, `build` | the released image, by digest |
//! | `ports` | `x-stevedore: {bundle: {ports: …}}`: compose's are about this machine |
//! | a variable of public values only | its value |
//! | a variable with one of `.env` | a property of the environment, as a template |
//! | a service that is attached | nothing; it is described apart |
//! | everything else | the same on the Docker branch, its like in ECS's words on the other |
//!
//! What has no like is a problem that names file and key, and what has only a near one needs a
//! hint. All problems are found before any is told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::exit;
use crate::project::beanstalk::{PlatformBranch, Target};
use crate::project::compose_files::ComposeFiles;
use crate::project::schema::Schema;
use crate::project::stack::Stack;

mod attached;
mod compose;
mod dockerrun;
mod forms;
mod quantity;
mod service;
#[cfg(test)]
mod tests;
mod variables;

use service::Service;
use variables::Given;

/// What the service takes at most, in bytes.
pub(crate) const MOST_BYTES: u64 = 500_000_000;
/// The folders of an environment that a bundle takes over.
pub(crate) const FOLDERS: [&str; 2] = [".ebextensions", ".platform"];
/// Written by us, so that the project may not have one.
const SETTINGS: &str = ".ebextensions/00-stevedore.config";

/// An environment as the released commit describes it.
pub(crate) struct Input<'i> {
    pub(crate) environment: &'i str,
    pub(crate) files: &'i ComposeFiles,
    /// What compose says of all its files, without variables filled in.
    pub(crate) merged: &'i Value,
    /// The same of the overlay alone; null where there is none.
    pub(crate) overlay: &'i Value,
    pub(crate) stack: &'i Stack,
    /// Service -> the exact name of its image; those that have one.
    pub(crate) images: &'i BTreeMap<String, String>,
    /// Public variables with their values.
    pub(crate) public: &'i BTreeMap<String, String>,
    pub(crate) schema: &'i Schema,
    pub(crate) target: &'i Target,
}

/// What is made of it.
#[derive(Debug)]
pub(crate) struct Made {
    /// Path in the bundle -> text.
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) properties: BTreeMap<String, Property>,
    /// The attached services as a compose definition of their own.
    pub(crate) attached: Option<Value>,
}

/// A property of an Elastic Beanstalk environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    /// The value with `${NAME}` for what stands in `.env`; a dollar of its own is doubled.
    pub(crate) template: String,
    pub(crate) secret: bool,
    /// An attached service has one of its variables too: the value belongs to the data.
    pub(crate) attached: bool,
    /// Those of `.env` that are in it.
    pub(crate) variables: BTreeSet<String>,
}

pub(crate) fn make(input: &Input<'_>) -> Result<Made> {
    let mut problems = Problems::of(input);
    let services = service::read(input, &mut problems);
    let properties = properties(input, &services, &mut problems);
    published_once(&services, &mut problems);
    let (name, definition) = match input.target.platform_branch {
        PlatformBranch::Docker => {
            ("docker-compose.yml", compose::definition(input, &services, &mut problems))
        }
        PlatformBranch::Ecs => {
            ("Dockerrun.aws.json", dockerrun::definition(input, &services, &mut problems))
        }
    };
    if services.is_empty() {
        problems.list.push("every service is attached, so there is nothing to bundle".into());
    }
    let attached = attached::definition(input, &mut problems);
    if !problems.list.is_empty() {
        let what = format!("{} can't be carried into a bundle", input.environment);
        return Err(exit::problems(&what, &problems.list));
    }
    let files = [(name, definition), (SETTINGS, settings(input.target))];
    let text = |(name, value): (&str, Value)| Ok((name.to_owned(), self::text(&value)?));
    let files = files.into_iter().map(text).collect::<Result<_>>()?;
    Ok(Made { files, properties, attached })
}

/// The way in which versions change, and where health is asked.
fn settings(target: &Target) -> Value {
    json!({"option_settings": {
        "aws:elasticbeanstalk:application": {"Application Healthcheck URL": target.health_path},
        "aws:elasticbeanstalk:command": {"DeploymentPolicy": target.policy.to_string()},
    }})
}

/// JSON that is YAML too: what YAML takes for the end of a line, or does not take at all, is
/// written as its number.
fn text(value: &Value) -> Result<String> {
    let json = serde_json::to_string_pretty(value).context("can't write a file of the bundle")?;
    let mut text = String::new();
    for letter in json.chars() {
        match letter {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => text.push(letter),
        }
    }
    Ok(text + "\n")
}

/// What is found to be wrong, each with the file that says it.
struct Problems<'i> {
    overlay: &'i Value,
    files: &'i ComposeFiles,
    list: Vec<String>,
}

impl<'i> Problems<'i> {
    fn of(input: &Input<'i>) -> Problems<'i> {
        Problems { overlay: input.overlay, files: input.files, list: Vec::new() }
    }

    /// `key` is a path of keys below the service, with dots.
    fn add(&mut self, service: &str, key: &str, words: impl std::fmt::Display) {
        self.at(&format!("services.{service}.{key}"), words);
    }

    fn at(&mut self, path: &str, words: impl std::fmt::Display) {
        let overlay = self.files.overlay().filter(|_| says(self.overlay, path));
        let file = overlay.unwrap_or(self.files.base()).display();
        let problem = format!("{file}: {path}: {words}");
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }
}

/// Whether a file says something under this path of keys.
fn says(value: &Value, path: &str) -> bool {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    match (value, rest) {
        (Value::Object(fields), None) => fields.contains_key(key),
        (Value::Object(fields), Some(rest)) => {
            fields.get(key).is_some_and(|value| says(value, rest))
        }
        // Variables and labels are lists where somebody wrote one.
        (Value::Array(items), _) => items.iter().filter_map(Value::as_str).any(|item| {
            item.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        }),
        (Value::Null, _) => false,
        _ => true,
    }
}

/// The properties that the services need; one name has one value for all of them.
fn properties(
    input: &Input<'_>,
    services: &[Service<'_>],
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Property> {
    let outside = input.stack.services.values().filter(|service| service.facts.attached);
    let outside: BTreeSet<&String> = outside.flat_map(|service| &service.uses).collect();
    let mut properties: BTreeMap<String, (&str, Property)> = BTreeMap::new();
    for service in services {
        for (name, given) in &service.environment {
            let Given::Property { template, variables } = given else { continue };
            if let Some((other, known)) = properties.get(name)
                && known.template != *template
            {
                let words = format!(
                    "it is another text in {other}, and a property has one value for all services; \
                     give one of the two another name"
                );
                problems.add(service.name, &format!("environment.{name}"), words);
                continue;
            }
            let property = Property {
                template: template.clone(),
                secret: variables.iter().any(|name| input.schema.is_secret(name)),
                attached: variables.iter().any(|name| outside.contains(name)),
                variables: variables.clone(),
            };
            properties.insert(name.clone(), (service.name, property));
        }
    }
    if input.target.platform_branch == PlatformBranch::Ecs {
        for service in services {
            for (name, given) in &service.environment {
                if let (Given::Literal(_), Some((other, _))) = (given, properties.get(name)) {
                    let words = format!(
                        "{other} takes its value from .env, so it is a property, and on the ECS \
                         branch properties reach every container; give one of the two another name"
                    );
                    problems.add(service.name, &format!("environment.{name}"), words);
                }
            }
        }
    }
    properties.into_iter().map(|(name, (_, property))| (name, property)).collect()
}

/// Two services can't have one port of the instance.
fn published_once(services: &[Service<'_>], problems: &mut Problems<'_>) {
    let mut taken: BTreeMap<(u16, &str), &str> = BTreeMap::new();
    for service in services {
        for port in service.ports {
            if let Some(other) = taken.insert((port.host, &port.protocol), service.name) {
                let words = format!("{other} publishes {} as well", port.host);
                problems.add(service.name, "x-stevedore.bundle.ports", words);
            }
        }
    }
}

/// A value without what says nothing.
fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| says(value));
    fields.map(|(key, value)| (key.to_owned(), value)).collect()
}
