//! The ECS branch: a Dockerrun file of version 2, whose containers are on Docker's own bridge and
//! see one another by `links` only, as on an instance of the service.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Layout, Project, Surroundings, bind, published};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dockerrun {
    #[serde(default)]
    container_definitions: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
struct Volume {
    name: String,
    host: Option<Host>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    source_path: Option<String>,
}

/// A container definition of ECS, as far as it means something on one machine.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    image: String,
    essential: Option<bool>,
    memory: Option<u64>,
    memory_reservation: Option<u64>,
    cpu: Option<u64>,
    command: Option<Vec<String>>,
    entry_point: Option<Vec<String>>,
    #[serde(default)]
    environment: Vec<Pair>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    port_mappings: Vec<Port>,
    #[serde(default)]
    mount_points: Vec<Mount>,
    #[serde(default)]
    depends_on: Vec<Dependency>,
    health_check: Option<Health>,
    user: Option<String>,
    working_directory: Option<String>,
    hostname: Option<String>,
    #[serde(default)]
    privileged: bool,
    readonly_root_filesystem: Option<bool>,
    stop_timeout: Option<u64>,
    docker_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    extra_hosts: Vec<ExtraHost>,
    #[serde(default)]
    ulimits: Vec<Limit>,
}

#[derive(Deserialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    container_port: u16,
    host_port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    source_volume: String,
    container_path: String,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    container_name: String,
    condition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    command: Vec<String>,
    interval: Option<u64>,
    timeout: Option<u64>,
    retries: Option<u64>,
    start_period: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtraHost {
    hostname: String,
    ip_address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limit {
    name: String,
    soft_limit: i64,
    hard_limit: i64,
}

const FILE: &str = "Dockerrun.aws.json";

pub(super) fn project(layout: &Layout, around: &Surroundings) -> Result<Project> {
    let dockerrun = read(layout)?;
    let names: Vec<&str> = dockerrun.container_definitions.iter().map(|it| &*it.name).collect();
    let mut services = Map::new();
    let (mut front, mut essential) = (None, Vec::new());
    for container in &dockerrun.container_definitions {
        let service = service(container, &dockerrun, &names, layout, around)
            .with_context(|| format!("container {}", container.name))?;
        ensure!(
            services.insert(container.name.clone(), service).is_none(),
            "two containers have the name {}",
            container.name
        );
        let mut ports = container.port_mappings.iter();
        let is_front = |port: &&Port| port.host_port.unwrap_or(0) == around.port;
        if let Some(port) = ports.find(is_front) {
            front = Some((container.name.clone(), port.container_port));
        }
        if container.essential.unwrap_or(true) {
            essential.push(container.name.clone());
        }
    }
    ensure!(!services.is_empty(), "{FILE} defines no container");
    ensure!(!essential.is_empty(), "A task definition must have at least one essential container.");
    acyclic(&dockerrun.container_definitions)?;
    let definition = json!({"services": services});
    Ok(Project { definition, front, essential, build: false })
}

fn read(layout: &Layout) -> Result<Dockerrun> {
    let text = crate::bundle::text(&layout.source.join(FILE))?.with_context(|| {
        format!("ECS Application sourcebundle validation error: {FILE} is missing in the bundle")
    })?;
    let value: Value = serde_json::from_str(&text)
        .context("ECS Application sourcebundle validation error: Dockerrun.aws.json is no JSON")?;
    let version = &value["AWSEBDockerrunVersion"];
    if *version != json!(2) && *version != json!("2") {
        bail!(
            "ECS Application sourcebundle validation error: Unsupported AWSEBDockerrunVersion: {}",
            version.as_str().map_or_else(|| version.to_string(), str::to_owned)
        );
    }
    serde_json::from_value(value).context("ECS Application sourcebundle validation error")
}

fn service(
    container: &Container,
    dockerrun: &Dockerrun,
    names: &[&str],
    layout: &Layout,
    around: &Surroundings,
) -> Result<Value> {
    let name = &container.name;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    ensure!(!name.is_empty() && name.chars().all(plain), "its name has a letter that ECS refuses");
    ensure!(!container.privileged, "it is privileged, which a local instance does not give");
    ensure!(
        container.memory.is_some() || container.memory_reservation.is_some(),
        "Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' \
         must be specified."
    );
    let mut environment = around.properties.clone();
    environment
        .extend(container.environment.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    // Compose would read a dollar as the beginning of a variable.
    let escaped = |text: &str| text.replace('$', "$$");
    let environment: BTreeMap<&String, String> =
        environment.iter().map(|(key, value)| (key, escaped(value))).collect();
    let words = |list: &Option<Vec<String>>| {
        list.as_ref().map(|list| list.iter().map(|word| escaped(word)).collect::<Vec<_>>())
    };
    let mut service = json!({
        "image": container.image, "network_mode": "bridge", "environment": environment,
        "restart": "no", "links": links(container, names)?,
        "ports": container.port_mappings.iter().map(|port| {
            published(port.container_port, port.protocol.as_deref().unwrap_or("tcp"))
        }).collect::<Vec<_>>(),
        "volumes": mounts(container, dockerrun, layout)?,
        "depends_on": dependencies(container, names)?,
        "extra_hosts": container.extra_hosts.iter()
            .map(|host| format!("{}={}", host.hostname, host.ip_address)).collect::<Vec<_>>(),
        "ulimits": container.ulimits.iter().map(|limit| {
            (limit.name.clone(), json!({"soft": limit.soft_limit, "hard": limit.hard_limit}))
        }).collect::<Map<_, _>>(),
    });
    if let Some(attached) = &around.attached {
        let links = attached.iter().map(|(alias, id)| format!("{id}:{alias}"));
        service["external_links"] = links.collect::<Vec<_>>().into();
    }
    let mebibytes = |value: Option<u64>| value.map(|value| format!("{value}m"));
    let optional: [(&str, Value); 11] = [
        ("command", json!(words(&container.command))),
        ("entrypoint", json!(words(&container.entry_point))),
        ("mem_limit", json!(mebibytes(container.memory))),
        ("mem_reservation", json!(mebibytes(container.memory_reservation))),
        ("cpu_shares", json!(container.cpu.filter(|shares| *shares > 1))),
        ("user", json!(container.user)),
        ("working_dir", json!(container.working_directory)),
        ("hostname", json!(container.hostname)),
        ("read_only", json!(container.readonly_root_filesystem)),
        ("stop_grace_period", json!(container.stop_timeout.map(|it| format!("{it}s")))),
        ("healthcheck", container.health_check.as_ref().map_or(Value::Null, health)),
    ];
    let fields = service.as_object_mut().context("a service is a mapping")?;
    fields.extend(
        optional
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.to_owned(), value)),
    );
    if let Some(labels) = &container.docker_labels {
        fields.insert("labels".to_owned(), json!(labels));
    }
    Ok(service)
}

fn links(container: &Container, names: &[&str]) -> Result<Vec<String>> {
    for link in &container.links {
        let to = link.split(':').next().unwrap_or(link);
        ensure!(names.contains(&to), "it links to {to:?}, which is no container of the bundle");
    }
    Ok(container.links.clone())
}

/// Links are made when a container starts, so the other one must run before it.
fn acyclic(containers: &[Container]) -> Result<()> {
    let mut left: Vec<&Container> = containers.iter().collect();
    loop {
        let waits = |it: &&Container| {
            let mut links = it.links.iter().map(|link| link.split(':').next().unwrap_or(link));
            links.any(|link| left.iter().any(|other| other.name == link))
        };
        let waiting: Vec<&Container> = left.iter().copied().filter(waits).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if waiting.len() == left.len() {
            let names: Vec<&str> = waiting.iter().map(|it| &*it.name).collect();
            bail!("the links of {} go round in a circle", names.join(", "));
        }
        left = waiting;
    }
}

fn mounts(container: &Container, dockerrun: &Dockerrun, layout: &Layout) -> Result<Vec<Value>> {
    let mount = |mount: &Mount| {
        let (volume, target) = (&mount.source_volume, &mount.container_path);
        if let Some(of) = volume.strip_prefix("awseb-logs-") {
            let path = format!("{}/{of}", super::LOGS);
            return bind(layout, &path, target, mount.read_only);
        }
        let known = dockerrun.volumes.iter().find(|it| it.name == *volume);
        let known = known.with_context(|| format!("volume {volume:?} is not defined"))?;
        match known.host.as_ref().and_then(|host| host.source_path.as_deref()) {
            Some(path) => bind(layout, path, target, mount.read_only),
            // A volume without a place lives as long as the task.
            None => bind(layout, &format!("/var/lib/volumes/{volume}"), target, mount.read_only),
        }
    };
    container.mount_points.iter().map(mount).collect()
}

fn dependencies(container: &Container, names: &[&str]) -> Result<Value> {
    let mut dependencies = Map::new();
    for Dependency { container_name, condition } in &container.depends_on {
        ensure!(names.contains(&&**container_name), "it depends on {container_name:?}");
        let condition = match condition.as_str() {
            "START" => "service_started",
            "HEALTHY" => "service_healthy",
            "SUCCESS" | "COMPLETE" => "service_completed_successfully",
            other => bail!("it depends on the condition {other:?}, which ECS does not know"),
        };
        dependencies.insert(container_name.clone(), json!({"condition": condition}));
    }
    Ok(Value::Object(dependencies))
}

fn health(health: &Health) -> Value {
    let seconds = |value: Option<u64>, default: u64| format!("{}s", value.unwrap_or(default));
    json!({
        "test": health.command, "interval": seconds(health.interval, 30),
        "timeout": seconds(health.timeout, 5), "retries": health.retries.unwrap_or(3),
        "start_period": seconds(health.start_period, 0),
    })
}
