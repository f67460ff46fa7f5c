//! Containers as the engine describes them: state, exit code, restarts, health, published ports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Cmd, Shell, cmd};

/// Labels that compose writes on every container.
const LABEL_SERVICE: &str = "com.docker.compose.service";
const LABEL_NUMBER: &str = "com.docker.compose.container-number";
const LABEL_ONE_OFF: &str = "com.docker.compose.oneoff";

/// All containers with a label, running or not.
pub(crate) fn list<'s>(sh: &'s Shell, label: &str, value: &str) -> Cmd<'s> {
    let filter = format!("label={label}={value}");
    cmd!(sh, "docker container ls --all --no-trunc --filter {filter} --format json")
}

/// A line for each change of what [`inspect`] says of containers with a label, without an end.
/// Health checks make events of their own; only what comes of them is a change.
pub(crate) fn events<'s>(sh: &'s Shell, label: &str, value: &str) -> Cmd<'s> {
    const CHANGES: [&str; 7] =
        ["create", "start", "die", "destroy", "pause", "unpause", "health_status"];
    let filter = format!("label={label}={value}");
    let changes = CHANGES.iter().flat_map(|it| ["--filter".to_owned(), format!("event={it}")]);
    cmd!(sh, "docker events --filter type=container --filter {filter} {changes...}")
        .args(["--format", "{{.Action}}"])
}

/// One line of [`list`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listed {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    /// In words, with how long it has been so.
    #[serde(default)]
    pub(crate) status: String,
}

pub(crate) fn parse_list(stdout: &str) -> Result<Vec<Listed>> {
    let lines = stdout.lines().filter(|line| !line.trim().is_empty());
    let parsed: Result<Vec<Listed>, _> = lines.map(serde_json::from_str).collect();
    parsed.context("can't read what `docker container ls` printed")
}

/// One question for any number of containers. Exit code 1 means that some are gone, and is fine.
/// The environment of a container, which holds secrets, is not asked for.
pub(crate) fn inspect<'s>(sh: &'s Shell, ids: &[String]) -> Cmd<'s> {
    let format = "{\"Id\":{{json .Id}},\"Name\":{{json .Name}},\"Image\":{{json .Config.Image}},\
        \"Labels\":{{json .Config.Labels}},\"State\":{{json .State}},\
        \"RestartCount\":{{json .RestartCount}},\"Mounts\":{{json .Mounts}},\"Ports\":{{json .NetworkSettings.Ports}}}";
    cmd!(sh, "docker container inspect --format {format} {ids...}")
}

pub(crate) fn stop<'s>(sh: &'s Shell, ids: &[String]) -> Cmd<'s> {
    cmd!(sh, "docker container stop {ids...}")
}

/// One line of [`inspect`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Container {
    pub(crate) id: String,
    name: String,
    pub(crate) image: String,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) state: State,
    /// How often the engine itself has started it again since somebody started it.
    #[serde(rename = "RestartCount")]
    pub(crate) restarts: u32,
    ports: Option<BTreeMap<String, Option<Vec<Published>>>>,
    mounts: Vec<Mount>,
    /// In words, with how long it has been so.
    #[serde(skip)]
    pub(crate) status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub(crate) status: String,
    pub(crate) exit_code: i32,
    /// Why the engine could not start it.
    pub(crate) error: String,
    #[serde(rename = "OOMKilled")]
    pub(crate) out_of_memory: bool,
    pub(crate) started_at: String,
    /// Nothing where neither compose nor the image has a health check.
    pub(crate) health: Option<Health>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub(crate) status: String,
    /// The last runs of the check, the latest last.
    log: Vec<Probe>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Probe {
    output: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    #[serde(rename = "Type")]
    kind: String,
    name: String,
    destination: String,
}

impl Mount {
    /// Whether the engine made the volume's name up: nobody gave it one.
    fn is_unnamed(&self) -> bool {
        let is_made_up =
            |name: &str| name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit());
        self.kind == "volume" && is_made_up(&self.name)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Published {
    host_port: String,
}

impl Container {
    pub(crate) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// The service of compose that it belongs to.
    pub(crate) fn service(&self) -> &str {
        self.label(LABEL_SERVICE).unwrap_or_default()
    }

    /// The service, and which of its containers: `web-2`.
    pub(crate) fn replica(&self) -> String {
        format!("{}-{}", self.service(), self.label(LABEL_NUMBER).unwrap_or("1"))
    }

    /// Whether it is a command beside a service, and not the service.
    pub(crate) fn is_one_off(&self) -> bool {
        self.label(LABEL_ONE_OFF) == Some("True")
    }

    pub(crate) fn health(&self) -> Option<&str> {
        self.state.health.as_ref().map(|health| health.status.as_str())
    }

    /// Where it sees volumes that nobody gave a name.
    pub(crate) fn unnamed_volumes(&self) -> BTreeSet<String> {
        let unnamed = self.mounts.iter().filter(|mount| mount.is_unnamed());
        unnamed.map(|mount| mount.destination.clone()).collect()
    }

    /// What the health check printed when it ran last.
    pub(crate) fn last_probe(&self) -> &str {
        let probe = self.state.health.as_ref().and_then(|health| health.log.last());
        probe.map_or("", |probe| probe.output.trim())
    }

    /// How long it has been running.
    pub(crate) fn up_for(&self, now: SystemTime) -> Duration {
        let started = humantime::parse_rfc3339_weak(&self.state.started_at).ok();
        let elapsed = started.and_then(|started| now.duration_since(started).ok());
        elapsed.unwrap_or_default()
    }

    /// The TCP ports of this machine on which it answers.
    pub(crate) fn published(&self) -> BTreeSet<u16> {
        let tcp = self.ports.iter().flatten().filter(|(port, _)| port.ends_with("/tcp"));
        let published = tcp.flat_map(|(_, published)| published.iter().flatten());
        published.filter_map(|it| it.host_port.parse().ok()).filter(|port| *port != 0).collect()
    }
}

/// The containers of services, without one-off commands beside them.
pub(crate) fn parse(inspected: &str, listed: &[Listed]) -> Result<Vec<Container>> {
    let lines = inspected.lines().filter(|line| !line.trim().is_empty());
    let parsed: Result<Vec<Container>, _> = lines.map(serde_json::from_str).collect();
    let mut containers = parsed.context("can't read what `docker container inspect` printed")?;
    for container in &mut containers {
        let words = listed.iter().find(|it| it.id == container.id);
        container.status = words.map(|it| it.status.clone()).unwrap_or_default();
    }
    containers.retain(|container| !container.is_one_off());
    containers.sort_by_key(|it| (it.service().to_owned(), it.replica().len(), it.replica()));
    Ok(containers)
}

/// Whether an engine said that some containers are gone, and nothing worse.
pub(crate) fn lacks_containers(stderr: &str) -> bool {
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    lines.all(|line| line.contains("No such container"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_without_a_name_has_the_name_that_the_engine_made_up() {
        let made_up = "0f".repeat(32);
        let line = serde_json::json!({"Mounts": [
            {"Type": "volume", "Name": made_up, "Destination": "/data"},
            {"Type": "volume", "Name": "shop-dev_data", "Destination": "/kept"},
            {"Type": "bind", "Source": "/x", "Destination": "/x"},
        ]});
        let found = parse(&line.to_string(), &[]).unwrap();
        assert_eq!(found[0].unnamed_volumes(), BTreeSet::from(["/data".to_owned()]));
    }
}
