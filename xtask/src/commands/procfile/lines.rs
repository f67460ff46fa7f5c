//! What processes print and what happens to them, for people and as JSON.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use serde_json::json;

use crate::ctx::Ctx;
use crate::project::procfile::RELEASE;
use crate::supervise::{End, Event, Process, Show};

const COLORS: [anstyle::AnsiColor; 5] = [
    anstyle::AnsiColor::Cyan,
    anstyle::AnsiColor::Green,
    anstyle::AnsiColor::Magenta,
    anstyle::AnsiColor::Yellow,
    anstyle::AnsiColor::Blue,
];

/// Prints each line behind the name of its process, in a colour of its own on a terminal.
pub(super) fn printer(ctx: &Ctx, processes: &[Process]) -> Show {
    let names: Vec<String> = processes.iter().map(|p| p.name.clone()).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(RELEASE.len());
    let json = ctx.json;
    Arc::new(move |name, stream, line| {
        let text = if json {
            json!({"event": "line", "process": name, "stream": stream, "line": line}).to_string()
        } else {
            let index = names.iter().position(|known| known == name).unwrap_or(names.len());
            let style = COLORS[index % COLORS.len()].on_default();
            format!("{style}{name:width$} |{style:#} {line}")
        };
        // Locked: two processes never share a line.
        let _ = writeln!(anstream::stdout().lock(), "{text}");
    })
}

/// Says what happens to a process; in the end that it was asked to end is nothing new.
pub(super) fn tell(ctx: &Ctx, name: &str, event: &Event) {
    if ctx.json {
        let _ = ctx.event(&as_json(name, event));
        return;
    }
    match event {
        Event::Ended { end: End::Status(status), again: Some(pause) } if pause.is_zero() => {
            ctx.say(format_args!("{name} is started again ({status})"));
        }
        Event::Ended { end: End::Status(status), again: Some(pause) } => ctx.warn(format_args!(
            "{name} failed ({status}); it is started again in {} s",
            pause.as_secs()
        )),
        Event::Stuck => ctx.warn(format_args!("{name} does not end although it was killed")),
        Event::Started | Event::Ended { .. } => {}
    }
}

fn as_json(name: &str, event: &Event) -> serde_json::Value {
    match event {
        Event::Started => json!({"event": "start", "process": name}),
        Event::Stuck => json!({"event": "stuck", "process": name}),
        Event::Ended { end: End::NotStarted(why), .. } => {
            json!({"event": "exit", "process": name, "error": why})
        }
        Event::Ended { end: End::Status(status), again } => json!({
            "event": "exit", "process": name, "code": status.code(), "signal": status.signal(),
            "restart_seconds": again.map(|pause| pause.as_secs()),
        }),
    }
}
