//! The only door to the world: children, file writes, questions, output, dry run, interrupts.
//!
//! Commands describe what should happen; whether it happens, is only printed, or is broken off by
//! Ctrl-C is decided here once. [`Ctx::run`] changes the world and is skipped in a dry run;
//! [`Ctx::read`] asks and always runs.

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell};

use crate::{cli, exit};

mod child;
pub(crate) use child::{Answer, beside, detach};

/// Longest wait for a question to a tool that should answer at once.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);
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
        child::wait(cmd, deadline, &self.interrupt, &mut |_| {})
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
        let answer = child::wait(cmd, LONG, &self.interrupt, &mut |line| {
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

    // --- files ------------------------------------------------------------------------------

    /// Writes a file whole or not at all: a temporary file beside it, fsync, rename.
    pub(crate) fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.write_mode(path, contents, 0o644)
    }

    /// Like [`Ctx::write`], readable by its owner only from its first instant.
    pub(crate) fn write_secret(&self, path: &Path, contents: &[u8]) -> Result<()> {
        self.write_mode(path, contents, 0o600)
    }

    /// Writes what can be made again from the rest: not worth a word, nor a place in a dry run, nor
    /// a wait for the disk. Whoever reads it back finds out whether it is whole.
    pub(crate) fn write_cache(&self, path: &Path, contents: &[u8]) -> Result<()> {
        if self.dry_run { Ok(()) } else { write_whole(path, contents, 0o644, false) }
            .with_context(|| format!("can't write {}", self.relative(path).display()))
    }

    fn write_mode(&self, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
        if self.skip(&format!("write {}", self.relative(path).display())) {
            return Ok(());
        }
        write_whole(path, contents, mode, true)
            .with_context(|| format!("can't write {}", self.relative(path).display()))
    }

    /// Makes a directory of the tool's own state; not in a dry run.
    pub(crate) fn state_directory(&self, path: &Path) -> Result<()> {
        if self.dry_run { Ok(()) } else { fs::create_dir_all(path) }
            .with_context(|| format!("can't create {}", self.relative(path).display()))
    }

    /// Removes a file or directory of the tool's own state.
    pub(crate) fn remove_state(&self, path: &Path) -> Result<()> {
        let shown = self.relative(path).display().to_string();
        if self.skip(&format!("remove {shown}")) {
            return Ok(());
        }
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.with_context(|| format!("can't remove {shown}"))
    }

    /// Waits until nobody else in this checkout does what `name` stands for; it is ours until the
    /// returned file is dropped, or we are gone. A dry run takes and waits for nothing.
    pub(crate) fn lock(&self, name: &str) -> Result<Option<fs::File>> {
        use rustix::fs::{FlockOperation, flock};
        if self.dry_run {
            return Ok(None);
        }
        let path = self.state().join(format!("{name}.lock"));
        let file = self.log_file(&path)?;
        let mut said = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => {
                    let shown = self.relative(&path).display().to_string();
                    return Err(error).with_context(|| format!("can't lock {shown}"));
                }
            }
            if !said {
                self.say(format_args!("waiting for another {name} of this checkout to end"));
                said = true;
            }
            if self.interrupted() {
                return Err(exit::interrupted());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What decides which engine the docker client talks to.
    pub(crate) fn docker_endpoint(&self) -> String {
        let text = |name| env_os(name).unwrap_or_default().to_string_lossy().into_owned();
        let directory = match env_os("DOCKER_CONFIG") {
            Some(directory) => PathBuf::from(directory),
            None => PathBuf::from(env_os("HOME").unwrap_or_default()).join(".docker"),
        };
        let config = fs::read_to_string(directory.join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        let context = config["currentContext"].as_str().unwrap_or_default().to_owned();
        format!("{}\n{}\n{context}", text("DOCKER_HOST"), text("DOCKER_CONTEXT"))
    }

    /// Opens a log file for a process that outlives us.
    pub(crate) fn log_file(&self, path: &Path) -> Result<fs::File> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("can't create {}", directory.display()))?;
        }
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("can't open {}", path.display()))
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

fn write_whole(path: &Path, contents: &[u8], mode: u32, durable: bool) -> Result<()> {
    let directory = path.parent().context("a file path without a directory")?;
    fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(directory)?;
    file.write_all(contents)?;
    if durable {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    Ok(())
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
