//! A service that goes into a bundle, with every key in one form whatever way it was written: so a
//! bundle has the same bytes with every version of compose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::forms::{hosts, is_empty, limits, list, mapping, text, words};
use super::variables::{self, Given};
use super::{Input, Problems, quantity};
use crate::project::hints::{Hints, Lossy, Port};

pub(super) struct Service<'i> {
    pub(super) name: &'i str,
    /// By digest.
    pub(super) image: &'i str,
    pub(super) once: bool,
    pub(super) hints: &'i Hints,
    pub(super) ports: &'i [Port],
    pub(super) environment: BTreeMap<String, Given>,
    /// Other services of the bundle only.
    pub(super) depends_on: BTreeMap<String, Dependency>,
    /// Other services of the bundle, each with the name by which it is known.
    pub(super) links: BTreeSet<(String, String)>,
    pub(super) healthcheck: Option<Health>,
    pub(super) mounts: Vec<Mount>,
    /// Network -> what is said of it; empty for the default network alone.
    pub(super) networks: Map<String, Value>,
    /// Every other key of compose.
    pub(super) keys: BTreeMap<String, Value>,
}

pub(super) struct Dependency {
    pub(super) condition: String,
    pub(super) restart: bool,
}

#[derive(Default)]
pub(super) struct Health {
    pub(super) disable: bool,
    pub(super) test: Vec<String>,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: Option<u64>,
    pub(super) start_period: Option<Duration>,
    pub(super) start_interval: Option<Duration>,
}

pub(super) struct Mount {
    /// A volume's name; `None` for memory.
    pub(super) volume: Option<String>,
    pub(super) target: String,
    pub(super) read_only: bool,
    /// Of memory, in bytes.
    pub(super) size: Option<u64>,
}

/// Keys that are taken over as they are.
const PLAIN: &[&str] = &[
    "cap_add",
    "cap_drop",
    "cpu_shares",
    "domainname",
    "hostname",
    "init",
    "logging",
    "oom_score_adj",
    "pids_limit",
    "privileged",
    "read_only",
    "restart",
    "security_opt",
    "stdin_open",
    "stop_signal",
    "tty",
    "user",
    "working_dir",
];

/// Keys that are about building and starting on this machine.
const OF_THIS_MACHINE: &[&str] =
    &["attach", "build", "develop", "image", "platform", "ports", "profiles", "pull_policy"];

/// Keys that are refused, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("configs", "a bundle has no files of this machine; take the file into the image"),
    ("container_name", "Elastic Beanstalk names containers itself; remove it"),
    ("env_file", "a bundle has no files of this machine; name the variables in `environment`"),
    ("network_mode", "a service of a bundle is on the bundle's own networks; remove it"),
    ("secrets", "a bundle has no files of this machine; give the value in `environment`"),
];

/// The services that go into the bundle, by name.
pub(super) fn read<'i>(input: &Input<'i>, problems: &mut Problems<'_>) -> Vec<Service<'i>> {
    let inside = input.stack.services.iter().filter(|(_, service)| !service.facts.attached);
    inside.map(|(name, _)| read_one(input, name, problems)).collect()
}

fn read_one<'i>(input: &Input<'i>, name: &'i str, problems: &mut Problems<'_>) -> Service<'i> {
    let facts = &input.stack.services[name].facts;
    let fields = input.merged["services"][name].as_object();
    let mut service = Service {
        name,
        image: input.images.get(name).map_or("", String::as_str),
        once: facts.once,
        hints: &facts.bundle,
        ports: facts.bundle.ports.as_deref().unwrap_or_default(),
        environment: BTreeMap::new(),
        depends_on: BTreeMap::new(),
        links: BTreeSet::new(),
        healthcheck: None,
        mounts: Vec::new(),
        networks: Map::new(),
        keys: BTreeMap::new(),
    };
    if service.image.is_empty() {
        let words = "it is no image of the release, and no digest names it; build it in \
                     docker/IMAGE, or name it IMAGE@sha256:…";
        problems.add(name, "image", words);
    }
    for (key, value) in fields.into_iter().flatten() {
        if key == "environment" {
            service.environment = variables::environment(input, name, value, problems);
        } else if key == "ports" && facts.bundle.ports.is_none() && !is_empty(value) {
            let words = "they are about this machine; say what it publishes on an instance with \
                         `x-stevedore: {bundle: {ports: [\"80:80\"]}}`";
            problems.add(name, key, words);
        } else if !OF_THIS_MACHINE.contains(&key.as_str()) && !key.starts_with("x-") {
            let value = variables::filled(input, name, key, value, problems);
            if let Err(words) = service.take(input, key, value) {
                problems.add(name, &words.key, words.words);
            }
        }
    }
    service
}

/// What is wrong with a key.
struct Wrong {
    key: String,
    words: String,
}

impl Service<'_> {
    /// Takes a key over.
    fn take(&mut self, input: &Input<'_>, key: &str, value: Value) -> Result<(), Wrong> {
        let wrong = |words: String| Wrong { key: key.to_owned(), words };
        if is_empty(&value) && !["command", "entrypoint"].contains(&key) {
            return Ok(());
        }
        let value = match key {
            "command" | "entrypoint" if value.is_null() => return Ok(()),
            "command" | "entrypoint" => words(&value).map_err(wrong)?,
            "depends_on" => return self.depend(input, &value).map_err(wrong),
            "links" => return self.link(input, &value).map_err(wrong),
            "healthcheck" => return self.check(&value),
            "volumes" => return self.mount(&value).map_err(wrong),
            "networks" => {
                let default = value.as_object().is_some_and(|networks| {
                    networks.iter().all(|(name, value)| name == "default" && value.is_null())
                });
                if !default {
                    self.networks = value.as_object().cloned().unwrap_or_default();
                }
                return Ok(());
            }
            "deploy" => return self.deploy(&value),
            "tmpfs" => return self.memory(&value).map_err(wrong),
            "labels" | "sysctls" => mapping(&value),
            "dns" | "dns_opt" | "dns_search" | "expose" | "group_add" => list(&value),
            "extra_hosts" => hosts(&value),
            "ulimits" => limits(&value),
            "mem_limit" | "mem_reservation" | "shm_size" => {
                quantity::bytes(&value).map_err(wrong)?.into()
            }
            "cpus" => text(&value).into(),
            "stop_grace_period" => {
                quantity::duration_text(quantity::duration(&value).map_err(wrong)?).into()
            }
            plain if PLAIN.contains(&plain) => value,
            other => {
                let known = REFUSED.iter().find(|(refused, _)| *refused == other);
                let words = known.map_or("it can't be carried into a bundle", |(_, words)| words);
                return Err(wrong(words.to_owned()));
            }
        };
        self.keys.insert(key.to_owned(), value);
        Ok(())
    }

    fn depend(&mut self, input: &Input<'_>, value: &Value) -> Result<(), String> {
        let names: Vec<(String, Value)> = match value {
            Value::Object(fields) => fields.clone().into_iter().collect(),
            other => list(other)
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| (text(it), json!({})))
                .collect(),
        };
        for (name, value) in names {
            if !inside(input, &name, value["required"] == false)? {
                continue;
            }
            let condition = value["condition"].as_str().unwrap_or("service_started").to_owned();
            let restart = value["restart"] == true;
            self.depends_on.insert(name, Dependency { condition, restart });
        }
        Ok(())
    }

    fn link(&mut self, input: &Input<'_>, value: &Value) -> Result<(), String> {
        for link in list(value).as_array().into_iter().flatten() {
            let link = text(link);
            let (name, alias) = link.split_once(':').unwrap_or((&link, &link));
            if inside(input, name, false)? {
                self.links.insert((name.to_owned(), alias.to_owned()));
            }
        }
        Ok(())
    }

    fn check(&mut self, value: &Value) -> Result<(), Wrong> {
        let mut health = Health { disable: value["disable"] == true, ..Health::default() };
        for (key, value) in value.as_object().into_iter().flatten() {
            let wrong = |words: String| Wrong { key: format!("healthcheck.{key}"), words };
            let duration = || quantity::duration(value).map(Some).map_err(wrong);
            match key.as_str() {
                "disable" => {}
                "test" if value.is_string() => {
                    health.test = vec!["CMD-SHELL".into(), text(value)];
                }
                "test" => {
                    health.test = value.as_array().into_iter().flatten().map(text).collect();
                    health.disable |= health.test.first().is_some_and(|first| first == "NONE");
                }
                "interval" => health.interval = duration()?,
                "timeout" => health.timeout = duration()?,
                "start_period" => health.start_period = duration()?,
                "start_interval" => health.start_interval = duration()?,
                "retries" => {
                    let number = text(value).parse();
                    health.retries =
                        Some(number.map_err(|_| wrong(format!("{value} is no number")))?);
                }
                _ => return Err(wrong("it can't be carried into a bundle".into())),
            }
        }
        self.healthcheck = Some(health);
        Ok(())
    }

    fn mount(&mut self, value: &Value) -> Result<(), String> {
        for mount in value.as_array().into_iter().flatten() {
            let target = mount["target"].as_str().unwrap_or_default().to_owned();
            let (source, read_only) = (mount["source"].as_str(), mount["read_only"] == true);
            let kind = mount["type"].as_str().unwrap_or_default();
            if kind == "bind" {
                return Err(format!(
                    "{} is a file of this machine; take it into the image, or use a volume",
                    source.unwrap_or_default()
                ));
            }
            let plain = |name: &str| {
                let inner = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
                name.starts_with(|it: char| it.is_ascii_alphanumeric()) && name.chars().all(inner)
            };
            let known = ["type", "source", "target", "read_only", "volume", "tmpfs"];
            let more = mount.as_object().into_iter().flatten();
            let more =
                more.filter(|(key, value)| !known.contains(&key.as_str()) && !is_empty(value));
            let options = mount["volume"].as_object().is_some_and(|options| !options.is_empty());
            if more.count() > 0 || options || !target.starts_with('/') {
                return Err(format!("the mount {mount} can't be carried into a bundle"));
            }
            let size = &mount["tmpfs"]["size"];
            let size = (!size.is_null()).then(|| quantity::bytes(size)).transpose()?;
            let volume = match (kind, source) {
                ("tmpfs", None) => None,
                ("volume", Some(source)) if plain(source) => Some(source.to_owned()),
                ("volume", None) => return Err(format!("the volume at {target} needs a name")),
                _ => return Err(format!("the mount {mount} can't be carried into a bundle")),
            };
            self.mounts.push(Mount { volume, target, read_only, size });
        }
        Ok(())
    }

    /// `tmpfs: /run:size=64m` is a mount like others.
    fn memory(&mut self, value: &Value) -> Result<(), String> {
        for mount in list(value).as_array().into_iter().flatten() {
            let mount = text(mount);
            let (target, options) = mount.split_once(':').unwrap_or((&mount, ""));
            let size = match options.strip_prefix("size=") {
                Some(size) => Some(quantity::bytes(&json!(size))?),
                None if options.is_empty() => None,
                None => {
                    return Err(format!("of {mount}, only a size can be carried into a bundle"));
                }
            };
            let target = target.to_owned();
            self.mounts.push(Mount { volume: None, target, read_only: false, size });
        }
        Ok(())
    }

    /// Limits have keys of their own; the rest is about swarms.
    fn deploy(&mut self, value: &Value) -> Result<(), Wrong> {
        let wrong = |key: String, words: String| Wrong { key: format!("deploy.{key}"), words };
        let refused = "it can't be carried into a bundle";
        for (key, value) in value.as_object().into_iter().flatten() {
            match key.as_str() {
                "replicas" if *value == json!(1) => {}
                "replicas" => {
                    let words = "an instance runs one of each service; let Elastic Beanstalk run \
                                 more instances";
                    return Err(wrong(key.clone(), words.into()));
                }
                "resources" | "placement" if is_empty(value) => {}
                "resources" => {}
                _ => return Err(wrong(key.clone(), refused.into())),
            }
        }
        for (kind, limits) in value["resources"].as_object().into_iter().flatten() {
            for (key, value) in limits.as_object().into_iter().flatten() {
                let path = format!("resources.{kind}.{key}");
                let (name, value) = match (kind.as_str(), key.as_str()) {
                    ("limits", "cpus") => ("cpus", text(value).into()),
                    ("limits", "pids") => ("pids_limit", value.clone()),
                    ("limits" | "reservations", "memory") => {
                        let bytes = quantity::bytes(value);
                        let name = if kind == "limits" { "mem_limit" } else { "mem_reservation" };
                        (name, bytes.map_err(|words| wrong(path, words))?.into())
                    }
                    _ => return Err(wrong(path, refused.into())),
                };
                self.keys.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Adds a problem unless the loss is accepted.
    pub(super) fn lossy(&self, loss: Lossy, key: &str, words: &str, problems: &mut Problems<'_>) {
        if !self.hints.lossy.contains(&loss) {
            let hint = match loss {
                Lossy::Cpus => "cpus",
                Lossy::Restart => "restart",
                Lossy::StartInterval => "start_interval",
                Lossy::Volumes => "volumes",
            };
            let words =
                format!("{words}; accept it with `x-stevedore: {{bundle: {{lossy: [{hint}]}}}}`");
            problems.add(self.name, key, words);
        }
    }
}

/// Whether a service that another one names is in the bundle; an attached one is there before.
fn inside(input: &Input<'_>, name: &str, optional: bool) -> Result<bool, String> {
    match input.stack.services.get(name) {
        Some(service) => Ok(!service.facts.attached),
        None if optional => Ok(false),
        None => Err(format!("{name} is no service that is started")),
    }
}
