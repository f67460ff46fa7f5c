//! The command line of `check`, `test`, `parity`, `ci` and `selftest`.

use clap::{Args, ValueEnum};

use super::Engine;

#[derive(Debug, Args)]
#[command(after_help = "\
More gates stand under [gates.check] in environments/dev/environment.toml.")]
pub(crate) struct Check {}

#[derive(Debug, Args)]
#[command(after_help = "\
Differences that are meant stand as [[parity.allow]] in environment.toml, each with its reason. Any
other one fails.")]
pub(crate) struct Parity {
    /// The one environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) one: String,
    /// The other
    #[arg(value_name = "ENV", default_value = "prod")]
    pub(crate) other: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
tests     builds the `test` stage of every image that has one, which runs them
settings  compares the variables that an image reads with those that compose gives it
smoke     starts ENV's stack from its images, beside everything else, and waits for its health
A pass counts for as long as image and gate are the same.")]
pub(crate) struct Test {
    /// The environment whose images are tried [default: prod]
    #[arg(value_name = "ENV")]
    pub(crate) environment: Option<String>,
    /// Only these gates: tests, settings, smoke
    #[arg(long, value_name = "GATE", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Use this engine instead of the one that is found
    #[arg(long, value_enum)]
    pub(crate) engine: Option<Engine>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Where no engine runs and no init system would start one, ci starts one of its own with an empty data
directory and ends it at the end, so that nothing left over can hide a missing step.")]
pub(crate) struct Ci {
    /// Run the random campaigns at their full sizes, and the benchmarks (an hour, not minutes)
    #[arg(long)]
    pub(crate) full: bool,
    /// Run it on a clone as a machine meets it on another day: a stack.lock that fits no base, no
    /// base at first, and the tests' clock in another year
    #[arg(long)]
    pub(crate) another_day: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Tests that start an engine run in processes of their own, the longest first. Where no engine runs,
one with an empty data directory is started and ended at the end.

  cargo xtask selftest                  all tests
  cargo xtask selftest deploy:: assets  those with one of these words in their names
  cargo xtask selftest --breaks         whether tests find what patches break
  cargo xtask selftest --store other any_engine::
                                        the life of a release on the other image store

Tests use the engine that DOCKER_HOST names, where it is set.")]
pub(crate) struct Selftest {
    /// Parts of the names of the tests (or patches) to run, such as freshness::
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How many run at a time (default: two more than there are processors)
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Apply one patch of xtask/tests/breaks after the other to a clone, and run the test that it
    /// names, which has to fail
    #[arg(long, conflicts_with = "jobs")]
    pub(crate) breaks: bool,
    /// Run the tests on a second engine that keeps its images there; root starts one
    #[arg(long, value_name = "STORE", conflicts_with = "breaks")]
    pub(crate) store: Option<Store>,
}

/// Where a Docker engine keeps its images.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Store {
    /// The graph driver's: the only one of engines before 24, the default before 29
    Graph,
    /// containerd's, the default of a new Docker 29
    Containerd,
    /// The one that the first engine does not have
    Other,
}
