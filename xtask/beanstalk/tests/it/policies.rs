//! What each deployment policy leaves of a version that never becomes healthy, on both platform
//! branches: what the service's guide says it leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::app;
use crate::dsl::{DOCKER_BRANCH, ECS_BRANCH, REGION, Server, engine};

const COMMAND: &str = "aws:elasticbeanstalk:command";

/// Environments with a good version `one`, about to get the version `broken`.
struct Case {
    server: Server,
    name: &'static str,
}

/// Option settings as parameters of a call.
fn options(settings: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    // The first one is taken by the type of the environment.
    for (number, (namespace, option, value)) in (2..).zip(settings) {
        for (key, text) in [("Namespace", namespace), ("OptionName", option), ("Value", value)] {
            let name = format!("OptionSettings.member.{number}.{key}");
            parameters.push((name, (*text).to_owned()));
        }
    }
    parameters
}

impl Case {
    fn new(branch: &str, policy: &str, instances: usize) -> Case {
        let minute = ["--patience", "8", "--minute", "1"];
        let case = Case { server: Server::with(&minute), name: "policy" };
        let bundle = |version: &str| match branch {
            ECS_BRANCH => app::ecs_bundle(version),
            _ => app::bundle(version),
        };
        for version in ["one", "two", "broken"] {
            case.server.version("app", version, &bundle(version)).succeeds();
        }
        let version = if branch == ECS_BRANCH { "4.1.0" } else { "4.3.0" };
        let platform = format!("arn:aws:elasticbeanstalk:{REGION}::platform/{branch}/{version}");
        let count = instances.to_string();
        let settings = options(&[
            (COMMAND, "DeploymentPolicy", policy),
            (COMMAND, "BatchSizeType", "Fixed"),
            (COMMAND, "BatchSize", "1"),
            ("aws:autoscaling:asg", "MinSize", &count),
            ("aws:autoscaling:asg", "MaxSize", "4"),
            ("aws:elasticbeanstalk:environment", "EnvironmentType", "LoadBalanced"),
            ("aws:elasticbeanstalk:trafficsplitting", "EvaluationTime", "3"),
            ("aws:elasticbeanstalk:trafficsplitting", "NewVersionPercent", "50"),
        ]);
        let mut parameters = vec![("VersionLabel", "one"), ("PlatformArn", &*platform)];
        parameters.extend(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        case.server.create("app", case.name, &parameters).succeeds();
        case.server.ready(case.name);
        case
    }

    /// Deploys, while somebody uses the app all the time; whether every page was one of a good
    /// version.
    fn deploy(&self, version: &str) -> bool {
        let (done, good) = (AtomicBool::new(false), AtomicBool::new(true));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let page = self.server.page(self.name).unwrap_or_default();
                    if !page.contains("one") && !page.contains("two") {
                        good.store(false, Ordering::Relaxed);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            let update = [("EnvironmentName", self.name), ("VersionLabel", version)];
            self.server.call("UpdateEnvironment", &update).succeeds();
            self.server.ready(self.name);
            done.store(true, Ordering::Relaxed);
        });
        good.into_inner()
    }

    /// Versions of the instances, in order.
    fn instances(&self) -> Vec<String> {
        let environment = self.server.environment(self.name);
        let instances = environment["instances"].as_array().unwrap().iter();
        let mut versions: Vec<String> =
            instances.map(|it| it["version"].as_str().unwrap().to_owned()).collect();
        versions.sort();
        versions
    }

    #[track_caller]
    fn is(&self, version: &str, health: &str, last: &str) {
        let environment = self.server.environment(self.name);
        assert_eq!(
            (&environment["version"], &environment["health"]),
            (&serde_json::json!(version), &serde_json::json!(health))
        );
        let events = self.server.events(self.name);
        let told = events.iter().rev().find(|text| !text.contains("transitioned")).unwrap();
        assert_eq!(told, last, "{events:#?}");
    }
}

const FAILED: &str = "Failed to deploy application.";
const DONE: &str = "Environment update completed successfully.";

fn all_at_once(branch: &str) {
    engine!();
    let case = Case::new(branch, "AllAtOnce", 1);
    case.deploy("broken");
    case.is("one", "Severe", FAILED);
    assert_eq!(case.instances(), ["broken"], "the broken version stays");
    assert!(case.server.page(case.name).is_none());
    case.deploy("two");
    case.is("two", "Ok", DONE);
    assert!(case.server.page(case.name).unwrap().contains("two"));
}

fn immutable(branch: &str) {
    engine!();
    let case = Case::new(branch, "Immutable", 2);
    assert!(case.deploy("broken"), "the earlier version is served all the time");
    case.is("one", "Ok", FAILED);
    assert_eq!(case.instances(), ["one", "one"]);
    assert!(case.deploy("two"), "nobody sees a deployment");
    case.is("two", "Ok", DONE);
    assert_eq!(case.instances(), ["two", "two"]);
}

#[test]
fn a_broken_version_stays_with_all_at_once_on_the_docker_branch() {
    all_at_once(DOCKER_BRANCH);
}

#[test]
fn a_broken_version_stays_with_all_at_once_on_the_ecs_branch() {
    all_at_once(ECS_BRANCH);
}

#[test]
fn nobody_notices_a_broken_version_with_immutable_on_the_docker_branch() {
    immutable(DOCKER_BRANCH);
}

#[test]
fn nobody_notices_a_broken_version_with_immutable_on_the_ecs_branch() {
    immutable(ECS_BRANCH);
}

#[test]
fn rolling_stops_at_the_first_batch_that_fails_and_takes_nothing_back() {
    engine!();
    let case = Case::new(DOCKER_BRANCH, "Rolling", 2);
    case.deploy("broken");
    case.is("one", "Degraded", FAILED);
    assert_eq!(case.instances(), ["broken", "one"], "the second batch was not begun");
    case.deploy("two");
    case.is("two", "Ok", DONE);
    assert_eq!(case.instances(), ["two", "two"]);
}

#[test]
fn an_additional_batch_that_fails_is_taken_away_and_the_others_are_untouched() {
    engine!();
    let case = Case::new(DOCKER_BRANCH, "RollingWithAdditionalBatch", 2);
    assert!(case.deploy("broken"));
    case.is("one", "Ok", FAILED);
    assert_eq!(case.instances(), ["one", "one"]);
    assert!(case.deploy("two"), "there are always as many instances as before");
    case.is("two", "Ok", DONE);
    assert_eq!(case.instances(), ["two", "two"]);
}

#[test]
fn traffic_splitting_gives_the_new_version_its_share_and_then_everything() {
    engine!();
    let case = Case::new(DOCKER_BRANCH, "TrafficSplitting", 1);
    assert!(case.deploy("broken"));
    case.is("one", "Ok", FAILED);
    let update = [("EnvironmentName", case.name), ("VersionLabel", "two")];
    case.server.call("UpdateEnvironment", &update).succeeds();
    let (mut old, mut new, mut both) = (0, 0, false);
    while case.server.environment(case.name)["status"] == "Updating" {
        let page = case.server.page(case.name).unwrap();
        old += usize::from(page.contains("one"));
        new += usize::from(page.contains("two"));
        both |= old > 0 && new > 0;
    }
    assert!(both, "{old} pages of the old version, {new} of the new one");
    case.is("two", "Ok", DONE);
    assert_eq!(case.instances(), ["two"]);
}
