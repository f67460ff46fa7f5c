//! The docker client: the engine, images and containers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use xshell::{Cmd, Shell, cmd};

/// Asks the engine for the registries that it uses without TLS.
pub(crate) fn registry_config(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker info --format '{{json .RegistryConfig}}'")
}

/// Where the engine keeps its images.
pub(crate) fn data_directory(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker info --format '{{.DockerRootDir}}'")
}

pub(crate) fn buildx_version(sh: &Shell) -> Cmd<'_> {
    cmd!(sh, "docker buildx version")
}

/// The engine's own server process, for machines on which no init system starts it.
pub(crate) fn dockerd<'s>(sh: &'s Shell, data: Option<&EngineDirectories<'_>>) -> Cmd<'s> {
    let cmd = cmd!(sh, "dockerd");
    match data {
        None => cmd,
        Some(EngineDirectories { data, run, socket }) => {
            let pid_file = run.join("dockerd.pid");
            let exec = run.join("exec");
            cmd.arg("--data-root")
                .arg(data)
                .arg("--exec-root")
                .arg(exec)
                .arg("--pidfile")
                .arg(pid_file)
                .arg("--host")
                .arg(format!("unix://{}", socket.display()))
        }
    }
}

/// An engine that reads all its settings from a file, in the network of another process.
pub(crate) fn dockerd_in_network<'s>(sh: &'s Shell, pid: &str, config: &Path) -> Cmd<'s> {
    in_network(sh, pid).args(["dockerd", "--config-file"]).arg(config)
}

/// The beginning of a command that runs in the network of another process.
pub(crate) fn in_network<'s>(sh: &'s Shell, pid: &str) -> Cmd<'s> {
    cmd!(sh, "nsenter --net=/proc/{pid}/ns/net")
}

/// Where an engine of our own keeps its data, its sockets and process ids, and answers.
pub(crate) struct EngineDirectories<'p> {
    pub(crate) data: &'p Path,
    pub(crate) run: &'p Path,
    pub(crate) socket: &'p Path,
}

/// One question for any number of images. Exit code 1 means that some are missing, and is fine.
pub(crate) fn inspect_images<'s>(sh: &'s Shell, references: &[String]) -> Cmd<'s> {
    // One line an image, the fields of `Image` in their order: much less to read.
    let format = "[{{json .Id}},{{json .RepoTags}},{{json .Size}},{{json .Os}},\
        {{json .Architecture}},{{json .Config}},{{json .RootFS}}]";
    cmd!(sh, "docker image inspect --format {format} {references...}")
}

/// What an engine says of an image.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) repo_tags: Vec<String>,
    /// In bytes.
    pub(crate) size: u64,
    os: String,
    architecture: String,
    pub(crate) config: Config,
    pub(crate) root: Root,
}

/// The parts of an image's configuration that decide what a build on top of it yields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Config {
    pub(crate) labels: Option<BTreeMap<String, String>>,
    user: String,
    working_dir: String,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    shell: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, Value>>,
    exposed_ports: Option<BTreeMap<String, Value>>,
    on_build: Option<Vec<String>>,
    stop_signal: Option<String>,
    healthcheck: Option<Value>,
}

/// Labels that say what an image is; all others are part of what it holds.
pub(crate) const OUR_LABELS: &str = "dev.stevedore.";

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Root {
    #[serde(default)]
    layers: Vec<String>,
}

impl Image {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Such as `linux/amd64`.
    pub(crate) fn platform(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }

    /// `sha256:…` over what a build sees of the image. Two imports of one archive have two ids
    /// but one content; our own labels do not count.
    pub(crate) fn content(&self) -> String {
        let config = &self.config;
        let mut seen = serde_json::json!([
            self.root.layers,
            config.user,
            config.working_dir,
            config.env,
            config.entrypoint,
            config.cmd,
            config.shell,
            config.volumes,
            config.exposed_ports,
            config.on_build,
            config.stop_signal,
        ]);
        let labels = config.labels.iter().flatten();
        let labels: BTreeMap<_, _> =
            labels.filter(|(name, _)| !name.starts_with(OUR_LABELS)).collect();
        if let Value::Array(parts) = &mut seen
            && (config.healthcheck.is_some() || !labels.is_empty())
        {
            parts.push(serde_json::json!([config.healthcheck, labels]));
        }
        format!("sha256:{}", hex::encode(Sha256::digest(seen.to_string())))
    }
}

/// Whether an engine said that it has none of some images, and nothing worse.
pub(crate) fn lacks_images(stderr: &str) -> bool {
    stderr.lines().filter(|line| !line.is_empty()).all(|line| line.contains("No such image"))
}

pub(crate) fn parse_images(stdout: &str) -> Result<Vec<Image>> {
    let lines = stdout.lines().filter(|line| !line.trim().is_empty());
    let parsed: Result<Vec<Image>, _> = lines.map(serde_json::from_str).collect();
    parsed.context("can't read what `docker image inspect` printed")
}

pub(crate) fn tag<'s>(sh: &'s Shell, image: &str, reference: &str) -> Cmd<'s> {
    cmd!(sh, "docker image tag {image} {reference}")
}

pub(crate) fn push<'s>(sh: &'s Shell, reference: &str) -> Cmd<'s> {
    cmd!(sh, "docker image push --quiet {reference}")
}

/// Every name of an image that fits one of the patterns: `ID NAME` a line.
pub(crate) fn list_images<'s>(sh: &'s Shell, patterns: &[String]) -> Cmd<'s> {
    let filters = patterns.iter().map(|pattern| format!("--filter=reference={pattern}"));
    let format = "{{.ID}} {{.Repository}}:{{.Tag}}";
    cmd!(sh, "docker image ls --no-trunc --format {format} {filters...}")
}

/// A container that is never started: a handle to read an image's files by.
///
/// The command is a dummy: without one, an image that has none cannot be made a container of.
pub(crate) fn create<'s>(sh: &'s Shell, name: &str, image: &str) -> Cmd<'s> {
    cmd!(sh, "docker container create --name {name} --network none {image} /dummy")
}

/// Writes all files of a container as an archive.
pub(crate) fn export<'s>(sh: &'s Shell, container: &str, archive: &Path) -> Cmd<'s> {
    cmd!(sh, "docker container export --output {archive} {container}")
}

/// Runs a server in the background, which is gone when it ends, on a port of loopback that is free.
pub(crate) fn serve<'s>(sh: &'s Shell, image: &str, port: &str, label: &str) -> Cmd<'s> {
    let publish = format!("127.0.0.1:0:{port}");
    cmd!(sh, "docker container run --detach --rm --publish {publish} --label {label} {image}")
}

/// Keeps a network for others to enter: a container that only waits, with the programs in these
/// directories of this machine.
pub(crate) fn hold_network<'s>(
    sh: &'s Shell,
    image: &str,
    directories: &[&str],
    label: &str,
) -> Cmd<'s> {
    let directories = directories.iter().map(|it| format!("--volume={it}:{it}:ro"));
    cmd!(
        sh,
        "docker container run --detach --rm {directories...} --label {label} {image} /usr/bin/sleep infinity"
    )
}

/// The process of a container that runs.
pub(crate) fn pid_of<'s>(sh: &'s Shell, container: &str) -> Cmd<'s> {
    cmd!(sh, "docker container inspect --format '{{.State.Pid}}' {container}")
}

/// Where a port of a container is published: `HOST:PORT`.
pub(crate) fn published<'s>(sh: &'s Shell, container: &str, port: &str) -> Cmd<'s> {
    cmd!(sh, "docker container port {container} {port}")
}

/// A kind of thing that the engine keeps, and how to remove it whatever uses it.
pub(crate) const KINDS: [(&str, &[&str], &[&str]); 3] = [
    ("container", &["--all"], &["rm", "--force", "--volumes"]),
    ("network", &[], &["rm"]),
    ("volume", &[], &["rm", "--force"]),
];

/// Everything of a kind that has a label, an ID a line.
pub(crate) fn labelled<'s>(sh: &'s Shell, kind: &str, more: &[&str], label: &str) -> Cmd<'s> {
    cmd!(sh, "docker {kind} ls {more...} --quiet --filter label={label}")
}

pub(crate) fn remove<'s>(sh: &'s Shell, kind: &str, how: &[&str], ids: &[&str]) -> Cmd<'s> {
    cmd!(sh, "docker {kind} {how...} {ids...}")
}

/// The IDs of all images with a label, those without a name too.
pub(crate) fn images_with_label<'s>(sh: &'s Shell, label: &str) -> Cmd<'s> {
    cmd!(sh, "docker image ls --all --quiet --no-trunc --filter label={label}")
}

/// Images of a registry that lie here under no tag, `NAME@DIGEST` a line.
pub(crate) fn exact_images<'s>(sh: &'s Shell, registry: &str) -> Cmd<'s> {
    let format = "{{.Repository}}@{{.Digest}}";
    cmd!(sh, "docker image ls --digests --filter reference={registry}/** --format {format}")
}

pub(crate) fn remove_container<'s>(sh: &'s Shell, container: &str) -> Cmd<'s> {
    cmd!(sh, "docker container rm --force --volumes {container}")
}

pub(crate) fn pull<'s>(sh: &'s Shell, reference: &str) -> Cmd<'s> {
    cmd!(sh, "docker image pull --quiet {reference}")
}

/// Makes an image of one layer from an archive; `changes` are Dockerfile instructions.
pub(crate) fn import<'s>(
    sh: &'s Shell,
    archive: &Path,
    reference: &str,
    changes: &[&str],
) -> Cmd<'s> {
    let changes = changes.iter().flat_map(|change| ["--change", change]);
    cmd!(sh, "docker image import {changes...} {archive} {reference}")
}

pub(crate) fn remove_images<'s>(sh: &'s Shell, references: &[String]) -> Cmd<'s> {
    cmd!(sh, "docker image rm {references...}")
}

/// All containers made from an image, running or not.
pub(crate) fn containers_of<'s>(sh: &'s Shell, image: &str) -> Cmd<'s> {
    cmd!(sh, "docker container ls --all --no-trunc --filter ancestor={image} --format json")
}

/// All containers of a compose project, running or not.
pub(crate) fn containers_of_project<'s>(sh: &'s Shell, project: &str) -> Cmd<'s> {
    let filter = format!("label=com.docker.compose.project={project}");
    cmd!(sh, "docker container ls --all --no-trunc --filter {filter} --format json")
}

/// The running container that publishes a port.
pub(crate) fn container_on_port(sh: &Shell, port: u16) -> Cmd<'_> {
    let port = port.to_string();
    cmd!(sh, "docker container ls --no-trunc --filter publish={port} --format json")
}

/// One line of `docker container ls --format json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Container {
    #[serde(rename = "Names")]
    pub(crate) name: String,
    #[serde(rename = "Labels")]
    labels: String,
}

impl Container {
    /// A label's value; docker prints them as `a=1,b=2`, so a value with a comma is cut there.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let pairs = self.labels.split(',').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

pub(crate) fn parse_containers(stdout: &str) -> Result<Vec<Container>> {
    let lines = stdout.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// A command of an image, in a container without network and with nothing set.
pub(crate) fn run_alone<'s>(sh: &'s Shell, name: &str, image: &str, command: &[String]) -> Cmd<'s> {
    let entry = command.first().map_or("", String::as_str);
    let rest = command.iter().skip(1);
    cmd!(
        sh,
        "docker container run --rm --init --name {name} --network none --entrypoint {entry} {image} {rest...}"
    )
}

/// A command in a container that runs.
pub(crate) fn exec<'s>(sh: &'s Shell, container: &str, command: &[String]) -> Cmd<'s> {
    cmd!(sh, "docker container exec {container} {command...}")
}

/// `created`, `running`, `restarting`, `exited`…
pub(crate) fn state_of<'s>(sh: &'s Shell, container: &str) -> Cmd<'s> {
    let format = "{{.State.Status}}";
    cmd!(sh, "docker container inspect --format {format} {container}")
}

pub(crate) fn restart<'s>(sh: &'s Shell, container: &str) -> Cmd<'s> {
    cmd!(sh, "docker container restart {container}")
}

/// Starts a container that has ended, and waits until it has done so again: its exit code.
pub(crate) fn start_attached<'s>(sh: &'s Shell, container: &str) -> Cmd<'s> {
    cmd!(sh, "docker container start --attach {container}")
}

/// Writes images with all they are made of as one archive.
pub(crate) fn save<'s>(sh: &'s Shell, images: &[String], archive: &Path) -> Cmd<'s> {
    cmd!(sh, "docker image save --output {archive} {images...}")
}

/// Copies a file out of a container, whether it runs or not.
pub(crate) fn copy_file<'s>(sh: &'s Shell, container: &str, path: &str, target: &Path) -> Cmd<'s> {
    let source = format!("{container}:{path}");
    cmd!(sh, "docker container cp --quiet --follow-link {source} {target}")
}
