//! What is wrong with a source: file, line, column, words, and the line itself.
//!
//! A build collects the problems of all files and lists them at once.

use std::fmt;

/// A place in a source, both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Most characters of a line that are shown: a minified file is one line.
const SHOWN: usize = 160;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The file as the user sees it, from the project's root.
    pub(crate) file: String,
    /// Where in it; problems of a file as a whole have no place.
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    /// The line at the place; empty where none can be shown.
    pub(crate) source_line: String,
    /// How one comes there, the nearest first: who loads the file.
    pub(crate) way: Vec<String>,
}

impl Problem {
    /// A problem of a file as a whole.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            place: None,
            message: message.into(),
            source_line: String::new(),
            way: Vec::new(),
        }
    }

    /// A problem at a place of a text.
    pub(crate) fn at(file: &str, text: &str, place: Place, message: impl Into<String>) -> Problem {
        let source_line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        Problem {
            file: file.to_owned(),
            place: Some(place),
            message: message.into(),
            source_line: source_line.trim_end().to_owned(),
            way: Vec::new(),
        }
    }

    /// A problem at an offset in bytes.
    pub(crate) fn at_offset(file: &str, text: &str, offset: usize, message: &str) -> Problem {
        let before = text.get(..offset.min(text.len())).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let place = Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        };
        Problem::at(file, text, place, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Place { line, column }) = self.place else {
            return write!(f, "{}: {}", self.file, self.message);
        };
        write!(f, "{}:{line}:{column}: {}", self.file, self.message)?;
        if !self.source_line.is_empty() {
            let number = line.to_string();
            // Tabs stay tabs, so that the caret stands below the sign it means.
            let blank = |sign: char| if sign == '\t' { '\t' } else { ' ' };
            let from = (column - 1).saturating_sub(SHOWN / 2);
            let part: String = self.source_line.chars().skip(from).take(SHOWN).collect();
            let indent: String = part.chars().take(column - 1 - from).map(blank).collect();
            write!(f, "\n  {number} | {part}")?;
            write!(f, "\n  {:width$} | {indent}^", "", width = number.len())?;
        }
        self.way.iter().try_for_each(|place| write!(f, "\n  from {place}"))
    }
}

/// All problems of a build, as one error.
#[derive(Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for Problems {}
