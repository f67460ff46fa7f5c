//! Docker on this machine: the one place where commands are run.
//!
//! They see no variable of the caller's shell but what docker itself needs, so that nothing of this
//! machine is read into a bundle, and none lasts longer than its deadline. They outlive a server
//! that is killed, so each holds a lock, which the next server waits for.

mod networks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;
use serde_json::Value;

/// For questions.
pub(crate) const SHORT: Duration = Duration::from_secs(60);
/// For what loads or builds.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What docker's client reads of its surroundings.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "TMPDIR",
];

pub(crate) struct Engine {
    surroundings: BTreeMap<String, OsString>,
    /// The stdin of every command: an empty file, whose lock ends with the last of them.
    held: File,
    /// The label that everything has which this server made.
    pub(crate) label: String,
    /// Its value: one server knows its own from another's.
    pub(crate) owner: String,
}

/// A container of ours.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) instance: String,
    pub(crate) service: String,
    pub(crate) running: bool,
    pub(crate) restarting: bool,
    pub(crate) exit_code: i64,
    /// Published on loopback, by port of the container.
    pub(crate) ports: BTreeMap<u16, u16>,
}

impl Engine {
    #[allow(clippy::disallowed_methods)] // The one place that reads the variables for docker.
    pub(crate) fn new(owner: String, directory: &Path) -> Result<Engine> {
        let held = directory.join("commands");
        let held = File::options().create(true).truncate(true).read(true).write(true).open(held)?;
        let read = |name: &&str| Some(((*name).to_owned(), std::env::var_os(name)?));
        let surroundings = PASSED.iter().filter_map(read).collect();
        Ok(Engine { surroundings, held, label: "stevedore.beanstalk".to_owned(), owner })
    }

    /// The label with its value, as docker's options take it.
    pub(crate) fn own(&self) -> String {
        format!("{}={}", self.label, self.owner)
    }

    /// Waits for the commands of a server that was killed: they would change what is being mended.
    /// Its hooks are ended.
    ///
    /// # Errors
    ///
    /// When one of them goes on longer than any may.
    pub(crate) fn settle(&self) -> Result<()> {
        let until = Instant::now() + LONG + SHORT;
        loop {
            let alone = flock(&self.held, FlockOperation::NonBlockingLockExclusive).is_ok();
            self.remove_hooks()?;
            if alone {
                return flock(&self.held, FlockOperation::LockShared).context("can't lock");
            }
            if Instant::now() > until {
                bail!("docker commands of the server before still run; end them, and start again");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Containers of no project, which are those that hooks run in.
    fn remove_hooks(&self) -> Result<()> {
        let filter = format!("label={}", self.own());
        let format = "{{.ID}} {{.Label \"com.docker.compose.project\"}}";
        let list = ["container", "ls", "--all", "--filter", &filter, "--format", format];
        for line in self.run(&list, SHORT)?.lines() {
            if let (id, "") = line.split_once(' ').unwrap_or((line, "")) {
                // It may end by itself meanwhile.
                self.run(&["container", "rm", "--force", "--volumes", id], SHORT).ok();
            }
        }
        Ok(())
    }

    /// Images that were built for an instance.
    pub(crate) fn remove_images(&self, instance: &str) -> Result<()> {
        let filter = format!("label={}.instance={instance}", self.label);
        let images = self.run(&["image", "ls", "--quiet", "--filter", &filter], SHORT)?;
        for image in images.lines() {
            self.run(&["image", "rm", "--force", image], SHORT).ok();
        }
        Ok(())
    }

    /// Runs docker and returns what it printed.
    ///
    /// # Errors
    ///
    /// With what it said, when it fails or takes too long.
    pub(crate) fn run(&self, arguments: &[&str], deadline: Duration) -> Result<String> {
        self.run_in(Path::new("/"), &[], arguments, deadline)
    }

    /// As [`Engine::run`], in a directory and with more variables.
    pub(crate) fn run_in(
        &self,
        directory: &Path,
        variables: &[(&str, &str)],
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<String> {
        let mut surroundings: BTreeMap<String, OsString> = self.surroundings.clone();
        surroundings.extend(variables.iter().map(|(key, value)| ((*key).into(), value.into())));
        let shown = format!("docker {}", arguments.join(" "));
        let handle = duct::cmd("docker", arguments)
            .full_env(surroundings)
            .dir(directory)
            .stdin_file(self.held.try_clone()?)
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .start()
            .with_context(|| format!("can't run {shown}"))?;
        let Some(output) = handle.wait_timeout(deadline)? else {
            handle.kill().ok();
            bail!("{shown} did not end within {} s", deadline.as_secs());
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            let said = [text(&output.stderr), text(&output.stdout)].join("\n");
            bail!("{}", tail(said.trim(), 2000));
        }
        Ok(text(&output.stdout))
    }

    /// All containers that this server made, running or not.
    pub(crate) fn containers(&self) -> Result<Vec<Container>> {
        let filter = format!("label={}", self.own());
        let list = ["container", "ls", "--all", "--quiet", "--no-trunc", "--filter", &filter];
        let ids = self.run(&list, SHORT)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut inspect = vec!["container", "inspect"];
        inspect.extend(ids.lines());
        // One of them may be gone by now; docker answers for the others all the same.
        let answer = match self.run(&inspect, SHORT) {
            Ok(answer) => answer,
            Err(_) => return self.one_by_one(&ids),
        };
        let list: Vec<Inspected> = serde_json::from_str(&answer)?;
        Ok(list.into_iter().map(|it| it.container(&self.label)).collect())
    }

    fn one_by_one(&self, ids: &str) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        for id in ids.lines() {
            if let Ok(answer) = self.run(&["container", "inspect", id], SHORT) {
                let list: Vec<Inspected> = serde_json::from_str(&answer)?;
                containers.extend(list.into_iter().map(|it| it.container(&self.label)));
            }
        }
        Ok(containers)
    }

    pub(crate) fn up(&self, project: &str, file: &Path, build: bool) -> Result<()> {
        let file = file.to_str().context("the path is no text")?;
        let mut arguments = vec![
            "compose",
            "--project-name",
            project,
            "--file",
            file,
            "up",
            "--detach",
            "--remove-orphans",
            "--quiet-pull",
        ];
        arguments.extend(build.then_some("--build"));
        self.run(&arguments, LONG).map(drop)
    }

    /// Removes all of a project, its volumes too.
    pub(crate) fn down(&self, project: &str) -> Result<()> {
        let down = [
            "compose",
            "--project-name",
            project,
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "10",
        ];
        self.run(&down, LONG)?;
        self.remove_networks(project)
    }

    pub(crate) fn stop(&self, project: &str) -> Result<()> {
        self.run(&["compose", "--project-name", project, "stop", "--timeout", "10"], LONG).map(drop)
    }

    /// The last lines of a container.
    pub(crate) fn logs(&self, id: &str, lines: &str) -> String {
        // Docker keeps the two streams apart; here they are one text.
        let handle = duct::cmd("docker", ["logs", "--tail", lines, id])
            .full_env(self.surroundings.clone())
            .stdin_null()
            .stderr_to_stdout()
            .stdout_capture()
            .unchecked()
            .start();
        let Ok(handle) = handle else { return String::new() };
        match handle.wait_timeout(SHORT) {
            Ok(Some(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
            _ => {
                handle.kill().ok();
                String::new()
            }
        }
    }

    /// Projects of which anything is there, by the label that compose gives.
    pub(crate) fn projects(&self) -> Result<Vec<String>> {
        let filter = format!("label={}", self.own());
        let mut projects = self.projects_of_networks()?;
        for kind in ["container", "volume"] {
            let format = "{{.Label \"com.docker.compose.project\"}}";
            let mut list = vec![kind, "ls", "--filter", &filter, "--format", format];
            list.extend((kind == "container").then_some("--all"));
            projects.extend(self.run(&list, SHORT)?.lines().map(str::to_owned));
        }
        projects.sort();
        projects.dedup();
        projects.retain(|project| !project.is_empty());
        Ok(projects)
    }
}

/// The end of a text, from the beginning of a line.
pub(crate) fn tail(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let rest = &text[start..];
    match (start, rest.find('\n')) {
        (0, _) | (_, None) => rest,
        (_, Some(end)) => &rest[end + 1..],
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: ContainerState,
    config: Config,
    network_settings: Network,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerState {
    running: bool,
    restarting: bool,
    exit_code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    ports: Option<BTreeMap<String, Value>>,
}

impl Inspected {
    fn container(self, label: &str) -> Container {
        let labels = self.config.labels.unwrap_or_default();
        let named = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let port = |(inside, outside): (&String, &Value)| {
            let inside = inside.strip_suffix("/tcp")?.parse().ok()?;
            Some((inside, outside[0]["HostPort"].as_str()?.parse().ok()?))
        };
        let ports = self.network_settings.ports.unwrap_or_default();
        Container {
            id: self.id,
            instance: named(&format!("{label}.instance")),
            service: named("com.docker.compose.service"),
            running: self.state.running && !self.state.restarting,
            restarting: self.state.restarting,
            exit_code: self.state.exit_code,
            ports: ports.iter().filter_map(port).collect(),
        }
    }
}
