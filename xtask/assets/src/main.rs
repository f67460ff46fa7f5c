//! The asset pipeline: what lies in a source directory becomes files with hashed names and a
//! manifest that says which is which.
//!
//! A program of its own, run and not linked by `xtask`. Sass is compiled by dart-sass, style sheets
//! and scripts are bundled by esbuild; what they make is named, listed and compressed here. The
//! same sources give the same bytes, wherever, whenever and by whomever they are built; nothing is
//! written unless everything could be made.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod build;
mod chance;
mod cli;
mod config;
mod content;
mod css_text;
mod dist;
mod esbuild;
mod exports;
mod look;
mod made;
mod make;
mod memory;
mod names;
mod parallel;
mod problem;
mod process;
mod references;
mod root_files;
mod sass;
mod script;
mod source_map;
mod sources;
mod style;
mod unfollowed;
mod watch;
mod web_manifest;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    let run = || match command {
        cli::Command::Build(arguments) => arguments.run(),
        cli::Command::Check(places) => build::check(&places),
        cli::Command::Watch(places) => watch::watch(&places),
    };
    let thread = std::thread::Builder::new().stack_size(parallel::STACK_BYTES).spawn(run);
    let result = match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// A result, on stdout.
fn print(line: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}

fn complain(error: &anyhow::Error) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let words = format!("{error:#}");
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {}", words.trim_end());
}

fn warn(line: impl std::fmt::Display) {
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}warning:{style:#} {line}");
}
