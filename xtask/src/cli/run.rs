//! The command line of `run`: ENV and SERVICE as everywhere, and behind `--` a command that is not
//! ours to read.

use std::ffi::OsString;

use clap::{Args, Parser};

use super::{Cli, Command};

#[derive(Debug, Args)]
#[command(override_usage = "cargo xtask run [OPTIONS] [ENV] [SERVICE] -- COMMAND...
       cargo xtask run [OPTIONS] COMMAND...")]
#[command(after_help = "\
ENV [default: dev] and SERVICE [default: the one that compose.yml marks as main] stand before `--`,
the command behind it. Without `--` all words are the command, for the main service of dev.
Examples: cargo xtask run app migrate
          cargo xtask run prod -- app migrate
          cargo xtask run dev db -- psql --version")]
pub(crate) struct Run {
    /// How earlier versions took ENV and SERVICE
    #[arg(short = 'e', long = "env", value_name = "ENV", hide = true)]
    pub(crate) old_environment: Option<String>,
    #[arg(short = 's', long = "service", value_name = "SERVICE", hide = true)]
    pub(crate) old_service: Option<String>,
    /// ENV and SERVICE, `--`, and the command with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required = true)]
    pub(crate) words: Vec<String>,
    /// Whether `--` stood before the first of the words: the parser takes that one away.
    #[arg(skip)]
    pub(crate) all_command: bool,
}

impl Cli {
    /// Parses a whole command line, the program's name first.
    pub(crate) fn from_words(words: Vec<OsString>) -> clap::error::Result<Cli> {
        let mut cli = Cli::try_parse_from(&words)?;
        if let Command::Run(run) = &mut cli.command {
            // The words of the command are the last ones, as they were typed.
            let before = words.len().checked_sub(run.words.len() + 1);
            run.all_command = before.is_some_and(|index| words[index] == "--");
        }
        Ok(cli)
    }
}
