//! A program that stays up and is asked one question after the other: each is a line of JSON, and
//! so is its answer. For programs whose start takes longer than their answers.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use xshell::Cmd;

use super::child::{TICK, cannot_start, command, text};
use super::{Answer, Ctx};
use crate::exit;
use crate::supervise::group;

/// Ends with this value.
pub(crate) struct Resident {
    child: Child,
    questions: ChildStdin,
    answers: ChildStdout,
    /// What it said that is not an answer.
    stderr: File,
    /// The part of the next answer that has come so far.
    rest: Vec<u8>,
}

impl Resident {
    /// Starts it, and waits until it says in a line that it is ready.
    pub(crate) fn start(ctx: &Ctx, cmd: Cmd<'_>, deadline: Duration) -> Result<Resident> {
        let shown = cmd.to_string();
        let stderr = tempfile::tempfile().context("can't create a temporary file")?;
        let mut command = command(cmd);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        group::start_in_group(&mut command);
        let mut child = command.spawn().map_err(|error| cannot_start(&shown, &error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.context("a child without its pipes")?;
        let mut resident = Resident { child, questions, answers, stderr, rest: Vec::new() };
        resident.line(ctx, deadline)?;
        Ok(resident)
    }

    /// Asks what a command would: it is told the arguments as a list in JSON, and answers an object
    /// with `code`, `stdout` and `stderr`.
    ///
    /// # Errors
    ///
    /// Interrupted, no answer within `deadline`, or it has ended. Then it is not to be asked again.
    pub(crate) fn ask(&mut self, ctx: &Ctx, cmd: Cmd<'_>, deadline: Duration) -> Result<Answer> {
        let shown = cmd.to_string();
        if ctx.verbose {
            ctx.say(format_args!("$ {shown}"));
        }
        let command = Command::from(cmd);
        let words = command.get_args().map(|word| word.to_str().context("it is not text"));
        let question = serde_json::to_string(&words.collect::<Result<Vec<_>>>()?)?;
        let answer = match self.questions.write_all(format!("{question}\n").as_bytes()) {
            Ok(()) => self.line(ctx, deadline).and_then(|line| parse(&line)),
            Err(_) => Err(self.ended()),
        };
        answer.map_err(|error| match exit::is_asked_for(&error) {
            true => error,
            false => error.context(format!("`{shown}` failed")),
        })
    }

    /// The next line.
    fn line(&mut self, ctx: &Ctx, deadline: Duration) -> Result<String> {
        let started = Instant::now();
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let (mut block, mut searched) = ([0; 16 << 10], 0);
        loop {
            let found = self.rest[searched..].iter().position(|&byte| byte == b'\n');
            if let Some(end) = found.map(|at| searched + at) {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            searched = self.rest.len();
            if ctx.interrupt.load(Ordering::Relaxed) != 0 {
                return Err(exit::interrupted());
            }
            if started.elapsed() > deadline {
                bail!("it did not answer within {} s", deadline.as_secs());
            }
            match poll(&mut [PollFd::new(&self.answers, PollFlags::IN)], Some(&tick)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                ready => ready.context("can't wait for an answer")?,
            };
            match self.answers.read(&mut block)? {
                0 => return Err(self.ended()),
                count => self.rest.extend_from_slice(&block[..count]),
            }
        }
    }

    fn ended(&mut self) -> anyhow::Error {
        let said = text(&mut self.stderr).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing").to_owned();
        anyhow::anyhow!("it ended: {last}")
    }
}

fn parse(line: &str) -> Result<Answer> {
    #[derive(Deserialize)]
    struct Raw {
        code: u8,
        stdout: String,
        stderr: String,
    }
    // The text may hold secrets, so the error does not repeat it.
    let raw = serde_json::from_str(line).map_err(|_| anyhow::anyhow!("its answer is damaged"))?;
    let Raw { code, stdout, stderr } = raw;
    Ok(Answer { status: ExitStatus::from_raw(i32::from(code) << 8), stdout, stderr })
}

impl Drop for Resident {
    fn drop(&mut self) {
        group::kill(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A session in a project of its own.
    fn session() -> (tempfile::TempDir, Ctx) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["docker", "environments"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let global = cli::Global {
            directory: Some(directory.path().to_owned()),
            dry_run: false,
            json: false,
            yes: false,
            verbose: false,
            quiet: true,
            color: cli::Color::Never,
        };
        let ctx = Ctx::new(&global).unwrap();
        (directory, ctx)
    }

    fn start(ctx: &Ctx, script: &str) -> Result<Resident> {
        Resident::start(ctx, ctx.sh.cmd("python3").args(["-c", script]), DEADLINE)
    }

    const ECHO: &str = "
import json, sys
print('ready', flush=True)
for line in sys.stdin:
    words = json.loads(line)
    if words[0] == 'end':
        sys.exit('nothing more to say')
    print(json.dumps({'code': len(words), 'stdout': words[0] * 100000, 'stderr': ''}), flush=True)
";

    #[test]
    fn it_answers_one_question_after_the_other_until_it_ends() {
        let (_directory, ctx) = session();
        let mut resident = start(&ctx, ECHO).unwrap();
        let mut ask = |words: &[&str]| resident.ask(&ctx, ctx.sh.cmd("aws").args(words), DEADLINE);
        for word in ["é", "with \"quotes\"\nand lines", "c"] {
            let answer = ask(&[word, "more"]).unwrap();
            assert_eq!((answer.status.code(), answer.stdout), (Some(2), word.repeat(100_000)));
        }
        let error = format!("{:#}", ask(&["end"]).unwrap_err());
        assert_eq!(error, "`aws end` failed: it ended: nothing more to say");
        assert!(ask(&["a"]).is_err());
    }

    #[test]
    fn one_that_cannot_start_or_says_nothing_is_an_error() {
        let (_directory, ctx) = session();
        let error = start(&ctx, "import no_such_module").map(drop).unwrap_err();
        assert!(error.to_string().contains("No module named 'no_such_module'"), "{error}");
        let silent = "import sys\nprint('ready', flush=True)\nsys.stdin.read()";
        let mut resident = start(&ctx, silent).unwrap();
        let error = resident.ask(&ctx, ctx.sh.cmd("aws"), Duration::ZERO).map(drop).unwrap_err();
        assert_eq!(format!("{error:#}"), "`aws` failed: it did not answer within 0 s");
    }
}
