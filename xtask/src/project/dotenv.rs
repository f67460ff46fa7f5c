//! `.env` files: only lines that every reader understands alike.
//!
//! Compose, honcho and `docker run --env-file` disagree about quotes, `$`, comments behind a value
//! and white space. A line on which they would disagree is refused with its number and what to
//! write instead, so that a value never depends on who reads it. The file is never sourced.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

use crate::exit;
use crate::secret::Secret;

/// The variables of one file.
pub(crate) type Variables = BTreeMap<String, Secret>;

/// Reads a file with secrets; `name` is how the user knows it.
///
/// Refuses what is not a regular file, what others may read, and every ambiguous line.
pub(crate) fn load(path: &Path, name: &str) -> Result<Variables> {
    let meta = std::fs::metadata(path).with_context(|| format!("can't read {name}"))?;
    if !meta.is_file() {
        anyhow::bail!("{name} is not a regular file; replace it with one");
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && me != 0 {
        anyhow::bail!("{name} belongs to user {}, not to you: chown it", meta.uid());
    }
    if meta.permissions().mode() & 0o077 != 0 {
        anyhow::bail!("{name} can be read by other users: chmod 600 {name}");
    }
    let bytes = std::fs::read(path).with_context(|| format!("can't read {name}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("{name} is not UTF-8 text; save it as UTF-8"))?;
    let parsed = parse(&text);
    parsed
        .map_err(|problems| exit::problems(&format!("can't use {name}"), &in_file(name, &problems)))
}

/// A problem on a line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) message: String,
}

pub(crate) fn in_file(name: &str, problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{name}:{}: {}", problem.line, problem.message)).collect()
}

/// All the variables of a text, or all its problems.
pub(crate) fn parse(text: &str) -> Result<Variables, Vec<Problem>> {
    let mut variables = Variables::new();
    let mut seen = BTreeMap::new();
    let mut problems = Vec::new();
    for (line, content) in (1..).zip(text.split('\n')) {
        let content = match content.strip_suffix('\r') {
            None => content,
            Some(_) if line > 1 && !problems.is_empty() => continue,
            Some(_) => {
                problems.push(Problem {
                    line,
                    message: "ends with a carriage return; save the file with LF line ends".into(),
                });
                continue;
            }
        };
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match parse_line(content) {
            Err(message) => problems.push(Problem { line, message }),
            Ok((key, value)) => {
                if let Some(first) = seen.insert(key.to_owned(), line) {
                    let message = format!("{key} is set on line {first} already; keep one");
                    problems.push(Problem { line, message });
                }
                variables.insert(key.to_owned(), Secret::new(value));
            }
        }
    }
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

/// One `KEY=value`. The message never repeats the value: it may be a secret.
fn parse_line(line: &str) -> Result<(&str, &str), String> {
    if line.starts_with('\u{feff}') {
        return Err("begins with a byte order mark; save the file as UTF-8 without one".into());
    }
    if line.trim().is_empty() {
        return Err("holds white space only; make it empty".into());
    }
    let Some((key, value)) = line.split_once('=') else {
        return Err("has no `=`; write NAME=value".into());
    };
    if let Some(name) = key.strip_prefix("export ") {
        return Err(format!("`export` is read by shells only; write {name}=…"));
    }
    if !is_name(key) {
        return Err(format!(
            "{key:?} is not a variable name: letters, digits and `_`, not a digit first, \
             no white space around the `=`"
        ));
    }
    if obeyed_by_tools(key) {
        return Err(format!(
            "{key} would change the tools themselves (docker, git, the shell); give the app's \
             variable a name of its own, such as APP_{key}"
        ));
    }
    check_value(key, value)?;
    Ok((key, value))
}

fn check_value(key: &str, value: &str) -> Result<(), String> {
    if value.starts_with(['"', '\'']) {
        return Err(format!(
            "the value of {key} begins with a quote: compose removes quotes, docker's --env-file \
             keeps them; write it bare ({key}=a b c), and what has several lines as base64"
        ));
    }
    if value.trim() != value {
        return Err(format!("the value of {key} has white space at an end; remove it"));
    }
    if value.contains('$') {
        return Err(format!(
            "the value of {key} holds a `$`, which compose takes for a variable; use a value \
             without it (in a URL: %24)"
        ));
    }
    if value.contains(" #") || value.contains("\t#") {
        return Err(format!(
            "the value of {key} holds ` #`, a comment for compose and a part of the value for \
             docker; put the comment on a line of its own"
        ));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("the value of {key} holds a control character; remove it"));
    }
    Ok(())
}

pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Names that docker, compose, git, the dynamic loader or a shell act on: a `.env` must not steer
/// the tools that read it.
fn obeyed_by_tools(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "PATH",
        "HOME",
        "USER",
        "SHELL",
        "IFS",
        "ENV",
        "BASH_ENV",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ];
    const FAMILIES: [&str; 10] = [
        "LD_",
        "DYLD_",
        "DOCKER_",
        "COMPOSE_",
        "BUILDKIT_",
        "BUILDX_",
        "GIT_",
        "AWS_",
        "CARGO_",
        "STEVEDORE_",
    ];
    NAMES.contains(&name.to_ascii_uppercase().as_str())
        || FAMILIES.iter().any(|family| name.starts_with(family))
}
