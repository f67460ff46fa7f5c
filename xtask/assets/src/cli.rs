//! The command line of the pipeline. `cargo xtask assets` fills it in; it can be used alone too.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds the assets of a web app: Sass to CSS, scripts minified, names by content, one manifest.
#[derive(Debug, Parser)]
#[command(name = "assets", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the output directory up to date
    Build(Build),
    /// Build without writing; warnings count as errors
    Check(Places),
    /// Build, and again after each change, until Ctrl-C
    Watch(Places),
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) places: Places,
    /// Write nothing; say whether the output is up to date, and why not
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Places {
    /// Where the sources lie
    #[arg(long, value_name = "DIR")]
    pub(crate) source: PathBuf,
    /// Where the outputs go; everything else in there is removed
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Where the pipeline keeps what it remembers; can be deleted at any time
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The package of dart-sass, such as sass-embedded-linux-x64 of the npm registry
    #[arg(long, value_name = "DIR")]
    pub(crate) sass: PathBuf,
    /// The program esbuild
    #[arg(long, value_name = "FILE")]
    pub(crate) esbuild: PathBuf,
    /// Where style sheets and scripts look for packages
    #[arg(long = "load-path", value_name = "DIR")]
    pub(crate) load_paths: Vec<PathBuf>,
    /// Files that lie in the output too, but for names that a build makes; the manifest names none
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Print results as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}
