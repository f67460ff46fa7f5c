//! The guard: a small process between xtask and each process of the host engine.
//!
//! Nobody can clean up after `kill -9`, so somebody else has to: the guard holds one end of a
//! socket pair, the kernel closes the other when xtask dies, and then the guard ends its process
//! with everything that it has started. It has a session of its own, which no Ctrl-C and no closed
//! terminal reaches, and it is the reaper of its process's orphans: double forks and sessions of
//! their own stay below it. It ends when the kernel says that it has no child left.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::group;

/// Asks the guard to end its process; so does the end of the socket.
pub(super) const ASK: u8 = b't';
/// Tells it not to wait any longer.
pub(super) const KILL: u8 = b'k';

/// How often orphans are looked for while the end is awaited; the end itself is seen at once.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is tried at full speed to kill what forks all the time.
const RUSHES: u32 = 200;

/// What a guard has to run. It comes by the socket: neither the words nor the variables are to be
/// seen twice, and none of these variables is meant for the guard.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) words: Vec<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) grace: Duration,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The status as `wait` gives it.
    Ended(i32),
    NotStarted(String),
}

/// The whole life of a guard; the socket is its stdin.
pub(crate) fn run() -> Result<()> {
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let order = receive(&control).context("a guard is started by xtask, not by hand")?;
    let terminate = Arc::new(AtomicBool::new(false));
    let wakes = wakes(&terminate)?;
    group::adopt_orphans();
    let report = match spawn(&order) {
        Err(error) => Report::NotStarted(format!("{error:#}")),
        Ok(main) => {
            let guard = Guard {
                main,
                status: None,
                grace: order.grace,
                ending: None,
                asked: HashSet::new(),
                kill: false,
            };
            Report::Ended(guard.watch(&control, &wakes, &terminate)?)
        }
    };
    // Nobody reads it when xtask was killed.
    let _ = (&control).write_all(&serde_json::to_vec(&report)?);
    Ok(())
}

pub(super) fn send(mut control: &UnixStream, order: &Order) -> Result<()> {
    let text = serde_json::to_vec(order)?;
    control.write_all(&u32::try_from(text.len())?.to_be_bytes())?;
    Ok(control.write_all(&text)?)
}

fn receive(mut control: &UnixStream) -> Result<Order> {
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let mut text = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    control.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Has something to read after each signal. INT, HUP and QUIT do nothing here, and handlers are
/// gone in what we start, which an ignored signal would not be.
fn wakes(terminate: &Arc<AtomicBool>) -> Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::flag::register(SIGTERM, Arc::clone(terminate))?;
    for signal in [SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn spawn(order: &Order) -> Result<Pid> {
    let (program, arguments) = order.words.split_first().context("a process without a command")?;
    #[allow(clippy::disallowed_methods)] // ctx's children end with a command; these are supervised
    let mut command = Command::new(program);
    command.args(arguments).envs(&order.variables).stdin(Stdio::null());
    group::start_in_group(&mut command);
    Ok(Pid::from_child(&command.spawn().with_context(|| program.clone())?))
}

struct Guard {
    main: Pid,
    /// Of the main process, once it has ended.
    status: Option<i32>,
    grace: Duration,
    /// Since when all is to end.
    ending: Option<Instant>,
    /// Who was asked to end; nobody is asked twice, as some take that for a threat.
    asked: HashSet<Pid>,
    kill: bool,
}

impl Guard {
    /// Waits until the process and all it has started are gone: the process's status.
    fn watch(
        mut self,
        control: &UnixStream,
        wakes: &UnixStream,
        terminate: &AtomicBool,
    ) -> Result<i32> {
        let mut connected = true;
        let mut rushes = 0;
        loop {
            if !self.reap()
                && let Some(status) = self.status
            {
                return Ok(status);
            }
            if self.status.is_some() || !connected || terminate.load(Ordering::Relaxed) {
                self.begin_to_end();
            }
            let wait = match self.ending {
                None => None,
                Some(since) if self.kill || since.elapsed() >= self.grace => {
                    self.kill_all();
                    rushes += 1;
                    Some(if rushes < RUSHES { Duration::ZERO } else { LOOK })
                }
                Some(since) => {
                    self.ask_orphans();
                    Some(self.grace.saturating_sub(since.elapsed()).min(LOOK))
                }
            };
            sleep(connected.then_some(control), wakes, wait)?;
            drain(wakes);
            if connected {
                connected = self.obey(control);
            }
        }
    }

    /// Takes the status of whatever has ended; false when no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.status = Some(status.as_raw()),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Does what xtask says; false when it is gone.
    fn obey(&mut self, mut control: &UnixStream) -> bool {
        let mut orders = [0; 16];
        let _ = control.set_nonblocking(true);
        let read = control.read(&mut orders);
        let _ = control.set_nonblocking(false);
        match read {
            Ok(count) => {
                if count > 0 {
                    self.begin_to_end();
                }
                self.kill |= orders[..count].contains(&KILL);
                count > 0
            }
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    /// Asks the process's group; who is stopped has to wake to hear it.
    fn begin_to_end(&mut self) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Instant::now());
        // Once its status is taken, its number may be somebody else's.
        if self.status.is_none() {
            let group = self.main.as_raw_pid().unsigned_abs();
            let members = group::descendants().into_iter().filter(|seen| seen.group == group);
            self.asked.extend(members.map(|seen| seen.pid));
            let _ = kill_process_group(self.main, Signal::TERM);
            let _ = kill_process_group(self.main, Signal::CONT);
        }
    }

    /// Asks what the process has left behind.
    fn ask_orphans(&mut self) {
        if self.status.is_none() {
            return;
        }
        for orphan in group::descendants() {
            if self.asked.insert(orphan.pid) {
                let _ = kill_process(orphan.pid, Signal::TERM);
                let _ = kill_process(orphan.pid, Signal::CONT);
            }
        }
    }

    fn kill_all(&self) {
        if self.status.is_none() {
            let _ = kill_process_group(self.main, Signal::KILL);
        }
        for descendant in group::descendants() {
            let _ = kill_process(descendant.pid, Signal::KILL);
        }
    }
}

/// Sleeps until xtask says something, a signal comes, or the time is over.
fn sleep(control: Option<&UnixStream>, wakes: &UnixStream, time: Option<Duration>) -> Result<()> {
    let time = time.map(Timespec::try_from).transpose()?;
    let mut fds = vec![PollFd::new(wakes, PollFlags::IN)];
    fds.extend(control.map(|control| PollFd::new(control, PollFlags::IN)));
    match poll(&mut fds, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn drain(mut wakes: &UnixStream) {
    let mut bytes = [0; 64];
    while wakes.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
