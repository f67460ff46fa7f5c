//! Logs are an event stream on stdout, one line per event; the platform keeps, moves and rotates
//! them. Small enough to own: a time, a level, an event and its fields, as text or as JSON.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

#[derive(Clone, Copy)]
pub(crate) enum Format {
    Text,
    Json,
}

/// A handle to pass around instead of a global.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub(crate) format: Format,
}

impl Log {
    pub(crate) fn info(self, event: &str, fields: &[(&str, Value)]) {
        self.line("info", event, fields);
    }

    pub(crate) fn warn(self, event: &str, fields: &[(&str, Value)]) {
        self.line("warn", event, fields);
    }

    fn line(self, level: &str, event: &str, fields: &[(&str, Value)]) {
        let time = jiff::Timestamp::now();
        let line = match self.format {
            Format::Text => text(&format!("{time:.3} {level} {event}"), fields),
            Format::Json => json(&format!("{time:.3}"), level, event, fields),
        };
        // A closed stdout must not take the server down.
        writeln!(std::io::stdout(), "{line}").ok();
    }
}

fn text(head: &str, fields: &[(&str, Value)]) -> String {
    fields.iter().fold(head.to_owned(), |mut line, (name, value)| {
        let written = match value {
            Value::String(plain) if is_plain(plain) => write!(line, " {name}={plain}"),
            // JSON's quoting keeps a line one line, whatever is in the value.
            other => write!(line, " {name}={other}"),
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        line
    })
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\=".contains(&b))
}

/// Written by hand because the order of the keys is for people: time first.
fn json(time: &str, level: &str, event: &str, fields: &[(&str, Value)]) -> String {
    let head = [("time", time), ("level", level), ("event", event)];
    let head = head.map(|(name, value)| (name, Value::from(value)));
    let members = head.iter().chain(fields);
    let members: Vec<String> =
        members.map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
    format!("{{{}}}", members.join(","))
}
