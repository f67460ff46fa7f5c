//! What two records of one release have differently, fact by fact.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::release::record::Record;
use crate::release::version;

/// Every fact of a record that is not so.
pub(super) fn compare(record: &Record, found: &Record, problems: &mut Vec<String>) -> Result<()> {
    let tried = "can't compare the records";
    let (one, other) = (serde_json::to_value(record), serde_json::to_value(found));
    differences("", &one.context(tried)?, &other.context(tried)?, problems);
    if let Some(problem) = version::problem(&record.version, record.previous.as_slice()) {
        problems.push(format!("the record can't follow the release that it names: {problem}"));
    }
    Ok(())
}

fn differences(at: &str, recorded: &Value, found: &Value, problems: &mut Vec<String>) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at} › {key}") };
    match (recorded, found) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                let there = other.get(key).unwrap_or(&Value::Null);
                differences(&below(key), value, there, problems);
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                differences(&below(key), &Value::Null, value, problems);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in (1..).zip(one.iter().zip(other)) {
                differences(&below(&format!("{number}")), one, other, problems);
            }
        }
        (one, other) if one == other => {}
        (one, other) => {
            problems.push(format!("{at}: recorded {}, found {}", brief(one), brief(other)))
        }
    }
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    const MOST: usize = 90;
    let text = match value {
        Value::Null => return "nothing".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.chars().count() > MOST {
        true => text.chars().take(MOST).chain(['…']).collect(),
        false => text,
    }
}
