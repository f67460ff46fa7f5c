//! The server killed at any instant: the next one finishes what was begun, and nothing is lost,
//! left over or done by half.
//!
//! Several environments are changed at once, so that one kill finds all of them in their middle.
//! A few instants run with all the other tests; `STEVEDORE_FULL=1` takes 200.

// A campaign says what it did.
#![allow(clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app;
use crate::dsl::{Server, campaign, docker, get, wait_until};

const APPLICATION: &str = "killed";
const VERSIONS: [&str; 2] = ["one", "two"];

/// What ends each operation, by the event that begins it.
const ENDS: [(&str, &[&str]); 4] = [
    (
        "createEnvironment",
        &["Successfully launched environment: ", "Create environment operation is"],
    ),
    ("Environment update", &["Environment update completed successfully.", "Failed to deploy"]),
    ("swapEnvironmentCNAMEs", &["Completed swapping CNAMEs for environments"]),
    ("terminateEnvironment", &["terminateEnvironment completed successfully."]),
];

struct Yard {
    server: Server,
    /// Numbers that are the same in every run.
    numbers: u64,
    created: usize,
    uploaded: BTreeSet<String>,
    /// Requests that were accepted and answered.
    accepted: Vec<String>,
    /// What each living environment may run, and its policy.
    wanted: BTreeMap<String, BTreeSet<String>>,
}

impl Yard {
    fn new() -> Yard {
        let server = Server::with(&["--instance-image", app::image()]);
        let uploaded = VERSIONS.map(str::to_owned).into();
        for version in VERSIONS {
            server.version(APPLICATION, version, &app::bundle(version)).succeeds();
        }
        let mut yard = Yard {
            server,
            numbers: 6,
            created: 0,
            uploaded,
            accepted: Vec::new(),
            wanted: BTreeMap::new(),
        };
        yard.create("AllAtOnce");
        yard.create("Immutable");
        yard.settle();
        yard
    }

    fn number(&mut self, below: u64) -> u64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.numbers ^ (self.numbers >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// A call that is answered, unless the server is killed just then.
    fn call(&mut self, action: &str, parameters: &[(&str, &str)]) {
        let called = catch_unwind(AssertUnwindSafe(|| self.server.call(action, parameters)));
        if let Ok(reply) = called {
            self.accepted.push(reply.succeeds().text("RequestId"));
        }
    }

    fn create(&mut self, policy: &str) {
        self.created += 1;
        let name = format!("{}-{}", policy.to_lowercase(), self.created);
        let more = [
            ("VersionLabel", VERSIONS[0]),
            ("OptionSettings.member.2.Namespace", "aws:elasticbeanstalk:command"),
            ("OptionSettings.member.2.OptionName", "DeploymentPolicy"),
            ("OptionSettings.member.2.Value", policy),
        ];
        let reply = self.server.create(APPLICATION, &name, &more).succeeds();
        self.accepted.push(reply.text("RequestId"));
        self.wanted.insert(name, [VERSIONS[0].to_owned()].into());
    }

    fn living(&self) -> Vec<String> {
        self.wanted.keys().cloned().collect()
    }

    /// Begins something with every environment, then kills the server after a while.
    fn round(&mut self) -> &'static str {
        let all = self.living();
        let kind = self.number(5);
        let said = match kind {
            0 => {
                let policy = if self.number(2) == 0 { "AllAtOnce" } else { "Immutable" };
                self.create(policy);
                "create"
            }
            1 if all.len() > 2 => {
                let gone = all[0].clone();
                self.call("TerminateEnvironment", &[("EnvironmentName", &gone)]);
                self.wanted.remove(&gone);
                "terminate"
            }
            2 => {
                self.swap(&all[0], &all[1]);
                "swap"
            }
            3 => {
                self.upload();
                "upload"
            }
            _ => "deploy",
        };
        let left: Vec<String> = self.living();
        for name in left.iter().filter(|name| all.contains(name)) {
            self.deploy(name);
        }
        // Some at once, most in the middle, some after the end.
        let wait = self.number(9000) * self.number(1000) / 1000;
        std::thread::sleep(Duration::from_millis(wait));
        said
    }

    fn deploy(&mut self, name: &str) {
        let version = VERSIONS[usize::try_from(self.number(2)).unwrap()];
        self.call("UpdateEnvironment", &[("EnvironmentName", name), ("VersionLabel", version)]);
        self.wanted.insert(name.to_owned(), [version.to_owned()].into());
    }

    /// Killed while the call is on its way, it has happened or not.
    fn swap(&mut self, one: &str, other: &str) {
        let names = [("SourceEnvironmentName", one), ("DestinationEnvironmentName", other)];
        let port = self.server.port;
        let before = [one, other].map(|name| self.server.address(name));
        let form = names.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let call = std::thread::spawn(move || {
            let form: Vec<(&str, &str)> =
                form.iter().map(|(key, value)| (&**key, &**value)).collect();
            crate::sign::call(port, "SwapEnvironmentCNAMEs", &form)
        });
        let wait = self.number(20);
        std::thread::sleep(Duration::from_millis(wait));
        self.server.kill();
        if let Ok(reply) = call.join() {
            self.accepted.push(reply.succeeds().text("RequestId"));
        }
        self.server.start_again();
        let mut after = [one, other].map(|name| self.server.address(name));
        let same = after == before;
        after.reverse();
        assert!(same || after == before, "a swap by half: {before:?}, {after:?} (reversed)");
        self.settle();
    }

    fn upload(&mut self) {
        let label = format!("kept-{}", self.uploaded.len());
        self.server.version(APPLICATION, &label, &app::bundle(&label)).succeeds();
        self.uploaded.insert(label);
    }

    /// Waits until no operation is in progress.
    fn settle(&self) {
        let ready = |it: &Value| matches!(it["status"].as_str(), Some("Ready" | "Terminated"));
        wait_until("the end of all operations", || self.server.environments().iter().all(ready));
    }

    /// State and engine agree, and every operation has ended.
    fn check(&self) {
        let server = &self.server;
        let all = server.environments();
        let living: Vec<&Value> = all.iter().filter(|it| it["status"] != "Terminated").collect();
        let names: BTreeSet<String> =
            living.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(names, self.wanted.keys().cloned().collect(), "environments");
        let mut instances = BTreeSet::new();
        for environment in &living {
            let name = environment["name"].as_str().unwrap();
            let version = environment["version"].as_str().unwrap();
            assert!(self.wanted[name].contains(version), "{name} has {version}: {environment}");
            let address = environment["address"].as_str().unwrap();
            let page = get(address, "/").unwrap_or_default();
            assert_eq!(page.0, 200, "{name}: {page:?}");
            assert!(page.1.starts_with(&format!("{version} ")), "{name} answers {page:?}");
            let reply = server.call("DescribeEnvironmentResources", &[("EnvironmentName", name)]);
            let ids = reply.succeeds().texts("Id");
            assert_eq!(ids.len(), 1, "{name} has {ids:?}");
            instances.extend(ids);
        }
        let owner = format!("label=stevedore.beanstalk={}", server.owner());
        let format = "{{.Label \"stevedore.beanstalk.instance\"}} {{.State}}";
        let containers =
            docker(&["container", "ls", "--all", "--filter", &owner, "--format", format]);
        let mut containers: Vec<&str> = containers.lines().collect();
        containers.sort_unstable();
        let expected: Vec<String> = instances.iter().map(|id| format!("{id} running")).collect();
        assert_eq!(containers, expected, "containers");
        let networks = docker(&["network", "ls", "--filter", &owner, "--format", "{{.Name}}"]);
        let networks: BTreeSet<String> = networks.lines().map(str::to_owned).collect();
        let expected = instances.iter().map(|id| format!("eb-{id}_default")).collect();
        assert_eq!(networks, expected, "networks");
        let volumes = docker(&["volume", "ls", "--quiet", "--filter", &owner]);
        assert_eq!(volumes.trim(), "", "volumes");
        let kept = |directory: &str| -> BTreeSet<String> {
            let entries = std::fs::read_dir(server.state().join(directory));
            let entries = entries.into_iter().flatten().flatten();
            entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(kept("instances"), instances, "directories");
        assert_eq!(kept("tmp"), BTreeSet::new(), "tmp");
        assert_eq!(kept("objects").len(), self.uploaded.len(), "objects");
        let unfinished = kept("").into_iter().find(|name| name.starts_with(".tmp"));
        assert_eq!(unfinished, None);
        for id in &instances {
            let left = kept(&format!("instances/{id}"));
            let own = ["compose.json", "host", "logs"];
            let extra: Vec<&String> = left
                .iter()
                .filter(|it| !own.contains(&it.as_str()) && !it.starts_with("app-"))
                .collect();
            assert!(extra.is_empty(), "{id} has {extra:?}");
        }
        self.versions();
        self.events();
    }

    /// All are there, and their bundles can be read.
    fn versions(&self) {
        let parameters = [("ApplicationName", APPLICATION)];
        let reply = self.server.call("DescribeApplicationVersions", &parameters).succeeds();
        let labels: BTreeSet<String> = reply.texts("VersionLabel").into_iter().collect();
        assert_eq!(labels, self.uploaded, "versions");
        let bucket = self.server.bucket();
        for label in &labels {
            let path = format!("/{bucket}/{APPLICATION}/{label}.zip");
            let bundle = self.server.s3("GET", &path, b"").succeeds().body;
            assert_eq!(bundle, app::bundle(label), "the bundle of {label}");
        }
    }

    /// Each operation that began has ended, once, with the number of its request.
    fn events(&self) {
        let reply = self.server.call("DescribeEvents", &[]).succeeds();
        let (messages, requests) = (reply.texts("Message"), self.requests(&reply.xml()));
        assert_eq!(messages.len(), requests.len());
        let mut known: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (message, request) in messages.iter().zip(&requests) {
            known.entry(request).or_default().push(message);
        }
        for request in &self.accepted {
            let there = known.contains_key(request.as_str());
            assert!(there, "the accepted request {request} left no event");
        }
        for (request, messages) in known.iter().filter(|(request, _)| !request.is_empty()) {
            let first = messages.last().unwrap();
            let Some((_, ends)) = ENDS.iter().find(|(begin, _)| first.starts_with(begin)) else {
                continue;
            };
            let is_end = |message: &&&str| ends.iter().any(|end| message.starts_with(end));
            let ended = messages.iter().filter(is_end).count();
            // A swap is told to both environments.
            let expected = if first.starts_with("swap") { 2 } else { 1 };
            assert_eq!(ended, expected, "{request}: {messages:#?}");
            assert!(is_end(&&messages[0]), "{request}: {messages:#?}");
        }
    }

    /// The number of each event's request, empty where it has none.
    fn requests(&self, xml: &str) -> Vec<String> {
        let members = xml.split("<member>").skip(1);
        let number = |member: &str| {
            let rest = member.split_once("<RequestId>")?.1;
            let own = member.find("</member>").unwrap_or(member.len());
            (member.find("<RequestId>")? < own)
                .then(|| rest.split('<').next().unwrap_or_default().to_owned())
        };
        members.map(|member| number(member).unwrap_or_default()).collect()
    }
}

#[test]
fn a_server_that_was_killed_finishes_what_it_began() {
    campaign!();
    let full = std::env::var_os("STEVEDORE_FULL").is_some_and(|it| it == "1");
    let instants = if full { 200 } else { 8 };
    let mut yard = Yard::new();
    yard.check();
    let (started, mut kinds) = (Instant::now(), BTreeMap::new());
    let mut slowest = Duration::ZERO;
    for instant in 0..instants {
        let kind = yard.round();
        *kinds.entry(kind).or_insert(0) += 1;
        yard.server.kill();
        let again = Instant::now();
        yard.server.start_again();
        yard.settle();
        slowest = slowest.max(again.elapsed());
        let checked = catch_unwind(AssertUnwindSafe(|| yard.check()));
        assert!(checked.is_ok(), "after instant {instant}, {kind}");
        if instant % 10 == 9 {
            eprintln!("{} instants", instant + 1);
        }
        // Not more environments than a small machine bears.
        while yard.living().len() > 4 {
            let gone = yard.living()[0].clone();
            yard.call("TerminateEnvironment", &[("EnvironmentName", &gone)]);
            yard.wanted.remove(&gone);
            yard.settle();
        }
    }
    eprintln!(
        "killed at {instants} instants in {} s ({kinds:?}); {} operations; the longest way back \
         {} ms",
        started.elapsed().as_secs(),
        yard.accepted.len(),
        slowest.as_millis()
    );
}
