//! Nobody outlives the supervisor: each way to end xtask against each kind of child.
//!
//! A cell of the matrix is a kind of child and a signal for xtask. Survivors are found by a
//! variable in their environment, wherever they hide. `STEVEDORE_HONCHO=PROGRAM` shows the same
//! figures of honcho, for comparison.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::campaign::chance::size;
use crate::dsl::{Project, campaign, wait_until};

const GRACE: Duration = Duration::from_secs(2);
/// Grace and a second, which holds where nothing else runs, as in a campaign; and for a busy machine.
const LIMIT: Duration = GRACE.saturating_add(Duration::from_secs(1));
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// After this time a supervisor does not end at all.
const HANG: Duration = Duration::from_secs(30);

/// What a child does before it says that it is ready; it waits for ever then.
const CHILD: &str = r#"
import os, signal, sys, time

def deaf():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)

def wait():
    while True:
        signal.pause()

def ready():
    if sys.argv[2:]:
        open(os.environ["READY"], "w").close()

kind = sys.argv[1]
if kind == "ignores-term":
    deaf()
elif kind == "double-fork":
    if os.fork() == 0:
        if os.fork() == 0:
            deaf()
            ready()
            wait()
        os._exit(0)
    wait()
elif kind == "setsid":
    if os.fork() == 0:
        os.setsid()
        deaf()
        ready()
        wait()
    wait()
elif kind == "holds-the-pipe":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            deaf()
            ready()
            while True:
                print("still here", flush=True)
                time.sleep(0.1)
        os._exit(0)
    wait()
elif kind == "floods":
    ready()
    while True:
        os.write(1, b"x" * 1000 + b"\n")
elif kind == "forks-1000":
    for number in range(1000):
        if os.fork() == 0:
            if number % 3 == 0:
                deaf()
            if number % 5 == 0:
                os.setsid()
            wait()
elif kind == "stopped":
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
ready()
wait()
"#;

const KINDS: [&str; 8] = [
    "obeys",
    "ignores-term",
    "double-fork",
    "setsid",
    "holds-the-pipe",
    "floods",
    "forks-1000",
    "stopped",
];

/// How xtask is ended, and the code that it ends with.
const SIGNALS: [(&str, i32); 5] =
    [("INT", 130), ("TERM", 143), ("QUIT", 131), ("HUP", 129), ("KILL", 137)];

/// Processes whose environment holds a text; whoever is left at the end of a test is ended.
struct Marker(String);

impl Marker {
    fn alive(&self) -> Vec<i32> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == self.0.as_bytes())
        })
        .collect()
    }

    fn none(&self) -> bool {
        self.alive().is_empty()
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        while !self.none() {
            for pid in self.alive() {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
            }
        }
    }
}

/// What became of one cell.
struct Outcome {
    kind: &'static str,
    signal: &'static str,
    /// The supervisor's; none where it had to be killed.
    code: Option<i32>,
    /// Until the supervisor was gone.
    ended: Duration,
    /// Who was left then; after KILL, which lets nobody clean up, a little later.
    survivors: usize,
    /// Until nobody was left.
    empty: Duration,
}

/// Starts a supervisor with a child of a kind and one that obeys, ends it, and looks around.
fn cell(honcho: Option<&str>, kind: &'static str, signal: &'static str) -> Outcome {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let value = format!("cell-{}-{number}", std::process::id());
    let marker = Marker(format!("STEVEDORE_CELL={value}"));
    let project = Project::new();
    project.file("child.py", CHILD).file(
        "environments/dev/Procfile",
        format!("one: python3 child.py {kind} ready\ntwo: python3 child.py obeys\n"),
    );
    let mut command = Command::new(honcho.unwrap_or(env!("CARGO_BIN_EXE_xtask")));
    match honcho {
        None => command.args(["procfile", "--grace", &GRACE.as_secs().to_string()]),
        Some(_) => command.args(["start", "--procfile", "environments/dev/Procfile"]),
    };
    let ready = project.scratch().join("ready");
    command
        .current_dir(project.root())
        .env("STEVEDORE_CELL", value)
        .env("READY", &ready)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(fs::File::create(project.output_path()).unwrap())
        .stderr(Stdio::null());
    let mut supervisor = command.spawn().unwrap();
    wait_until("the child", || ready.exists());

    let pid = supervisor.id().to_string();
    let started = Instant::now();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    let mut status = None;
    while status.is_none() && started.elapsed() < HANG {
        status = supervisor.try_wait().unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = started.elapsed();
    let _ = supervisor.kill();
    let _ = supervisor.wait();
    let patience = if signal == "KILL" { BUSY_LIMIT } else { Duration::ZERO };
    while !marker.none() && started.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    let empty = started.elapsed();
    let code = status.map(|status| status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
    Outcome { kind, signal, code, ended, survivors: marker.alive().len(), empty }
}

/// All cells, a few at once.
fn matrix(honcho: Option<&str>) -> Vec<Outcome> {
    let cells = SIGNALS.iter().flat_map(|(signal, _)| KINDS.map(|kind| (kind, *signal)));
    let cells = Mutex::new(cells);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = cells.lock().unwrap().next();
            let Some((kind, signal)) = next else { return };
            let outcome = cell(honcho, kind, signal);
            outcomes.lock().unwrap().push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    let place = |name: &str| SIGNALS.iter().position(|(signal, _)| *signal == name);
    outcomes.sort_by_key(|outcome| (outcome.kind, place(outcome.signal)));
    outcomes
}

/// A line a cell: it is read with `--nocapture`.
#[allow(clippy::print_stdout)]
fn show(name: &str, outcomes: &[Outcome]) {
    for it in outcomes {
        let code = it.code.map_or("hangs".to_owned(), |code| code.to_string());
        println!(
            "{name} {:14} {:4}: exit {code:5} after {:5.2} s, {} left, looked at {:5.2} s",
            it.kind,
            it.signal,
            it.ended.as_secs_f64(),
            it.survivors,
            it.empty.as_secs_f64()
        );
    }
    let slowest = outcomes.iter().map(|it| it.empty).max().unwrap_or_default();
    let survivors: usize = outcomes.iter().map(|it| it.survivors).sum();
    println!("{name}: {survivors} survivors, the slowest cell took {:.2} s", slowest.as_secs_f64());
}

#[test]
fn of_eight_kinds_of_children_none_survives_five_ways_to_end_xtask() {
    campaign!();
    let outcomes = matrix(None);
    show("xtask", &outcomes);
    assert_eq!(outcomes.len(), 40);
    let limit = size(BUSY_LIMIT, LIMIT);
    let wrong = outcomes.iter().filter(|it| {
        let code = SIGNALS.iter().find(|(signal, _)| *signal == it.signal).map(|(_, code)| *code);
        it.code != code || it.survivors > 0 || it.empty > limit
    });
    let wrong: Vec<String> = wrong
        .map(|it| {
            let (code, left, time) = (it.code, it.survivors, it.empty);
            format!("{} {}: exit {code:?}, {left} left after {time:?}", it.kind, it.signal)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn honcho_for_comparison() {
    campaign!();
    if let Ok(honcho) = std::env::var("STEVEDORE_HONCHO") {
        show("honcho", &matrix(Some(&honcho)));
    }
}
