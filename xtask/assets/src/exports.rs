//! What a package offers under which name: the `exports` of its `package.json`, as Node reads them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Conditions that hold for what a style sheet or a script refers to, the likeliest first.
const CONDITIONS: [&str; 5] = ["style", "browser", "import", "module", "default"];

/// The name of the package that an address begins with, and what follows it.
pub(crate) fn split(address: &str) -> (&str, &str) {
    let slashes = if address.starts_with('@') { 2 } else { 1 };
    let end = address.match_indices('/').nth(slashes - 1).map(|(at, _)| at);
    let (name, rest) = address.split_at(end.unwrap_or(address.len()));
    (name, rest.trim_start_matches('/'))
}

/// The file that a package offers under a path; nothing where it has no such name in its `exports`.
pub(crate) fn find(package: &Path, path: &str) -> Option<PathBuf> {
    let text = std::fs::read(package.join("package.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&text).ok()?;
    let found = target(&manifest["exports"], &format!("./{path}"))?;
    Some(package.join(found))
}

fn target(exports: &Value, wanted: &str) -> Option<String> {
    let exports = exports.as_object()?;
    if let Some(value) = exports.get(wanted) {
        return string(value);
    }
    let matching = exports.iter().filter_map(|(key, value)| {
        let (before, after) = key.split_once('*')?;
        let middle = wanted.strip_prefix(before)?.strip_suffix(after)?;
        Some((before.len(), value, middle))
    });
    // Of several patterns the one with the longest beginning counts.
    let (_, value, middle) = matching.max_by_key(|(length, ..)| *length)?;
    Some(string(value)?.replace('*', middle))
}

fn string(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(choices) => {
            CONDITIONS.iter().find_map(|condition| string(choices.get(*condition)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_lead_to_files_and_the_longest_pattern_counts() {
        let exports = serde_json::json!({
            "./css": {"types": "./x.d.ts", "style": "./dist/a.css", "default": "./dist/a.js"},
            "./img/*": "./dist/img/*",
            "./img/icons/*.svg": "./icons/*.svg",
            "./private": null,
        });
        let found = |wanted: &str| target(&exports, wanted);
        assert_eq!(found("./css").as_deref(), Some("./dist/a.css"));
        assert_eq!(found("./img/a/b.png").as_deref(), Some("./dist/img/a/b.png"));
        assert_eq!(found("./img/icons/x.svg").as_deref(), Some("./icons/x.svg"));
        assert_eq!(found("./private"), None);
        assert_eq!(found("./other"), None);
    }

    #[test]
    fn a_scope_belongs_to_the_name() {
        assert_eq!(split("@a/b/c/d.svg"), ("@a/b", "c/d.svg"));
        assert_eq!(split("a/b"), ("a", "b"));
        assert_eq!(split("a"), ("a", ""));
    }
}
