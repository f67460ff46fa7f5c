//! Docker Compose: what a stack is, and starting and stopping it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use xshell::{Cmd, Shell, cmd};

/// The files and the name of one running stack.
#[derive(Debug)]
pub(crate) struct Target {
    /// Name of the compose project: the first part of every container's and volume's name.
    pub(crate) project: String,
    /// In the order in which later ones override earlier ones.
    pub(crate) files: Vec<PathBuf>,
    /// Every variable that the files may use. Nothing else reaches them: neither a `.env` that
    /// compose would find by itself nor what happens to be set in the caller's shell wins.
    pub(crate) variables: Vec<(String, String)>,
    /// Variables that the files may use and that have no value: the caller's shell gives none.
    pub(crate) absent: Vec<String>,
}

impl Target {
    /// What runs under that name, by what is written on the containers: whatever the files are by
    /// now, which may be none.
    pub(crate) fn by_name(&self) -> Target {
        by_name(&self.project)
    }
}

/// What runs under a name, whatever the files are.
pub(crate) fn by_name(project: &str) -> Target {
    let (files, variables, absent) = (Vec::new(), Vec::new(), Vec::new());
    Target { project: project.to_owned(), files, variables, absent }
}

fn compose(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker compose").env("COMPOSE_MENU", "0")
}

pub(crate) fn version(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker compose version --short")
}

/// The stack as compose reads it, without variables filled in: no secret, and no engine needed.
pub(crate) fn config<'s>(sh: &'s Shell, files: &[PathBuf]) -> Cmd<'s> {
    let files = files.iter().flat_map(|file| ["--file".into(), file.clone()]);
    compose(sh).args(["--project-directory", ".", "--env-file", "/dev/null"]).args(files).args([
        "config",
        "--no-interpolate",
        "--no-path-resolution",
        "--format",
        "json",
    ])
}

/// The same with every variable filled in, as it would be started: what it prints holds secrets.
pub(crate) fn filled_config<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    of(sh, target).args(["config", "--format", "json"])
}

fn of<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    // Without a file, compose would look for one from the project's directory upwards.
    let directory = if target.files.is_empty() { "/" } else { "." };
    let mut cmd = compose(sh)
        .args(["--project-directory", directory, "--env-file", "/dev/null"])
        .args(["--project-name", &target.project]);
    for file in &target.files {
        cmd = cmd.arg("--file").arg(file);
    }
    for name in &target.absent {
        cmd = cmd.env_remove(name);
    }
    cmd.envs(target.variables.iter().map(|(name, value)| (name, value)))
}

/// Reads the files with all their variables, and says nothing unless that fails.
pub(crate) fn check<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    of(sh, target).args(["config", "--quiet"])
}

pub(crate) fn up<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    of(sh, target).args(["up", "--no-build", "--remove-orphans"])
}

pub(crate) fn up_detached<'s>(sh: &'s Shell, target: &Target, services: &[String]) -> Cmd<'s> {
    up(sh, target).arg("--detach").args(services)
}

/// Removes everything of a stack, its data too.
pub(crate) fn down_with_volumes<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    of(sh, target).args(["down", "--remove-orphans", "--volumes", "--timeout", "10"])
}

/// Removes containers and networks; volumes stay.
pub(crate) fn down<'s>(sh: &'s Shell, target: &Target) -> Cmd<'s> {
    of(sh, target).args(["down", "--remove-orphans"])
}

pub(crate) fn restart<'s>(sh: &'s Shell, target: &Target, services: &[String]) -> Cmd<'s> {
    of(sh, target).args(["restart", "--no-deps"]).args(services)
}

/// Which lines of a log.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Those to come, too.
    pub(crate) follow: bool,
    /// At most so many of each service from before.
    pub(crate) tail: Option<u32>,
    /// A time, or an age such as `10m`.
    pub(crate) since: Option<String>,
    /// For [`parse_line`]: without colours, each with its time.
    pub(crate) parsed: bool,
    /// Without colours.
    pub(crate) plain: bool,
}

pub(crate) fn logs<'s>(
    sh: &'s Shell,
    target: &Target,
    lines: &Lines,
    services: &[String],
) -> Cmd<'s> {
    let follow = lines.follow.then_some("--follow");
    let tail = lines.tail.map(|tail| format!("--tail={tail}"));
    let since = lines.since.as_ref().map(|since| format!("--since={since}"));
    let parsed = lines.parsed.then_some(["--no-color", "--timestamps"]);
    let plain = lines.plain.then_some("--no-color");
    let parsed = parsed.into_iter().flatten().chain(plain);
    of(sh, target).arg("logs").args(follow).args(tail).args(since).args(parsed).args(services)
}

/// A line of a log: service, time, text. `None` for what compose says itself. `services` are those
/// of the containers that are known, by the names that compose gives them there; of a later one the
/// service is read from its name.
pub(crate) fn parse_line<'l>(
    line: &'l str,
    services: &'l BTreeMap<String, String>,
) -> Option<(&'l str, &'l str, &'l str)> {
    let (container, rest) = line.split_once(" | ")?;
    let container = container.trim_end();
    let (time, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let by_name = || {
        let (service, number) = container.rsplit_once('-')?;
        number.parse::<u32>().is_ok().then_some(service)
    };
    let service = services.get(container).map(String::as_str).or_else(by_name)?;
    time.contains('T').then_some((service, time, text))
}

pub(crate) fn shell<'s>(sh: &'s Shell, target: &Target, service: &str, terminal: bool) -> Cmd<'s> {
    let no_terminal = (!terminal).then_some("--no-TTY");
    of(sh, target).arg("exec").args(no_terminal).args([service, "/bin/sh"])
}

/// A one-off command in a fresh container, beside those that run.
pub(crate) fn run<'s>(
    sh: &'s Shell,
    target: &Target,
    service: &str,
    terminal: bool,
    command: &[String],
) -> Cmd<'s> {
    let no_terminal = (!terminal).then_some("--no-TTY");
    let entry = format!("--entrypoint={}", command.first().map_or("", String::as_str));
    of(sh, target)
        .args(["run", "--rm", "--no-deps"])
        .args(no_terminal)
        .arg(entry)
        .arg(service)
        .args(command.iter().skip(1))
}
