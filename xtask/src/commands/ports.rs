//! Who has a port of this machine, and which one a second checkout takes instead.
//!
//! A port that a stranger has is a problem, told with the stranger's name. One that another
//! checkout has, of this project or of another one, is none: the next free one does, and is said.

use std::net::TcpListener;
use std::path::Path;

use anyhow::Result;

use super::{procfile, start};
use crate::ctx::{Ctx, QUESTION, STATE};
use crate::tools::docker;

/// What came of the wish for a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Free, or our own already.
    Port(u16),
    /// Who has it.
    Taken(String),
}

enum Owner {
    Nobody,
    Ourselves,
    Checkout(String),
    Stranger(String),
}

/// The wanted port, or, unless it is `fixed`, the next one where another checkout has it. `project`
/// is our own on the engine; `others` are meant for something else and never taken instead.
pub(crate) fn choose(
    ctx: &Ctx,
    wanted: u16,
    fixed: bool,
    project: Option<&str>,
    others: &[u16],
) -> Result<Choice> {
    let mut in_the_way = None;
    for port in (wanted..=u16::MAX).filter(|port| *port == wanted || !others.contains(port)) {
        match owner(ctx, port, project)? {
            Owner::Nobody | Owner::Ourselves => {
                if let Some(owner) = in_the_way {
                    ctx.say(format_args!("port {wanted} is in use by {owner}; this is {port}"));
                }
                return Ok(Choice::Port(port));
            }
            Owner::Checkout(owner) if !fixed => drop(in_the_way.get_or_insert(owner)),
            Owner::Checkout(owner) | Owner::Stranger(owner) if port == wanted => {
                return Ok(Choice::Taken(owner));
            }
            Owner::Checkout(_) | Owner::Stranger(_) => {}
        }
    }
    Ok(Choice::Taken(in_the_way.unwrap_or_default()))
}

fn owner(ctx: &Ctx, port: u16, project: Option<&str>) -> Result<Owner> {
    if is_free(port) {
        return Ok(Owner::Nobody);
    }
    // The host engine works without docker.
    let answer = ctx.ask(docker::container_on_port(&ctx.sh, port), QUESTION);
    let containers = match answer.ok().filter(|answer| answer.status.success()) {
        Some(answer) => docker::parse_containers(&answer.stdout)?,
        None => Vec::new(),
    };
    let Some(container) = containers.first() else { return Ok(of_process(ctx, port)) };
    let name = format!("container {}", container.name);
    Ok(match (container.label(start::LABEL_PROJECT), container.label(start::LABEL_HOME)) {
        (Some(owner), _) if Some(owner) == project => Owner::Ourselves,
        (_, Some(home)) if container.label(start::LABEL_ENVIRONMENT).is_some() => {
            match start::is_elsewhere(ctx, Path::new(home)) {
                true => Owner::Checkout(format!("{name} of the checkout {home}")),
                false => Owner::Stranger(name),
            }
        }
        _ => Owner::Stranger(name),
    })
}

/// Who listens without a container: a process, perhaps of another checkout's host engine.
fn of_process(ctx: &Ctx, port: u16) -> Owner {
    let name = owner_of(port);
    let process = listener(port).map(|(process, _)| process);
    let home = process.and_then(|it| std::fs::read_link(format!("/proc/{it}/cwd")).ok());
    match home.filter(|home| runs_on_the_host(ctx, home, port)) {
        Some(home) => Owner::Checkout(format!("{name} of the checkout {}", home.display())),
        None => Owner::Stranger(name),
    }
}

fn runs_on_the_host(ctx: &Ctx, home: &Path, port: u16) -> bool {
    let environments = std::fs::read_dir(home.join("environments")).into_iter().flatten().flatten();
    let names = environments.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.collect();
    let Ok(there) = ctx.at(home.to_path_buf(), home.join(STATE)) else { return false };
    let has_it = |name: &String| {
        let running = procfile::running(&there, name).ok().flatten();
        running.is_some_and(|running| running.port == Some(port))
    };
    start::is_elsewhere(ctx, home) && names.iter().any(has_it)
}

/// Whether nobody listens on a port of 127.0.0.1.
pub(crate) fn is_free(port: u16) -> bool {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// A port to suggest instead of one that is taken.
pub(crate) fn another(port: u16) -> u16 {
    if port == u16::MAX { port - 1 } else { port + 1 }
}

/// Which process listens on a port, as far as this system tells us.
pub(crate) fn owner_of(port: u16) -> String {
    match listener(port) {
        Some((process, name)) => format!("{name} (process {process})"),
        None => "another process".into(),
    }
}

/// Linux: the socket's inode in /proc/net/tcp, then the process that has it open.
fn listener(port: u16) -> Option<(String, String)> {
    const LISTEN: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let wanted = format!(":{port:04X}");
    let inode = tables.iter().flatten().flat_map(|table| table.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let matches = fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).copied().unwrap_or_default().to_owned())
    })?;
    let socket = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let open = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        if open.into_iter().any(|target| target.as_os_str() == socket.as_str()) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((process.file_name().to_string_lossy().into(), name.trim().to_owned()));
        }
    }
    None
}
