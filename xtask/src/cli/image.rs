//! The command line of `image …`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Build the images of an environment that are not fresh, each with its reason
    Build(ImageBuild),
    /// Remove the images of an environment from this machine
    Destroy(ImageDestroy),
    /// Move the stack to today's packages: new bases, new epoch, rebuild, show what changed
    Update(ImageUpdate),
    /// List the images of an environment and whether they are fresh
    List(ImageList),
    /// Print everything that decides what an image's build yields, each with its hash
    Inputs(ImageInputs),
    /// Say why an image would be built, every reason on a line
    Why(ImageWhy),
    /// Get the images of an environment from its registry; build nothing
    Pull(ImagePull),
    /// Remove the images that neither an environment nor one of the last releases needs
    Prune(ImagePrune),
}

/// Whether images are shared through the registry of the environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cache {
    /// Neither pull nor push
    #[default]
    Off,
    /// Pull what is dirty here and lies in the registry
    Read,
    /// Also push what the registry lacks
    Write,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An image is fresh when it exists and was built from exactly today's inputs. Otherwise the reason is
named, down to the file; `cargo xtask image why IMAGE` lists all of them.")]
pub(crate) struct ImageBuild {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Only these images, and the images they are built from
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Share images through [registry] repository of environment.toml
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) cache: Cache,
    /// Compare what the builder received, and what the image holds, with what was hashed
    #[arg(long)]
    pub(crate) verify: bool,
    /// Hash every file again instead of believing unchanged times
    #[arg(long)]
    pub(crate) paranoid: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Settings first, then every entry of the context: kind, mode, SHA-256 (or where a link points to) and
path, separated by tabs. Two machines that print the same build the same image.")]
pub(crate) struct ImageInputs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The environment
    #[arg(short, long = "env", value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Print the fingerprint only
    #[arg(long)]
    pub(crate) fingerprint: bool,
    /// Hash every file again instead of believing unchanged times
    #[arg(long)]
    pub(crate) paranoid: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImageWhy {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The environment
    #[arg(short, long = "env", value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
image pull 1.2.3   the images of a release, exactly as recorded
image pull dev     those that this checkout would build, where somebody has shared them; else those
                   that `publish dev` put there, as IMAGE:dev. An image whose assets are not made
                   yet, as in a fresh clone, is always taken from there: nothing is built")]
pub(crate) struct ImagePull {
    /// An environment, or a released version
    #[arg(value_name = "ENV|VERSION", default_value = "dev")]
    pub(crate) what: String,
    /// Only these images, and the images they are built from
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImagePrune {
    /// How many of the newest releases keep their images
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub(crate) releases: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ImageDestroy {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
    /// Only these images
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageUpdate {
    /// The environments to rebuild [default: all]
    #[arg(value_name = "ENV")]
    pub(crate) environments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ImageList {
    /// The environment
    #[arg(value_name = "ENV", default_value = "dev")]
    pub(crate) environment: String,
}
