//! The log of an environment's deployments: which version it got when, from whom, with which bundle
//! and settings, and what came of it.
//!
//! It is a file of JSON lines on a branch of its own in the remote repository. The branch only ever
//! moves forward, and whoever moves it first has the environment: the last line without a verdict
//! is the lock. No value of a setting is in it; those that were in use are kept by the service
//! under the name of a configuration template.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::record::Person;

/// Names the schema below; permanent, as that of a release.
pub(crate) const SCHEMA: &str = "stevedore.deployment/1";
const FAMILY: &str = "stevedore.deployment/";
/// Whom the local Elastic Beanstalk says that it belongs to; no account of AWS has this number.
const LOCAL_ACCOUNT: &str = "000000000000";

/// The file on the branch.
pub(crate) const FILE: &str = "deployments.jsonl";

/// The branch of an environment's log.
pub(crate) fn branch(environment: &str) -> String {
    format!("stevedore/deployments/{environment}")
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deployment {
    pub(crate) schema: String,
    /// Counted from 1 in each environment.
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    /// What the service calls the version: it holds the bundle's hash.
    pub(crate) label: String,
    /// Hexadecimal SHA-256 of the bundle.
    pub(crate) bundle: String,
    /// Image -> its full name by digest.
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) settings: Settings,
    pub(crate) target: Target,
    pub(crate) by: Person,
    /// The clone that deploys: it alone goes on with what it began.
    pub(crate) owner: String,
    /// RFC 3339, UTC, whole seconds, as all times here but the service's own.
    pub(crate) begun: String,
    /// From then on nobody waits for the owner any more.
    pub(crate) expires: String,
    /// The time of the service's last event before; what it tells later is about this deployment.
    pub(crate) after: Option<String>,
    pub(crate) verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Deploy,
    Rollback,
}

impl Kind {
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Kind::Deploy => "deploy",
            Kind::Rollback => "roll back to",
        }
    }
}

/// Which settings were in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Under which the service keeps them.
    pub(crate) template: String,
    /// Over the names of all and the values of those that are not secret.
    pub(crate) sha256: String,
    pub(crate) names: BTreeSet<String>,
    /// Those of them whose value belongs to the data: a rollback leaves them alone.
    pub(crate) attached: BTreeSet<String>,
}

/// Which environment of which account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) application: String,
    pub(crate) environment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdict {
    pub(crate) result: Outcome,
    /// Why it is not a success.
    pub(crate) reason: Option<String>,
    pub(crate) ended: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    /// It ended before the service was told of it.
    NotBegun,
    /// Nobody knows: whoever began it did not come back.
    Abandoned,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::NotBegun => "not begun",
            Outcome::Abandoned => "abandoned",
        }
    }
}

impl Target {
    /// Whether it is on a local Elastic Beanstalk.
    pub(crate) fn is_local(&self) -> bool {
        self.account == LOCAL_ACCOUNT
    }
}

impl Deployment {
    pub(crate) fn succeeded(&self) -> bool {
        self.verdict.as_ref().is_some_and(|it| it.result == Outcome::Succeeded)
    }

    /// Whether the service may have been told of it, so that its migrations may have been applied.
    pub(crate) fn may_have_run(&self) -> bool {
        self.verdict.as_ref().is_none_or(|it| it.result != Outcome::NotBegun)
    }
}

/// All deployments of an environment, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log(pub(crate) Vec<Deployment>);

impl Log {
    /// The one that goes on.
    pub(crate) fn open(&self) -> Option<&Deployment> {
        self.0.last().filter(|it| it.verdict.is_none())
    }

    /// The names of all properties that a deployment may have set.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.ran().flat_map(|it| it.settings.names.iter().cloned()).collect()
    }

    /// Those of them whose value belongs to the data.
    pub(crate) fn attached(&self) -> BTreeSet<String> {
        self.ran().flat_map(|it| it.settings.attached.iter().cloned()).collect()
    }

    fn ran(&self) -> impl Iterator<Item = &Deployment> {
        self.0.iter().filter(|it| it.may_have_run())
    }

    /// The last that succeeded.
    pub(crate) fn current(&self) -> Option<&Deployment> {
        self.0.iter().rev().find(|it| it.succeeded())
    }

    pub(crate) fn text(&self) -> Result<String> {
        let line = |it| Ok(serde_json::to_string(it).context("can't write the log")? + "\n");
        self.0.iter().map(line).collect()
    }

    /// Reads the log; a later schema is named as what it is.
    pub(crate) fn parse(text: &str) -> Result<Log> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let read = |(number, line): (usize, &str)| {
            let head: Head =
                serde_json::from_str(line).with_context(|| format!("line {number}"))?;
            if head.schema != SCHEMA && head.schema.starts_with(FAMILY) {
                anyhow::bail!(
                    "line {number} has the schema {}, and this program reads {SCHEMA}; use the \
                     cargo xtask of a later release",
                    head.schema
                );
            }
            serde_json::from_str(line).with_context(|| format!("line {number}"))
        };
        let log: Vec<Deployment> = (1..).zip(text.lines()).map(read).collect::<Result<_>>()?;
        for (number, deployment) in (1..).zip(&log) {
            anyhow::ensure!(deployment.number == number, "line {number} is not its number");
            let is_last = usize::try_from(number).is_ok_and(|number| number == log.len());
            anyhow::ensure!(
                is_last || deployment.verdict.is_some(),
                "line {number} has no verdict and is not the last"
            );
        }
        Ok(Log(log))
    }
}
