//! The logs of compose, shown on a terminal, in a file or through a pipe.

use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Result;
use xshell::Cmd;

use super::Ctx;
use super::child::{Shown, show};

/// Longest wait for the rest of what an ended child has said.
const REST: Duration = Duration::from_secs(2);

/// What Compose 2.26 writes before each line of a log, into files and pipes too: a terminal clears
/// the line that it is on.
const CLEAR_LINE: &str = "\u{1b}[2K";

/// A line of a log without that.
pub(crate) fn cleared(line: &str) -> &str {
    line.strip_prefix(CLEAR_LINE).unwrap_or(line)
}

impl Ctx {
    /// Like [`Ctx::run_shown`] for a log of compose, which is clean in a file or a pipe too.
    pub(crate) fn run_log(
        &self,
        cmd: Cmd<'_>,
        beside: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        match self.json || std::io::stdout().is_terminal() {
            true => self.run_shown(cmd, beside),
            false => show(self, cmd, Shown::Cleared, beside),
        }
    }
}

/// A log that a thread copies to our stdout, line by line.
pub(super) struct Copied {
    progress: Arc<AtomicUsize>,
    ended: Receiver<()>,
}

/// What [`Copied::progress`] holds while the thread writes; else it waits for a line.
const WRITING: usize = 1;
/// Our stdout is closed.
const UNREAD: usize = 2;

impl Copied {
    pub(super) fn start(log: PipeReader) -> Copied {
        let progress = Arc::new(AtomicUsize::new(0));
        let (sender, ended) = mpsc::channel();
        let copied = Copied { progress: Arc::clone(&progress), ended };
        std::thread::spawn(move || {
            for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
                progress.store(WRITING, Ordering::Relaxed);
                let line = line.strip_prefix(CLEAR_LINE.as_bytes()).unwrap_or(&line);
                let mut stdout = std::io::stdout().lock();
                if stdout.write_all(line).and_then(|()| stdout.write_all(b"\n")).is_err() {
                    progress.store(UNREAD, Ordering::Relaxed);
                    return;
                }
                progress.store(0, Ordering::Relaxed);
            }
            let _ = sender.send(());
        });
        copied
    }

    pub(super) fn is_unread(&self) -> bool {
        self.progress.load(Ordering::Relaxed) == UNREAD
    }

    /// Waits for the rest, however slowly it is read. A process that the child has left may hold
    /// the pipe open: what that one says later is not waited for.
    pub(super) fn finish(&self, interrupt: &AtomicUsize) {
        while self.ended.recv_timeout(REST) == Err(RecvTimeoutError::Timeout) {
            let is_written = self.progress.load(Ordering::Relaxed) == WRITING;
            if !is_written || interrupt.load(Ordering::Relaxed) != 0 {
                return;
            }
        }
    }
}
