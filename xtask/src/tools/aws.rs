//! What AWS is asked, and the one change that the AWS CLI makes because `eb` cannot: settings and
//! version of an environment together.
//!
//! A question goes by curl (`query.rs`), with the credentials of the AWS CLI (`credentials.rs`), or
//! by the AWS CLI itself, which takes longer to start than to answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use xshell::{Cmd, Shell};

use crate::secret::Secret;

pub(crate) mod credentials;
pub(crate) mod query;
#[cfg(test)]
mod tests;

use query::{Parameter, Question};

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

    /// A variable as `aws` gets it; nothing where it is empty.
    pub(crate) fn variable(&self, sh: &Shell, name: &str) -> Option<String> {
        let fenced = self.fence.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone());
        let is_open = self.fence.is_empty() || !LEADING_OUT.contains(&name);
        let own = || sh.var(name).ok().filter(|_| is_open);
        fenced.or_else(own).filter(|value| !value.is_empty())
    }

    /// Where the local service is.
    fn local_endpoint(&self) -> Option<&str> {
        let endpoint = self.fence.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL");
        endpoint.map(|(_, value)| value.as_str())
    }
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

fn question(action: &'static str, parameters: Vec<(&'static str, Parameter)>) -> Question {
    Question { service: "elasticbeanstalk", version: "2010-12-01", action, parameters }
}

fn named(name: &'static str, text: &str) -> (&'static str, Parameter) {
    (name, Parameter::Text(text.to_owned()))
}

/// Who asks.
pub(crate) fn identity() -> Question {
    let (service, version) = ("sts", "2011-06-15");
    Question { service, version, action: "GetCallerIdentity", parameters: Vec::new() }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Identity {
    pub(crate) account: String,
}

pub(crate) fn environments(application: &str, environment: &str) -> Question {
    let parameters = vec![
        named("ApplicationName", application),
        ("EnvironmentNames", Parameter::List(vec![environment.to_owned()])),
        ("IncludeDeleted", Parameter::No),
    ];
    question("DescribeEnvironments", parameters)
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
pub(crate) fn events(application: &str, environment: &str, since: Option<&str>) -> Question {
    let mut parameters = vec![
        named("ApplicationName", application),
        named("EnvironmentName", environment),
        named("MaxRecords", "200"),
    ];
    parameters.extend(since.map(|time| named("StartTime", time)));
    question("DescribeEvents", parameters)
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
pub(crate) fn instances(environment: &str) -> Question {
    let attributes = ["HealthStatus", "Deployment"].map(str::to_owned).to_vec();
    let attributes = ("AttributeNames", Parameter::List(attributes));
    question("DescribeInstancesHealth", vec![named("EnvironmentName", environment), attributes])
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

pub(crate) fn versions(application: &str, label: &str) -> Question {
    let labels = ("VersionLabels", Parameter::List(vec![label.to_owned()]));
    question("DescribeApplicationVersions", vec![named("ApplicationName", application), labels])
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

pub(crate) fn settings(application: &str, of: Of<'_>) -> Question {
    let of = match of {
        Of::Environment(name) => named("EnvironmentName", name),
        Of::Template(name) => named("TemplateName", name),
    };
    question("DescribeConfigurationSettings", vec![named("ApplicationName", application), of])
}

/// Where the properties of an environment are, and those that name a place in a secret store.
pub(crate) const PROPERTIES: &str = "aws:elasticbeanstalk:application:environment";
pub(crate) const REFERENCES: &str = "aws:elasticbeanstalk:application:environmentsecrets";

/// The properties, by namespace and name.
pub(crate) type Properties = BTreeMap<(String, String), Secret>;

/// Reads the answer to [`settings`].
pub(crate) fn parse_settings(answer: Value) -> Result<Properties> {
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
    let answer: Answer = parse(answer)?;
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
pub(crate) fn parse<T: DeserializeOwned>(answer: Value) -> Result<T> {
    // What is wrong is said without the text, which may hold secrets.
    serde_json::from_value(answer)
        .map_err(|_| anyhow::anyhow!("the service answered something unexpected"))
}
