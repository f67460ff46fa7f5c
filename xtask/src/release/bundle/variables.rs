//! What becomes of `${NAME}` in a bundle: public values are filled in, those of `.env` never are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::forms::text;
use super::{Input, Problems};
use crate::project::dotenv::is_name;
use crate::project::substitute::{fill_known, names, substitute};

/// The value of a container's variable.
pub(super) enum Given {
    Literal(String),
    Property { template: String, variables: BTreeSet<String> },
}

/// The variables of a service; what is wrong with one becomes a problem.
pub(super) fn environment(
    input: &Input<'_>,
    service: &str,
    value: &Value,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Given> {
    let pairs: Vec<(String, Option<String>)> = match value {
        Value::Array(items) => items
            .iter()
            .map(text)
            .map(|item| match item.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (item, None),
            })
            .collect(),
        other => other
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), (!value.is_null()).then(|| text(value))))
            .collect(),
    };
    let mut environment = BTreeMap::new();
    for (name, value) in pairs {
        let given = match value {
            Some(value) => given(input, &name, &value),
            None => Err("it has no value, so it would come from the shell; give it one".into()),
        };
        match given {
            Ok(given) => drop(environment.insert(name, given)),
            Err(words) => problems.add(service, &format!("environment.{name}"), words),
        }
    }
    environment
}

/// The text of a container's variable; `Err` says what is wrong.
fn given(input: &Input<'_>, name: &str, text: &str) -> Result<Given, String> {
    declared(input, text)?;
    let template = fill_known(text, &|name| input.public.get(name).cloned())?;
    let variables = names(&template)?;
    if variables.is_empty() {
        return substitute(&template, &mut |_| None).map(Given::Literal);
    }
    if !is_name(name) {
        return Err(
            "its value is in .env, and this is no name that a property can have there".into()
        );
    }
    Ok(Given::Property { template, variables })
}

/// That everything a text uses is known, and has a meaning in a bundle.
fn declared(input: &Input<'_>, text: &str) -> Result<(), String> {
    for name in names(text)? {
        if input.public.contains_key(&name) || input.schema.variables.contains_key(&name) {
            continue;
        }
        if name.starts_with("STEVEDORE_") {
            return Err(format!(
                "it uses ${{{name}}}, which is about this machine; a bundle has STEVEDORE_VERSION \
                 and STEVEDORE_COMMIT"
            ));
        }
        return Err(format!(
            "it uses ${{{name}}}, which is neither in environments/{env}/.env.example nor in \
             [variables] of environments/{env}/environment.toml",
            env = input.environment
        ));
    }
    Ok(())
}

/// A part of a service with every public value filled in; what is wrong becomes a problem of the
/// service's key.
pub(super) fn filled(
    input: &Input<'_>,
    service: &str,
    key: &str,
    value: &Value,
    problems: &mut Problems<'_>,
) -> Value {
    match value {
        Value::String(text) => match fill(input, text) {
            Ok(text) => Value::String(text),
            Err(words) => {
                problems.add(service, key, words);
                Value::Null
            }
        },
        Value::Array(items) => {
            items.iter().map(|item| filled(input, service, key, item, problems)).collect()
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let key = format!("{key}.{name}");
                (name.clone(), filled(input, service, &key, value, problems))
            };
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn fill(input: &Input<'_>, text: &str) -> Result<String, String> {
    declared(input, text)?;
    let template = fill_known(text, &|name| input.public.get(name).cloned())?;
    match names(&template)?.first() {
        None => substitute(&template, &mut |_| None),
        Some(name) => Err(format!(
            "it uses ${{{name}}}, whose value is in .env and never in a bundle; give it to the \
             container in `environment`, and use it there"
        )),
    }
}

/// Whether no text of a value has a variable.
pub(super) fn are_none(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('$'),
        Value::Array(items) => items.iter().all(are_none),
        Value::Object(fields) => fields.values().all(are_none),
        _ => true,
    }
}
