//! The part of the command line that is about releases.

use clap::{Args, Subcommand};
use semver::Version;

use crate::release::version::{self, Wanted};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
X.Y.0 is made from the head of the default branch and begins the branch release-vX.Y; X.Y.Z is made
from the head of that branch. The default branch is that of the remote repository, or the one named
in environments/prod/environment.toml: [release] branch = \"NAME\". X.Y.Z-rc.N is a prerelease: it
is made from where X.Y.Z will be made from, begins no branch, and goes to environments with
`prereleases = true` below [beanstalk]. What is checked out, changed or staged is neither used nor
touched; only `patch` means the release branch that is checked out, where one is. The gates run on
the images themselves. All that is known of them goes into releases/VERSION.json, in a commit that
only the tag vVERSION names. Whatever ends it, the same command finishes it.")]
pub(crate) struct Release {
    /// The version, such as 1.2.0 or 1.3.0-rc.1, or which part of the newest release is counted
    /// up: major, minor, patch
    #[arg(value_name = "VERSION", value_parser = version::parse_wanted)]
    pub(crate) version: Option<Wanted>,
    /// Take back what a release made here, as long as it is not published
    #[arg(long)]
    pub(crate) abort: bool,
    #[command(subcommand)]
    pub(crate) command: Option<ReleaseCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    /// Find out all of a release again, from its tag and the registry, and compare
    Verify(ReleaseVerify),
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseVerify {
    /// The version
    #[arg(value_name = "VERSION", value_parser = version::parse)]
    pub(crate) version: Version,
}

#[derive(Debug, Args)]
#[command(after_help = "\
publish 1.2.3   images first, read back, then branch and tag in one push: where a tag is, its images
                can be pulled. Run again it does what is left; what differs there is an error.
publish dev     the images of dev as they are now, under a name that moves; `image pull dev` gets
                them. Nothing is deployed from such a name.
The registry is [registry] repository of the environment (of prod, for a release). docker's and
git's own logins are used.")]
pub(crate) struct Publish {
    /// A released version, or an environment
    #[arg(value_name = "VERSION|ENV")]
    pub(crate) what: String,
    /// Remove the claim of somebody who began to publish this version and will not go on
    #[arg(long)]
    pub(crate) unlock: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Newest version first: date, commit, author, and the stack on one line: the day of its packages and
how many they are, the stores with their major versions, the images and their size together, and
where it runs by the deployment logs.
A release is an annotated tag vX.Y.Z that holds releases/X.Y.Z.json. No network is used:
`git fetch --tags` gets the releases and deployments of others.")]
pub(crate) struct Releases {}

#[derive(Debug, Args)]
#[command(after_help = "\
+ is new, - is gone, ~ changed, = stayed the same. A package that several images got with their
base is listed once. The other way round shows what a rollback would bring back.
Examples: cargo xtask diff 1.0.0 1.1.0
          cargo xtask diff 1.0.0 1.1.0 --markdown > notes.md")]
pub(crate) struct Diff {
    /// The release to begin with, such as 1.0.0
    #[arg(value_name = "A")]
    pub(crate) old: String,
    /// The release to compare it with
    #[arg(value_name = "B")]
    pub(crate) new: String,
    /// Print release notes in Markdown
    #[arg(long)]
    pub(crate) markdown: bool,
}
