//! The part of the command line that is about the local Elastic Beanstalk.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
The EB CLI and the AWS CLI take it for the service:

  cargo xtask beanstalk serve &
  eval \"$(cargo xtask beanstalk environment)\"
  eb status

Each bundle runs with Docker at an address of its environment, NAME.localhost:PORT. The console is
at http://127.0.0.1:9080. The only key pair is local / local.")]
pub(crate) enum Beanstalk {
    /// Serve in the foreground, until Ctrl-C; the environments are found again at the next start
    Serve(BeanstalkServe),
    /// Show its environments: version, health, address
    Status(BeanstalkStatus),
    /// Stop the server; its environments go on running
    Stop(BeanstalkPlace),
    /// Print the variables that lead eb and aws there, and nowhere else
    Environment(BeanstalkPlace),
}

#[derive(Debug, Args)]
pub(crate) struct BeanstalkPlace {
    /// Where its state is; else below .stevedore
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BeanstalkServe {
    #[command(flatten)]
    pub(crate) place: BeanstalkPlace,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 9080)]
    pub(crate) port: u16,
    /// Compose file of services that live outside the bundles, one set for each environment; else
    /// those that `deploy` finds in the releases
    #[arg(long, value_name = "FILE")]
    pub(crate) attached: Option<PathBuf>,
    /// Image that hooks and commands of a bundle run in
    #[arg(long, value_name = "IMAGE")]
    pub(crate) instance_image: Option<String>,
    /// Seconds that an instance may take until it answers on its health path
    #[arg(long, value_name = "SECONDS")]
    pub(crate) patience: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct BeanstalkStatus {
    #[command(flatten)]
    pub(crate) place: BeanstalkPlace,
    /// Show what is believed of the service and was never observed
    #[arg(long)]
    pub(crate) beliefs: bool,
}
