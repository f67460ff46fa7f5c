//! What a Dockerfile builds from: its stages and the images that each of them names.
//!
//! Only `FROM`, `COPY --from`, `RUN --mount=…,from=` and the global `ARG`s matter here; everything
//! else is the builder's business and is covered by the file's own hash. What builders of different
//! age read differently is refused: a base that is not seen is a base whose move is not seen.

use std::collections::{BTreeMap, BTreeSet};

mod context;
mod global;
mod instruction;
mod words;

use global::Global;
use instruction::Instruction;

/// What one target of a Dockerfile needs from outside the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Image references after build arguments are filled in, as short as Docker writes them: under
    /// such names the builder looks for what it is given in their place.
    pub(crate) images: BTreeSet<String>,
    /// Whether any stage needed declares `ARG name` for these names.
    pub(crate) arguments: BTreeSet<String>,
    /// The paths of the context that the stages needed read, each with all below it.
    pub(crate) reads: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Stage {
    line: usize,
    name: Option<String>,
    /// Earlier stages that it is built from.
    stages: Vec<usize>,
    images: Vec<String>,
    arguments: BTreeSet<String>,
    reads: Vec<String>,
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
        Some(target) => find(&stages, target)
            .ok_or_else(|| format!("1: there is no stage {target:?} (FROM … AS {target})"))?,
    };
    let mut references = References::default();
    let mut open = vec![start];
    let mut seen = BTreeSet::new();
    while let Some(index) = open.pop() {
        if !seen.insert(index) {
            continue;
        }
        let stage = &stages[index];
        references.arguments.extend(stage.arguments.iter().cloned());
        references.images.extend(stage.images.iter().cloned());
        references.reads.extend(stage.reads.iter().cloned());
        open.extend(&stage.stages);
    }
    // The builder would take the image for the stage, and leave out what the stage does.
    for Stage { line, name, .. } in &stages {
        let same = |image: &&String| name.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(image));
        if let Some(image) = references.images.iter().find(same) {
            return Err(format!(
                "{line}: a stage called {image:?} would be replaced by the image of that name; \
                 call it something else"
            ));
        }
    }
    Ok(references)
}

/// Whether a Dockerfile has a stage of this name.
pub(crate) fn has_stage(text: &str, name: &str) -> Result<bool, String> {
    let (_, instructions) = instruction::read(text)?;
    for instruction in instructions.iter().filter(|it| it.keyword == "FROM") {
        let (_, stage) = image_and_name(instruction).map_err(|it| instruction.error(&it))?;
        if stage.is_some_and(|stage| stage.eq_ignore_ascii_case(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A Dockerfile of nothing but what one target copies from the context as it is: where the files
/// of its build should lie. `None` where it copies nothing.
///
/// Left out is what cannot be told without the rest: `ADD` (which unpacks), here-documents, other
/// stages and images, and flags whose effect hangs on the base.
pub(crate) fn direct_copies(text: &str, target: Option<&str>) -> Result<Option<String>, String> {
    let (escape, instructions) = instruction::read(text)?;
    let mut global = format!("# escape={escape}\n");
    // Name of each stage, what it is built from, and its lines that place files.
    let mut stages: Vec<(Option<&str>, String, Vec<String>)> = Vec::new();
    for instruction in &instructions {
        let Instruction { keyword, rest, .. } = instruction;
        let line = format!("{keyword} {rest}\n");
        match (keyword.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                let (image, name) =
                    image_and_name(instruction).map_err(|it| instruction.error(&it))?;
                let image = words::without_quotes(image, escape).unwrap_or_default();
                stages.push((name, image, Vec::new()));
            }
            ("ARG", None) => global.push_str(&line),
            ("ARG" | "ENV" | "WORKDIR", Some((_, _, lines))) => lines.push(line),
            ("COPY", Some((_, _, lines))) if is_plain_copy(instruction) => lines.push(line),
            _ => {}
        }
    }
    let position = |name: &str, end: usize| {
        let named = |stage: &(Option<&str>, String, Vec<String>)| {
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
        at = position(&stages[index].1, index);
    }
    let copies = lines.iter().any(|line| line.starts_with("COPY"));
    Ok(copies.then(|| format!("{global}FROM scratch\n{}", lines.concat())))
}

/// Whether it is a `COPY` of context files whose flags do not move them.
fn is_plain_copy(copy: &Instruction) -> bool {
    let harmless = |flag: &String| {
        ["--chown=", "--chmod=", "--link"].iter().any(|known| flag.starts_with(known))
    };
    copy.flags.iter().all(harmless) && !copy.has_here_documents
}

fn find(stages: &[Stage], name: &str) -> Option<usize> {
    let named = |stage: &Stage| stage.name.as_deref().is_some_and(|n| n.eq_ignore_ascii_case(name));
    stages.iter().position(named)
}

fn stages(text: &str, args: &BTreeMap<String, String>) -> Result<Vec<Stage>, String> {
    let (escape, instructions) = instruction::read(text)?;
    let mut stages: Vec<Stage> = Vec::new();
    let mut global = Global::new(escape, args);
    for instruction in &instructions {
        let at = |message: String| instruction.error(&message);
        if instruction.keyword == "FROM" {
            let stage = from(instruction, &global, &stages).map_err(at)?;
            stages.push(stage);
            continue;
        }
        let Some((stage, earlier)) = stages.split_last_mut() else {
            if instruction.keyword == "ARG" {
                global.declare(&instruction.rest);
            }
            continue;
        };
        stage.reads.extend(context::read_by(instruction, escape));
        match instruction.keyword.as_str() {
            "ARG" => {
                let words = words::split(&instruction.rest, escape).0;
                let names = words.iter().map(|word| word.split('=').next().unwrap_or(word));
                stage.arguments.extend(names.map(str::to_owned));
            }
            "COPY" | "ADD" => {
                for flag in &instruction.flags {
                    copied_from(flag, stage, earlier).map_err(at)?;
                }
            }
            "RUN" => {
                let mounts = instruction.flags.iter().filter_map(|it| it.strip_prefix("--mount="));
                for source in mounts.filter_map(mounted) {
                    stage.needs(source, earlier).map_err(at)?;
                }
            }
            _ => {}
        }
    }
    Ok(stages)
}

impl Stage {
    /// Takes a name as the builder does: an earlier stage, else an image.
    fn needs(&mut self, name: &str, earlier: &[Stage]) -> Result<(), String> {
        if name.contains('$') {
            return Err(format!(
                "variables are not filled in here ({name}); name a stage, and give it the image \
                 (FROM {name} AS …)"
            ));
        }
        match find(earlier, name) {
            Some(stage) => self.stages.push(stage),
            None if name == "scratch" || name.is_empty() => {}
            None => self.images.push(short(name)),
        }
        Ok(())
    }
}

/// A flag of `COPY`; only there a number means a stage.
fn copied_from(flag: &str, stage: &mut Stage, earlier: &[Stage]) -> Result<(), String> {
    if flag == "--from" {
        return Err("--from wants its stage or image behind a `=`".into());
    }
    let Some(source) = flag.strip_prefix("--from=") else { return Ok(()) };
    match source.parse::<usize>() {
        Ok(number) if number < earlier.len() => stage.stages.push(number),
        Ok(number) => return Err(format!("there is no stage {number} before this one")),
        Err(_) => stage.needs(source, earlier)?,
    }
    Ok(())
}

/// What the options of a mount take it from. The builder reads them as CSV: the last one counts,
/// in any case, and quotes may stand around each.
fn mounted(options: &str) -> Option<&str> {
    mount_option(options, &["from"])
}

/// An option of a mount by any of its names.
fn mount_option<'o>(options: &'o str, names: &[&str]) -> Option<&'o str> {
    let options = options.split(',').map(|option| option.trim_matches('"'));
    let mut named = options.filter_map(|option| {
        let is_it = |key: &str| names.iter().any(|name| key.eq_ignore_ascii_case(name));
        option.split_once('=').filter(|(key, _)| is_it(key))
    });
    named.next_back().map(|(_, value)| value)
}

/// An image's name without what Docker adds by itself.
fn short(image: &str) -> String {
    let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| image.strip_prefix(hub));
    let path = hub.unwrap_or(image);
    let path = path.strip_prefix("library/").filter(|it| !it.contains('/')).unwrap_or(path);
    path.strip_suffix(":latest").unwrap_or(path).to_owned()
}

fn from(from: &Instruction, global: &Global<'_>, earlier: &[Stage]) -> Result<Stage, String> {
    let (image, name) = image_and_name(from)?;
    if let Some(name) = name.filter(|name| find(earlier, name).is_some()) {
        return Err(format!("there already is a stage called {name:?}"));
    }
    let image = global.fill(image)?;
    let name = name.map(str::to_owned);
    let mut stage = Stage { line: from.line, name, ..Stage::default() };
    stage.needs(&image, earlier)?;
    Ok(stage)
}

fn image_and_name(from: &Instruction) -> Result<(&str, Option<&str>), String> {
    let words: Vec<&str> = from.rest.split_whitespace().collect();
    match words[..] {
        [image] => Ok((image, None)),
        [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => Ok((image, Some(name))),
        _ => Err("FROM wants `IMAGE` or `IMAGE AS NAME`".into()),
    }
}

#[cfg(test)]
mod tests;
