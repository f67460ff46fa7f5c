//! A compiler that runs beside us: asked over its standard input, it answers on its standard
//! output.

use std::ffi::OsStr;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// Ends with this value.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it with as little as it needs: no environment, and no network where that can be had.
    pub(crate) fn start(program: &Path, arguments: &[&OsStr]) -> Result<Process> {
        let mut child = command(program, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("its output is not to be had")?;
        Ok(Process { child, stdin, answers: BufReader::with_capacity(1 << 16, stdout) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("it has ended")?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).context("it does not listen any more")
    }

    /// Ends it, and adds to the error what it said before.
    pub(crate) fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        match said.lines().find(|line| !line.trim().is_empty()) {
            Some(line) => error.context(line.trim().to_owned()),
            None => error,
        }
    }
}

/// Where the machine lets us, programs get a network of their own, in which nothing can be reached.
fn without_network() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let mut probe = plain(Path::new(UNSHARE));
        probe.args(ALONE).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}

const UNSHARE: &str = "/usr/bin/unshare";
const ALONE: [&str; 3] = ["--user", "--map-current-user", "--net"];

/// What a program prints that ends by itself.
pub(crate) fn ask(program: &Path, argument: &str) -> Result<String> {
    let output = command(program, &[argument.as_ref()]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn command(program: &Path, arguments: &[&OsStr]) -> Command {
    let mut command = match without_network() {
        true => {
            let mut command = plain(Path::new(UNSHARE));
            command.args(ALONE).arg(program);
            command
        }
        false => plain(program),
    };
    command.args(arguments);
    command
}

/// A program without our environment: nothing in there may change what it makes. esbuild, which is
/// written in Go, ends with the build, and does not collect garbage before, as its command line.
#[expect(clippy::disallowed_methods, reason = "xtask ends us and our children by its deadlines")]
fn plain(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("GOGC", "off");
    command
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
