//! The whole command line: every command, argument and flag, with the help that teaches it.
//!
//! One place, so that `--help`, completions and the parser cannot disagree. `ENV` is always the
//! name of a folder in `environments/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod beanstalk;
mod checks;
mod deploy;
mod image;
mod procfile;
mod release;
mod run;
#[cfg(test)]
mod tests;
pub(crate) use beanstalk::Beanstalk;
pub(crate) use checks::{Check, Ci, Parity, Selftest, Store, Test};
pub(crate) use deploy::{Bundle, Deploy, Patience, Rehearse, Rollback};
pub(crate) use image::{
    Cache, Image, ImageBuild, ImageDestroy, ImageInputs, ImageList, ImagePrune, ImagePull,
    ImageUpdate, ImageWhy,
};
pub(crate) use procfile::{Guard, Procfile};
pub(crate) use release::{Diff, Publish, Release, ReleaseCommand, Releases};
pub(crate) use run::Run;

/// Takes a web app and its whole software stack through dev, QA, release and rollback.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "\
First time:   cargo xtask dev              everything it needs is set up; http://127.0.0.1:8080/
Every day:    cargo xtask image build      build what changed, and say why
              cargo xtask logs dev app     follow one service
              cargo xtask start prod       the production stack, on this machine
Exit codes:   0 done, 1 failed, 2 usage, 3 a gate failed, 4 a tool or service is missing,
              130 interrupted")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Work on the project in this directory instead of the current one
    #[arg(short = 'C', long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) directory: Option<PathBuf>,
    /// Change nothing; print the commands that would run, in order
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) dry_run: bool,
    /// Print results as JSON, one object a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Answer yes to every question (also when CI=true)
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
    /// Show each command and everything it prints
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// When to use colours (NO_COLOR is obeyed)
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    #[arg(help_heading = "Global options")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install what is missing (engine, buildx, compose, mmdebstrap, curl) and start the engine
    Setup(Setup),
    /// Look at this machine and this project; change nothing
    Doctor(Doctor),
    /// Build what changed, start the app with its stack, show its log until Ctrl-C
    Dev(Dev),
    /// Start an environment in the background and wait until it is healthy
    Start(Start),
    /// Stop an environment; its data stays
    Stop(Stop),
    /// Start services again, with what changed
    Restart(Restart),
    /// Show which engine runs and how each service is
    Status(Status),
    /// Show the log of an environment
    Logs(Logs),
    /// Open a shell in a running service
    Shell(Shell),
    /// Run a one-off command in a fresh container of a service
    Run(Run),
    /// Build, update, share, explain and clean up images
    #[command(subcommand)]
    Image(Image),
    /// Show what a build would build, reuse or pull, and why
    Plan(Plan),
    /// Build, check and watch the assets: style sheets, scripts, pictures
    #[command(subcommand)]
    Assets(Assets),
    /// Create, check and show the settings of an environment
    #[command(subcommand)]
    Env(Env),
    /// The checks that need no running engine: Dockerfiles, settings, assets, lints
    Check(Check),
    /// The app's tests in their images, the settings it reads, and a trial start of the stack
    Test(Test),
    /// Compare two environments: the packages of their images, and their configuration keys
    Parity(Parity),
    /// Everything that must pass: check, the tool's own tests, test, parity
    Ci(Ci),
    /// The tests of this tool itself, and how long each takes
    Selftest(Selftest),
    /// Make a version of the whole stack: built from a commit, tested, recorded, tagged
    Release(Release),
    /// Take a release to the registry and the remote repository, or ENV's images to the registry
    Publish(Publish),
    /// Write a release as the one file that Elastic Beanstalk takes, or list what is in one
    Bundle(Bundle),
    /// Take a published release to an environment of Elastic Beanstalk
    Deploy(Deploy),
    /// Bring an earlier deployment back: images, bundle and settings
    Rollback(Rollback),
    /// Live through a release on this machine: release, publish, deploy, traffic, roll back
    Rehearse(Rehearse),
    /// List the releases that this clone has, and the stack of each
    Releases(Releases),
    /// Show what two releases have differently: images, packages, migrations, settings, commits
    Diff(Diff),
    /// A local Elastic Beanstalk, which runs what eb deploys to it
    #[command(subcommand)]
    Beanstalk(Beanstalk),
    /// Run the processes of an environment's Procfile on this machine, until Ctrl-C
    Procfile(Procfile),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Keeps watch over one process of a Procfile
    #[command(hide = true)]
    Guard(Guard),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Containers, with the services of docker/compose.yml
    Docker,
    /// This machine's own processes from environments/ENV/Procfile (a preview: no Docker needed)
    Host,
}

#[derive(Debug, Args)]
pub(crate) struct Setup {}

#[derive(Debug, Args)]
pub(crate) struct Doctor {}

#[derive(Debug, Args)]
#[command(after_help = "\
The first run creates environments/dev/.env with fresh secrets. Where a Docker engine answers the
services run in containers; elsewhere the Procfile runs on this machine.

When a file is saved, the least that is right is done: a style sheet is built and swapped in the
browser, other assets reload the page, sources compile and start their service again, a Dockerfile
or what it copies builds the image, settings recreate what they concern. What does not compile is
shown here and on the page, and the last good version serves.

What makes the style sheets and scripts is compiled when it is first needed. The page does not wait
for that: it comes first, and its style follows.")]
pub(crate) struct Dev {
    /// Return as soon as the app is healthy and leave it running
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Do nothing when a file changes
    #[arg(long)]
    pub(crate) no_watch: bool,
    /// Leave the assets to whoever started this
    #[arg(long, hide = true)]
    pub(crate) no_assets: bool,
    /// Open the page in a browser once it answers
    #[arg(long)]
    pub(crate) open: bool,
    /// Use this engine instead of the one that is found
    #[arg(long, value_enum)]
    pub(crate) engine: Option<Engine>,
    /// Publish the app on this port of 127.0.0.1
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// The environment to start
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Publish the environment on this port of 127.0.0.1
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The environment to stop
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Shows what of the environment runs on this machine and, by its log, what was deployed of it to
Elastic Beanstalk (`git fetch` gets what others did). --drift asks the service, and compares
version, bundle, images and settings with the log.")]
pub(crate) struct Status {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Compare what runs on Elastic Beanstalk with what was deployed; differences are a failure
    #[arg(long)]
    pub(crate) drift: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Print what there is and return, instead of following
    #[arg(long)]
    pub(crate) no_follow: bool,
    /// Begin with this many lines of each service [default: 100, or all with --since]
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    /// Begin with this time, such as 2026-11-20T08:00:00Z, or this long ago, such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// The service [default: the one that compose.yml marks as main]
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Ask the registry what could be pulled
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) cache: Cache,
    /// Hash every file again instead of believing unchanged times
    #[arg(long)]
    pub(crate) paranoid: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Assets {
    /// Make app/dist of app/assets, as every image build does first
    Build(AssetsBuild),
    /// Build without writing; what is wrong is listed with file, line and column
    Check(AssetsCheck),
    /// Build, and again after each change, until Ctrl-C
    Watch(AssetsWatch),
    /// Pin the newest dart-sass and esbuild in app/assets/assets.lock
    Update(AssetsUpdate),
}

#[derive(Debug, Args)]
#[command(after_help = "\
dart-sass compiles Sass, esbuild bundles style sheets and modules and minifies classic scripts,
everything else is copied. Each name carries a hash of its content; app/dist/manifest.json says
which is which. A file whose name begins with _ is a part of others and gets no output of its own.
app/assets/assets.toml names the browsers (targets) and the packages of the npm registry.")]
pub(crate) struct AssetsBuild {}

#[derive(Debug, Args)]
pub(crate) struct AssetsCheck {}

#[derive(Debug, Args)]
pub(crate) struct AssetsWatch {}

#[derive(Debug, Args)]
pub(crate) struct AssetsUpdate {}

#[derive(Debug, Subcommand)]
pub(crate) enum Env {
    /// Create .env from .env.example, with fresh secrets; what is there stays
    Init(EnvName),
    /// Check environment.toml, .env and the compose files, and list every problem
    Check(EnvName),
    /// Show the settings of an environment; secrets stay hidden
    Show(EnvName),
}

#[derive(Debug, Args)]
pub(crate) struct EnvName {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
For an alias, such as: alias xtask='cargo xtask'; source <(xtask completions bash)")]
pub(crate) struct Completions {
    /// The shell to write for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
