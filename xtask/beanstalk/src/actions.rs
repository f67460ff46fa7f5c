//! The actions of the service: a name and parameters in, a part of an answer out.

mod applications;
mod configuration;
mod environments;
mod events;
mod health;
mod logs;
mod tags;
mod updates;
mod versions;

use std::sync::Arc;

use crate::platforms;
use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;
use crate::service::Service;
use crate::state::names;

/// One call.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Arc<Service>,
    pub(crate) query: &'a Query,
    pub(crate) region: &'a str,
    /// The number of the request, which the events of an operation carry.
    pub(crate) request: &'a str,
}

/// What an action answers; some have no result.
pub(crate) type Answer = Result<Option<Node>, Refusal>;

/// Does what is asked.
///
/// # Errors
///
/// In the words of the service.
pub(crate) fn act(action: &str, call: &Call<'_>) -> Answer {
    let Call { query, region, .. } = *call;
    match action {
        "ListAvailableSolutionStacks" => Ok(Some(platforms::list_stacks())),
        "ListPlatformBranches" => platforms::list_branches(query).map(Some),
        "ListPlatformVersions" => platforms::list_versions(query, region).map(Some),
        "DescribePlatformVersion" => platforms::describe(query, region).map(Some),
        "CreateStorageLocation" => {
            Ok(Some(Fields::new().with("S3Bucket", names::bucket(region)).into()))
        }
        "DescribeAccountAttributes" => Ok(Some(account_attributes())),
        "CheckDNSAvailability" => environments::check_name(call),
        "DescribeApplications" => applications::describe(call),
        "CreateApplication" => applications::create(call),
        "UpdateApplication" => applications::update(call),
        "UpdateApplicationResourceLifecycle" => applications::update_lifecycle(call),
        "DeleteApplication" => applications::delete(call),
        "CreateApplicationVersion" => versions::create(call),
        "DescribeApplicationVersions" => versions::describe(call),
        "UpdateApplicationVersion" => versions::update(call),
        "DeleteApplicationVersion" => versions::delete(call),
        "CreateEnvironment" => environments::create(call),
        "DescribeEnvironments" => environments::describe(call),
        "DescribeEnvironmentResources" => environments::resources(call),
        "UpdateEnvironment" => updates::update(call),
        "AbortEnvironmentUpdate" => updates::abort(call),
        "TerminateEnvironment" => updates::terminate(call),
        "RebuildEnvironment" => updates::rebuild(call),
        "RestartAppServer" => updates::restart(call),
        "SwapEnvironmentCNAMEs" => updates::swap(call),
        "DescribeEvents" => events::describe(call),
        "DescribeConfigurationSettings" => configuration::describe(call),
        "DescribeConfigurationOptions" => configuration::options(call),
        "ValidateConfigurationSettings" => configuration::validate(call),
        "CreateConfigurationTemplate" => configuration::create_template(call),
        "UpdateConfigurationTemplate" => configuration::update_template(call),
        "DeleteConfigurationTemplate" => configuration::delete_template(call),
        "DeleteEnvironmentConfiguration" => Ok(None),
        "DescribeEnvironmentHealth" => health::environment(call),
        "DescribeInstancesHealth" => health::instances(call),
        "RequestEnvironmentInfo" => logs::request(call),
        "RetrieveEnvironmentInfo" => logs::retrieve(call),
        "ListTagsForResource" => tags::list(call),
        "UpdateTagsForResource" => tags::update(call),
        _ => Err(Refusal {
            status: 400,
            code: "InvalidAction",
            message: format!("Could not find operation {action} for version 2010-12-01"),
        }),
    }
}

/// The service's default quotas; more than these are refused here as there.
pub(crate) const MOST_APPLICATIONS: usize = 75;
pub(crate) const MOST_VERSIONS: usize = 1000;
pub(crate) const MOST_ENVIRONMENTS: usize = 200;
pub(crate) const MOST_TEMPLATES: usize = 2000;

fn account_attributes() -> Node {
    let quota = |most: usize| Fields::new().with("Maximum", most.to_string());
    Fields::new()
        .with(
            "ResourceQuotas",
            Fields::new()
                .with("ApplicationQuota", quota(MOST_APPLICATIONS))
                .with("ApplicationVersionQuota", quota(MOST_VERSIONS))
                .with("EnvironmentQuota", quota(MOST_ENVIRONMENTS))
                .with("ConfigurationTemplateQuota", quota(MOST_TEMPLATES))
                .with("CustomPlatformQuota", quota(50)),
        )
        .into()
}

/// # Errors
///
/// When a name has not as many characters as the service wants, or begins with a dash.
pub(crate) fn check_length(
    member: &str,
    value: &str,
    least: usize,
    most: usize,
) -> Result<(), Refusal> {
    let count = value.chars().count();
    if (least..=most).contains(&count) && !value.starts_with('-') && !value.contains('/') {
        return Ok(());
    }
    if value.starts_with('-') || value.contains('/') {
        return Err(Refusal::invalid(format!("Value '{value}' at '{member}' is invalid.")));
    }
    let bound = match count < least {
        true => format!("greater than or equal to {least}"),
        false => format!("less than or equal to {most}"),
    };
    Err(Refusal::validation(&format!(
        "Value '{value}' at '{member}' failed to satisfy constraint: Member must have length {bound}"
    )))
}
