//! What a Dockerfile builds from: its stages and the images that each of them names.
//!
//! Only `FROM`, `COPY --from`, `ADD --from`, `RUN --mount=…,from=` and the global `ARG`s matter
//! here; everything else is the builder's business and is covered by the file's own hash.

use std::collections::{BTreeMap, BTreeSet};

use super::substitute::substitute;

/// What one target of a Dockerfile needs from outside the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Image references, in the file's own spelling after build arguments are filled in.
    pub(crate) images: BTreeSet<String>,
    /// Whether any stage needed declares `ARG name` for these names.
    pub(crate) arguments: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Stage {
    name: Option<String>,
    needs: Vec<String>,
    arguments: BTreeSet<String>,
}

/// Reads a Dockerfile for one target (the last stage when `None`) and build arguments.
///
/// The message of an error begins with the line's number.
pub(crate) fn parse(
    text: &str,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
) -> Result<References, String> {
    let stages = stages(text, args)?;
    let start = match target {
        None => stages.len().checked_sub(1).ok_or("1: there is no FROM")?,
        Some(target) => find(&stages, target, stages.len())
            .ok_or_else(|| format!("1: there is no stage {target:?} (FROM … AS {target})"))?,
    };
    let mut references = References::default();
    let mut open = vec![start];
    let mut seen = BTreeSet::new();
    while let Some(index) = open.pop() {
        if !seen.insert(index) {
            continue;
        }
        references.arguments.extend(stages[index].arguments.iter().cloned());
        for need in &stages[index].needs {
            match find(&stages, need, index) {
                Some(stage) => open.push(stage),
                None if need == "scratch" => {}
                None => {
                    references.images.insert(need.clone());
                }
            }
        }
    }
    Ok(references)
}

/// Whether a Dockerfile has a stage of this name.
pub(crate) fn has_stage(text: &str, name: &str) -> bool {
    instructions(text).iter().any(|(_, instruction)| {
        let words: Vec<&str> = instruction.split_whitespace().collect();
        match words[..] {
            [from, .., r#as, stage] => {
                from.eq_ignore_ascii_case("from")
                    && r#as.eq_ignore_ascii_case("as")
                    && stage.eq_ignore_ascii_case(name)
            }
            _ => false,
        }
    })
}

/// A Dockerfile of nothing but what one target copies from the context as it is: where the files
/// of its build should lie. `None` where it copies nothing.
///
/// Left out is what cannot be told without the rest: `ADD` (which unpacks), here-documents, other
/// stages and images, and flags whose effect hangs on the base.
pub(crate) fn direct_copies(text: &str, target: Option<&str>) -> Option<String> {
    let all = instructions(text);
    let mut global = String::new();
    // Name of each stage, what it is built from, and its lines that place files.
    let mut stages: Vec<(Option<&str>, &str, Vec<String>)> = Vec::new();
    for (_, instruction) in &all {
        let words: Vec<&str> = instruction.split_whitespace().collect();
        let keyword = words.first()?.to_ascii_uppercase();
        let line = format!("{}\n", instruction.trim());
        match (keyword.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                let plain: Vec<&str> =
                    words[1..].iter().copied().filter(|word| !word.starts_with("--")).collect();
                let name = (plain.len() == 3).then(|| plain[2]);
                stages.push((name, plain.first()?, Vec::new()));
            }
            ("ARG", None) => global.push_str(&line),
            ("ARG" | "ENV" | "WORKDIR", Some((_, _, lines))) => lines.push(line),
            ("COPY", Some((_, _, lines))) => lines.extend(plain_copy(&words)),
            _ => {}
        }
    }
    let position = |name: &str, end: usize| {
        let named = |stage: &(Option<&str>, &str, Vec<String>)| {
            stage.0.is_some_and(|n| n.eq_ignore_ascii_case(name))
        };
        stages[..end].iter().rposition(named)
    };
    let mut at = match target {
        Some(target) => position(target, stages.len()),
        None => stages.len().checked_sub(1),
    };
    let mut lines: Vec<&str> = Vec::new();
    while let Some(index) = at {
        let own = stages[index].2.iter().map(String::as_str);
        lines.splice(0..0, own);
        at = position(stages[index].1, index);
    }
    let copies = lines.iter().any(|line| line.starts_with("COPY"));
    copies.then(|| format!("{global}FROM scratch\n{}", lines.concat()))
}

/// A `COPY` of context files, without what does not move them.
fn plain_copy(words: &[&str]) -> Option<String> {
    let (flags, rest): (Vec<&str>, Vec<&str>) =
        words[1..].iter().copied().partition(|word| word.starts_with("--"));
    let harmless = |flag: &&str| {
        ["--chown=", "--chmod=", "--link"].iter().any(|known| flag.starts_with(known))
    };
    let plain = flags.iter().all(harmless) && !rest.iter().any(|word| word.starts_with("<<"));
    plain.then(|| format!("COPY {}\n", rest.join(" ")))
}

/// A stage by name or number, among those before `end`.
fn find(stages: &[Stage], name: &str, end: usize) -> Option<usize> {
    let named = |stage: &Stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
    let by_name = stages[..end].iter().rposition(named);
    by_name.or_else(|| name.parse().ok().filter(|&number: &usize| number < end))
}

fn stages(text: &str, args: &BTreeMap<String, String>) -> Result<Vec<Stage>, String> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut global = BTreeMap::new();
    for (line, instruction) in instructions(text) {
        let mut words = instruction.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        let words: Vec<&str> = words.collect();
        let inside = stages.last_mut();
        match (keyword.as_str(), inside) {
            ("ARG", None) => {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let value = args.get(name).map_or(default.trim_matches('"'), String::as_str);
                    global.insert(name.to_owned(), value.to_owned());
                }
            }
            ("ARG", Some(stage)) => {
                let names = words.iter().map(|word| word.split('=').next().unwrap_or(word));
                stage.arguments.extend(names.map(str::to_owned));
            }
            ("FROM", _) => stages.push(from(line, &words, &global)?),
            ("COPY" | "ADD" | "RUN", Some(stage)) => {
                stage.needs.extend(words.iter().take_while(|w| w.starts_with("--")).filter_map(
                    |word| {
                        let copy = word.strip_prefix("--from=");
                        let mount = || {
                            let options = word.strip_prefix("--mount=")?;
                            options.split(',').find_map(|option| option.strip_prefix("from="))
                        };
                        copy.or_else(mount).map(str::to_owned)
                    },
                ));
            }
            _ => {}
        }
    }
    Ok(stages)
}

fn from(line: usize, words: &[&str], global: &BTreeMap<String, String>) -> Result<Stage, String> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => (image, Some(name.to_owned())),
        _ => return Err(format!("{line}: FROM wants `IMAGE` or `IMAGE AS NAME`")),
    };
    let mut argument = |name: &str| global.get(name).filter(|value| !value.is_empty()).cloned();
    let image = substitute(image, &mut argument)
        .map_err(|message| format!("{line}: {message}; give ARG a default"))?;
    Ok(Stage { name, needs: vec![image], arguments: BTreeSet::new() })
}

/// The instructions with the number of their first line: comments dropped, continued lines
/// joined, here-documents skipped.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let escape = if text.lines().take_while(|line| line.starts_with('#')).any(|line| {
        let directive = line.trim_start_matches('#').replace(' ', "");
        directive.eq_ignore_ascii_case("escape=`")
    }) {
        '`'
    } else {
        '\\'
    };
    let mut result = Vec::new();
    let mut current: Option<(usize, String)> = None;
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let (content, continues) = match line.trim_end().strip_suffix(escape) {
            Some(content) => (content, true),
            None => (line, false),
        };
        let (_, joined) = current.get_or_insert((number, String::new()));
        joined.push_str(content);
        joined.push(' ');
        if continues {
            continue;
        }
        let Some((start, instruction)) = current.take() else {
            continue;
        };
        for end in heredocs(&instruction) {
            for (_, line) in lines.by_ref() {
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        result.push((start, instruction));
    }
    result
}

/// The end words of the here-documents that an instruction opens.
fn heredocs(instruction: &str) -> Vec<String> {
    let word = instruction.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let opened = instruction.split_whitespace().filter_map(|word| word.strip_prefix("<<"));
    opened
        .map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']).to_owned())
        .filter(|word| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .collect()
}

#[cfg(test)]
mod tests;
