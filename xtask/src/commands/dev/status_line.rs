//! The last line of the terminal while `dev` runs: where the app answers, and what was done last.
//!
//! The terminal scrolls above it, as apt has it, so it does not matter who else prints. Only on a
//! terminal, and never with `--json` or `--quiet`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::ctx::Ctx;

/// A terminal with fewer lines has none to spare.
const FEWEST: u16 = 6;

pub(super) struct StatusLine(Option<Mutex<Line>>);

struct Line {
    name: String,
    /// Where the app answers, once it does.
    address: Option<String>,
    work: String,
    /// Lines and columns that the terminal had when it was drawn last.
    size: Option<(u16, u16)>,
}

impl StatusLine {
    pub(super) fn new(ctx: &Ctx, environment: &str) -> StatusLine {
        if !ctx.has_line() {
            return StatusLine(None);
        }
        let (name, work) = (environment.to_owned(), "starting".to_owned());
        let line = StatusLine(Some(Mutex::new(Line { name, address: None, work, size: None })));
        line.draw(|_| ());
        line
    }

    pub(super) fn answers(&self, port: Option<u16>) {
        self.draw(|line| {
            line.address = port.map(|port| format!("http://127.0.0.1:{port}/"));
            line.work = "ready".into();
        });
    }

    /// What is being done, or was.
    pub(super) fn works(&self, work: String) {
        self.draw(|line| line.work = work);
    }

    /// Draws it anew where the terminal has another size now.
    pub(super) fn look(&self) {
        let Some(line) = &self.0 else { return };
        let is_other = lock(line).size != size();
        if is_other {
            self.draw(|_| ());
        }
    }

    fn draw(&self, change: impl FnOnce(&mut Line)) {
        let Some(line) = &self.0 else { return };
        let mut line = lock(line);
        change(&mut line);
        let size = size();
        let mut text = String::new();
        if size != line.size {
            leave(&mut text, line.size);
            enter(&mut text, size);
            line.size = size;
        }
        if let Some((rows, columns)) = size {
            let address = line.address.iter().map(|it| format!(" {it}")).collect::<String>();
            let shown = format!(" {}{address}: {}", line.name, line.work);
            let width = usize::from(columns);
            let shown: String = shown.chars().filter(|it| !it.is_control()).take(width).collect();
            let _ = write!(text, "\x1b7\x1b[{rows};1H\x1b[7m{shown:width$}\x1b[0m\x1b8");
        }
        write(&text);
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        let Some(line) = &self.0 else { return };
        let mut text = String::new();
        leave(&mut text, lock(line).size);
        write(&text);
    }
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines and columns, where there are enough.
fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_row >= FEWEST && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// A free last line, above which everything scrolls.
fn enter(text: &mut String, size: Option<(u16, u16)>) {
    let Some((rows, _)) = size else { return };
    let _ = write!(text, "\n\x1b7\x1b[1;{}r\x1b8\x1b[1A", rows - 1);
}

/// The terminal as it was.
fn leave(text: &mut String, size: Option<(u16, u16)>) {
    let Some((rows, _)) = size else { return };
    let _ = write!(text, "\x1b7\x1b[r\x1b[{rows};1H\x1b[2K\x1b8");
}

/// All at once, so that nobody writes in between.
fn write(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
