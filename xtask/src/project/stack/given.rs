//! The variables that a service gets: names under `environment`, and the files under `env_file`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::normal;

/// The names that a service gets, and whether each has a value in the file.
pub(super) fn environment(value: &Value) -> BTreeMap<String, bool> {
    match value {
        Value::Object(map) => {
            map.iter().map(|(name, value)| (name.clone(), !value.is_null())).collect()
        }
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            let pair = |text: &str| match text.split_once('=') {
                Some((name, _)) => (name.to_owned(), true),
                None => (text.to_owned(), false),
            };
            texts.map(pair).collect()
        }
        _ => BTreeMap::new(),
    }
}

pub(super) fn without_value(environment: &BTreeMap<String, bool>) -> impl Iterator<Item = String> {
    environment.iter().filter(|(_, has_value)| !**has_value).map(|(name, _)| name.clone())
}

/// The short form is a text or a list of texts, the long one has `path` and `required`. A path with
/// a variable is compose's to resolve.
pub(super) fn env_files(value: &Value) -> BTreeMap<String, bool> {
    let one = |value: &Value| {
        let path = value.as_str().or(value["path"].as_str())?;
        (!path.contains('$')).then(|| (normal(path), value["required"] != false))
    };
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    }
}
