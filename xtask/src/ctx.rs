//! The only door to the world: children, file writes, questions, output, dry run, interrupts.
//!
//! Commands describe what should happen; whether it happens, is only printed, or is broken off by
//! Ctrl-C is decided here once. [`Ctx::run`] changes the world and is skipped in a dry run;
//! [`Ctx::read`] asks and always runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell};

use crate::secret::Secret;
use crate::{cli, exit};

mod annotate;
mod caller;
mod child;
mod files;
mod log;
mod memory;
pub(crate) use child::{Answer, beside, detach};
pub(crate) use files::Lock;
pub(crate) use log::cleared;

/// Longest wait for a question to a tool that should answer at once.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);
/// Longest wait for a registry to say what it has.
pub(crate) const REGISTRY: Duration = Duration::from_secs(20);
/// Longest wait for a build, a download or a test run.
pub(crate) const LONG: Duration = Duration::from_secs(60 * 60);

/// The tool's own directory in a project.
pub(crate) const STATE: &str = ".stevedore";

pub(crate) struct Ctx {
    /// The project's directory: the one that holds `docker/` and `environments/`.
    pub(crate) root: PathBuf,
    /// Runs commands in `root`.
    pub(crate) sh: Shell,
    state: PathBuf,
    common: PathBuf,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) yes: bool,
    verbose: bool,
    quiet: bool,
    /// The number of the signal that asked us to end; 0 for none.
    interrupt: Arc<AtomicUsize>,
    /// What a dry run would have made by now.
    pretended: Arc<Mutex<BTreeSet<String>>>,
    /// What this run has found out of things that never change.
    learned: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Ctx {
    pub(crate) fn new(global: &cli::Global) -> Result<Ctx> {
        match global.color {
            cli::Color::Auto => {}
            cli::Color::Always => anstream::ColorChoice::Always.write_global(),
            cli::Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let start = match &global.directory {
            Some(directory) => directory
                .canonicalize()
                .with_context(|| format!("can't open the directory {directory:?}"))?,
            None => std::env::current_dir()
                .and_then(|here| here.canonicalize())
                .context("can't find the current directory")?,
        };
        let root = caller::find_root(&start)?;
        let sh = Shell::new()?;
        sh.change_dir(&root);
        let interrupt = Arc::new(AtomicUsize::new(0));
        exit::notice_signals(&interrupt)?;
        let state = root.join(STATE);
        Ok(Ctx {
            root,
            sh,
            common: state.clone(),
            state,
            dry_run: global.dry_run,
            json: global.json,
            yes: global.yes || caller::env_os("CI").is_some_and(|ci| ci == "true"),
            verbose: global.verbose,
            quiet: global.quiet,
            interrupt,
            pretended: Arc::default(),
            learned: Arc::default(),
        })
    }

    /// The same session in another tree of the same project, whose own state lies in `state`.
    pub(crate) fn at(&self, root: PathBuf, state: PathBuf) -> Result<Ctx> {
        let sh = Shell::new()?;
        sh.change_dir(&root);
        Ok(Ctx {
            root,
            sh,
            state,
            common: self.common.clone(),
            dry_run: self.dry_run,
            json: self.json,
            yes: self.yes,
            verbose: self.verbose,
            quiet: self.quiet,
            interrupt: Arc::clone(&self.interrupt),
            pretended: Arc::clone(&self.pretended),
            learned: Arc::clone(&self.learned),
        })
    }

    /// The same session for another thread.
    pub(crate) fn for_a_thread(&self) -> Result<Ctx> {
        self.at(self.root.clone(), self.state.clone())
    }

    /// The same for a thread that ends when the flag is set, or with a signal, whoever else has
    /// obeyed that already.
    pub(crate) fn apart(&self) -> Result<(Ctx, Arc<AtomicUsize>)> {
        let over = Arc::new(AtomicUsize::new(self.interrupt.load(Ordering::Relaxed)));
        exit::notice_signals(&over)?;
        Ok((Ctx { interrupt: Arc::clone(&over), ..self.for_a_thread()? }, over))
    }

    // --- children ---------------------------------------------------------------------------

    /// Asks a tool; runs in a dry run too. The status is the caller's to judge.
    ///
    /// Fails when the tool cannot be started, or does not end within `deadline`.
    pub(crate) fn ask(&self, cmd: Cmd<'_>, deadline: Duration) -> Result<Answer> {
        if self.verbose {
            self.say(format_args!("$ {cmd}"));
        }
        child::wait(cmd.into(), deadline, &self.interrupt, &mut |_| {})
    }

    /// Like [`Ctx::ask`]; the tool reads `input` on its stdin, and nobody is shown it.
    pub(crate) fn ask_with_input(
        &self,
        cmd: Cmd<'_>,
        input: &Secret,
        deadline: Duration,
    ) -> Result<Answer> {
        if self.verbose {
            self.say(format_args!("$ {cmd}"));
        }
        let ready = child::Ready::with_input(cmd, input)?;
        child::wait(ready, deadline, &self.interrupt, &mut |_| {})
    }

    /// Asks a tool that shows its answer on our terminal: its exit code. Runs in a dry run too.
    pub(crate) fn ask_shown(&self, cmd: Cmd<'_>) -> Result<u8> {
        child::interactive(cmd)
    }

    /// Asks several questions at once: the answers in the same order.
    pub(crate) fn ask_all(&self, cmds: Vec<Cmd<'_>>, deadline: Duration) -> Result<Vec<Answer>> {
        if self.verbose {
            cmds.iter().for_each(|cmd| self.say(format_args!("$ {cmd}")));
        }
        let interrupt = &self.interrupt;
        std::thread::scope(|scope| {
            let start = |cmd: Cmd<'_>| {
                let ready = child::Ready::from(cmd);
                scope.spawn(move || child::wait(ready, deadline, interrupt, &mut |_| {}))
            };
            let threads: Vec<_> = cmds.into_iter().map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(answer) => answer,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            threads.into_iter().map(join).collect()
        })
    }

    /// Asks a tool and wants success: its stdout.
    pub(crate) fn read(&self, cmd: Cmd<'_>) -> Result<String> {
        let shown = cmd.to_string();
        self.ask(cmd, QUESTION)?.success(&shown)
    }

    /// Changes the world, without a word unless it fails.
    pub(crate) fn run(&self, cmd: Cmd<'_>) -> Result<()> {
        self.run_lines(cmd, &mut |_| {})
    }

    /// Changes the world and gives what the child printed in one line; in a dry run there is only
    /// the name of that.
    pub(crate) fn run_for(&self, cmd: Cmd<'_>, name: &str) -> Result<String> {
        let shown = cmd.to_string();
        if self.skip(&shown) {
            return Ok(format!("<{name}>"));
        }
        let answer = child::wait(cmd.into(), LONG, &self.interrupt, &mut |_| {})?;
        Ok(answer.success(&shown)?.trim().to_owned())
    }

    /// Changes the world, and tells the child on its stdin what nobody else is to see. Neither that
    /// nor its answer is ever shown but in an error.
    pub(crate) fn run_with_input(
        &self,
        cmd: Cmd<'_>,
        input: &Secret,
        deadline: Duration,
    ) -> Result<()> {
        let shown = cmd.to_string();
        if self.skip(&shown) {
            return Ok(());
        }
        let ready = child::Ready::with_input(cmd, input)?;
        child::wait(ready, deadline, &self.interrupt, &mut |_| {})?.success(&shown).map(drop)
    }

    /// Changes the world; `each_line` sees every line of output as it comes (verbose prints all).
    pub(crate) fn run_lines(&self, cmd: Cmd<'_>, each_line: &mut dyn FnMut(&str)) -> Result<()> {
        let shown = cmd.to_string();
        if self.skip(&shown) {
            return Ok(());
        }
        let answer = child::wait(cmd.into(), LONG, &self.interrupt, &mut |line| {
            if self.verbose { self.say(format_args!("{line}")) } else { each_line(line) }
        })?;
        answer.success(&shown).map(drop)
    }

    /// Changes the world and gives the child our terminal: its exit code.
    pub(crate) fn run_interactive(&self, cmd: Cmd<'_>) -> Result<u8> {
        if self.skip(&cmd.to_string()) {
            return Ok(0);
        }
        child::interactive(cmd)
    }

    /// Starts a child that shows its output on our terminal, until it ends or Ctrl-C.
    ///
    /// `beside` is called ten times a second meanwhile.
    pub(crate) fn run_shown(
        &self,
        cmd: Cmd<'_>,
        beside: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        child::show(self, cmd, child::Shown::AsItIs { keep_stdout: self.json }, beside)
    }

    /// True when nothing may be changed; then the command that would have run is printed.
    pub(crate) fn skip(&self, shown: &str) -> bool {
        if self.dry_run && self.json {
            let _ = self.event(&serde_json::json!({"event": "command", "command": shown}));
        } else if self.dry_run {
            let _ = writeln!(anstream::stdout(), "$ {shown}");
        } else if self.verbose {
            self.say(format_args!("$ {shown}"));
        }
        self.dry_run
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.signal().is_some()
    }

    /// The signal that asked us to end.
    pub(crate) fn signal(&self) -> Option<u8> {
        u8::try_from(self.interrupt.load(Ordering::Relaxed)).ok().filter(|number| *number != 0)
    }

    /// Waits before something is tried again; Ctrl-C ends the wait.
    pub(crate) fn pause(&self, duration: Duration) -> Result<()> {
        let started = std::time::Instant::now();
        while let Some(left) = duration.checked_sub(started.elapsed()) {
            if self.interrupted() {
                return Err(exit::interrupted());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        Ok(())
    }

    /// Begins the clean-up after an interrupt: a second Ctrl-C is noticed again.
    pub(crate) fn clear_interrupt(&self) {
        self.interrupt.store(0, Ordering::Relaxed);
    }

    /// Where this checkout keeps what can be thrown away, and the data of the host engine.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Where it is kept what is true of images and packages wherever the sources lie: the same for
    /// a checkout and for the trees that its releases are made from.
    pub(crate) fn common(&self) -> &Path {
        &self.common
    }

    /// A path as the user sees it: from the project's root where it lies inside.
    pub(crate) fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    // --- output -----------------------------------------------------------------------------

    /// A result, on stdout.
    pub(crate) fn print(&self, line: impl std::fmt::Display) -> Result<()> {
        Ok(writeln!(anstream::stdout(), "{line}")?)
    }

    /// One JSON object a line, on stdout.
    pub(crate) fn event(&self, event: &serde_json::Value) -> Result<()> {
        self.print(event)
    }

    /// What is going on, on stderr; silent with `--quiet`.
    pub(crate) fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }

    /// Something the user should know, whatever the verbosity.
    pub(crate) fn warn(&self, line: impl std::fmt::Display) {
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        let _ = writeln!(anstream::stderr(), "{style}warning:{style:#} {line}");
    }

    /// Something that went wrong without being the end.
    pub(crate) fn complain(&self, line: impl std::fmt::Display) {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {line}");
    }

    /// Whether a line of the terminal can be ours.
    pub(crate) fn has_line(&self) -> bool {
        let is_wanted = !self.quiet && !self.json && !self.dry_run;
        let terminals = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        is_wanted && terminals && caller::env_os("TERM").is_some_and(|term| term != "dumb")
    }

    /// A bar on a terminal for work of unknown length; nothing elsewhere.
    pub(crate) fn spinner(&self, message: String) -> indicatif::ProgressBar {
        if self.quiet || self.verbose || !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let bar = indicatif::ProgressBar::new_spinner().with_message(message);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// Asks before something is done that the user may not expect.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        if self.yes || self.dry_run {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!(exit::Exit {
                code: exit::USAGE,
                message: format!("{question}\n  there is no terminal to ask on: add --yes"),
            });
        }
        let _ = write!(anstream::stderr(), "{question} [y/N] ");
        self.wait_for_key()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("can't read the answer")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was changed");
        }
        Ok(())
    }

    /// Waits for a line on the terminal; Ctrl-C ends the wait.
    fn wait_for_key(&self) -> Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdin = std::io::stdin();
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        loop {
            if self.interrupted() {
                return Err(exit::interrupted());
            }
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&tick)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error).context("can't wait for an answer"),
            }
        }
    }
}
