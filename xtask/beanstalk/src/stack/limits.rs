//! What a service of a compose file may ask for: a container of its own, and nothing of the
//! machine.
//!
//! On an instance of the service all of it would be allowed, because nobody else is there. These
//! are lists of what is allowed and not of what is refused, because compose learns new words.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value};

const ALLOWED: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "depends_on",
    "deploy",
    "develop",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extra_hosts",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "volumes",
    "volumes_from",
    "working_dir",
];

const BUILD: &[&str] = &[
    "additional_contexts",
    "args",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "extra_hosts",
    "labels",
    "no_cache",
    "platforms",
    "pull",
    "shm_size",
    "target",
];

/// Those that Docker gives by itself, and some that reach no further than the container.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_PTRACE",
];

/// Containers of one instance.
const MOST_CONTAINERS: u64 = 50;

/// Returns how many containers it is.
///
/// # Errors
///
/// Names the service and the key that asks for too much.
pub(super) fn service(name: &str, fields: &Map<String, Value>, source: &Path) -> Result<u64> {
    let said = |value: &Value| *value != Value::Bool(false) && !value.is_null() && !empty(value);
    for (key, value) in fields.iter().filter(|(_, value)| said(value)) {
        let allowed = ALLOWED.contains(&key.as_str()) || key.starts_with("x-");
        let within = match key.as_str() {
            "network_mode" if value == "host" => {
                bail!("service {name} asks for the network of the host, which is this machine here")
            }
            "network_mode" => value == "bridge" || value == "none" || of_service(value),
            "ipc" => value == "private" || value == "shareable" || of_service(value),
            "pid" => of_service(value),
            "cap_add" => each(value, |it| {
                CAPABILITIES.contains(&it.to_uppercase().trim_start_matches("CAP_"))
            }),
            "security_opt" => each(value, |it| it.starts_with("no-new-privileges")),
            "volumes_from" => each(value, |it| !it.starts_with("container:")),
            "deploy" => value["resources"]["reservations"]["devices"].is_null(),
            _ => true,
        };
        ensure!(
            allowed && within,
            "service {name} asks for {key}, which a local instance does not give"
        );
    }
    if let Some(build) = fields.get("build") {
        built(name, build, source)?;
    }
    let replicas = fields.get("deploy").map(|it| &it["replicas"]);
    let count = [fields.get("scale"), replicas].into_iter().flatten().filter_map(Value::as_u64);
    Ok(count.max().unwrap_or(1))
}

/// # Errors
///
/// When an instance has more than a machine can bear.
pub(super) fn containers(count: u64) -> Result<()> {
    ensure!(count <= MOST_CONTAINERS, "it has {count} containers, {MOST_CONTAINERS} are allowed");
    Ok(())
}

/// # Errors
///
/// When a network or a volume is one of the machine.
pub(super) fn driver(part: &str, name: &str, entry: &Value) -> Result<()> {
    let own = match part {
        "networks" => "bridge",
        _ => "local",
    };
    if let Some(driver) = entry["driver"].as_str().filter(|driver| *driver != own) {
        bail!("{part} {name} asks for the driver {driver}, which a local instance does not give");
    }
    let options = &entry["driver_opts"];
    if !options["device"].is_null() || !options["com.docker.network.bridge.name"].is_null() {
        bail!("{part} {name} is a device of this machine");
    }
    Ok(())
}

/// Its parts are read on this machine, and some write to it.
fn built(name: &str, build: &Value, source: &Path) -> Result<()> {
    let inside = |path: &Path| super::plain(path).starts_with(source);
    for (key, value) in build.as_object().into_iter().flatten().filter(|(_, it)| !empty(it)) {
        let plain = key == "network" && (value == "default" || value == "none");
        ensure!(
            plain || value.is_null() || BUILD.contains(&key.as_str()),
            "service {name} asks for build {key}, which a local instance does not give"
        );
    }
    let context = Path::new(build["context"].as_str().unwrap_or_default());
    ensure!(
        inside(context),
        "service {name} is built from {}, outside the bundle",
        context.display()
    );
    let dockerfile = build["dockerfile"].as_str().unwrap_or_default();
    let mut files = vec![context.join(dockerfile)];
    let more = build["additional_contexts"].as_object().into_iter().flatten();
    let more = more.filter_map(|(_, it)| it.as_str());
    let afar = |it: &&str| it.contains("://") || it.starts_with("service:");
    files.extend(more.filter(|it| !afar(it)).map(|it| source.join(it)));
    match files.iter().find(|it| !inside(it)) {
        Some(file) => bail!("service {name} is built from {}, outside the bundle", file.display()),
        None => Ok(()),
    }
}

fn of_service(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("service:"))
}

fn each(value: &Value, allowed: impl Fn(&str) -> bool) -> bool {
    let mut list = value.as_array().into_iter().flatten();
    list.all(|it| it.as_str().is_some_and(&allowed))
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
