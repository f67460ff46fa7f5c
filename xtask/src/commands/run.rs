//! `run`: an admin process (factor twelve) in a fresh container, with the image and the settings of
//! a service. The service itself may have done its work and ended; the stack has to be started.

use std::io::IsTerminal;

use anyhow::Result;

use super::dev;
use super::doctor;
use super::env;
use super::start;
use crate::cli::Run;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::Project;
use crate::project::stack::Stack;
use crate::tools::compose;
use crate::tools::docker_container::Container;

const GRAMMAR: &str = "cargo xtask run [ENV] [SERVICE] -- COMMAND…";

impl Run {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<u8> {
        let project = Project::load(&ctx.root)?;
        let one_off = self.one_off(|name| project.environments.contains(name))?;
        let OneOff { environment, service, command } = &one_off;
        project.environment(environment).map_err(|error| one_off.as_service(error))?;
        if env::load(ctx, environment).is_ok() {
            // What is wrong with the files is told below.
            doctor::require_engine_for_a_start(ctx)?;
        }
        let mut existing = start::existing(ctx, environment)?;
        let containers = std::mem::take(&mut existing.containers);
        let (stack, target) = existing.with_files()?;
        let service = env::service_or_main(&stack, service.clone())?;
        require_started(environment, &stack, &containers)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        ctx.run_interactive(compose::run(&ctx.sh, &target, &service, terminal, command))
    }
}

/// Refuses when nothing of the stack runs, and says what to type. A stack whose services all do
/// their work and end counts as started while their containers are there.
fn require_started(name: &str, stack: &Stack, containers: &[Container]) -> Result<()> {
    let all_end = stack.services.values().all(|service| service.facts.once);
    let runs = |state: &str| all_end || matches!(state, "running" | "restarting");
    if containers.iter().any(|container| runs(&container.state.status)) {
        return Ok(());
    }
    Err(exit::missing(format!("{name} does not run; start it with `cargo xtask start {name}`")))
}

/// What is to run, and where.
#[derive(Debug, PartialEq, Eq)]
struct OneOff {
    environment: String,
    /// None: the main one.
    service: Option<String>,
    command: Vec<String>,
}

impl OneOff {
    /// The error of an unknown environment, with what to type where a service of dev was meant.
    fn as_service(&self, error: anyhow::Error) -> anyhow::Error {
        if self.service.is_some() {
            return error;
        }
        let spelling = spelling(dev::ENVIRONMENT, Some(&self.environment), &self.command);
        exit::usage(format!("{error:#}; a service stands behind its environment: `{spelling}`"))
    }
}

/// A command line as it is to be typed; the grammar alone where a word is not for a terminal.
fn spelling(environment: &str, service: Option<&str>, command: &[String]) -> String {
    let places = [Some(environment), service].into_iter().flatten();
    let words: Vec<&str> = places.chain(["--"]).chain(command.iter().map(String::as_str)).collect();
    let is_harmless = |sign: char| "'\"\\".contains(sign) || sign.escape_debug().count() == 1;
    match !words.concat().chars().all(is_harmless) {
        true => GRAMMAR.to_owned(),
        false => format!("cargo xtask run {}", shell_words::join(words)),
    }
}

impl Run {
    /// The words by their meaning.
    ///
    /// `is_environment` tells a name of an environment from other words: without `--` all words are
    /// the command, and one that begins with such a name would run in the wrong place.
    fn one_off(self, is_environment: impl Fn(&str) -> bool) -> Result<OneOff> {
        if self.old_environment.is_some() || self.old_service.is_some() {
            return Err(self.old_spelling());
        }
        let dashes = self.words.iter().position(|word| word == "--").filter(|_| !self.all_command);
        let Some(dashes) = dashes else {
            let first = self.words.first().filter(|_| !self.all_command);
            if let Some(name) = first.filter(|name| is_environment(name)) {
                return Err(exit::usage(format!(
                    "{name} is an environment, and a command begins behind `--`: `{GRAMMAR}`"
                )));
            }
            let environment = dev::ENVIRONMENT.to_owned();
            return Ok(OneOff { environment, service: None, command: self.words });
        };
        let (positions, command) = (&self.words[..dashes], &self.words[dashes + 1..]);
        if let Some(option) = positions.iter().find(|word| word.starts_with('-')) {
            return Err(exit::usage(format!(
                "{option:?} stands behind ENV; options stand before ENV and SERVICE, and a command \
                 behind `--`: `{GRAMMAR}`"
            )));
        }
        let (environment, service) = match positions {
            [environment] => (environment.clone(), None),
            [environment, service] => (environment.clone(), Some(service.clone())),
            _ => {
                return Err(exit::usage(format!(
                    "more than ENV and SERVICE stand before `--`: `{GRAMMAR}`"
                )));
            }
        };
        if command.is_empty() {
            return Err(exit::usage(format!("no command stands behind `--`: `{GRAMMAR}`")));
        }
        Ok(OneOff { environment, service, command: command.to_vec() })
    }

    /// Refuses `-e` and `-s` with what to type instead.
    fn old_spelling(self) -> anyhow::Error {
        let environment = self.old_environment.as_deref().unwrap_or(dev::ENVIRONMENT);
        let spelling = spelling(environment, self.old_service.as_deref(), &self.words);
        exit::usage(format!("`run` takes ENV and SERVICE without -e and -s: `{spelling}`"))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Cli, Command};

    #[track_caller]
    fn parse(line: &str) -> Result<OneOff> {
        let words = ["xtask", "run"].into_iter().chain(line.split_whitespace());
        let cli = Cli::from_words(words.map(OsString::from).collect()).unwrap();
        let Command::Run(run) = cli.command else { panic!("{line}") };
        run.one_off(|name| ["dev", "prod"].contains(&name))
    }

    #[track_caller]
    fn check(line: &str, environment: &str, service: Option<&str>, command: &str) {
        let expected = OneOff {
            environment: environment.into(),
            service: service.map(str::to_owned),
            command: command.split(' ').map(str::to_owned).collect(),
        };
        assert_eq!(parse(line).unwrap(), expected, "{line}");
    }

    #[test]
    fn what_stands_before_two_dashes_is_a_place_and_what_stands_behind_them_a_command() {
        check("app migrate", "dev", None, "app migrate");
        check("id -u -v", "dev", None, "id -u -v");
        check("-- id -u", "dev", None, "id -u");
        check("-- prod -- x", "dev", None, "prod -- x");
        check("prod -- app migrate", "prod", None, "app migrate");
        check("prod app -- migrate -- -e x", "prod", Some("app"), "migrate -- -e x");
        for refused in ["prod", "a b c -- id", "dev -q -- id", "dev --", "-e prod id", "-s a id"] {
            assert_eq!(exit::code(&parse(refused).unwrap_err()), exit::USAGE, "{refused}");
        }
    }
}
