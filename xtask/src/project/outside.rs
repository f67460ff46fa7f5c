//! What a stack has in common with whatever else runs on this machine: files that it may write to,
//! volumes, networks and namespaces that are not its own. A trial start of such a stack is refused.
//!
//! Only the form in which compose has filled the variables in tells a volume from a directory. Its
//! values may be secrets, so messages show the text of the files instead.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every problem of a stack. `filled` is what compose makes of its files with all values, `shown`
/// what it says of the same files without them.
pub(crate) fn shared(filled: &Value, shown: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, volume) in entries(&filled["volumes"]) {
        if volume["external"] == true {
            problems.push(format!("volume {name} is external"));
        } else if !is_own_volume(volume) {
            problems.push(format!(
                "volume {name} has a driver or driver_opts by which it can hold data of others"
            ));
        }
    }
    for (name, network) in entries(&filled["networks"]) {
        if network["external"] == true {
            problems.push(format!("network {name} is external"));
        }
    }
    for (name, service) in entries(&filled["services"]) {
        let of_service = service_problems(service, &shown["services"][name]);
        problems.extend(of_service.into_iter().map(|problem| format!("service {name} {problem}")));
    }
    problems
}

/// Every file or directory of this machine that a service mounts, as [`shared`] takes them.
pub(crate) fn files(filled: &Value, shown: &Value) -> Vec<String> {
    let mut files = Vec::new();
    for (name, service) in entries(&filled["services"]) {
        let mounts = service["volumes"].as_array().into_iter().flatten();
        for mount in mounts.filter(|mount| mount["type"] == "bind") {
            let (source, target) = described(mount, &shown["services"][name]);
            files.push(format!("service {name} mounts {source}{target}"));
        }
        for kind in ["secrets", "configs"] {
            let used = service[kind].as_array().into_iter().flatten();
            let names = used.filter_map(|it| it["source"].as_str());
            let names = names.filter(|it| filled[kind][*it]["file"].is_string());
            files
                .extend(names.map(|it| format!("service {name} mounts the file of {it} ({kind})")));
        }
    }
    files
}

/// Whether a service's mount may lie outside of the stack: a file of this machine, or a source that
/// only a variable's value names.
pub(crate) fn may_be_a_file(mount: &Value) -> bool {
    let has_variable = mount["source"].as_str().is_some_and(|source| source.contains('$'));
    mount["type"] != "tmpfs" && (mount["type"] != "volume" || has_variable)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A volume in the engine's own directory, or in memory.
fn is_own_volume(volume: &Value) -> bool {
    let is_local = matches!(volume["driver"].as_str(), None | Some("" | "local"));
    let options: BTreeMap<&String, &Value> = entries(&volume["driver_opts"]).collect();
    let is_memory = options.iter().any(|(name, value)| *name == "type" && *value == "tmpfs");
    is_local && (options.is_empty() || is_memory)
}

fn service_problems(service: &Value, shown: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for mount in service["volumes"].as_array().into_iter().flatten() {
        if matches!(mount["type"].as_str(), Some("volume" | "tmpfs" | "image")) {
            continue;
        }
        let (source, target) = described(mount, shown);
        if mount["read_only"] != true {
            problems
                .push(format!("may write to {source}{target}; mount it read-only, or as a volume"));
        } else if mount["source"].as_str().is_some_and(reaches_a_socket) {
            problems.push(format!("can use a socket of this machine in {source}{target}"));
        }
    }
    for (key, what) in [
        ("network_mode", "network"),
        ("pid", "processes"),
        ("ipc", "memory"),
        ("uts", "host name"),
        ("userns_mode", "users"),
        ("cgroup", "control groups"),
    ] {
        let value = service[key].as_str().unwrap_or_default();
        if value == "host" || value.starts_with("container:") {
            problems.push(format!("uses the {what} of this machine or of a container ({key})"));
        }
    }
    for from in service["volumes_from"].as_array().into_iter().flatten() {
        if from.as_str().is_some_and(|from| from.starts_with("container:")) {
            problems.push("uses the volumes of a container that is not its own".into());
        }
    }
    for (key, what) in [
        ("devices", "devices of this machine"),
        ("external_links", "containers that are not its own"),
    ] {
        if service[key].as_array().is_some_and(|list| !list.is_empty()) {
            problems.push(format!("uses {what} ({key})"));
        }
    }
    if service["use_api_socket"] == true {
        problems.push("can use the engine's socket (use_api_socket)".into());
    }
    problems
}

/// A mount as the files have it: its source, and where it is mounted.
fn described(mount: &Value, shown: &Value) -> (String, String) {
    let same = |it: &&Value| it["target"] == mount["target"];
    let mounts = shown["volumes"].as_array();
    let Some(written) = mounts.and_then(|mounts| mounts.iter().find(same)) else {
        // Its target has a variable in it too.
        return ("a directory of this machine".into(), String::new());
    };
    let source = written["source"].as_str().unwrap_or("a directory of this machine");
    let target = written["target"].as_str().unwrap_or_default();
    (source.to_owned(), format!(" (mounted at {target})"))
}

/// A process that can connect to a socket can write, though the mount is read-only.
fn reaches_a_socket(source: &str) -> bool {
    let source = source.trim_end_matches('/');
    source.ends_with(".sock") || ["", "/run", "/var", "/var/run"].contains(&source)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn check(service: Value, expected: &expect_test::Expect) {
        let stack = json!({"services": {"db": service}});
        expected.assert_eq(&shared(&stack, &stack).join("\n"));
    }

    #[test]
    fn what_is_the_stacks_own_is_no_problem() {
        let own = json!({
            "services": {"db": {
                "network_mode": "service:app", "pid": "service:app", "volumes_from": ["app"],
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/data"},
                    {"type": "tmpfs", "target": "/tmp"},
                    {"type": "bind", "source": "/p/conf", "target": "/conf", "read_only": true},
                ],
            }},
            "volumes": {"data": null, "ram": {"driver": "local", "driver_opts": {"type": "tmpfs"}}},
            "networks": {"default": {"driver": "bridge"}},
        });
        assert_eq!(shared(&own, &own), [""; 0]);
    }

    /// The literal path, and the same behind a variable, whose value is not shown.
    #[test]
    fn a_directory_behind_a_variable_is_one() {
        let mount = |source| json!([{"type": "bind", "source": source, "target": "/data"}]);
        let filled = json!({"services": {"db": {"volumes": mount("/srv/hunter2")}}});
        let shown = json!({"services": {"db": {
            "volumes": [{"type": "volume", "source": "${DB_DATA_LOCATION}", "target": "/data"}],
        }}});
        expect![
            "service db may write to ${DB_DATA_LOCATION} (mounted at /data); mount it read-only, \
             or as a volume"
        ]
        .assert_eq(&shared(&filled, &shown).join("\n"));
        let shown = json!({"services": {"db": {
            "volumes": [{"type": "volume", "source": "${A}", "target": "${B}"}],
        }}});
        expect![
            "service db may write to a directory of this machine; mount it read-only, or as a volume"
        ]
        .assert_eq(&shared(&filled, &shown).join("\n"));
    }

    #[test]
    fn a_volume_by_another_way_to_the_same_data_is_named() {
        let stack = json!({"volumes": {
            "bound": {"driver_opts": {"type": "none", "o": "bind", "device": "/srv/data"}},
            "far": {"driver": "rexray"},
            "given": {"external": true, "name": "prod_data"},
            "nfs": {"driver": "local", "driver_opts": {"type": "nfs", "device": ":/exports"}},
        }, "networks": {"shared": {"external": true}}});
        expect![[r"
            volume bound has a driver or driver_opts by which it can hold data of others
            volume far has a driver or driver_opts by which it can hold data of others
            volume given is external
            volume nfs has a driver or driver_opts by which it can hold data of others
            network shared is external"]]
        .assert_eq(&shared(&stack, &stack).join("\n"));
    }

    #[test]
    fn every_file_that_a_service_mounts_is_named() {
        let stack = json!({
            "services": {"db": {
                "volumes": [
                    {"type": "volume", "source": "data", "target": "/data"},
                    {"type": "bind", "source": "./conf", "target": "/conf", "read_only": true},
                ],
                "secrets": [{"source": "key"}, {"source": "given"}],
            }},
            "secrets": {"key": {"file": "/p/key"}, "given": {"environment": "KEY"}},
        });
        expect![[r"
            service db mounts ./conf (mounted at /conf)
            service db mounts the file of key (secrets)"]]
        .assert_eq(&files(&stack, &stack).join("\n"));
    }

    #[test]
    fn namespaces_sockets_and_containers_of_others_are_named() {
        check(
            json!({
                "network_mode": "container:prod-db-1", "pid": "host", "ipc": "container:x",
                "volumes_from": ["container:prod-db-1:ro"], "devices": [{"source": "/dev/sdb"}],
                "external_links": ["prod-db-1"],
                "volumes": [{
                    "type": "bind", "read_only": true, "source": "/run/docker.sock",
                    "target": "/engine",
                }],
            }),
            &expect![[r"
                service db can use a socket of this machine in /run/docker.sock (mounted at /engine)
                service db uses the network of this machine or of a container (network_mode)
                service db uses the processes of this machine or of a container (pid)
                service db uses the memory of this machine or of a container (ipc)
                service db uses the volumes of a container that is not its own
                service db uses devices of this machine (devices)
                service db uses containers that are not its own (external_links)"]],
        );
    }
}
