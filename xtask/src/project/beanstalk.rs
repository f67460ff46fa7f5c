//! `[beanstalk]` of `environment.toml`: where an environment runs on Elastic Beanstalk, and how it
//! moves from one version to the next.
//!
//! Every key has a default, so that a project without an account is deployed to the local Elastic
//! Beanstalk. Names are judged here by the service's own rules, since they end in argvs.

use std::fmt;

use anyhow::{Result, ensure};
use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Beanstalk {
    pub(crate) application: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) platform_branch: PlatformBranch,
    pub(crate) policy: Policy,
    pub(crate) health_path: Option<String>,
    pub(crate) prereleases: bool,
}

/// The same with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) application: String,
    pub(crate) environment: String,
    /// `None`: the local Elastic Beanstalk.
    pub(crate) region: Option<String>,
    /// The profile of the AWS configuration whose keys are used.
    pub(crate) profile: Option<String>,
    pub(crate) platform_branch: PlatformBranch,
    pub(crate) policy: Policy,
    pub(crate) health_path: String,
    /// Whether prereleases are deployed there.
    pub(crate) prereleases: bool,
}

/// A platform branch that runs several containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum PlatformBranch {
    #[default]
    #[serde(rename = "Docker running on 64bit Amazon Linux 2023")]
    Docker,
    #[serde(rename = "ECS running on 64bit Amazon Linux 2023")]
    Ecs,
}

/// What the service calls a deployment policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Policy {
    AllAtOnce,
    Rolling,
    RollingWithAdditionalBatch,
    /// A version that does not become healthy never serves anybody, and no other one heals itself.
    #[default]
    Immutable,
    TrafficSplitting,
}

impl fmt::Display for PlatformBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlatformBranch::Docker => "Docker running on 64bit Amazon Linux 2023",
            PlatformBranch::Ecs => "ECS running on 64bit Amazon Linux 2023",
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Beanstalk {
    /// Judges what is written; the defaults are judged by [`Beanstalk::target`].
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(application) = &self.application {
            check_application(application)?;
        }
        if let Some(environment) = &self.environment {
            check_environment(environment)?;
        }
        if let Some(region) = &self.region {
            let inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
            ensure!(
                region.starts_with(|it: char| it.is_ascii_lowercase()) && region.chars().all(inner),
                "[beanstalk] region {region:?} is no region such as eu-central-1"
            );
        }
        if let Some(profile) = &self.profile {
            let plain = |it: char| it.is_ascii_alphanumeric() || "_-.@+".contains(it);
            ensure!(
                !profile.is_empty() && !profile.starts_with('-') && profile.chars().all(plain),
                "[beanstalk] profile {profile:?} is no name of a profile"
            );
        }
        if let Some(path) = &self.health_path {
            let plain = |it: char| it.is_ascii_graphic() && !"\"'\\".contains(it);
            ensure!(
                path.starts_with('/') && path.chars().all(plain),
                "[beanstalk] health_path {path:?} is no path such as /health"
            );
        }
        Ok(())
    }

    /// `stack` is the stack's name, `environment` that of the folder in environments/.
    pub(crate) fn target(&self, stack: &str, environment: &str) -> Result<Target> {
        let own = |given: &Option<String>, default: String| given.clone().unwrap_or(default);
        let target = Target {
            application: own(&self.application, stack.to_owned()),
            environment: own(&self.environment, format!("{stack}-{environment}")),
            region: self.region.clone(),
            profile: self.profile.clone(),
            platform_branch: self.platform_branch,
            policy: self.policy,
            health_path: own(&self.health_path, "/".to_owned()),
            prereleases: self.prereleases,
        };
        check_environment(&target.environment)?;
        Ok(target)
    }
}

fn check_application(name: &str) -> Result<()> {
    let plain = |it: char| it.is_ascii_alphanumeric() || " _-.".contains(it);
    ensure!(
        (1..=100).contains(&name.len())
            && name.starts_with(|it: char| it.is_ascii_alphanumeric())
            && name.chars().all(plain),
        "[beanstalk] application {name:?} is no name of an application: 1 to 100 letters, digits, \
         spaces and _ - ., a letter or digit first"
    );
    Ok(())
}

fn check_environment(name: &str) -> Result<()> {
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '-';
    ensure!(
        (4..=40).contains(&name.len())
            && name.chars().all(plain)
            && !name.starts_with('-')
            && !name.ends_with('-'),
        "[beanstalk] environment {name:?} is no name of an environment: 4 to 40 letters, digits \
         and hyphens, none of them at an end; set one in environment.toml"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::environment;

    fn read(text: &str) -> Result<Target> {
        environment::parse(text)?.beanstalk.target("shop", "prod")
    }

    #[test]
    fn everything_has_a_default() {
        let expected = Target {
            application: "shop".into(),
            environment: "shop-prod".into(),
            region: None,
            profile: None,
            platform_branch: PlatformBranch::Docker,
            policy: Policy::Immutable,
            health_path: "/".into(),
            prereleases: false,
        };
        assert_eq!(read("").unwrap(), expected);
        assert_eq!(expected.platform_branch.to_string().split(' ').next(), Some("Docker"));
        assert_eq!(expected.policy.to_string(), "Immutable");
    }

    #[test]
    fn what_the_service_would_refuse_is_refused_here() {
        for (line, problem) in [
            ("application = ''", "no name of an application"),
            ("application = '-x'", "no name of an application"),
            ("application = 'a/b'", "no name of an application"),
            ("environment = 'abc'", "4 to 40"),
            ("environment = '-abcd'", "4 to 40"),
            ("environment = 'a_bcd'", "4 to 40"),
            ("environment = 'a123456789a123456789a123456789a123456789b'", "4 to 40"),
            ("region = '-x'", "no region"),
            ("region = 'EU'", "no region"),
            ("profile = '-p'", "no name of a profile"),
            ("profile = 'a b'", "no name of a profile"),
            ("health_path = 'health'", "no path"),
            ("health_path = '/a b'", "no path"),
            ("platform_branch = 'Docker'", "unknown variant"),
            ("policy = 'rolling'", "unknown variant"),
            ("regoin = 'eu-central-1'", "unknown field"),
        ] {
            let error = format!("{:#}", read(&format!("[beanstalk]\n{line}\n")).unwrap_err());
            assert!(error.contains(problem), "{line}: {error}");
        }
        let short = environment::parse("").unwrap().beanstalk.target("a", "b").unwrap_err();
        assert!(short.to_string().contains("set one in environment.toml"), "{short}");
    }
}
