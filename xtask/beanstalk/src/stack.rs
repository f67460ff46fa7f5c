//! From an unpacked bundle to the compose project of one instance.
//!
//! What the bundle asks of the machine is given to it in its own directory: its ports on loopback
//! with numbers of the kernel's choice, its absolute paths below `host`, its logs below `logs`.

mod compose;
mod dockerrun;
mod limits;
mod single;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::platforms::Kind;

/// Where the parts of an instance are on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) instance: String,
    /// All of the instance.
    pub(crate) root: PathBuf,
    /// The unpacked bundle: `/var/app/current` of the instance.
    pub(crate) source: PathBuf,
}

impl Layout {
    pub(crate) fn project(&self) -> String {
        project_name(&self.instance)
    }

    pub(crate) fn definition(&self) -> PathBuf {
        self.root.join("compose.json")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.logs().join("eb-engine.log")
    }

    /// The place that a path of the instance has here: one of its directories that containers may
    /// write to, and what is left of the path below it.
    fn place(&self, path: &Path) -> (PathBuf, PathBuf) {
        let path = plain(path);
        for (known, here) in [
            (Path::new("/var/app/current"), self.source.clone()),
            (Path::new("/var/app/staging"), self.source.clone()),
            (Path::new(LOGS), self.logs().join("containers")),
            (&*self.source, self.source.clone()),
        ] {
            if let Ok(rest) = path.strip_prefix(known) {
                return (here, rest.to_owned());
            }
        }
        (self.root.join("host"), path.strip_prefix("/").unwrap_or(&path).to_owned())
    }
}

/// The compose project of an instance.
pub(crate) fn project_name(instance: &str) -> String {
    format!("eb-{instance}")
}

/// Where the Docker branch keeps the logs of the containers.
pub(crate) const LOGS: &str = "/var/log/eb-docker/containers";

/// Without `.` and `..`, by the letters alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// The network on which an instance finds the attached services.
fn attached_network(instance: &str) -> String {
    format!("{}_attached", project_name(instance))
}

/// Gives the services of a definition the attached ones. Most bundles leave the default network as
/// it is: then there is no second one, of which an engine has only some thirty.
fn join_attached(definition: &mut Value, layout: &Layout) -> Result<()> {
    let default = &definition["networks"]["default"];
    let is_plain = |(key, value): (&String, &Value)| key == "name" || *value == json!({});
    let is_plain = default.as_object().is_none_or(|fields| fields.iter().all(is_plain));
    let network = if is_plain { "default" } else { "attached" };
    let external = json!({"name": attached_network(&layout.instance), "external": true});
    definition["networks"][network] = external;
    for service in services(definition)?.values_mut() {
        let Some(fields) = service.as_object_mut() else { continue };
        if fields.contains_key("network_mode") {
            continue;
        }
        let networks = fields.entry("networks").or_insert_with(|| json!({"default": null}));
        if let Some(networks) = networks.as_object_mut() {
            networks.entry(network).or_insert(Value::Null);
        }
    }
    Ok(())
}

/// Makes the network of an instance and connects the attached services, before containers start
/// that look for them. Containers of the ECS branch use links instead.
pub(crate) fn connect_attached(
    engine: &Engine,
    kind: Kind,
    layout: &Layout,
    around: &Surroundings,
) -> Result<()> {
    let Some(attached) = around.attached.as_ref().filter(|_| kind == Kind::Docker) else {
        return Ok(());
    };
    let labels = [
        engine.own(),
        format!("{}.environment={}", engine.label, around.environment),
        format!("{}.instance={}", engine.label, layout.instance),
    ];
    engine.connect(&attached_network(&layout.instance), &labels, attached)
}

/// What an instance is to run.
#[derive(Debug)]
pub(crate) struct Project {
    /// The compose definition.
    pub(crate) definition: Value,
    /// The service and port of its own that traffic to the instance goes to.
    pub(crate) front: Option<(String, u16)>,
    /// Services whose end is the end of all (ECS branch).
    pub(crate) essential: Vec<String>,
    pub(crate) build: bool,
}

/// What is the same for all services of an environment.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) environment: String,
    pub(crate) properties: BTreeMap<String, String>,
    /// The port of the instance that the load balancer asks.
    pub(crate) port: u16,
    pub(crate) attached: Option<Attached>,
}

/// The containers of the attached services, by alias.
pub(crate) type Attached = BTreeMap<String, String>;

/// # Errors
///
/// Says what in the bundle cannot be run, in the words of the service where they are known.
pub(crate) fn project(
    engine: &Engine,
    kind: Kind,
    layout: &Layout,
    around: &Surroundings,
) -> Result<Project> {
    let there = |name: &str| layout.source.join(name).is_file();
    let compose = ["docker-compose.yml", "docker-compose.yaml"].into_iter().find(|it| there(it));
    let mut project = match (kind, compose) {
        (Kind::Ecs, _) => dockerrun::project(layout, around)?,
        (Kind::Docker, Some(file)) => compose::project(engine, layout, around, file)?,
        (Kind::Docker, None) => single::project(engine, layout, around)?,
    };
    if kind == Kind::Docker && around.attached.is_some() {
        join_attached(&mut project.definition, layout)?;
    }
    label(&mut project.definition, engine, layout, around)?;
    if !project.essential.is_empty() {
        project.definition["x-essential"] = json!(project.essential);
    }
    if let Some((service, port)) = &project.front {
        project.definition["x-front"] = json!({"service": service, "port": port});
    }
    Ok(project)
}

/// Every container and network says whose it is: what nobody knows any more is found and removed.
fn label(
    definition: &mut Value,
    engine: &Engine,
    layout: &Layout,
    around: &Surroundings,
) -> Result<()> {
    let labels = json!({
        engine.label.clone(): engine.owner.clone(),
        format!("{}.environment", engine.label): around.environment,
        format!("{}.instance", engine.label): layout.instance,
    });
    definition["name"] = layout.project().into();
    for part in ["services", "networks", "volumes"] {
        let Some(entries) = definition.get_mut(part).and_then(Value::as_object_mut) else {
            continue;
        };
        for (name, entry) in entries {
            if entry.is_null() {
                *entry = json!({});
            }
            if entry.get("external").is_some() {
                continue;
            }
            let entry = entry.as_object_mut().with_context(|| format!("{part} {name}"))?;
            if let Some(build) = entry.get_mut("build").and_then(Value::as_object_mut) {
                build.insert("labels".to_owned(), labels.clone());
            }
            let own = entry.entry("labels").or_insert_with(|| json!({}));
            let own = own.as_object_mut().with_context(|| format!("labels of {name}"))?;
            own.extend(labels.as_object().cloned().unwrap_or_default());
        }
    }
    Ok(())
}

/// A port of a service, on loopback with a number of the kernel's choice.
fn published(container: u16, protocol: &str) -> Value {
    json!({"target": container, "protocol": protocol, "host_ip": "127.0.0.1", "mode": "ingress"})
}

/// A file or directory of the instance in a container; what is not there yet becomes a directory,
/// as with Docker's short syntax.
fn bind(layout: &Layout, source: &str, target: &str, read_only: bool) -> Result<Value> {
    let (base, rest) = layout.place(Path::new(source));
    let here = made(&base, &rest).with_context(|| format!("can't mount {source}"))?;
    Ok(json!({
        "type": "bind", "source": here, "target": target, "read_only": read_only,
        "bind": {"create_host_path": false},
    }))
}

/// A directory below another one, step by step: a container of the version before may have left
/// links there that lead out, and docker would follow them.
fn made(base: &Path, rest: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(base)?;
    let base = base.canonicalize()?;
    let mut here = base.clone();
    for part in rest.components() {
        here.push(part);
        if std::fs::symlink_metadata(&here).is_err() {
            std::fs::create_dir(&here)?;
        }
        here = here.canonicalize()?;
        ensure!(here.starts_with(&base), "a link leads out of the instance");
    }
    Ok(here)
}

fn services(definition: &mut Value) -> Result<&mut Map<String, Value>> {
    match definition.get_mut("services").and_then(Value::as_object_mut) {
        Some(services) if !services.is_empty() => Ok(services),
        _ => bail!("there is no service in it"),
    }
}
