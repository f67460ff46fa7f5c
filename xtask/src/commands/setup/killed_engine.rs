//! What a Docker engine that was killed leaves in the kernel and on the disk.
//!
//! Its containers die with it, but their networks stay. They still answer on Docker's own bridge,
//! at the addresses that the next engine gives to its containers, and refuse every connection: now
//! and then a container cannot be reached, and nothing says why. An engine that starts again with
//! its old directory removes what it knows of; one with a new directory knows of nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::mount::{UnmountFlags, unmount};

use crate::ctx::{Ctx, QUESTION};
use crate::tools::ip::{self, Link};

/// How the directories of our own engines begin.
pub(crate) const OWN_ENGINE: &str = "stevedore-ci-";
pub(crate) const SECOND_ENGINE: &str = "stevedore-second-";

/// Removes it, where no engine and no container runs. What cannot be removed stays.
pub(crate) fn remove(ctx: &Ctx) -> Result<()> {
    let programs = programs();
    for directory in directories() {
        let name = directory.to_string_lossy();
        if programs.iter().any(|program| program.command.contains(&*name)) {
            continue;
        }
        ctx.say(format_args!("removing {name}, which a killed engine left"));
        unmount_below(&directory);
        let _ = std::fs::remove_dir_all(&directory);
    }
    let in_use = programs.iter().any(|it| it.is_in_our_network && it.has_containers());
    if in_use || !sees_all_processes() || which::which("ip").is_err() {
        return Ok(());
    }
    let answer = ctx.ask(ip::links(&ctx.sh), QUESTION)?;
    let left = interfaces(&ip::parse_links(&answer.stdout).unwrap_or_default());
    if !left.is_empty() {
        let count = left.len();
        ctx.say(format_args!(
            "removing {count} network interfaces of a Docker engine that no longer runs"
        ));
    }
    for name in left {
        // The second end of a pair went with the first.
        ctx.ask(ip::delete_link(&ctx.sh, &name), QUESTION)?;
    }
    Ok(())
}

/// Unmounts what is mounted below a directory, and the directory itself.
pub(crate) fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The newest first: it may be mounted inside an older one.
    for place in mount_points(&mounts).iter().rev().filter(|place| place.starts_with(directory)) {
        let _ = unmount(place, UnmountFlags::DETACH);
    }
}

/// The fifth field of each line (proc_pid_mountinfo(5)), where spaces are written as `\040`.
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(|field| PathBuf::from(OsString::from_vec(without_octal(field)))).collect()
}

fn without_octal(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(digits, 8));
        bytes.extend(rest.as_bytes());
    }
    bytes
}

/// Docker's own bridge belongs to the engine that starts; its ports and the bridges of other
/// networks belonged to the one before. An engine makes those again that it has a network for.
fn interfaces(links: &[Link]) -> Vec<String> {
    let is_of_a_network = |name: &str| {
        let id = name.strip_prefix("br-").unwrap_or_default();
        id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_left = |link: &&Link| {
        let master = link.master.as_deref().unwrap_or_default();
        is_of_a_network(&link.ifname) || is_of_a_network(master) || master == "docker0"
    };
    links.iter().filter(is_left).map(|link| link.ifname.clone()).collect()
}

/// A program that runs.
struct Program {
    /// As the kernel keeps it: at most 15 characters.
    name: String,
    /// With its arguments: an engine and its helpers are told their directory.
    command: String,
    is_in_our_network: bool,
}

impl Program {
    /// An engine, or what holds a container while its engine is updated.
    fn has_containers(&self) -> bool {
        self.name == "dockerd" || self.name.starts_with("containerd-shim")
    }
}

fn programs() -> Vec<Program> {
    let ours = std::fs::read_link("/proc/self/ns/net").ok();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let programs = processes.filter_map(|process| {
        let process = process.path();
        let name = std::fs::read_to_string(process.join("comm")).ok()?.trim().to_owned();
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let network = std::fs::read_link(process.join("ns/net")).ok();
        Some(Program { name, command, is_in_our_network: network == ours })
    });
    programs.collect()
}

/// A container that uses the network of its host sees no engine there, and may remove nothing. This
/// is the number of the first namespace of processes on each Linux (`PROC_PID_INIT_INO`).
fn sees_all_processes() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|it| it == Path::new("pid:[4026531836]"))
}

/// Those of our own engines. Each has its log from the beginning.
fn directories() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        [OWN_ENGINE, SECOND_ENGINE].iter().any(|start| name.starts_with(start))
            && path.join("dockerd.log").is_file()
    };
    entries.map(|entry| entry.path()).filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_docker_s_bridge_and_the_bridges_of_networks_are_left() {
        let output = r#"[{"ifname":"lo"},{"ifname":"eth0"},{"ifname":"docker0"},
            {"ifname":"veth4801ecc","master":"docker0"},{"ifname":"br-26bf7f5f6086"},
            {"ifname":"veth3872de8","master":"br-26bf7f5f6086"},{"ifname":"br-lan"},
            {"ifname":"veth9","master":"br-lan"},{"ifname":"br-26bf7f5f608x"},{"ifname":"virbr0"}]"#;
        let left = interfaces(&ip::parse_links(output).unwrap());
        assert_eq!(left, ["veth4801ecc", "br-26bf7f5f6086", "veth3872de8"]);
    }

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let mountinfo = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            30 22 0:4 net:[4026532] /tmp/a\\040b/netns/7 rw shared:2 - nsfs nsfs rw\n";
        assert_eq!(mount_points(mountinfo), [Path::new("/"), Path::new("/tmp/a b/netns/7")]);
    }

    #[test]
    fn an_engine_and_what_holds_a_container_are_known_by_their_names() {
        let program = |name: &str| Program {
            name: name.to_owned(),
            command: String::new(),
            is_in_our_network: true,
        };
        assert!(program("dockerd").has_containers());
        assert!(program("containerd-shim").has_containers(), "15 characters are left of its name");
        assert!(!program("containerd").has_containers());
    }
}
