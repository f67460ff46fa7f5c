//! The part of the command line that takes releases to Elastic Beanstalk.

use std::path::PathBuf;

use clap::Args;
use semver::Version;

use crate::release::version;

#[derive(Debug, Args)]
#[command(after_help = "\
Made of the release's record, its commit and the registry, never of what is checked out: the same
release is the same bytes everywhere. Inside are docker-compose.yml or Dockerrun.aws.json, whichever
the platform branch in [beanstalk] of environment.toml takes, with every image by digest, the files
of environments/ENV/.ebextensions and .platform, and no secret. Attached services stay outside.
What compose says and Elastic Beanstalk can't do is an error that names file and key.
Examples: cargo xtask bundle 1.2.0
          cargo xtask bundle 1.2.0 --env qa --out /tmp/qa.zip
          cargo xtask bundle --list 1.2.0-prod.zip")]
pub(crate) struct Bundle {
    /// The released version
    #[arg(value_name = "VERSION", value_parser = version::parse, required_unless_present = "list")]
    pub(crate) version: Option<Version>,
    /// The environment that it is for
    #[arg(long = "env", value_name = "ENV", default_value = "prod", conflicts_with = "list")]
    pub(crate) environment: String,
    /// The file to write [default: VERSION-ENV.zip here]
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    pub(crate) out: Option<PathBuf>,
    /// Show what is in a bundle: mode, size, hash and name of each file
    #[arg(long, value_name = "FILE", conflicts_with = "version")]
    pub(crate) list: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
deploy 1.2.3             the published release, as it was tested, to prod
deploy --from qa         what runs in qa to prod: the same digests
deploy --attach          look on at a deployment that goes on, until its verdict
Without [beanstalk] region in environment.toml the target is the local Elastic Beanstalk, which
`cargo xtask beanstalk serve` starts; else AWS, with the credentials that eb and aws find.
All is checked first: images, bundle, settings, data, and whether somebody else deploys. Then one
update changes version and settings, and what the service says afterwards is the verdict. Ctrl-C
looks away and stops nothing; the same command looks on again. Who deployed what and when stands on
the branch stevedore/deployments/ENV of the remote repository, which is the lock too.")]
pub(crate) struct Deploy {
    /// A published version
    #[arg(value_name = "VERSION", value_parser = version::parse)]
    #[arg(required_unless_present_any = ["from", "attach", "unlock"])]
    pub(crate) version: Option<Version>,
    /// The environment
    #[arg(long = "env", value_name = "ENV", default_value = "prod")]
    pub(crate) environment: String,
    /// Deploy what runs in another environment, where it succeeded
    #[arg(long, value_name = "ENV", conflicts_with = "version")]
    pub(crate) from: Option<String>,
    /// Make the environment where it is not there; locally that needs no asking
    #[arg(long)]
    pub(crate) create: bool,
    /// Look on at the deployment that goes on
    #[arg(long, conflicts_with_all = ["version", "from", "create"])]
    pub(crate) attach: bool,
    /// Give up the deployment of somebody who will not go on
    #[arg(long, conflicts_with_all = ["version", "from", "create", "attach"])]
    pub(crate) unlock: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Patience {
    /// How many minutes the deployment may take
    #[arg(long = "timeout", value_name = "MINUTES", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout_minutes: u64,
    /// How many seconds the environment may be unwell when it is deployed
    #[arg(long = "settle", value_name = "SECONDS", default_value_t = 120)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) settle_seconds: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The release before (the same commit where there is none) and VERSION are released, published and
deployed one after the other, by the commands that everybody types, in a clone with a registry, a
remote repository and a local Elastic Beanstalk of its own. Requests go to the app while it changes;
then it is rolled back and compared. No account, and nothing of yours is touched: only commits are
read. All that was said is in .stevedore/rehearsal/log.
Example: cargo xtask rehearse 1.2.0")]
pub(crate) struct Rehearse {
    /// The version that is to be released
    #[arg(value_name = "VERSION", value_parser = version::parse)]
    pub(crate) version: Version,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --to: the last deployment that succeeded, before the one that runs or was tried. Bundle,
images and settings come back exactly as they were recorded, nothing is built; secrets that the
data knows too, such as a database's password, stay. It is refused where the data has moved on: a
migration that the older release does not know, unless it is marked compatible and a gate has shown
it, or another major version of a store. A rollback is a deployment: it is logged, and can be
rolled back.")]
pub(crate) struct Rollback {
    /// The environment
    #[arg(long = "env", value_name = "ENV", default_value = "prod")]
    pub(crate) environment: String,
    /// The version to go back to
    #[arg(long, value_name = "VERSION", value_parser = version::parse)]
    pub(crate) to: Option<Version>,
    #[command(flatten)]
    pub(crate) patience: Patience,
}
