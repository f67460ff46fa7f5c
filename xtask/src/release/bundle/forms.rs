//! Values that compose takes in several forms, each in one of them.

use serde_json::{Value, json};

/// A number, a truth value or a text as text.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A command as words; as one text it is split as a shell would.
pub(super) fn words(value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some(text) => shell_words::split(text).map(Value::from).map_err(|error| error.to_string()),
        None => Ok(list(value)),
    }
}

pub(super) fn list(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| Value::from(text(item))).collect(),
        other => json!([text(other)]),
    }
}

pub(super) fn mapping(value: &Value) -> Value {
    let pair = |item: &Value| {
        let item = text(item);
        let (name, value) = item.split_once('=').unwrap_or((&item, ""));
        (name.to_owned(), Value::from(value))
    };
    Value::Object(match value {
        Value::Array(items) => items.iter().map(pair).collect(),
        other => {
            let fields = other.as_object().into_iter().flatten();
            fields.map(|(name, value)| (name.clone(), text(value).into())).collect()
        }
    })
}

/// `HOST=ADDRESS` each.
pub(super) fn hosts(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    let mut hosts: Vec<String> = fields.map(|(host, it)| format!("{host}={}", text(it))).collect();
    for item in value.as_array().into_iter().flatten().map(text) {
        hosts.push(if item.contains('=') { item } else { item.replacen(':', "=", 1) });
    }
    hosts.into()
}

pub(super) fn limits(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    let both = |value: &Value| match value {
        Value::Object(_) => value.clone(),
        limit => json!({"soft": limit, "hard": limit}),
    };
    Value::Object(fields.map(|(name, value)| (name.clone(), both(value))).collect())
}

pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
