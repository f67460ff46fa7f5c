//! The EB CLI: puts a bundle into the service as a version, makes an environment, deploys.
//!
//! It works in a directory of its own whose configuration names the bundle as the artifact, so it
//! zips nothing and looks at no checkout. It is never waited for: its verdict on a deployment is
//! not the truth, and its first question has no end when no event comes.

use xshell::{Cmd, Shell};

use super::aws::Access;

/// The version that was gone through, call by call.
pub(crate) const VERSION: &str = "3.27.5";

/// What it reads in `.elasticbeanstalk/config.yml`; `sc` is absent: no git.
pub(crate) fn config(application: &str, region: &str, artifact: &str) -> String {
    serde_json::json!({
        "deploy": {"artifact": artifact},
        "global": {
            "application_name": application,
            "default_region": region,
            "workspace_type": "Application",
        },
    })
    .to_string()
}

fn eb<'s>(sh: &'s Shell, access: &Access) -> Cmd<'s> {
    let cmd = access.surround(sh.cmd(&access.eb)).env("PAGER", "cat");
    match &access.profile {
        Some(profile) => cmd.args(["--profile", profile]),
        None => cmd,
    }
}

/// Uploads the artifact, and makes a version of it.
pub(crate) fn create_version<'s>(
    sh: &'s Shell,
    access: &Access,
    label: &str,
    description: &str,
) -> Cmd<'s> {
    eb(sh, access).args(["appversion", "--create", "--label", label, "--message", description])
}

/// Begins to make an environment that runs the service's own sample: one instance, or behind a load
/// balancer.
pub(crate) fn create_environment<'s>(
    sh: &'s Shell,
    access: &Access,
    environment: &str,
    platform: &str,
    single: bool,
) -> Cmd<'s> {
    eb(sh, access)
        .args(["create", environment, "--sample", "--nohang", "--platform", platform])
        .args(single.then_some("--single"))
}

/// Begins to deploy a version that is there.
pub(crate) fn deploy<'s>(
    sh: &'s Shell,
    access: &Access,
    environment: &str,
    label: &str,
) -> Cmd<'s> {
    eb(sh, access).args(["deploy", environment, "--version", label, "--nohang"])
}

/// Has the service give an update up.
pub(crate) fn abort<'s>(sh: &'s Shell, access: &Access, environment: &str) -> Cmd<'s> {
    eb(sh, access).args(["abort", environment])
}
