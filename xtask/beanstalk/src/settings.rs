//! Option settings: what wins, what is default, what is allowed.
//!
//! From weak to strong: defaults, `.ebextensions` in the order of their names, the environment
//! (where a saved configuration is copied to before a call's own settings).

use std::collections::BTreeMap;

use crate::server::answer::{Fields, Node, Refusal};
use crate::server::query::Query;

/// Values by namespace and option name.
pub(crate) type Settings = BTreeMap<String, BTreeMap<String, String>>;

pub(crate) const PROPERTIES: &str = "aws:elasticbeanstalk:application:environment";
pub(crate) const COMMAND: &str = "aws:elasticbeanstalk:command";
pub(crate) const PROCESS: &str = "aws:elasticbeanstalk:environment:process:default";
pub(crate) const APPLICATION: &str = "aws:elasticbeanstalk:application";
pub(crate) const GROUP: &str = "aws:autoscaling:asg";
pub(crate) const ENVIRONMENT: &str = "aws:elasticbeanstalk:environment";
pub(crate) const SPLITTING: &str = "aws:elasticbeanstalk:trafficsplitting";
const HEALTH: &str = "aws:elasticbeanstalk:healthreporting:system";
const LAUNCH: &str = "aws:autoscaling:launchconfiguration";
const ROLLING: &str = "aws:autoscaling:updatepolicy:rollingupdate";

/// What an option is when nobody says anything.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("aws:autoscaling:asg", "Availability Zones", "Any"),
    ("aws:autoscaling:asg", "Cooldown", "360"),
    ("aws:autoscaling:asg", "MaxSize", "4"),
    ("aws:autoscaling:asg", "MinSize", "1"),
    (LAUNCH, "IamInstanceProfile", "aws-elasticbeanstalk-ec2-role"),
    (LAUNCH, "InstanceType", "t3.micro"),
    (LAUNCH, "MonitoringInterval", "5 minute"),
    (ROLLING, "RollingUpdateEnabled", "false"),
    (ROLLING, "RollingUpdateType", "Time"),
    (ROLLING, "Timeout", "PT30M"),
    (APPLICATION, "Application Healthcheck URL", ""),
    ("aws:elasticbeanstalk:cloudwatch:logs", "DeleteOnTerminate", "false"),
    ("aws:elasticbeanstalk:cloudwatch:logs", "RetentionInDays", "7"),
    ("aws:elasticbeanstalk:cloudwatch:logs", "StreamLogs", "false"),
    (COMMAND, "BatchSize", "100"),
    (COMMAND, "BatchSizeType", "Percentage"),
    (COMMAND, "DeploymentPolicy", "AllAtOnce"),
    (COMMAND, "IgnoreHealthCheck", "false"),
    (COMMAND, "Timeout", "600"),
    ("aws:elasticbeanstalk:control", "DefaultSSHPort", "22"),
    (ENVIRONMENT, "EnvironmentType", "LoadBalanced"),
    (ENVIRONMENT, "LoadBalancerIsShared", "false"),
    (ENVIRONMENT, "LoadBalancerType", "classic"),
    (ENVIRONMENT, "ServiceRole", "aws-elasticbeanstalk-service-role"),
    (PROCESS, "DeregistrationDelay", "20"),
    (PROCESS, "HealthCheckInterval", "15"),
    (PROCESS, "HealthCheckPath", "/"),
    (PROCESS, "HealthCheckTimeout", "5"),
    (PROCESS, "HealthyThresholdCount", "3"),
    (PROCESS, "MatcherHTTPCode", "200"),
    (PROCESS, "Port", "80"),
    (PROCESS, "Protocol", "HTTP"),
    (PROCESS, "UnhealthyThresholdCount", "5"),
    (HEALTH, "HealthCheckSuccessThreshold", "Ok"),
    (HEALTH, "SystemType", "enhanced"),
    ("aws:elasticbeanstalk:hostmanager", "LogPublicationControl", "false"),
    ("aws:elasticbeanstalk:managedactions", "ManagedActionsEnabled", "false"),
    ("aws:elasticbeanstalk:monitoring", "Automatically Terminate Unhealthy Instances", "true"),
    (SPLITTING, "EvaluationTime", "5"),
    (SPLITTING, "NewVersionPercent", "10"),
    ("aws:elasticbeanstalk:xray", "XRayEnabled", "false"),
];

/// Namespaces that have options of any name, or more than are listed above.
const NAMESPACES: &[&str] = &[
    "aws:autoscaling:",
    "aws:cloudformation:template:parameter",
    "aws:ec2:",
    "aws:elasticbeanstalk:",
    "aws:elb:",
    "aws:elbv2:",
    "aws:rds:dbinstance",
];

/// Bytes of all properties of an environment together, as `KEY=VALUE`.
const PROPERTIES_BYTES: usize = 4096;

pub(crate) fn defaults() -> Settings {
    let mut defaults = Settings::new();
    for (namespace, option, value) in DEFAULTS {
        set(&mut defaults, namespace, option, value);
    }
    defaults
}

pub(crate) fn known() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    DEFAULTS.iter().copied()
}

/// What counts, of the file settings of a version and those of the environment.
pub(crate) fn effective(files: &Settings, environment: &Settings) -> Settings {
    let mut all = defaults();
    merge(&mut all, files);
    merge(&mut all, environment);
    all
}

pub(crate) fn merge(into: &mut Settings, stronger: &Settings) {
    for (namespace, options) in stronger {
        let there = into.entry(namespace.clone()).or_default();
        there.extend(options.iter().map(|(option, value)| (option.clone(), value.clone())));
    }
}

pub(crate) fn set(settings: &mut Settings, namespace: &str, option: &str, value: &str) {
    let options = settings.entry(namespace.to_owned()).or_default();
    options.insert(option.to_owned(), value.to_owned());
}

pub(crate) fn get<'a>(settings: &'a Settings, namespace: &str, option: &str) -> &'a str {
    settings.get(namespace).and_then(|options| options.get(option)).map_or("", String::as_str)
}

/// A number, or its default where it is none.
pub(crate) fn number(settings: &Settings, namespace: &str, option: &str) -> u64 {
    let default = || DEFAULTS.iter().find(|it| (it.0, it.1) == (namespace, option));
    let default = || default().and_then(|it| it.2.parse().ok()).unwrap_or_default();
    get(settings, namespace, option).parse().unwrap_or_else(|_| default())
}

pub(crate) fn properties(settings: &Settings) -> BTreeMap<String, String> {
    settings.get(PROPERTIES).cloned().unwrap_or_default()
}

/// How many instances there should be.
pub(crate) fn instances(settings: &Settings) -> usize {
    if get(settings, ENVIRONMENT, "EnvironmentType") == "SingleInstance" {
        return 1;
    }
    let least = number(settings, GROUP, "MinSize").max(1);
    usize::try_from(least).unwrap_or(usize::MAX).min(MOST_INSTANCES)
}

/// More is not simulated on one machine.
pub(crate) const MOST_INSTANCES: usize = 16;

/// Applies `OptionSettings` and `OptionsToRemove` of a call.
///
/// # Errors
///
/// When an option is not known or the properties are too long.
pub(crate) fn change(settings: &mut Settings, query: &Query) -> Result<(), Refusal> {
    for option in query.list("OptionsToRemove") {
        let (namespace, name) = (option.text("Namespace"), option.text("OptionName"));
        if let Some(options) = settings.get_mut(namespace.unwrap_or(PROPERTIES)) {
            options.remove(name.unwrap_or_default());
        }
    }
    for option in query.list("OptionSettings") {
        let namespace = option.text("Namespace").unwrap_or(PROPERTIES);
        let name = option.required("OptionName")?;
        set(settings, namespace, name, option.text("Value").unwrap_or_default());
    }
    settings.retain(|_, options| !options.is_empty());
    check(settings)
}

/// # Errors
///
/// The first problem of the settings, in the words of the service.
pub(crate) fn check(settings: &Settings) -> Result<(), Refusal> {
    match problems(settings).into_iter().next() {
        Some(problem) => Err(Refusal {
            status: 400,
            code: "ConfigurationValidationException",
            message: format!("Configuration validation exception: {}", problem.message),
        }),
        None => Ok(()),
    }
}

pub(crate) struct Problem {
    pub(crate) namespace: String,
    pub(crate) option: String,
    pub(crate) message: String,
}

pub(crate) fn problems(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (namespace, options) in settings {
        for (option, value) in options {
            let problem = problem(namespace, option, value);
            problems.extend(problem.map(|what| Problem {
                namespace: namespace.clone(),
                option: option.clone(),
                message: format!("(Namespace: '{namespace}', OptionName: '{option}'): {what}"),
            }));
        }
    }
    for problem in &mut problems {
        problem.message = format!("Invalid option specification {}", problem.message);
    }
    let bytes: usize =
        properties(settings).iter().map(|(key, value)| key.len() + value.len() + 1).sum();
    if bytes > PROPERTIES_BYTES {
        problems.push(Problem {
            namespace: PROPERTIES.to_owned(),
            option: String::new(),
            message: format!(
                "The environment properties have {bytes} bytes as KEY=VALUE; the limit is \
                 {PROPERTIES_BYTES}"
            ),
        });
    }
    problems
}

fn problem(namespace: &str, option: &str, value: &str) -> Option<String> {
    if namespace == PROPERTIES {
        return property_problem(option);
    }
    if !NAMESPACES.iter().any(|known| namespace.starts_with(known)) {
        return Some("Unknown configuration setting.".to_owned());
    }
    let choice = |choices: &[&str]| {
        (!choices.contains(&value))
            .then(|| format!("Invalid value: '{value}', valid values are: {}", choices.join(", ")))
    };
    let range = |least: u64, most: u64| {
        let within = value.parse().is_ok_and(|number| (least..=most).contains(&number));
        (!within).then(|| format!("Value is not a whole number from {least} to {most}: '{value}'"))
    };
    match (namespace, option) {
        (COMMAND, "DeploymentPolicy") => choice(&POLICIES),
        (COMMAND, "BatchSizeType") => choice(&["Percentage", "Fixed"]),
        (COMMAND, "BatchSize") => range(1, 10_000),
        (COMMAND, "Timeout") => range(1, 3600),
        (COMMAND, "IgnoreHealthCheck") => choice(&["true", "false"]),
        (HEALTH, "SystemType") => choice(&["basic", "enhanced"]),
        (ENVIRONMENT, "EnvironmentType") => choice(&["LoadBalanced", "SingleInstance"]),
        (GROUP, "MinSize" | "MaxSize") => range(0, 10_000),
        (SPLITTING, "NewVersionPercent") => range(1, 100),
        (SPLITTING, "EvaluationTime") => range(3, 600),
        (PROCESS, "Port") => range(1, 65_535),
        _ => None,
    }
}

pub(crate) const POLICIES: [&str; 5] =
    ["AllAtOnce", "Rolling", "RollingWithAdditionalBatch", "Immutable", "TrafficSplitting"];

fn property_problem(key: &str) -> Option<String> {
    let allowed = |letter: char| letter.is_alphanumeric() || "_.:/+\\-@".contains(letter);
    let valid = !key.is_empty() && key.chars().all(allowed) && key.chars().count() <= 128;
    (!valid).then(|| "a name has 1 to 128 letters, digits and any of _ . : / + \\ - @".to_owned())
}

/// As `DescribeConfigurationSettings` lists them; `eb scale` reads the first of the namespace
/// `aws:elasticbeanstalk:environment`, which is `EnvironmentType` in this order.
pub(crate) fn node(settings: &Settings) -> Node {
    let all = settings.iter().flat_map(|(namespace, options)| {
        options.iter().map(move |(option, value)| (namespace, option, value))
    });
    let node = |(namespace, option, value): (&String, &String, &String)| {
        let fields = Fields::new().with("Namespace", namespace.as_str());
        fields.with("OptionName", option.as_str()).with("Value", value.as_str()).into()
    };
    Node::List(all.map(node).collect())
}
