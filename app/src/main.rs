//! The composition root: parse the command, read the environment, run, and render an error once.
//! Exit codes: 0 done, 1 it failed, 2 the command line or the environment is wrong.

mod activity;
mod api;
mod assets;
mod cdn;
mod cli;
mod config;
mod files;
mod health;
mod log;
mod migrate;
mod page;
mod probe;
mod reply;
mod routes;
mod serve;
mod signals;
mod store;

use std::env;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use cli::Command;
use config::{Environment, HealthConfig, Identity, Invalid, MigrateConfig, ServeConfig};

fn main() -> ExitCode {
    let arguments = env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned());
    let result = match cli::parse(arguments) {
        Ok(command) => run(command),
        Err(message) => {
            complain(&format!("{message}\n\n{}", cli::USAGE));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(if error.is::<Invalid>() { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    match command {
        Command::Serve => block_on(serve::run(ServeConfig::read(&environment)?)),
        Command::Migrate => block_on(migrate::run(MigrateConfig::read(&environment)?)),
        Command::Health => probe::run(&HealthConfig::read(&environment)?),
        Command::Variables => say(&config::variables()),
        Command::Help => say(cli::USAGE),
        Command::Version => say(&Identity::read(&environment)?.to_string()),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    // What is left is what the grace period already gave up on.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// `println!` without its panic when the reader has gone.
fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("cannot write to stdout")
}

fn complain(text: &str) {
    // Nobody left to tell when this fails.
    writeln!(std::io::stderr(), "app: {}", text.trim_end()).ok();
}
