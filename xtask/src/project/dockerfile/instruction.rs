//! The instructions of a Dockerfile: comments dropped, continued lines joined, here-documents
//! skipped, cut apart where BuildKit cuts.

use super::words;

#[derive(Debug)]
pub(super) struct Instruction {
    /// Number of its first line.
    pub(super) line: usize,
    /// In capitals.
    pub(super) keyword: String,
    pub(super) flags: Vec<String>,
    /// What follows the flags.
    pub(super) rest: String,
    pub(super) has_here_documents: bool,
}

impl Instruction {
    /// A message about it, with its line.
    pub(super) fn error(&self, message: &str) -> String {
        format!("{}: {message}", self.line)
    }
}

/// A text that is read in another way than the builder reads it soon holds something else.
const KNOWN: [&str; 17] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// All instructions, and the character that escapes. An error begins with the line's number.
pub(super) fn read(text: &str) -> Result<(char, Vec<Instruction>), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text)?;
    let mut result = Vec::new();
    let mut lines = (1..).zip(text.lines().map(|line| line.trim_end_matches('\r')));
    while let Some((number, line)) = lines.next() {
        if is_nothing(line) {
            continue;
        }
        let (content, mut continues) = without_continuation(line, escape);
        let mut joined = content.to_owned();
        while continues {
            // An instruction may also end where the file does.
            let Some((_, line)) = lines.next() else { break };
            if !is_nothing(line) {
                let (content, more) = without_continuation(line, escape);
                joined.push_str(content);
                continues = more;
            }
        }
        let at = |message: String| format!("{number}: {message}");
        let (keyword, arguments) =
            joined.trim().split_once(char::is_whitespace).unwrap_or((joined.trim(), ""));
        let keyword = keyword.to_ascii_uppercase();
        check_keyword(&keyword).map_err(at)?;
        let (flags, rest) = words::flags(arguments).map_err(at)?;
        let here_documents = match keyword.as_str() {
            "ADD" | "COPY" | "RUN" if !is_list(rest) => words::here_documents(&joined),
            _ => Vec::new(),
        };
        for document in &here_documents {
            if !lines.by_ref().any(|(_, line)| document.is_ended_by(line)) {
                let name = &document.name;
                return Err(at(format!("the here-document has no end: no line is {name:?}")));
            }
        }
        result.push(Instruction {
            line: number,
            keyword,
            flags,
            rest: rest.trim_end().to_owned(),
            has_here_documents: !here_documents.is_empty(),
        });
    }
    Ok((escape, result))
}

fn is_nothing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// A line and whether the next one belongs to it. Two escapes at the end are only text.
fn without_continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(content) if !content.ends_with(escape) => (content, true),
        _ => (line, false),
    }
}

fn check_keyword(keyword: &str) -> Result<(), String> {
    match keyword {
        "ONBUILD" => Err("ONBUILD is not supported: labels are put on by building FROM the \
                          image, which would run it; copy its instruction into the images built \
                          from this one"
            .into()),
        keyword if KNOWN.contains(&keyword) => Ok(()),
        _ => Err(format!("unknown instruction {keyword:?}")),
    }
}

/// Whether arguments are a JSON list, in which nothing opens a here-document.
fn is_list(arguments: &str) -> bool {
    serde_json::from_str::<Vec<String>>(arguments).is_ok()
}

/// The character that continues lines: `# escape=` counts only among the directives at the top.
fn escape(text: &str) -> Result<char, String> {
    let mut checks = false;
    for (number, line) in (1..).zip(text.lines()) {
        let Some((name, value)) = directive(line) else { break };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("escape", _) if checks => {
                return Err(format!(
                    "{number}: older builders read no directive behind `# check`; put `# escape` \
                     before it"
                ));
            }
            ("escape", "`") => return Ok('`'),
            ("escape", "\\") => return Ok('\\'),
            ("escape", _) => return Err(format!("{number}: escape is either ` or \\")),
            ("syntax", _) => {}
            ("check", _) => checks = true,
            _ => break,
        }
    }
    Ok('\\')
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    Some((name.trim(), value.trim()))
}
