//! The command line of `procfile`, and of the guards that it starts.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Runs `release` to its end, then all other lines but `test`, each with the settings of ENV (.env
and environment.toml) and a PORT of its own: `web`, or else the first line, gets the environment's
port, the others 100, 200, … more, in their order. Nothing is built.

A process that fails is started again after 1, 2, 4, 8, … seconds, at most 30. When it has failed
too often in a row, or a process ends without a failure, the others are ended too; the exit code is
that of its first failure. Ctrl-C ends the processes, the last line first. All have the grace
together; a second Ctrl-C kills them. Exit codes: 130 after Ctrl-C, 143 TERM, 129 HUP, 131 QUIT.

The project's own values are [host] grace_seconds and restarts in environment.toml.")]
pub(crate) struct Procfile {
    /// The environment whose Procfile is run
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// The PORT of `web`, or of the first process
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// How long the processes may take to end [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u16>,
    /// How often in a row a process that fails is started again; 0 for never [default: 5]
    #[arg(long, value_name = "TIMES")]
    pub(crate) restarts: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Guard {
    /// The process, for whoever lists processes: what to run comes by stdin
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
