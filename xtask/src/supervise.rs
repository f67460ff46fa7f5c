//! The host engine's processes: started, started again when they fail, and ended in order.
//!
//! Each has a guard of its own ([`guard`]), so nothing outlives a [`Supervisor`], and one process
//! with all that it has started can be ended while the others go on. Nothing here waits but
//! [`Supervisor::stop`]: whoever has a supervisor asks it now and then how things are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(crate) mod group;
pub(crate) mod guard;
mod guarded;
pub(crate) use guarded::End;
use guarded::Guarded;

/// How often a supervisor should be asked.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// How often it is looked whether a process has obeyed.
const SHORT_TICK: Duration = Duration::from_millis(10);
/// Who ran for this long was well, and what happens next is another story.
const WELL: Duration = Duration::from_secs(10);
/// The longest pause before a process is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last lines of a process are awaited: they say why it ended.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The same, where it ended because we asked.
const LAST_WORDS_OF_ASKED: Duration = Duration::from_millis(500);
/// How long after the grace the kernel may take to end what was killed.
const STUCK: Duration = Duration::from_secs(5);

/// A program without a shell around it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long all processes together may take to end by themselves.
    pub(crate) grace: Duration,
    /// How often in a row a process that fails is started again.
    pub(crate) restarts: u32,
}

/// Gets each line that a process prints: its name, `stdout` or `stderr`, the line.
pub(crate) type Show = Arc<dyn Fn(&str, &'static str, &str) + Send + Sync>;

/// What happens to a process, for whoever looks on.
#[derive(Debug)]
pub(crate) enum Event {
    Started,
    /// It ended; `again` says after which pause it is started again.
    Ended {
        end: End,
        again: Option<Duration>,
    },
    /// It does not end although it was killed.
    Stuck,
}

/// Why it is over: a process ended and is not started again.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) name: String,
    /// How it ended first, when it failed several times in a row.
    pub(crate) end: End,
    pub(crate) failures: u32,
}

pub(crate) struct Supervisor<'t> {
    processes: Vec<Supervised>,
    rules: Rules,
    show: Show,
    tell: &'t dyn Fn(&str, &Event),
}

struct Supervised {
    process: Process,
    state: State,
    /// In a row.
    failures: u32,
    first: Option<ExitStatus>,
}

enum State {
    Running(Guarded),
    /// Was asked to end, and is then started again.
    Restarting(Guarded),
    /// Failed; when it is started again.
    Pausing(Instant),
    Ended,
}

impl<'t> Supervisor<'t> {
    /// Starts processes, in their order. That a program is not there is told by [`Self::poll`].
    pub(crate) fn start(
        processes: &[Process],
        rules: Rules,
        show: &Show,
        tell: &'t dyn Fn(&str, &Event),
    ) -> Result<Supervisor<'t>> {
        let supervised = |process: &Process| Supervised {
            process: process.clone(),
            state: State::Ended,
            failures: 0,
            first: None,
        };
        let processes = processes.iter().map(supervised).collect();
        let mut supervisor = Supervisor { processes, rules, show: Arc::clone(show), tell };
        for index in 0..supervisor.processes.len() {
            supervisor.start_one(index)?;
        }
        Ok(supervisor)
    }

    fn start_one(&mut self, index: usize) -> Result<()> {
        let one = &mut self.processes[index];
        one.state = State::Running(Guarded::start(&one.process, self.rules.grace, &self.show)?);
        (self.tell)(&one.process.name, &Event::Started);
        Ok(())
    }

    /// Looks at each process, and starts again what is due; says when all is over.
    pub(crate) fn poll(&mut self) -> Result<Option<Over>> {
        for index in 0..self.processes.len() {
            let one = &mut self.processes[index];
            let ended = match &mut one.state {
                State::Running(guarded) => guarded.ended(LAST_WORDS)?,
                State::Restarting(guarded) => {
                    let ended = guarded.ended(LAST_WORDS_OF_ASKED)?;
                    if let Some(end) = ended {
                        let again = Some(Duration::ZERO);
                        (self.tell)(&one.process.name, &Event::Ended { end, again });
                        self.start_one(index)?;
                    }
                    continue;
                }
                State::Pausing(until) if *until <= Instant::now() => {
                    self.start_one(index)?;
                    continue;
                }
                State::Pausing(_) | State::Ended => continue,
            };
            let Some(end) = ended else { continue };
            let next = one.judge(&end, self.rules.restarts);
            let again = next.as_ref().ok().copied();
            (self.tell)(&one.process.name, &Event::Ended { end, again });
            match next {
                Ok(pause) => one.state = State::Pausing(Instant::now() + pause),
                Err(over) => {
                    one.state = State::Ended;
                    return Ok(Some(over));
                }
            }
        }
        Ok(None)
    }

    /// Ends one process with all that it has started and starts it again; the others go on.
    pub(crate) fn restart(&mut self, name: &str) -> Result<()> {
        let found = self.processes.iter_mut().find(|one| one.process.name == name);
        let one = found.with_context(|| format!("there is no process {name}"))?;
        (one.failures, one.first) = (0, None);
        one.state = match std::mem::replace(&mut one.state, State::Ended) {
            State::Running(guarded) => {
                guarded.ask();
                State::Restarting(guarded)
            }
            State::Restarting(guarded) => State::Restarting(guarded),
            State::Pausing(_) | State::Ended => State::Pausing(Instant::now()),
        };
        Ok(())
    }

    /// Whether a process has failed since it was last asked to start.
    pub(crate) fn is_failing(&self) -> bool {
        self.processes.iter().any(|one| one.failures > 0)
    }

    /// Ends all processes, the last one first, each after the one before has ended. Whoever takes
    /// longer than a fair share of the grace does not keep the next one from being asked; who is
    /// left when it is over, or when `force` says so, is killed.
    pub(crate) fn stop(&mut self, force: &dyn Fn() -> bool) {
        let started = Instant::now();
        let grace = self.rules.grace;
        self.processes.iter_mut().for_each(Supervised::forget_plans);
        let mut waiting: Vec<usize> = (0..self.processes.len()).collect();
        waiting.retain(|index| matches!(self.processes[*index].state, State::Running(_)));
        let count = waiting.len();
        let share = grace / u32::try_from(count).unwrap_or(1).max(1);
        let mut asked: Vec<usize> = Vec::new();
        let mut killed = false;
        loop {
            asked.retain(|index| !self.has_ended(*index));
            waiting.retain(|index| !self.has_ended(*index));
            let running = || asked.iter().chain(&waiting).map(|index| &self.processes[*index]);
            if running().next().is_none() {
                return;
            }
            let elapsed = started.elapsed();
            let over = elapsed >= grace || force();
            if over && !killed {
                running().for_each(|one| one.guarded().for_each(Guarded::kill));
                killed = true;
            }
            if elapsed >= grace + STUCK {
                running().for_each(|one| (self.tell)(&one.process.name, &Event::Stuck));
                self.processes.clear();
                return;
            }
            let turns = u32::try_from(count - waiting.len()).unwrap_or(u32::MAX);
            if (asked.is_empty() || elapsed >= share * turns)
                && let Some(next) = waiting.pop()
            {
                self.processes[next].guarded().for_each(Guarded::ask);
                asked.push(next);
            }
            std::thread::sleep(SHORT_TICK);
        }
    }

    /// Whether a process that ran has ended; tells so once.
    fn has_ended(&mut self, index: usize) -> bool {
        let one = &mut self.processes[index];
        let State::Running(guarded) = &mut one.state else { return true };
        let end = match guarded.ended(LAST_WORDS_OF_ASKED) {
            Ok(None) => return false,
            Ok(Some(end)) => end,
            Err(error) => End::NotStarted(format!("{error:#}")),
        };
        one.state = State::Ended;
        (self.tell)(&one.process.name, &Event::Ended { end, again: None });
        true
    }
}

/// Nothing is left, also where an error is on its way up.
impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        self.stop(&|| false);
    }
}

impl Supervised {
    /// After which pause a process that has ended is started again, or why it is over.
    fn judge(&mut self, end: &End, restarts: u32) -> Result<Duration, Over> {
        let over = |end: End, failures| Over { name: self.process.name.clone(), end, failures };
        let status = match end {
            End::Status(status) if !status.success() => *status,
            End::Status(_) | End::NotStarted(_) => return Err(over(end.clone(), self.failures)),
        };
        let was_well = self.guarded().any(|guarded| guarded.started.elapsed() >= WELL);
        if was_well {
            (self.failures, self.first) = (0, None);
        }
        self.failures += 1;
        let first = *self.first.get_or_insert(status);
        if self.failures > restarts {
            return Err(Over {
                name: self.process.name.clone(),
                end: End::Status(first),
                failures: self.failures,
            });
        }
        let seconds = 1_u64.checked_shl(self.failures - 1).unwrap_or(u64::MAX);
        Ok(Duration::from_secs(seconds).min(LONGEST_PAUSE))
    }

    fn guarded(&self) -> impl Iterator<Item = &Guarded> {
        match &self.state {
            State::Running(guarded) | State::Restarting(guarded) => Some(guarded),
            State::Pausing(_) | State::Ended => None,
        }
        .into_iter()
    }

    /// What was to be started again is not.
    fn forget_plans(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Restarting(guarded) => State::Running(guarded),
            State::Pausing(_) => State::Ended,
            state => state,
        };
    }
}
