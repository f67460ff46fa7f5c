//! Exit codes, and the error that carries one.
//!
//! Scripts and CI jobs branch on the code, so each failure that has a meaning of its own is made
//! here; every other error ends with [`FAILED`].

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const GATE: u8 = 3;
pub(crate) const MISSING: u8 = 4;
pub(crate) const INTERRUPTED: u8 = 130;

/// INT, TERM, HUP and QUIT: each asks us to end.
pub(crate) const SIGNALS: [u8; 4] = [2, 15, 1, 3];

/// From now on a signal that asks us to end leaves its number there.
pub(crate) fn notice_signals(flag: &Arc<AtomicUsize>) -> std::io::Result<()> {
    for signal in SIGNALS {
        let number = usize::from(signal);
        signal_hook::flag::register_usize(i32::from(signal), Arc::clone(flag), number)?;
    }
    Ok(())
}

const INTERRUPT: &str = "interrupted";

/// An error with an exit code. The message is complete: it names the next command to type.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// The command line or a name on it is wrong.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Exit { code: USAGE, message: message.into() }.into()
}

/// Tests or checks did not pass.
pub(crate) fn gate(message: impl Into<String>) -> anyhow::Error {
    Exit { code: GATE, message: message.into() }.into()
}

/// A tool or a service is not there.
pub(crate) fn missing(message: impl Into<String>) -> anyhow::Error {
    Exit { code: MISSING, message: message.into() }.into()
}

/// The user, or a supervisor above us, asked us to end.
pub(crate) fn interrupted() -> anyhow::Error {
    Exit { code: INTERRUPTED, message: INTERRUPT.into() }.into()
}

/// The same for who tells the signals apart, as supervisors do: 130, 143, 129 or 131.
pub(crate) fn by_signal(signal: u8) -> anyhow::Error {
    Exit { code: 128_u8.saturating_add(signal), message: INTERRUPT.into() }.into()
}

/// The code of a program that has ended, as a shell gives it: 128 and the number for a signal.
pub(crate) fn of_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// Whether somebody asked for the end, who needs no message about it.
pub(crate) fn is_asked_for(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<Exit>().is_some_and(|exit| exit.message == INTERRUPT))
}

/// Several problems as one error: one line each, so that all can be mended at once.
pub(crate) fn problems(title: &str, problems: &[String]) -> anyhow::Error {
    let list: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    anyhow::anyhow!("{title}:\n{}", list.join("\n"))
}

/// The code of an error, whichever context was put around it.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Exit>()).map_or(FAILED, |exit| exit.code)
}
