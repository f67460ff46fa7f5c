//! Which part of the context an instruction reads: what has to be sent, and what cannot matter.

use super::instruction::Instruction;
use super::{mount_option, words};

/// Everything.
const ALL: &str = ".";

/// Paths in the context, each with all that lies below it; too much where that cannot be told.
pub(super) fn read_by(instruction: &Instruction, escape: char) -> Vec<String> {
    match instruction.keyword.as_str() {
        "COPY" | "ADD" => copied(instruction, escape),
        "RUN" => {
            let mounts = instruction.flags.iter().filter_map(|it| it.strip_prefix("--mount="));
            mounts.filter_map(mounted).collect()
        }
        _ => Vec::new(),
    }
}

fn copied(copy: &Instruction, escape: char) -> Vec<String> {
    if copy.flags.iter().any(|flag| flag.starts_with("--from=")) {
        return Vec::new();
    }
    let mut paths: Vec<String> = match serde_json::from_str(&copy.rest) {
        Ok(list) => list,
        Err(_) => {
            let words = words::split(&copy.rest, escape).0.into_iter();
            words.map(|word| words::without_quotes(word, escape).unwrap_or(ALL.into())).collect()
        }
    };
    // Where it goes to.
    paths.pop();
    let is_elsewhere = |path: &String| path.starts_with("<<") || path.contains("://");
    paths.retain(|path| !is_elsewhere(path));
    paths.iter().map(|path| fixed_part(path)).collect()
}

/// What a mount shows of the context.
fn mounted(options: &str) -> Option<String> {
    let is_bind = mount_option(options, &["type"]).is_none_or(|kind| kind == "bind");
    let from = super::mounted(options).filter(|from| !from.is_empty());
    let source = mount_option(options, &["source", "src"]).unwrap_or(ALL);
    (is_bind && from.is_none()).then(|| fixed_part(source))
}

/// The directories before the first sign that stands for others.
fn fixed_part(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !["", "."].contains(part)) {
        if part == ".." || part.contains(['*', '?', '[', '\\', '$']) {
            return if parts.is_empty() { ALL.to_owned() } else { parts.join("/") };
        }
        parts.push(part);
    }
    if parts.is_empty() { ALL.to_owned() } else { parts.join("/") }
}
