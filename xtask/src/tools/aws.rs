//! The AWS CLI: asks the service how things are, and makes the one change that `eb` cannot:
//! settings and version of an environment together.
//!
//! Its answers are JSON, where `eb` prints text for people. It is the same library that asks, so
//! accounts, profiles and endpoints are found in the same way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xshell::{Cmd, Shell};

use crate::secret::Secret;

/// Which programs reach the service, and with what.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) eb: PathBuf,
    pub(crate) aws: PathBuf,
    pub(crate) region: String,
    pub(crate) profile: Option<String>,
    /// Variables that lead to a local service, and to nothing else.
    pub(crate) fence: Vec<(String, String)>,
}

/// Variables of the caller's shell that would lead elsewhere than the fence.
const LEADING_OUT: [&str; 15] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_EB_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    // Each wins over `AWS_ENDPOINT_URL`; of the services that are asked.
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_ELASTIC_BEANSTALK",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    // Python reads these before those in capitals.
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

impl Access {
    pub(super) fn surround<'s>(&self, cmd: Cmd<'s>) -> Cmd<'s> {
        let mut cmd = cmd.env("AWS_PAGER", "").env("LC_ALL", "C.UTF-8");
        if !self.fence.is_empty() {
            for name in LEADING_OUT {
                cmd = cmd.env_remove(name);
            }
        }
        cmd.envs(self.fence.iter().map(|(name, value)| (name, value)))
    }
}

/// The interpreter of an `aws` that is a script of Python, as version 1 is.
pub(crate) fn interpreter(aws: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let count = File::open(aws).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let path = Path::new(std::str::from_utf8(line).ok()?.trim());
    let name = path.file_name()?.to_str()?;
    (path.is_absolute() && name.starts_with("python")).then(|| path.to_owned())
}

/// The AWS CLI as a program that stays up: its first line says that it is ready.
pub(crate) fn resident<'s>(sh: &'s Shell, access: &Access, interpreter: &Path) -> Cmd<'s> {
    access.surround(sh.cmd(interpreter)).args(["-c", include_str!("aws.py")])
}

fn aws<'s>(sh: &'s Shell, access: &Access) -> Cmd<'s> {
    let cmd = access.surround(sh.cmd(&access.aws));
    let cmd = match &access.profile {
        Some(profile) => cmd.args(["--profile", profile]),
        None => cmd,
    };
    cmd.args(["--region", &access.region, "--output", "json"]).args([
        "--cli-connect-timeout",
        "10",
        "--cli-read-timeout",
        "30",
    ])
}

fn beanstalk<'s>(sh: &'s Shell, access: &Access, action: &str) -> Cmd<'s> {
    aws(sh, access).args(["elasticbeanstalk", action])
}

/// Who asks.
pub(crate) fn identity<'s>(sh: &'s Shell, access: &Access) -> Cmd<'s> {
    aws(sh, access).args(["sts", "get-caller-identity"])
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Identity {
    pub(crate) account: String,
}

pub(crate) fn environments<'s>(
    sh: &'s Shell,
    access: &Access,
    application: &str,
    environment: &str,
) -> Cmd<'s> {
    beanstalk(sh, access, "describe-environments")
        .args(["--application-name", application, "--environment-names", environment])
        .arg("--no-include-deleted")
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Environments {
    pub(crate) environments: Vec<Environment>,
}

/// An environment as the service describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Environment {
    #[serde(default)]
    pub(crate) environment_id: String,
    pub(crate) version_label: Option<String>,
    /// `Launching`, `Updating`, `Aborting`, `Ready`, `Terminating`, `Terminated`, and more.
    #[serde(default)]
    pub(crate) status: String,
    /// `Green`, `Yellow`, `Red`, `Grey`.
    #[serde(default)]
    pub(crate) health: String,
    /// In one word: `Ok`, `Warning`, `Severe`…; only where health is reported in detail.
    pub(crate) health_status: Option<String>,
    #[serde(default, rename = "CNAME")]
    pub(crate) cname: String,
    #[serde(default)]
    pub(crate) date_updated: String,
    pub(crate) platform_arn: Option<String>,
}

impl Environment {
    pub(crate) fn is_ready(&self) -> bool {
        self.status == "Ready"
    }

    pub(crate) fn is_launching(&self) -> bool {
        self.status == "Launching"
    }

    /// It is being changed, in whatever way: `Updating`, `Aborting`, `LinkingFrom`…
    pub(crate) fn is_updating(&self) -> bool {
        !["Ready", "Launching", "Terminating", "Terminated"].contains(&self.status.as_str())
    }
}

/// What an environment told since a time of the service, the newest first.
pub(crate) fn events<'s>(
    sh: &'s Shell,
    access: &Access,
    application: &str,
    environment: &str,
    since: Option<&str>,
) -> Cmd<'s> {
    let cmd = beanstalk(sh, access, "describe-events")
        .args(["--application-name", application, "--environment-name", environment])
        .args(["--max-items", "200"]);
    match since {
        Some(time) => cmd.args(["--start-time", time]),
        None => cmd,
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Event {
    pub(crate) event_date: String,
    pub(crate) severity: String,
    pub(crate) message: String,
}

/// What every instance runs; fails where health is not reported in detail.
pub(crate) fn instances<'s>(sh: &'s Shell, access: &Access, environment: &str) -> Cmd<'s> {
    beanstalk(sh, access, "describe-instances-health")
        .args(["--environment-name", environment])
        .args(["--attribute-names", "HealthStatus", "Deployment"])
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Instances {
    pub(crate) instance_health_list: Vec<Instance>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Instance {
    pub(crate) instance_id: String,
    pub(crate) deployment: Option<Deployed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Deployed {
    pub(crate) version_label: Option<String>,
}

pub(crate) fn versions<'s>(
    sh: &'s Shell,
    access: &Access,
    application: &str,
    label: &str,
) -> Cmd<'s> {
    beanstalk(sh, access, "describe-application-versions").args([
        "--application-name",
        application,
        "--version-labels",
        label,
    ])
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Versions {
    pub(crate) application_versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    pub(crate) source_bundle: Option<Place>,
}

/// Where a bundle lies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Place {
    #[serde(rename = "S3Bucket")]
    pub(crate) bucket: String,
    #[serde(rename = "S3Key")]
    pub(crate) key: String,
}

/// Gets a bundle back, into a file.
pub(crate) fn fetch<'s>(sh: &'s Shell, access: &Access, place: &Place, file: &Path) -> Cmd<'s> {
    aws(sh, access)
        .args(["s3api", "get-object", "--bucket", &place.bucket, "--key", &place.key])
        .arg(file)
}

/// Whose settings are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'n> {
    Environment(&'n str),
    Template(&'n str),
}

pub(crate) fn settings<'s>(
    sh: &'s Shell,
    access: &Access,
    application: &str,
    of: Of<'_>,
) -> Cmd<'s> {
    let cmd = beanstalk(sh, access, "describe-configuration-settings")
        .args(["--application-name", application]);
    match of {
        Of::Environment(name) => cmd.args(["--environment-name", name]),
        Of::Template(name) => cmd.args(["--template-name", name]),
    }
}

/// Where the properties of an environment are, and those that name a place in a secret store.
pub(crate) const PROPERTIES: &str = "aws:elasticbeanstalk:application:environment";
pub(crate) const REFERENCES: &str = "aws:elasticbeanstalk:application:environmentsecrets";

/// The properties, by namespace and name.
pub(crate) type Properties = BTreeMap<(String, String), Secret>;

/// Reads the answer to [`settings`].
pub(crate) fn parse_settings(stdout: &str) -> Result<Properties> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        configuration_settings: Vec<Configuration>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Configuration {
        option_settings: Vec<Option_>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Option_ {
        namespace: String,
        option_name: String,
        value: Option<Secret>,
    }
    let answer: Answer = parse(stdout)?;
    let options = answer.configuration_settings.into_iter().flat_map(|it| it.option_settings);
    let properties = options.filter(|it| [PROPERTIES, REFERENCES].contains(&it.namespace.as_str()));
    Ok(properties
        .map(|it| ((it.namespace, it.option_name), it.value.unwrap_or(Secret::new(""))))
        .collect())
}

/// Changes an environment, or keeps a copy of its settings; the parameters, which may be secret,
/// come on stdin.
pub(crate) fn change<'s>(sh: &'s Shell, access: &Access, action: &str) -> Cmd<'s> {
    beanstalk(sh, access, action).args(["--cli-input-json", "file:///dev/stdin"])
}

pub(crate) const UPDATE: &str = "update-environment";
pub(crate) const KEEP: &str = "create-configuration-template";

pub(crate) fn forget<'s>(
    sh: &'s Shell,
    access: &Access,
    application: &str,
    template: &str,
) -> Cmd<'s> {
    beanstalk(sh, access, "delete-configuration-template").args([
        "--application-name",
        application,
        "--template-name",
        template,
    ])
}

/// Reads an answer.
pub(crate) fn parse<T: DeserializeOwned>(stdout: &str) -> Result<T> {
    // What is wrong is said without the text, which may hold secrets.
    serde_json::from_str(stdout)
        .map_err(|error| anyhow::anyhow!("line {}, column {}", error.line(), error.column()))
        .context("aws printed something unexpected")
}
