//! Children: started with a deadline, ended with us, and never left holding a pipe.
//!
//! Each runs in a process group of its own, so that Ctrl-C reaches it once (through us) and a
//! deadline ends its whole tree; the kernel ends it when we are killed. Output goes through a
//! file: a child that prints a gigabyte costs disk, not memory, and no thread is needed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use xshell::Cmd;

use super::log::Copied;
use super::{Ctx, LONG, caller};
use crate::exit;
use crate::secret::Secret;
use crate::supervise::group;

/// How often an interrupt and new output are looked for; the end of a child is seen at once.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// How long a child may take to end after Ctrl-C before it is killed.
const GRACE: Duration = Duration::from_secs(30);
/// Most that is kept of one stream, in bytes: no tool we ask has more to say.
const MOST: u64 = 64 << 20;

impl Ctx {
    /// Changes the world, without a word unless it fails. `beside` is called ten times a second
    /// meanwhile; its error ends the child.
    pub(crate) fn run_beside(
        &self,
        cmd: Cmd<'_>,
        beside: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let shown = cmd.to_string();
        if self.skip(&shown) {
            return Ok(());
        }
        let mut tell = |line: &str| {
            if self.verbose {
                self.say(line);
            }
        };
        let answer = wait_beside(cmd.into(), LONG, &self.interrupt, &mut tell, beside)?;
        answer.success(&shown).map(drop)
    }

    /// Like [`Ctx::ask`]. `beside` is called ten times a second meanwhile; its error ends the child
    /// and is the result.
    pub(crate) fn ask_beside(
        &self,
        cmd: Cmd<'_>,
        beside: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Answer> {
        if self.verbose {
            self.say(format_args!("$ {cmd}"));
        }
        wait_beside(cmd.into(), LONG, &self.interrupt, &mut |_| {}, beside)
    }
}

/// How a child ended and what it printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The stdout of a child that succeeded; else its own words as the error.
    pub(crate) fn success(self, shown: &str) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let last = self.last_lines(40).join("\n  ");
        bail!("`{shown}` failed ({}):\n  {last}", describe(self.status))
    }

    /// The end of what it said, on stderr or, where it said nothing there, on stdout.
    pub(crate) fn last_lines(&self, most: usize) -> Vec<&str> {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = said.trim_end().lines().collect();
        lines[lines.len().saturating_sub(most)..].to_vec()
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

/// A command that any thread may run, with the words that show it.
pub(super) struct Ready {
    shown: String,
    expression: duct::Expression,
}

impl From<Cmd<'_>> for Ready {
    fn from(cmd: Cmd<'_>) -> Ready {
        Ready { shown: cmd.to_string(), expression: expression(cmd).stdin_null() }
    }
}

impl Ready {
    /// The child reads `input` on its stdin; it is no part of what is shown. It is a file without a
    /// name, so that who opens it by `/dev/stdin` twice reads all of it twice.
    pub(super) fn with_input(cmd: Cmd<'_>, input: &Secret) -> Result<Ready> {
        let shown = cmd.to_string();
        let mut file = tempfile::tempfile().context("can't create a temporary file")?;
        file.write_all(input.reveal().as_bytes())?;
        file.rewind()?;
        Ok(Ready { shown, expression: expression(cmd).stdin_file(file) })
    }
}

/// Waits for a child; `each_line` sees the lines of both streams as they come.
pub(super) fn wait(
    command: Ready,
    deadline: Duration,
    interrupt: &AtomicUsize,
    each_line: &mut dyn FnMut(&str),
) -> Result<Answer> {
    wait_beside(command, deadline, interrupt, each_line, &mut || Ok(()))
}

/// The same; `beside` is called ten times a second, and its error ends the child and is the result.
pub(super) fn wait_beside(
    command: Ready,
    deadline: Duration,
    interrupt: &AtomicUsize,
    each_line: &mut dyn FnMut(&str),
    beside: &mut dyn FnMut() -> Result<()>,
) -> Result<Answer> {
    let Ready { shown, expression } = command;
    let mut stdout = tempfile::tempfile().context("can't create a temporary file")?;
    let mut stderr = tempfile::tempfile().context("can't create a temporary file")?;
    let handle =
        expression.stdout_file(stdout.try_clone()?).stderr_file(stderr.try_clone()?).start();
    let handle = handle.map_err(|error| cannot_start(&shown, &error))?;
    let mut tails = [Tail::default(), Tail::default()];
    let started = Instant::now();
    let mut ending: Option<(Instant, anyhow::Error)> = None;
    let status = loop {
        let ended = handle.wait_timeout(TICK)?.map(|output| output.status);
        tails[0].feed(&mut stdout, each_line)?;
        tails[1].feed(&mut stderr, each_line)?;
        if let Some(status) = ended {
            break status;
        }
        if ending.is_none() {
            let stop = match interrupt.load(Ordering::Relaxed) {
                0 => beside().err(),
                _ => Some(exit::interrupted()),
            };
            ending = stop.map(|error| (Instant::now(), error));
            if ending.is_some() {
                signal(&handle, Signal::INT);
            }
        }
        let too_long = started.elapsed() > deadline;
        if too_long || ending.as_ref().is_some_and(|(since, _)| since.elapsed() > GRACE) {
            signal(&handle, Signal::KILL);
            handle.wait()?;
            if too_long {
                bail!("`{shown}` did not end within {} s and was killed", deadline.as_secs());
            }
        }
    };
    if let Some((_, error)) = ending {
        return Err(error);
    }
    Ok(Answer { status, stdout: text(&mut stdout)?, stderr: text(&mut stderr)? })
}

/// Gives the child our standard streams as they are; interrupts are its own to handle.
pub(super) fn interactive(cmd: Cmd<'_>) -> Result<u8> {
    let shown = cmd.to_string();
    let status = command(cmd).status().map_err(|error| cannot_start(&shown, &error))?;
    Ok(exit::of_status(status))
}

/// Where the output of a child goes that is shown.
pub(super) enum Shown {
    /// Our stdout, or stderr where stdout is for our own lines.
    AsItIs { keep_stdout: bool },
    /// Our stdout, without what Compose 2.26 writes before each line of a log.
    Cleared,
}

/// Shows a child's output on our terminal until it ends; an interrupt ends it and is an error.
pub(super) fn show(
    ctx: &Ctx,
    cmd: Cmd<'_>,
    to: Shown,
    beside: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let shown = cmd.to_string();
    if ctx.skip(&shown) {
        return Ok(());
    }
    let mut expression = expression(cmd).stdin_null();
    let mut copied: Option<Copied> = None;
    match to {
        Shown::AsItIs { keep_stdout: false } => {}
        Shown::AsItIs { keep_stdout: true } => expression = expression.stdout_to_stderr(),
        Shown::Cleared => {
            let (reader, writer) = std::io::pipe().context("can't make a pipe")?;
            expression = expression.stdout_file(OwnedFd::from(writer));
            copied = Some(Copied::start(reader));
        }
    }
    let handle = expression.start();
    drop(expression);
    let handle = handle.map_err(|error| cannot_start(&shown, &error))?;
    let mut ending: Option<(Instant, anyhow::Error)> = None;
    let status = loop {
        if let Some(output) = handle.wait_timeout(TICK)? {
            break output.status;
        }
        if ending.is_none() {
            let stop = if ctx.interrupt.load(Ordering::Relaxed) != 0 {
                Some(exit::interrupted())
            } else {
                beside().err()
            };
            if let Some(error) = stop {
                signal(&handle, Signal::INT);
                ending = Some((Instant::now(), error));
            }
            if copied.as_ref().is_some_and(Copied::is_unread) {
                // Nobody reads any more, as with `| head`.
                signal(&handle, Signal::INT);
                handle.wait()?;
                return Ok(());
            }
        } else if ending.as_ref().is_some_and(|(since, _)| since.elapsed() > GRACE) {
            signal(&handle, Signal::KILL);
        }
    };
    drop(handle);
    if let Some(copied) = copied {
        copied.finish(&ctx.interrupt);
    }
    match ending {
        Some((_, error)) => Err(error),
        None if status.success() => Ok(()),
        None => bail!("`{shown}` failed ({})", describe(status)),
    }
}

/// The command without those variables of the caller that would steer docker.
pub(super) fn command(cmd: Cmd<'_>) -> Command {
    let mut command = Command::from(cmd);
    let set: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for name in caller::steering().filter(|name| !set.contains(name)) {
        command.env_remove(name);
    }
    command
}

/// The same command for duct, which can wait with a deadline.
fn expression(cmd: Cmd<'_>) -> duct::Expression {
    let command = command(cmd);
    let mut expression = duct::cmd(command.get_program(), command.get_args()).unchecked();
    if let Some(directory) = command.get_current_dir() {
        expression = expression.dir(directory);
    }
    for (name, value) in command.get_envs() {
        expression = match value {
            Some(value) => expression.env(name, value),
            None => expression.env_remove(name),
        };
    }
    expression.before_spawn(|command| {
        group::start_in_group(command);
        Ok(())
    })
}

/// Starts a process that outlives us: a session of its own, output into `log`.
pub(crate) fn detach(cmd: Cmd<'_>, log: File) -> Result<Child> {
    start(cmd, log, group::start_in_session)
}

/// Starts a process beside us that ends with us, output into `log`.
pub(crate) fn beside(cmd: Cmd<'_>, log: File) -> Result<Child> {
    start(cmd, log, group::start_in_group)
}

fn start(cmd: Cmd<'_>, log: File, place: fn(&mut Command)) -> Result<Child> {
    let shown = cmd.to_string();
    let mut command = command(cmd);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    place(&mut command);
    command.spawn().map_err(|error| cannot_start(&shown, &error))
}

fn signal(handle: &duct::Handle, signal: Signal) {
    for pid in handle.pids() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

pub(super) fn cannot_start(shown: &str, error: &std::io::Error) -> anyhow::Error {
    let program = shown.split(' ').next().unwrap_or(shown);
    if error.kind() == std::io::ErrorKind::NotFound {
        return exit::missing(format!(
            "`{program}` is not installed; `cargo xtask doctor` shows what is missing"
        ));
    }
    anyhow::anyhow!("can't start `{shown}`: {error}")
}

pub(super) fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a growing file line by line, through a position of its own.
#[derive(Default)]
struct Tail {
    read: u64,
    rest: Vec<u8>,
}

impl Tail {
    fn feed(&mut self, file: &mut File, each_line: &mut dyn FnMut(&str)) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let mut block = [0; 16 << 10];
        loop {
            let count = file.read_at(&mut block, self.read)?;
            if count == 0 {
                return Ok(());
            }
            self.read += count as u64;
            self.rest.extend_from_slice(&block[..count]);
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                each_line(String::from_utf8_lossy(&line[..end]).trim_end_matches('\r'));
            }
        }
    }
}
