//! The two platform branches that are simulated, with the texts that `eb` matches.

use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;

/// How a bundle of a branch is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A compose file, a Dockerfile or a Dockerrun file of version 1.
    Docker,
    /// A Dockerrun file of version 2.
    Ecs,
}

pub(crate) struct Platform {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) branch: &'static str,
    pub(crate) version: &'static str,
    /// The word at the end of the solution stack's name.
    running: &'static str,
    order: &'static str,
}

pub(crate) const PLATFORMS: [Platform; 2] = [
    Platform {
        kind: Kind::Docker,
        name: "Docker",
        branch: "Docker running on 64bit Amazon Linux 2023",
        version: "4.3.0",
        running: "Docker",
        order: "10",
    },
    Platform {
        kind: Kind::Ecs,
        name: "ECS",
        branch: "ECS running on 64bit Amazon Linux 2023",
        version: "4.1.0",
        running: "ECS",
        order: "20",
    },
];

impl Platform {
    pub(crate) fn arn(&self, region: &str) -> String {
        let Platform { branch, version, .. } = self;
        format!("arn:aws:elasticbeanstalk:{region}::platform/{branch}/{version}")
    }

    pub(crate) fn stack(&self) -> String {
        format!("64bit Amazon Linux 2023 v{} running {}", self.version, self.running)
    }

    fn fields(&self, region: &str) -> Fields {
        Fields::new()
            .with("PlatformArn", self.arn(region))
            .with("PlatformOwner", "AWSElasticBeanstalk")
            .with("PlatformStatus", "Ready")
            .with("PlatformCategory", self.name)
            .with("OperatingSystemName", "Amazon Linux")
            .with("OperatingSystemVersion", "2023")
            .list("SupportedTierList", std::iter::once("WebServer/Standard".into()))
            .list("SupportedAddonList", std::iter::empty())
            .with("PlatformLifecycleState", "Recommended")
            .with("PlatformVersion", self.version)
            .with("PlatformBranchName", self.branch)
            .with("PlatformBranchLifecycleState", "Supported")
    }
}

/// The platform of an ARN, in any region.
pub(crate) fn of_arn(arn: &str) -> Option<&'static Platform> {
    let rest = arn.split_once(":platform/")?.1;
    let (branch, version) = rest.rsplit_once('/')?;
    PLATFORMS.iter().find(|it| it.branch == branch && it.version == version)
}

fn of_stack(stack: &str) -> Option<&'static Platform> {
    PLATFORMS.iter().find(|it| it.stack() == stack)
}

/// The platform that a call names, by ARN or solution stack.
///
/// # Errors
///
/// When it names one that there is not.
pub(crate) fn named(query: &Query) -> Result<Option<&'static Platform>, Refusal> {
    if let Some(arn) = query.text("PlatformArn") {
        let found = of_arn(arn);
        return found
            .map(Some)
            .ok_or_else(|| Refusal::invalid(format!("No Platform named '{arn}' found.")));
    }
    let Some(stack) = query.text("SolutionStackName") else { return Ok(None) };
    let found = of_stack(stack);
    found
        .map(Some)
        .ok_or_else(|| Refusal::invalid(format!("No Solution Stack named '{stack}' found.")))
}

pub(crate) fn list_stacks() -> Node {
    let detail = |it: &Platform| {
        let fields = Fields::new().with("SolutionStackName", it.stack());
        fields.list("PermittedFileTypes", std::iter::once("zip".into())).into()
    };
    Fields::new()
        .list("SolutionStacks", PLATFORMS.iter().map(|it| it.stack().into()))
        .list("SolutionStackDetails", PLATFORMS.iter().map(detail))
        .into()
}

pub(crate) fn list_branches(query: &Query) -> Result<Node, Refusal> {
    let filters = filters(query, "Attribute", |it, attribute| match attribute {
        "BranchName" => Some(it.branch),
        "LifecycleState" => Some("Supported"),
        "PlatformName" => Some(it.name),
        "TierType" => Some("WebServer/Standard"),
        _ => None,
    })?;
    let summary = |it: &Platform| {
        Fields::new()
            .with("PlatformName", it.name)
            .with("BranchName", it.branch)
            .with("BranchOrder", it.order)
            .with("LifecycleState", "Supported")
            .list("SupportedTierList", std::iter::once("WebServer/Standard".into()))
            .into()
    };
    let found = PLATFORMS.iter().filter(|it| filters(it));
    Ok(Fields::new().list("PlatformBranchSummaryList", found.map(summary)).into())
}

pub(crate) fn list_versions(query: &Query, region: &str) -> Result<Node, Refusal> {
    let filters = filters(query, "Type", |it, kind| match kind {
        "PlatformBranchName" => Some(it.branch),
        "PlatformName" => Some(it.name),
        "PlatformOwner" => Some("AWSElasticBeanstalk"),
        "PlatformVersion" => Some(it.version),
        "PlatformStatus" => Some("Ready"),
        "PlatformLifecycleState" => Some("Recommended"),
        "PlatformBranchLifecycleState" => Some("Supported"),
        "SupportedTier" => Some("WebServer/Standard"),
        "OperatingSystemName" => Some("Amazon Linux"),
        _ => None,
    })?;
    let found = PLATFORMS.iter().filter(|it| filters(it));
    let summaries = found.map(|it| it.fields(region).into());
    Ok(Fields::new().list("PlatformSummaryList", summaries).into())
}

type Matcher = Box<dyn Fn(&Platform) -> bool>;

/// All filters must match; in each one value is enough, or none for `!=`.
fn filters(
    query: &Query,
    kind: &'static str,
    value: fn(&Platform, &str) -> Option<&'static str>,
) -> Result<Matcher, Refusal> {
    let mut matchers: Vec<Matcher> = Vec::new();
    for filter in query.list("Filters") {
        let attribute = filter.required(kind)?.to_owned();
        if value(&PLATFORMS[0], &attribute).is_none() {
            return Err(Refusal::invalid(format!("Unknown filter {kind} '{attribute}'.")));
        }
        let values = filter.texts("Values");
        let operator = filter.text("Operator").unwrap_or("=").to_owned();
        matchers.push(Box::new(move |it| {
            let own = value(it, &attribute).unwrap_or_default();
            // The newest version of a branch is the only one.
            let is = |wanted: &String| wanted == own || (own == it.version && wanted == "latest");
            let any = values.iter().any(is);
            match operator.as_str() {
                "!=" => !any,
                "contains" => values.iter().any(|value| own.contains(value)),
                "begins_with" => values.iter().any(|value| own.starts_with(value)),
                "ends_with" => values.iter().any(|value| own.ends_with(value)),
                _ => any,
            }
        }));
    }
    Ok(Box::new(move |it| matchers.iter().all(|matches| matches(it))))
}

pub(crate) fn describe(query: &Query, region: &str) -> Result<Node, Refusal> {
    let arn = query.required("PlatformArn")?;
    let it =
        of_arn(arn).ok_or_else(|| Refusal::invalid(format!("No Platform named '{arn}' found.")))?;
    let description = it
        .fields(region)
        .with("PlatformName", it.branch)
        .with("SolutionStackName", it.stack())
        .with("DateCreated", "2026-01-01T00:00:00.000Z")
        .with("DateUpdated", "2026-01-01T00:00:00.000Z")
        .with("Description", format!("{} (simulated on this machine)", it.stack()))
        .with("Maintainer", "the local Elastic Beanstalk")
        .list("ProgrammingLanguages", std::iter::empty())
        .list("Frameworks", std::iter::empty())
        .list("CustomAmiList", std::iter::empty());
    Ok(Fields::new().with("PlatformDescription", description).into())
}
