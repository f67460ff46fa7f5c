//! `.ebextensions/*.config`: option settings, and commands for the instance.
//!
//! Files count in the order of their names; YAML or JSON, which is YAML as well.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::bundle;
use crate::settings::{self, PROPERTIES, Settings, set};

/// Keys that change the machine; here they do nothing.
const NOT_MODELLED: &[&str] =
    &["packages", "groups", "users", "sources", "files", "services", "Resources", "Outputs"];

#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) settings: Settings,
    pub(crate) commands: Vec<Command>,
    pub(crate) container_commands: Vec<Command>,
    /// `file: key` of what is in them and is not modelled.
    pub(crate) ignored: Vec<String>,
}

/// One entry of `commands` or `container_commands`.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: Option<String>,
    pub(crate) test: Option<String>,
    pub(crate) leader_only: bool,
    pub(crate) ignore_errors: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    command: Words,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    cwd: Option<String>,
    test: Option<String>,
    #[serde(default, alias = "leader_only")]
    leader_only: bool,
    #[serde(default)]
    ignore_errors: bool,
}

/// Reads the folder below the root of a bundle; without one there is nothing.
///
/// # Errors
///
/// Names the file that is wrong, and what in it.
pub(crate) fn load(root: &Path) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    let folder = root.join(".ebextensions");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(extensions) };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".config"))
        .collect();
    names.sort();
    for name in names {
        let shown = format!(".ebextensions/{name}");
        let text = bundle::text(&folder.join(&name)).context(".ebextensions")?;
        read(&mut extensions, &shown, &text.unwrap_or_default())?;
    }
    match settings::problems(&extensions.settings).into_iter().next() {
        Some(problem) => bail!(".ebextensions: {}", problem.message),
        None => Ok(extensions),
    }
}

/// Reads one file, as text.
pub(crate) fn read(extensions: &mut Extensions, file: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let value = bundle::yaml(text)
        .with_context(|| format!("The configuration file {file} contains invalid YAML or JSON"))?;
    let Value::Object(keys) = value else { bail!("{file} is no mapping") };
    for (key, value) in keys {
        match key.as_str() {
            "option_settings" => option_settings(&mut extensions.settings, file, &value)?,
            "commands" => extensions.commands.extend(commands(file, &key, value)?),
            "container_commands" => {
                extensions.container_commands.extend(commands(file, &key, value)?);
            }
            _ if NOT_MODELLED.contains(&key.as_str()) => {
                extensions.ignored.push(format!("{file}: {key}"));
            }
            _ => bail!("{file} has the key {key:?}, which the service does not know"),
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Either a mapping of namespaces to options, or a list of single settings.
fn option_settings(settings: &mut Settings, file: &str, value: &Value) -> Result<()> {
    let wrong = || format!("{file}: option_settings is neither a mapping of namespaces nor a list");
    match value {
        Value::Object(namespaces) => {
            for (namespace, options) in namespaces {
                let options = options.as_object().with_context(wrong)?;
                for (option, value) in options {
                    let value = scalar(value).with_context(|| {
                        format!("{file}: the value of {namespace} {option} is no text")
                    })?;
                    set(settings, namespace, option, &value);
                }
            }
        }
        Value::Array(list) => {
            for setting in list {
                let text = |key: &str| setting.get(key).and_then(scalar);
                let namespace = text("namespace").unwrap_or_else(|| PROPERTIES.to_owned());
                let option = text("option_name").with_context(|| {
                    format!("{file}: a setting of option_settings has no option_name")
                })?;
                set(settings, &namespace, &option, &text("value").unwrap_or_default());
            }
        }
        _ => bail!(wrong()),
    }
    Ok(())
}

fn commands(file: &str, key: &str, value: Value) -> Result<Vec<Command>> {
    let entries: BTreeMap<String, Entry> = serde_json::from_value(value)
        .with_context(|| format!("{file}: {key} is not as it should be"))?;
    let command = |(name, entry): (String, Entry)| Command {
        name,
        words: match entry.command {
            Words::Text(text) => vec!["sh".to_owned(), "-c".to_owned(), text],
            Words::List(words) => words,
        },
        environment: entry
            .env
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), scalar(value)?)))
            .collect(),
        directory: entry.cwd,
        test: entry.test,
        leader_only: entry.leader_only,
        ignore_errors: entry.ignore_errors,
    };
    Ok(entries.into_iter().map(command).collect())
}
