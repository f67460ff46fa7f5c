//! The ECS branch: a Dockerrun file of version 2, in the words of a task definition.
//!
//! Its containers are on Docker's own bridge, where names come from links only, so they have to be
//! written down and may not go round in a circle. Properties reach every container by themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::forms::is_empty;
use super::quantity::{self, mebibytes, seconds};
use super::service::{Health, Service};
use super::variables::Given;
use super::{Input, Problems, object};
use crate::project::hints::Lossy;

pub(super) fn definition(
    input: &Input<'_>,
    services: &[Service<'_>],
    problems: &mut Problems<'_>,
) -> Value {
    let mut volumes = BTreeMap::new();
    let mut containers = Vec::new();
    for service in services {
        let others = Others { services, service };
        for volume in service.mounts.iter().filter_map(|mount| mount.volume.as_deref()) {
            let words = "a volume becomes a directory of the instance, empty at first, and lives \
                         no longer than that";
            service.lossy(Lossy::Volumes, "volumes", words, problems);
            let path = format!("/var/lib/{}/{volume}", input.stack.name);
            volumes.insert(volume, json!({"name": volume, "host": {"sourcePath": path}}));
        }
        containers.push(others.container(problems));
    }
    if services.iter().all(|service| service.once) && !services.is_empty() {
        problems.list.push("every service ends by itself, and ECS needs one that goes on".into());
    }
    circles(services, problems);
    json!({
        "AWSEBDockerrunVersion": 2,
        "containerDefinitions": containers,
        "volumes": volumes.into_values().collect::<Vec<_>>(),
    })
}

/// A service among the others.
struct Others<'s, 'i> {
    services: &'s [Service<'i>],
    service: &'s Service<'i>,
}

impl Others<'_, '_> {
    fn container(&self, problems: &mut Problems<'_>) -> Value {
        let service = self.service;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        if service.name.len() > 255 || !service.name.chars().all(plain) {
            let words = "ECS takes letters, digits, _ and - in the name of a container";
            problems.at(&format!("services.{}", service.name), words);
        }
        if !service.networks.is_empty() {
            let words = "ECS has one network for all containers, where names come from `links`";
            problems.add(service.name, "networks", words);
        }
        let literal = |(name, given): (&String, &Given)| match given {
            Given::Literal(value) => Some(json!({"name": name, "value": value})),
            Given::Property { .. } => None,
        };
        let port = |port: &crate::project::hints::Port| {
            json!({
                "hostPort": port.host, "containerPort": port.container, "protocol": port.protocol,
            })
        };
        let link = |(name, alias): &(String, String)| match name == alias {
            true => name.clone(),
            false => format!("{name}:{alias}"),
        };
        let mount = |mount: &super::service::Mount| {
            Some(json!({
                "sourceVolume": mount.volume.as_ref()?, "containerPath": mount.target,
                "readOnly": mount.read_only,
            }))
        };
        let mut fields = object([
            ("dependsOn", self.dependencies(problems)),
            ("environment", service.environment.iter().filter_map(literal).collect()),
            ("healthCheck", self.health(problems)),
            ("links", service.links.iter().map(link).collect()),
            ("linuxParameters", Value::Object(self.linux(problems))),
            ("mountPoints", service.mounts.iter().filter_map(mount).collect()),
            ("portMappings", service.ports.iter().map(port).collect()),
        ]);
        fields.insert("name".to_owned(), service.name.into());
        fields.insert("image".to_owned(), service.image.into());
        fields.insert("essential".to_owned(), (!service.once).into());
        for (key, value) in &service.keys {
            match self.key(key, value, problems) {
                Ok(Some((name, value))) => drop(fields.insert(name.to_owned(), value)),
                Ok(None) => {}
                Err(words) => problems.add(service.name, key, words),
            }
        }
        self.memory(&mut fields, problems);
        Value::Object(fields)
    }

    /// A key of compose as one of a container definition.
    fn key(
        &self,
        key: &str,
        value: &Value,
        problems: &mut Problems<'_>,
    ) -> Result<Option<(&'static str, Value)>, String> {
        let name = match key {
            "command" => "command",
            "entrypoint" if is_empty(value) => {
                return Err("ECS can't take an image's entrypoint away".into());
            }
            "entrypoint" => "entryPoint",
            "cpu_shares" => "cpu",
            "dns" => "dnsServers",
            "dns_search" => "dnsSearchDomains",
            "hostname" => "hostname",
            "labels" => "dockerLabels",
            "privileged" => "privileged",
            "read_only" => "readonlyRootFilesystem",
            "security_opt" => "dockerSecurityOptions",
            "stdin_open" => "interactive",
            "tty" => "pseudoTerminal",
            "user" => "user",
            "working_dir" => "workingDirectory",
            "cpus" => {
                let words = "a quota becomes a share on the ECS branch";
                self.service.lossy(Lossy::Cpus, key, words, problems);
                let cpus: f64 = value.as_str().and_then(|it| it.parse().ok()).unwrap_or_default();
                if !(0.01..=1024.0).contains(&cpus) {
                    return Err(format!("{value} is no number of processors"));
                }
                return Ok(Some(("cpu", ((cpus * 1024.0).round() as u64).into())));
            }
            "restart" if value == "no" => return Ok(None),
            "restart" => {
                let words = "ECS does not start a container again, it starts the whole task again \
                             when one ends that is not `once`";
                self.service.lossy(Lossy::Restart, key, words, problems);
                return Ok(None);
            }
            "stop_grace_period" => {
                let duration = quantity::duration(value)?;
                return Ok(Some(("stopTimeout", seconds(duration, 2, 86_400)?.into())));
            }
            "mem_limit" | "mem_reservation" => {
                let name = if key == "mem_limit" { "memory" } else { "memoryReservation" };
                return Ok(Some((name, mebibytes(value.as_u64().unwrap_or_default())?.into())));
            }
            "extra_hosts" => return Ok(Some(("extraHosts", hosts(value)?))),
            "ulimits" => return Ok(Some(("ulimits", limits(value)))),
            "sysctls" => return Ok(Some(("systemControls", controls(value)))),
            "logging" => {
                let logging = object([
                    ("logDriver", value["driver"].clone()),
                    ("options", value["options"].clone()),
                ]);
                return Ok(Some(("logConfiguration", Value::Object(logging))));
            }
            // Links open every port, and these are of `linuxParameters`.
            "expose" | "cap_add" | "cap_drop" | "init" | "shm_size" => return Ok(None),
            _ => return Err("the ECS branch has nothing like it".into()),
        };
        Ok(Some((name, value.clone())))
    }

    /// Every container needs a limit or a reservation.
    fn memory(&self, fields: &mut Map<String, Value>, problems: &mut Problems<'_>) {
        if let Some(memory) = self.service.hints.memory_mb
            && !fields.contains_key("memory")
        {
            fields.insert("memory".to_owned(), memory.into());
        }
        let given = |key: &str| fields.get(key).and_then(Value::as_u64);
        let wrong = match (given("memory"), given("memoryReservation")) {
            // What is wrong with it is said.
            (None, None) if self.service.keys.contains_key("mem_limit") => return,
            (None, None) => {
                "the ECS branch needs a limit of memory; say one with `mem_limit`, or with \
                 `x-stevedore: {bundle: {memory_mb: 256}}`"
            }
            (Some(0..6), _) | (_, Some(0..6)) => "ECS gives a container 6 MiB at least",
            (Some(limit), Some(reserved)) if reserved > limit => "more is reserved than the limit",
            _ => return,
        };
        problems.add(self.service.name, "mem_limit", wrong);
    }

    fn linux(&self, problems: &mut Problems<'_>) -> Map<String, Value> {
        let service = self.service;
        let key = |name: &str| service.keys.get(name).cloned().unwrap_or_default();
        let capabilities = object([("add", key("cap_add")), ("drop", key("cap_drop"))]);
        let shared = match service.keys.get("shm_size").and_then(Value::as_u64).map(mebibytes) {
            Some(Ok(size)) => size.into(),
            Some(Err(words)) => {
                problems.add(service.name, "shm_size", words);
                Value::Null
            }
            None => Value::Null,
        };
        let mut memory = Vec::new();
        for mount in service.mounts.iter().filter(|mount| mount.volume.is_none()) {
            let size = mount.size.ok_or_else(|| "ECS needs its size".to_owned());
            match size.and_then(mebibytes) {
                Ok(size) => {
                    let options = if mount.read_only { vec!["ro"] } else { Vec::new() };
                    memory.push(json!({
                        "containerPath": mount.target, "size": size, "mountOptions": options,
                    }));
                }
                Err(words) => {
                    let words = format!("of the memory at {}: {words}", mount.target);
                    problems.add(service.name, "tmpfs", words);
                }
            }
        }
        object([
            ("capabilities", Value::Object(capabilities)),
            ("initProcessEnabled", key("init")),
            ("sharedMemorySize", shared),
            ("tmpfs", memory.into()),
        ])
    }

    fn dependencies(&self, problems: &mut Problems<'_>) -> Value {
        let mut dependencies = Vec::new();
        for (name, dependency) in &self.service.depends_on {
            let Some(other) = self.services.iter().find(|other| other.name == *name) else {
                continue;
            };
            let key = format!("depends_on.{name}");
            let linked = self.service.links.iter().any(|(to, _)| to == name);
            if !other.once && !linked {
                let words = format!(
                    "without a link it can't find {name} on the ECS branch; add `links: [{name}]`"
                );
                problems.add(self.service.name, &key, words);
            }
            // With the end of one that goes on the whole task is started again: `restart` is so.
            let condition = match dependency.condition.as_str() {
                "service_started" => "START",
                "service_healthy" => "HEALTHY",
                "service_completed_successfully" => "SUCCESS",
                _ => {
                    problems.add(self.service.name, &key, "ECS knows no such condition");
                    continue;
                }
            };
            let checked = other.healthcheck.as_ref().is_some_and(|health| !health.test.is_empty());
            if condition == "HEALTHY" && !checked {
                let words =
                    format!("ECS sees health checks of the compose file only; give {name} one");
                problems.add(self.service.name, &key, words);
            }
            dependencies.push(json!({"containerName": name, "condition": condition}));
        }
        dependencies.into()
    }

    fn health(&self, problems: &mut Problems<'_>) -> Value {
        let Some(health) = &self.service.healthcheck else { return Value::Null };
        let service = self.service.name;
        if health.disable {
            problems.add(service, "healthcheck", "ECS can't take an image's health check away");
            return Value::Null;
        }
        if health.test.is_empty() {
            problems.add(service, "healthcheck", "ECS does not see the image's test; say it here");
            return Value::Null;
        }
        let Health { interval, timeout, retries, start_period, start_interval, .. } = health;
        if start_interval.is_some() {
            let words = "ECS asks at one pace from the beginning";
            let key = "healthcheck.start_interval";
            self.service.lossy(Lossy::StartInterval, key, words, problems);
        }
        let second = std::time::Duration::from_secs;
        let mut within = |key: &str, given: &Option<_>, default, least, most| {
            seconds(given.unwrap_or(second(default)), least, most).unwrap_or_else(|words| {
                problems.add(service, &format!("healthcheck.{key}"), words);
                0
            })
        };
        // Compose's own defaults where nothing is said: ECS has others.
        let (interval, timeout, start_period) = (
            within("interval", interval, 30, 5, 300),
            within("timeout", timeout, 30, 2, 60),
            within("start_period", start_period, 0, 0, 300),
        );
        let retries = retries.unwrap_or(3);
        if !(1..=10).contains(&retries) {
            problems.add(service, "healthcheck.retries", "ECS tries 1 to 10 times");
        }
        json!({
            "command": health.test, "interval": interval, "timeout": timeout, "retries": retries,
            "startPeriod": start_period,
        })
    }
}

fn hosts(value: &Value) -> Result<Value, String> {
    let mut hosts = Vec::new();
    for host in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (name, address) = host.split_once('=').unwrap_or((host, ""));
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("{host}: ECS takes addresses only"));
        }
        hosts.push(json!({"hostname": name, "ipAddress": address}));
    }
    Ok(hosts.into())
}

fn limits(value: &Value) -> Value {
    let limits = value.as_object().into_iter().flatten();
    let limit = |(name, limit): (&String, &Value)| json!({"name": name, "softLimit": limit["soft"], "hardLimit": limit["hard"]});
    limits.map(limit).collect()
}

fn controls(value: &Value) -> Value {
    let controls = value.as_object().into_iter().flatten();
    controls.map(|(name, value)| json!({"namespace": name, "value": value})).collect()
}

/// A container is started after those that it links to or depends on.
fn circles(services: &[Service<'_>], problems: &mut Problems<'_>) {
    let waits_for = |service: &Service<'_>, name: &str| {
        service.depends_on.contains_key(name) || service.links.iter().any(|(to, _)| to == name)
    };
    let mut left: Vec<&Service<'_>> = services.iter().collect();
    loop {
        let waiting: Vec<&Service<'_>> = left
            .iter()
            .copied()
            .filter(|service| left.iter().any(|other| waits_for(service, other.name)))
            .collect();
        if waiting.is_empty() {
            return;
        }
        if waiting.len() == left.len() {
            let names: Vec<&str> = waiting.iter().map(|service| service.name).collect();
            let names = names.join(", ");
            let words = format!("the links and dependencies of {names} go round in a circle");
            problems.add(waiting[0].name, "links", words);
            return;
        }
        left = waiting;
    }
}
