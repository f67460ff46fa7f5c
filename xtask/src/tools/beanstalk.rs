//! The local Elastic Beanstalk, the crate `xtask/beanstalk`: how it is called.

use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell, cmd};

/// How it serves.
pub(crate) struct Serve {
    pub(crate) port: u16,
    /// The compose file of what is attached to each environment, or a directory of them.
    pub(crate) attached: PathBuf,
    /// What hooks run in.
    pub(crate) instance_image: Option<String>,
    pub(crate) patience_seconds: Option<u64>,
}

pub(crate) fn serve<'s>(sh: &'s Shell, program: &Path, state: &Path, flags: &Serve) -> Cmd<'s> {
    let port = flags.port.to_string();
    let mut cmd = cmd!(sh, "{program} serve --state {state} --port {port}");
    cmd = cmd.arg("--attached").arg(&flags.attached);
    if let Some(image) = &flags.instance_image {
        cmd = cmd.arg("--instance-image").arg(image);
    }
    if let Some(seconds) = flags.patience_seconds {
        cmd = cmd.arg("--patience").arg(seconds.to_string());
    }
    cmd
}

/// What asks or ends a server that runs.
pub(crate) fn call<'s>(
    sh: &'s Shell,
    program: &Path,
    action: &str,
    state: &Path,
    options: &[&str],
) -> Cmd<'s> {
    cmd!(sh, "{program} {action} --state {state} {options...}")
}

/// Reads the answer to `environment`: lines for a shell. With it go files of settings that are
/// nowhere: what somebody has set for AWS is not for here.
pub(crate) fn parse_environment(stdout: &str) -> Vec<(String, String)> {
    let exports = stdout.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let nowhere = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"].map(|it| (it, "/dev/null"));
    let all = exports.chain(nowhere);
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
