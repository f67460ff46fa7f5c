//! Bundles that are malicious or damaged: what each of them leads to, and that nothing is written
//! outside and no container is there beyond those expected.

// A campaign says what it did.
#![allow(clippy::print_stderr)]

mod archives;
mod compose;
mod extensions;
mod raw;
mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::app;
use crate::dsl::{DOCKER_BRANCH, ECS_BRANCH, REGION, Server, docker};

/// What ends a deployment.
pub(crate) const FAILS: &str = "Failed to deploy application.";
pub(crate) const WORKS: &str = "Environment update completed successfully.";

/// A bundle, and what is to be read when it is deployed.
pub(crate) struct Case {
    name: &'static str,
    bundle: Vec<u8>,
    /// The last event.
    ends: &'static str,
    /// A part of another event.
    says: String,
}

pub(crate) fn fails(name: &'static str, says: impl Into<String>, bundle: Vec<u8>) -> Case {
    Case { name, bundle, ends: FAILS, says: says.into() }
}

/// It is deployed, and does no harm.
pub(crate) fn works(name: &'static str, bundle: Vec<u8>) -> Case {
    Case { name, bundle, ends: WORKS, says: "Deploying new version".to_owned() }
}

/// One environment that all bundles of a test are deployed to.
pub(crate) struct Target {
    server: Server,
    /// What bundles try to reach by an absolute path.
    canary: tempfile::TempDir,
    before: String,
}

const APPLICATION: &str = "hostile";
const NAME: &str = "hostile-env";

impl Target {
    pub(crate) fn new(branch: &str, good: &[u8]) -> Target {
        let server = Server::with(&["--instance-image", app::image(), "--patience", "20"]);
        let canary = tempfile::Builder::new().prefix("beanstalk-canary-").tempdir().unwrap();
        fs::create_dir(canary.path().join("directory")).unwrap();
        fs::write(canary.path().join("directory/file"), "a file of this machine").unwrap();
        server.version(APPLICATION, "good", good).succeeds();
        let version = if branch == ECS_BRANCH { "4.1.0" } else { "4.3.0" };
        let platform = format!("arn:aws:elasticbeanstalk:{REGION}::platform/{branch}/{version}");
        let more = [("PlatformArn", &*platform), ("VersionLabel", "good")];
        server.create(APPLICATION, NAME, &more).succeeds();
        server.ready(NAME);
        let page = server.page(NAME);
        assert!(page.is_some_and(|page| page.starts_with("good ")), "{:#?}", server.events(NAME));
        let before = tree(canary.path());
        Target { server, canary, before }
    }

    pub(crate) fn docker() -> Target {
        Target::new(DOCKER_BRANCH, &app::bundle("good"))
    }

    pub(crate) fn canary(&self) -> String {
        self.canary.path().display().to_string()
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Deploys each, and says of all which are not as they should be.
    pub(crate) fn deploy_all(&self, cases: Vec<Case>) {
        let problems: Vec<String> = cases
            .iter()
            .flat_map(|case| {
                let problems = self.deploy(case);
                problems.into_iter().map(|problem| format!("{}: {problem}", case.name))
            })
            .collect();
        let (bad, all) = (problems.len(), cases.len());
        assert!(problems.is_empty(), "{bad} problems of {all} bundles:\n{}", problems.join("\n"));
        eprintln!("{all} bundles; the server had {} at most", memory(self.server.pid()));
    }

    /// Returns what is wrong afterwards.
    pub(crate) fn deploy(&self, case: &Case) -> Vec<String> {
        let Target { server, .. } = self;
        let before = (self.containers(), server.page(NAME), server.environment(NAME));
        server.version(APPLICATION, case.name, &case.bundle).succeeds();
        let parameters = [("EnvironmentName", NAME), ("VersionLabel", case.name)];
        let reply = server.call("UpdateEnvironment", &parameters).succeeds();
        let request = reply.text("RequestId");
        server.ready(NAME);
        let events = server.call("DescribeEvents", &[("RequestId", &request)]).succeeds();
        let events = events.texts("Message");
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        check(events[0] == case.ends, format!("it ends with {events:#?}"));
        let said = events.iter().any(|event| event.contains(&case.says));
        check(said, format!("no event says {:?}: {events:#?}", case.says));
        let (containers, page) = (self.containers(), server.page(NAME));
        let version = server.environment(NAME)["version"].clone();
        if case.ends == WORKS {
            check(version == case.name, format!("its version is {version}"));
            let right = page.as_deref().is_some_and(|it| it.starts_with(case.name));
            check(right, format!("it answers {page:?}"));
            check(containers.len() == 1, format!("containers: {containers:?}"));
        } else {
            check(version == before.2["version"], format!("its version is {version}"));
            check(page == before.1, format!("it answers {page:?}, before {:?}", before.1));
            let same = containers == before.0;
            check(same, format!("containers: {containers:?}, before {:?}", before.0));
        }
        for id in &containers {
            problems.extend(self.reaches_out(id));
        }
        problems.extend(self.written_outside());
        problems
    }

    fn containers(&self) -> Vec<String> {
        let filter = format!("label=stevedore.beanstalk={}", self.server.owner());
        let list =
            docker(&["container", "ls", "--all", "--no-trunc", "--quiet", "--filter", &filter]);
        list.lines().map(str::to_owned).collect()
    }

    /// What a container has of this machine.
    fn reaches_out(&self, id: &str) -> Vec<String> {
        let format = "{{json .HostConfig}}";
        let config = docker(&["container", "inspect", "--format", format, id]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let mut problems = Vec::new();
        let names = ["NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode"];
        for name in names {
            if config[name] == "host" {
                problems.push(format!("{name} is that of the host"));
            }
        }
        for name in ["CapAdd", "Devices", "SecurityOpt", "VolumesFrom", "DeviceRequests"] {
            if config[name].as_array().is_some_and(|list| !list.is_empty()) {
                problems.push(format!("it has {name} {}", config[name]));
            }
        }
        if config["Privileged"] == true {
            problems.push("it is privileged".to_owned());
        }
        let format = "{{range .Mounts}}{{if eq .Type \"bind\"}}{{.Source}}\n{{end}}{{end}}";
        let mounts = docker(&["container", "inspect", "--format", format, id]);
        let own = self.server.state().join("instances");
        let own = own.canonicalize().unwrap();
        for mount in mounts.lines().filter(|it| !it.is_empty()) {
            let real = Path::new(mount).canonicalize().unwrap_or_default();
            if !real.starts_with(&own) {
                problems.push(format!("it mounts {mount}"));
            }
        }
        let format = "{{range $port, $all := .NetworkSettings.Ports}}{{range $all}}{{.HostIp}}\n\
                      {{end}}{{end}}";
        let addresses = docker(&["container", "inspect", "--format", format, id]);
        for address in addresses.lines().filter(|it| !it.is_empty() && *it != "127.0.0.1") {
            problems.push(format!("it is published on {address}"));
        }
        problems
    }

    /// Bundles write files named `escaped`.
    fn written_outside(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if tree(self.canary.path()) != self.before {
            problems.push(format!("the canary is another: {}", tree(self.canary.path())));
        }
        let state = self.server.state();
        let scratch = state.parent().unwrap();
        let mut around: Vec<String> = names(scratch);
        around.retain(|name| name != "state" && name != "log");
        if !around.is_empty() {
            problems.push(format!("beside the state are {around:?}"));
        }
        let known = [
            "commands",
            "instances",
            "lock",
            "objects",
            "owner",
            "server.json",
            "state.jsonl",
            "tmp",
        ];
        let mut inside = names(&state);
        inside.retain(|name| !known.contains(&&**name));
        if !inside.is_empty() {
            problems.push(format!("in the state are {inside:?}"));
        }
        if !names(&state.join("tmp")).is_empty() {
            problems.push("something stays in tmp".to_owned());
        }
        walk(&state, &mut |path| {
            let shown = path.strip_prefix(&state).unwrap().display().to_string();
            if shown.contains("escaped") && !shown.contains("/host/") {
                problems.push(format!("{shown} is there"));
            }
        });
        for place in ["/escaped", "/tmp/escaped", "/var/escaped"] {
            if fs::symlink_metadata(place).is_ok() {
                problems.push(format!("{place} is there"));
            }
        }
        problems
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

fn walk(directory: &Path, found: &mut impl FnMut(&Path)) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.map(|it| it.path()).collect();
    entries.sort();
    for path in entries {
        found(&path);
        if fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
            walk(&path, found);
        }
    }
}

/// Names, modes, times and contents of a directory, as one text.
fn tree(directory: &Path) -> String {
    let mut all = BTreeMap::new();
    walk(directory, &mut |path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let content = fs::read(path).unwrap_or_default();
        let sum = hex::encode(Sha256::digest(content));
        let line = format!("{:o} {} {} {}", meta.mode(), meta.mtime_nsec(), meta.len(), &sum[..16]);
        all.insert(path.strip_prefix(directory).unwrap().to_owned(), line);
    });
    format!("{all:#?}")
}

/// What a process had in memory at most.
fn memory(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("an unknown amount").trim().to_owned()
}
