//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A local Elastic Beanstalk: the EB CLI deploys to it, and it runs the bundles with Docker
#[derive(Parser)]
#[command(
    name = "beanstalk",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
A first try, in a directory with a docker-compose.yml that publishes port 80:

  beanstalk serve &
  eval \"$(beanstalk environment)\"
  eb init my-app --platform 'Docker running on 64bit Amazon Linux 2023' --region us-east-1
  eb create my-env --single
  eb status

The only key pair is local / local, so real keys are never used by mistake."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve in the foreground, until Ctrl-C
    Serve(Serve),
    /// Show the environments of a running server
    Status(Status),
    /// Stop a running server; its environments go on running
    Stop(Place),
    /// Print the variables that lead the EB CLI and the AWS CLI here, and nowhere else
    Environment(Place),
}

#[derive(Args)]
pub(crate) struct Place {
    /// Where its state is
    #[arg(long, value_name = "DIR", default_value = ".beanstalk")]
    pub(crate) state: PathBuf,
}

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 9080)]
    pub(crate) port: u16,
    /// The region it simulates
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// Compose file of services outside the bundles, one set for each environment; its mapping
    /// `x-properties` becomes properties of the environment. Of a directory, ENVIRONMENT.json in it
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) attached: Option<PathBuf>,
    /// Image that hooks and commands of a bundle run in
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "public.ecr.aws/amazonlinux/amazonlinux:2023"
    )]
    pub(crate) instance_image: String,
    /// Seconds that an instance may take until it answers on its health path
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) patience: u64,
    /// Seconds that a minute of traffic splitting lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) minute: u64,
}

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Show what is believed of the service and was never observed
    #[arg(long)]
    pub(crate) beliefs: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}
