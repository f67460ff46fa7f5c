//! The host engine's processes, and their end.
//!
//! Whatever a process starts (children that ignore TERM, double forks, sessions of their own) ends
//! with us: each process has a process group, orphans come back to us as their reaper, and nothing
//! is left when [`run`] returns.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

pub(crate) mod group;

/// How long processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);
/// Most that is kept of one line, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// A program without a shell around it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) directory: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
}

/// Gets each line a process prints: its name, the line.
pub(crate) type Show = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Why [`run`] came back.
#[derive(Debug)]
pub(crate) enum Ended {
    /// One of the processes ended; the others were ended then.
    Process { name: String, status: ExitStatus },
    /// We were asked to end.
    Asked,
}

/// Runs processes until one ends or `stop` says so; `beside` is called at every tick.
///
/// When it returns no process is left, whatever the result.
pub(crate) fn run(
    processes: &[Process],
    setting: &Setting,
    show: &Show,
    stop: &dyn Fn() -> bool,
    beside: &mut dyn FnMut() -> Result<()>,
) -> Result<Ended> {
    group::adopt_orphans();
    let (open, all_shown) = mpsc::channel();
    let mut children = Vec::new();
    let mut result = Ok(());
    for process in processes {
        match start(process, setting, show, &open) {
            Ok(child) => children.push((process.name.clone(), child)),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let ended = result.and_then(|()| watch(&mut children, stop, beside));
    end(&mut children);
    drop(open);
    wait_for_output(&all_shown);
    ended
}

/// Waits until every line is shown: what a process says last is why it ended.
fn wait_for_output(all_shown: &Receiver<()>) {
    // Nobody sends; the channel ends with the last reader. What holds a pipe now is no process of
    // ours, so the wait has an end.
    let _ = all_shown.recv_timeout(GRACE);
}

fn watch(
    children: &mut [(String, Child)],
    stop: &dyn Fn() -> bool,
    beside: &mut dyn FnMut() -> Result<()>,
) -> Result<Ended> {
    loop {
        for (name, child) in children.iter_mut() {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::Process { name: name.clone(), status });
            }
        }
        if stop() {
            return Ok(Ended::Asked);
        }
        beside()?;
        std::thread::sleep(TICK);
    }
}

fn start(process: &Process, setting: &Setting, show: &Show, open: &Sender<()>) -> Result<Child> {
    let (program, arguments) =
        process.words.split_first().context("a process without a command")?;
    #[allow(clippy::disallowed_methods)] // ctx's children end with a command; these are supervised
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&setting.directory)
        .envs(&setting.variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    group::start_in_group(&mut command);
    let mut child =
        command.spawn().with_context(|| format!("can't start {}: {program}", process.name))?;
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|s| Box::new(s) as _),
        child.stderr.take().map(|s| Box::new(s) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let (name, show, open) = (process.name.clone(), Arc::clone(show), open.clone());
        std::thread::spawn(move || {
            show_lines(&name, stream, &show);
            drop(open);
        });
    }
    Ok(child)
}

/// Shows a stream line by line; a line that does not end is shown in parts.
fn show_lines(name: &str, stream: impl Read, show: &Show) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&line);
        show(name, text.trim_end_matches(['\n', '\r']));
        line.clear();
    }
}

/// Asks all to end, waits, then ends what is left, orphans included.
fn end(children: &mut [(String, Child)]) {
    let alive = |child: &mut Child| matches!(child.try_wait(), Ok(None));
    for (_, child) in children.iter_mut() {
        if alive(child) {
            signal_group(child, Signal::TERM);
        }
    }
    let started = Instant::now();
    while started.elapsed() < GRACE && children.iter_mut().any(|(_, child)| alive(child)) {
        std::thread::sleep(TICK);
    }
    for (_, child) in children.iter_mut() {
        signal_group(child, Signal::KILL);
        let _ = child.wait();
    }
    end_orphans();
}

fn signal_group(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Ends what the processes left behind: it has become our child.
fn end_orphans() {
    let started = Instant::now();
    loop {
        let orphans = group::children();
        if orphans.is_empty() {
            return;
        }
        let signal = if started.elapsed() < GRACE / 5 { Signal::TERM } else { Signal::KILL };
        for orphan in orphans {
            let _ = kill_process(orphan, signal);
        }
        group::reap();
        std::thread::sleep(TICK);
    }
}
