//! The only door to the world: children, file writes, questions, output, dry run, interrupts.
//!
//! Commands describe what should happen; whether it happens, is only printed, or is broken off by
//! Ctrl-C is decided here once. [`Ctx::run`] changes the world and is skipped in a dry run;
//! [`Ctx::read`] asks and always runs.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell};

use crate::{cli, exit};

mod child;
mod files;
pub(crate) use child::{Answer, beside, detach};

/// Longest wait for a question to a tool that should answer at once.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);
/// Longest wait for a registry to say what it has.
pub(crate) const REGISTRY: Duration = Duration::from_secs(20);
/// Longest wait for a build, a download or a test run.
pub(crate) const LONG: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Ctx {
    /// The project's directory: the one that holds `docker/` and `environments/`.
    pub(crate) root: PathBuf,
    /// Runs commands in `root`.
    pub(crate) sh: Shell,
    pub(crate) dry_run: bool,
    pub(crate) json: bool,
    pub(crate) yes: bool,
    verbose: bool,
    quiet: bool,
    interrupt: Arc<AtomicBool>,
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
        let root = find_root(&start)?;
        let sh = Shell::new()?;
        sh.change_dir(&root);
        let interrupt = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt))?;
        }
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&interrupt))?;
        Ok(Ctx {
            root,
            sh,
            dry_run: global.dry_run,
            json: global.json,
            yes: global.yes || env_os("CI").is_some_and(|ci| ci == "true"),
            verbose: global.verbose,
            quiet: global.quiet,
            interrupt,
        })
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
        let shown = cmd.to_string();
        if self.skip(&shown) {
            return Ok(());
        }
        child::show(cmd, &shown, self.json, &self.interrupt, beside)
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
        self.interrupt.load(Ordering::Relaxed)
    }

    /// Begins the clean-up after an interrupt: a second Ctrl-C is noticed again.
    pub(crate) fn clear_interrupt(&self) {
        self.interrupt.store(false, Ordering::Relaxed);
    }

    /// What decides which engine the docker client talks to.
    pub(crate) fn docker_endpoint(&self) -> String {
        let host = env_os("DOCKER_HOST").unwrap_or_default().to_string_lossy().into_owned();
        format!("{host}\n{}", self.docker_context())
    }

    /// The docker client's context; the builder of its engine has the same name.
    pub(crate) fn docker_context(&self) -> String {
        let given = |name| env_os(name).filter(|value| !value.is_empty());
        if given("DOCKER_HOST").is_some() {
            return "default".into();
        }
        if let Some(context) = given("DOCKER_CONTEXT") {
            return context.to_string_lossy().into_owned();
        }
        let directory = match env_os("DOCKER_CONFIG") {
            Some(directory) => PathBuf::from(directory),
            None => PathBuf::from(env_os("HOME").unwrap_or_default()).join(".docker"),
        };
        let config = fs::read_to_string(directory.join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        let context = config["currentContext"].as_str().filter(|context| !context.is_empty());
        context.unwrap_or("default").to_owned()
    }

    /// This machine's own bundle of certificates, where the caller names one.
    pub(crate) fn certificates(&self) -> Option<PathBuf> {
        env_os("SSL_CERT_FILE").map(PathBuf::from).filter(|path| path.is_file())
    }

    /// Where this checkout keeps what can be thrown away, and the data of the host engine.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(".stevedore")
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

#[allow(clippy::disallowed_methods)] // the one place
fn env_os(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The nearest directory from `start` upwards that holds a project.
fn find_root(start: &Path) -> Result<PathBuf> {
    let found = start
        .ancestors()
        .find(|path| path.join("environments").is_dir() && path.join("docker").is_dir());
    let root = found.with_context(|| {
        format!(
            "no project here: {} and the directories above it hold no docker/ and environments/\n  \
             go to the project, or name it: cargo xtask -C DIR …",
            start.display()
        )
    })?;
    Ok(root.to_path_buf())
}
