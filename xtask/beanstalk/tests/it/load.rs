//! A server with a past: eight environments that deploy at once, a thousand versions, ten thousand
//! events. Answers stay quick and memory small; the figures are in BENCHMARKS.md.
//!
//! A twentieth of it runs with all the other tests, `STEVEDORE_FULL=1` runs all of it. Times are told
//! and not judged: machines differ.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::app;
use crate::dsl::{Server, campaign};

const ENVIRONMENTS: usize = 8;

fn size(bounded: usize, full: usize) -> usize {
    if std::env::var_os("STEVEDORE_FULL").is_some() { full } else { bounded }
}

/// Kibibytes in memory now.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How long each call of an action took.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<Duration>>);

impl Times {
    fn call(&mut self, server: &Server, action: &'static str, parameters: &[(&str, &str)]) {
        let started = Instant::now();
        server.call(action, parameters).succeeds();
        self.0.entry(action).or_default().push(started.elapsed());
    }

    fn tell(mut self) {
        for (action, times) in &mut self.0 {
            times.sort();
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            eprintln!("{action}: median {median:.1?}, longest {most:.1?}, {} calls", times.len());
        }
    }
}

#[test]
fn a_thousand_versions_and_ten_thousand_events_are_answered_while_eight_environments_deploy() {
    campaign!();
    let mut server = Server::start();
    let (versions, events) = (size(50, 1000), size(500, 10_000));
    server.version("app", "one", &app::bundle("one")).succeeds();
    server.version("app", "two", &app::bundle("two")).succeeds();
    let names: Vec<String> = (0..ENVIRONMENTS).map(|number| format!("load-{number}")).collect();
    for name in &names {
        server.create("app", name, &[("VersionLabel", "one")]).succeeds();
    }
    let bucket = server.bucket();
    let label = |number: usize| format!("v{number}");
    for number in 2..versions {
        let label = label(number);
        let parameters = [
            ("ApplicationName", "app"),
            ("VersionLabel", &*label),
            ("SourceBundle.S3Bucket", &bucket),
            ("SourceBundle.S3Key", "app/one.zip"),
        ];
        server.call("CreateApplicationVersion", &parameters).succeeds();
    }
    names.iter().for_each(|name| drop(server.ready(name)));
    let arn =
        format!("arn:aws:elasticbeanstalk:us-east-1:000000000000:environment/app/{}", names[0]);
    for number in 0..events / 2 {
        let value = number.to_string();
        let parameters = [
            ("ResourceArn", &*arn),
            ("TagsToAdd.member.1.Key", "round"),
            ("TagsToAdd.member.1.Value", &value),
        ];
        server.call("UpdateTagsForResource", &parameters).succeeds();
    }

    let started = Instant::now();
    for name in &names {
        let update = [("EnvironmentName", name.as_str()), ("VersionLabel", "two")];
        server.call("UpdateEnvironment", &update).succeeds();
    }
    let (mut times, mut memory) = (Times::default(), 0);
    let updating =
        |server: &Server| names.iter().any(|name| server.environment(name)["status"] == "Updating");
    let mut rounds = 0;
    while updating(&server) || rounds < 20 {
        rounds += 1;
        let name = names[rounds % names.len()].as_str();
        let version = label(2 + rounds % 40);
        times.call(&server, "DescribeEnvironments", &[("ApplicationName", "app")]);
        times.call(&server, "DescribeEvents", &[("EnvironmentName", name), ("MaxRecords", "100")]);
        times.call(&server, "DescribeEnvironmentHealth", &[("EnvironmentName", name)]);
        let settings = [("ApplicationName", "app"), ("EnvironmentName", name)];
        times.call(&server, "DescribeConfigurationSettings", &settings);
        let one = [("ApplicationName", "app"), ("VersionLabels.member.1", &*version)];
        times.call(&server, "DescribeApplicationVersions", &one);
        let round = [
            ("ResourceArn", &*arn),
            ("TagsToAdd.member.1.Key", "round"),
            ("TagsToAdd.member.1.Value", name),
        ];
        times.call(&server, "UpdateTagsForResource", &round);
        memory = memory.max(resident(server.pid()));
    }
    let deployed = started.elapsed();
    times.call(&server, "DescribeApplicationVersions", &[("ApplicationName", "app")]);
    times.call(&server, "DescribeEvents", &[("ApplicationName", "app")]);
    memory = memory.max(resident(server.pid()));
    for name in &names {
        assert_eq!(server.ready(name)["version"], "two");
        assert!(server.page(name).is_some_and(|page| page.contains("two")));
    }
    times.tell();
    let mebibytes = memory / 1024;
    eprintln!("{ENVIRONMENTS} environments deployed in {deployed:.1?}; {mebibytes} MiB resident");
    assert!(mebibytes < 100, "{mebibytes} MiB resident");

    // All of it is there after a crash.
    let count = |server: &Server| {
        let versions = server.call("DescribeApplicationVersions", &[("ApplicationName", "app")]);
        let events = server.call("DescribeEvents", &[("ApplicationName", "app")]);
        let versions = versions.succeeds().texts("VersionLabel").len();
        (versions, events.succeeds().texts("EventDate").len())
    };
    let before = count(&server);
    server.start_again();
    let after = count(&server);
    assert_eq!(after.0, before.0);
    assert!(after.1 >= before.1 && before.1 >= events, "{before:?} {after:?}");
}
