//! `Procfile`: the processes of an environment on the host engine.
//!
//! `name: command`, one a line. No shell runs them: words are split as a shell would, `$NAME` is
//! filled in, and what only a shell can do is refused, so that the process we start is the process
//! we end. Three names are special: `release` runs to its end before the others start (Heroku's
//! rule), `test` runs only for `cargo xtask test`, and `build` runs when `cargo xtask dev` sees
//! that a source has changed, before the others start again.

use super::dotenv::Problem;

pub(crate) const RELEASE: &str = "release";
pub(crate) const TEST: &str = "test";
pub(crate) const BUILD: &str = "build";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) line: usize,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Process>, Vec<Problem>> {
    let mut processes: Vec<Process> = Vec::new();
    let mut problems = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match parse_line(content) {
            Err(message) => problems.push(Problem { line, message }),
            Ok((name, _)) if processes.iter().any(|process| process.name == name) => {
                problems.push(Problem { line, message: format!("{name} is here already") });
            }
            Ok((name, words)) => processes.push(Process { name, words, line }),
        }
    }
    if problems.is_empty() { Ok(processes) } else { Err(problems) }
}

fn parse_line(line: &str) -> Result<(String, Vec<String>), String> {
    let (name, command) = line.split_once(':').ok_or("write `name: command`")?;
    super::check_name(name).map_err(|error| error.to_string())?;
    let words = shell_words::split(command).map_err(|error| error.to_string())?;
    if words.is_empty() {
        return Err(format!("{name} has no command"));
    }
    if let Some(sign) = shell_sign(command) {
        return Err(format!("`{sign}` needs a shell; put the command into a script and name that"));
    }
    if words[0].contains('=') {
        return Err("settings in front of a command need a shell; put them into .env".into());
    }
    Ok((name.to_owned(), words))
}

/// The first character that only a shell would act on: one that no quote or backslash protects.
fn shell_sign(command: &str) -> Option<char> {
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), c) if c != '\'' => {}
            (_, '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (_, '`') | (None, '|' | '&' | ';' | '<' | '>' | '(' | ')') => return Some(c),
            _ => {}
        }
    }
    None
}
