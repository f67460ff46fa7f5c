//! A process with its guard, as the supervisor sees it, and the lines that it prints.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::guard::{self, Order, Report};
use super::{Process, Show, group};

/// Most that is kept of one line, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

pub(super) struct Guarded {
    guard: Child,
    control: UnixStream,
    /// Nobody sends; it ends with the last reader of the output.
    shown: Receiver<()>,
    pub(super) started: Instant,
    /// How it ended, and since when its last lines are awaited.
    ended: Option<(Instant, End)>,
}

/// How a process ended, or why it never was one.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Status(ExitStatus),
    NotStarted(String),
}

impl Guarded {
    pub(super) fn start(process: &Process, grace: Duration, show: &Show) -> Result<Guarded> {
        let (control, theirs) = UnixStream::pair()?;
        // The guard has to be of this build, which cargo may replace while it runs.
        let mut program = Path::new("/proc/self/exe").to_path_buf();
        if !program.exists() {
            program = std::env::current_exe().context("can't find my own program")?;
        }
        #[allow(clippy::disallowed_methods)] // ctx's children end with a command
        let mut command = Command::new(program);
        command
            .arg0("xtask")
            .args(["guard", &process.name])
            .current_dir(&process.directory)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        group::start_in_session(&mut command);
        let mut guard = command
            .spawn()
            .with_context(|| format!("can't start the guard of {}", process.name))?;
        drop(command);
        let shown = read_output(&process.name, &mut guard, show);
        let order =
            Order { words: process.words.clone(), variables: process.variables.clone(), grace };
        let guarded = Guarded { guard, control, shown, started: Instant::now(), ended: None };
        // A guard that is gone already has a status, which is looked for later.
        let _ = guard::send(&guarded.control, &order);
        Ok(guarded)
    }

    /// Asks the process to end, and in the end kills it.
    pub(super) fn ask(&self) {
        self.say(guard::ASK);
    }

    pub(super) fn kill(&self) {
        self.say(guard::KILL);
    }

    fn say(&self, order: u8) {
        use std::io::Write;
        let _ = (&self.control).write_all(&[order]);
        if self.ended.is_none() {
            // Somebody may have stopped the guard.
            let _ = kill_process(Pid::from_child(&self.guard), Signal::CONT);
        }
    }

    /// How it ended, once nothing of it is left and its last lines are shown, for which `patience`
    /// is the longest wait: who has our pipe now is no process of ours.
    pub(super) fn ended(&mut self, patience: Duration) -> Result<Option<End>> {
        if self.ended.is_none() {
            let Some(status) = self.guard.try_wait()? else { return Ok(None) };
            self.ended = Some((Instant::now(), self.report(status)));
        }
        let all_shown = self.shown.try_recv() == Err(TryRecvError::Disconnected);
        let over = self.ended.iter().find(|(since, _)| all_shown || since.elapsed() >= patience);
        Ok(over.map(|(_, end)| end.clone()))
    }

    /// What the guard has said; a guard that was killed says nothing and leaves its work to us.
    fn report(&mut self, status: ExitStatus) -> End {
        let _ = self.control.set_nonblocking(true);
        let mut text = String::new();
        let _ = self.control.read_to_string(&mut text);
        match serde_json::from_str(&text) {
            Ok(Report::Ended(status)) => End::Status(ExitStatus::from_raw(status)),
            Ok(Report::NotStarted(why)) => End::NotStarted(why),
            Err(_) => {
                group::kill_session(self.guard.id());
                End::Status(status)
            }
        }
    }
}

/// A thread for each stream. They read no further than what is shown, so that a flood waits in its
/// pipe and not in our memory.
fn read_output(name: &str, guard: &mut Child, show: &Show) -> Receiver<()> {
    let (open, shown) = mpsc::channel::<()>();
    let streams: [(&str, Option<Box<dyn Read + Send>>); 2] = [
        ("stdout", guard.stdout.take().map(|s| Box::new(s) as _)),
        ("stderr", guard.stderr.take().map(|s| Box::new(s) as _)),
    ];
    for (kind, stream) in streams {
        let Some(stream) = stream else { continue };
        let (name, show, open) = (name.to_owned(), Arc::clone(show), open.clone());
        std::thread::spawn(move || {
            show_lines(stream, &mut |line| show(&name, kind, line));
            drop(open);
        });
    }
    shown
}

/// Shows a stream line by line; a line that does not end is shown in parts.
fn show_lines(stream: impl Read, show: &mut dyn FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&line);
        show(text.trim_end_matches(['\n', '\r']));
        line.clear();
    }
}
