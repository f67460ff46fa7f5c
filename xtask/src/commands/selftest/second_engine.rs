//! A second Docker engine beside the one that runs here, with the image store that is asked for:
//! tests run on it in the same way.
//!
//! Two engines in one network would undo each other's rules. The second one has a network of its
//! own, that of a container of the first; the tests that use it run there too, since what it
//! publishes is reachable nowhere else.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use xshell::Cmd;

use crate::cli::Store;
use crate::commands::ci::OwnEngine;
use crate::commands::image::identity;
use crate::commands::setup::killed_engine;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::tools::{docker, docker_engine};

/// Longest wait for its first answer.
const START: Duration = Duration::from_secs(60);
/// An image without files, for the container that holds the network.
const EMPTY: &str = "stevedore.invalid/selftest:empty";
const LABEL: &str = "dev.stevedore.selftest=network";

pub(super) struct SecondEngine {
    engine: OwnEngine,
    /// The container whose network it uses, and the process there.
    container: String,
    pid: String,
    /// What `DOCKER_HOST` is for it.
    host: String,
}

impl SecondEngine {
    pub(super) fn start(ctx: &Ctx, store: Store) -> Result<SecondEngine> {
        let is_in_containerd = match store {
            Store::Graph => false,
            Store::Containerd => true,
            Store::Other => !identity::is_in_containerd(ctx)?,
        };
        let directory = tempfile::Builder::new()
            .prefix(killed_engine::SECOND_ENGINE)
            .tempdir()
            .context("can't create a directory for the engine")?;
        remove_networks(ctx)?;
        let archive = directory.path().join("empty.tar");
        ctx.write_cache(&archive, &tar::Builder::new(Vec::new()).into_inner()?)?;
        ctx.run(docker::import(&ctx.sh, &archive, EMPTY, &[]))?;
        let hold = docker::hold_network(&ctx.sh, EMPTY, &directories(), LABEL);
        let container = ctx.read(hold)?.trim().to_owned();
        let started = SecondEngine::start_in(ctx, directory, &container, is_in_containerd);
        started.inspect_err(|_| drop(remove(ctx, &container)))
    }

    /// Starts the engine in the network of a container.
    fn start_in(
        ctx: &Ctx,
        directory: tempfile::TempDir,
        container: &str,
        is_in_containerd: bool,
    ) -> Result<SecondEngine> {
        let pid = ctx.read(docker::pid_of(&ctx.sh, container))?.trim().to_owned();
        let place = |name: &str| directory.path().join(name);
        let host = format!("unix://{}", place("docker.sock").display());
        let config = json!({
            "features": {"containerd-snapshotter": is_in_containerd},
            "data-root": place("data"), "exec-root": place("exec"), "pidfile": place("pid"),
            "hosts": [host],
            // Not those of the first engine, in whose network it is.
            "bip": "172.28.0.1/16",
            "default-address-pools": [{"base": "172.29.0.0/16", "size": 24}],
        });
        let file = place("daemon.json");
        ctx.write_cache(&file, config.to_string().as_bytes())?;
        let store = if is_in_containerd { "containerd's" } else { "the graph driver's" };
        ctx.say(format_args!("starting a second Docker engine with {store} image store"));
        let cmd = docker::dockerd_in_network(&ctx.sh, &pid, &file);
        let engine = OwnEngine::run(ctx, directory, cmd, || wait(ctx, &host))?;
        Ok(SecondEngine { engine, container: container.to_owned(), pid, host })
    }

    /// The beginning of a command that uses it.
    pub(super) fn enter<'c>(&self, ctx: &'c Ctx) -> Cmd<'c> {
        let first = ctx.docker_host().unwrap_or("unix:///var/run/docker.sock".into());
        docker::in_network(&ctx.sh, &self.pid)
            .env("DOCKER_HOST", &self.host)
            .env("STEVEDORE_FIRST_DOCKER_HOST", first)
            .env("STEVEDORE_FIRST_NETWORK", format!("/proc/{}/ns/net", std::process::id()))
    }

    pub(super) fn end(self, ctx: &Ctx) -> Result<()> {
        let interrupted = ctx.interrupted();
        if interrupted {
            ctx.clear_interrupt();
        }
        let ended = self.engine.end(ctx);
        remove(ctx, &self.container)?;
        if interrupted { Err(exit::interrupted()) } else { ended }
    }
}

/// Whether this user can start one.
pub(super) fn is_possible() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where this machine's programs and what they load are.
fn directories() -> Vec<&'static str> {
    let all = ["/usr", "/lib", "/lib64"];
    all.into_iter().filter(|directory| Path::new(directory).is_dir()).collect()
}

fn remove(ctx: &Ctx, container: &str) -> Result<()> {
    ctx.run(docker::remove_container(&ctx.sh, container))?;
    ctx.run(docker::remove_images(&ctx.sh, &[EMPTY.to_owned()]))
}

/// Those of runs that were killed.
fn remove_networks(ctx: &Ctx) -> Result<()> {
    let listed = ctx.read(docker::labelled(&ctx.sh, "container", &["--all"], LABEL))?;
    listed.lines().try_for_each(|id| ctx.run(docker::remove_container(&ctx.sh, id)))
}

fn wait(ctx: &Ctx, host: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = ctx.ask(docker_engine::version(&ctx.sh).env("DOCKER_HOST", host), QUESTION)?;
        match docker_engine::parse_version(&answer.stdout) {
            Ok(docker_engine::Version::Docker(_)) => return Ok(()),
            _ if ctx.interrupted() => return Err(exit::interrupted()),
            _ if started.elapsed() > START => {
                bail!("the second engine does not answer: {}", answer.stderr.trim())
            }
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
