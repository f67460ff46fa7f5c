//! A local Elastic Beanstalk: a server on loopback that the EB CLI takes for the service, and that
//! runs the bundles it is given with Docker.
//!
//! It is a program of its own, so that it can be used without this repository; `cargo xtask
//! beanstalk` starts it. A call is read in [`server`], answered in [`actions`], and what takes time
//! is done in [`operations`].

mod actions;
mod beliefs;
mod bundle;
mod cli;
mod console;
mod door;
mod drills;
mod ebextensions;
mod engine;
#[cfg(test)]
mod fuzz;
mod health;
mod logs;
mod operations;
mod platforms;
mod server;
mod service;
mod settings;
mod stack;
mod state;
mod storage;
mod stubs;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::door::Doors;
use crate::engine::{Engine, SHORT};
use crate::service::{Options, Service};
use crate::state::log::Log;
use crate::state::names;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done = match cli.command {
        cli::Command::Serve(flags) => serve(flags),
        cli::Command::Status(flags) => status(&flags),
        cli::Command::Stop(place) => stop(&place.state),
        cli::Command::Environment(place) => environment(&place.state),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    writeln!(anstream::stderr(), "{text}").ok();
}

fn print(text: &str) {
    writeln!(anstream::stdout(), "{text}").ok();
}

fn serve(flags: cli::Serve) -> Result<()> {
    let directory = flags.place.state;
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("can't create {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let attached = flags
        .attached
        .map(|file| file.canonicalize().with_context(|| format!("can't read {}", file.display())));
    let attached = attached.transpose()?;
    let log = Log::open(&directory)?;
    let engine = Engine::new(owner(&directory)?, &directory)?;
    engine
        .run(&["version", "--format", "{{.Server.Version}}"], SHORT)
        .context("no Docker engine answers; start one, or set DOCKER_HOST")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("can't start")?;
    let listener =
        runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", flags.port))).with_context(
            || format!("can't listen on port {}; choose another: --port 0", flags.port),
        )?;
    let port = listener.local_addr()?.port();
    let options = Options {
        port,
        region: flags.region,
        patience: Duration::from_secs(flags.patience),
        attached,
        instance_image: flags.instance_image,
        minute: Duration::from_secs(flags.minute),
    };
    let region = options.region.clone();
    let doors = Doors::new(runtime.handle().clone());
    let service = Arc::new(Service::new(log, directory.clone(), engine, doors, options));
    storage::remove_unknown(&service)?;
    operations::reconcile(&service).context("can't take up what was there before")?;
    let watcher = Arc::clone(&service);
    std::thread::spawn(move || health::watch(&watcher));
    write_place(&directory, port, &region)?;
    say(&format!(
        "serving Elastic Beanstalk in {region} at http://127.0.0.1:{port} (keys: local / local)"
    ));
    let served = runtime.block_on(server::serve(Arc::clone(&service), listener, ended()));
    std::fs::remove_file(directory.join("server.json")).ok();
    // Connections that somebody keeps open, a console for example, do not keep us.
    runtime.shutdown_timeout(Duration::from_secs(1));
    say("stopped; the environments go on running, and are found again at the next start");
    served
}

/// Ctrl-C, or `beanstalk stop`.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The name by which everything in the engine is known to be of this state.
fn owner(directory: &Path) -> Result<String> {
    let file = directory.join("owner");
    if let Ok(owner) = std::fs::read_to_string(&file)
        && !owner.trim().is_empty()
    {
        return Ok(owner.trim().to_owned());
    }
    let owner = names::letters(12);
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(new, "{owner}")?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(owner)
}

fn write_place(directory: &Path, port: u16, region: &str) -> Result<()> {
    let place = serde_json::json!({"pid": std::process::id(), "port": port, "region": region});
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(new, "{place}")?;
    new.persist(directory.join("server.json"))?;
    Ok(())
}

struct Running {
    pid: i32,
    port: u16,
    region: String,
}

fn running(directory: &Path) -> Result<Running> {
    let none = || {
        format!(
            "no server runs with the state {}; `beanstalk serve` starts one",
            directory.display()
        )
    };
    let text = std::fs::read_to_string(directory.join("server.json")).with_context(none)?;
    let place: serde_json::Value = serde_json::from_str(&text)?;
    let number = |key: &str| place[key].as_u64();
    let (Some(pid), Some(port), Some(region)) =
        (number("pid"), number("port"), place["region"].as_str())
    else {
        bail!("{}/server.json is damaged", directory.display());
    };
    let running =
        Running { pid: i32::try_from(pid)?, port: u16::try_from(port)?, region: region.to_owned() };
    // Killed, it left the file behind; its lock is gone with it.
    let lock =
        std::fs::File::options().write(true).open(directory.join("lock")).with_context(none)?;
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
        bail!(none());
    }
    Ok(running)
}

fn status(flags: &cli::Status) -> Result<()> {
    if flags.beliefs {
        for belief in beliefs::BELIEFS {
            print(&format!("{}: {} [{}]", belief.subject, belief.belief, belief.source));
        }
        return Ok(());
    }
    let running = running(&flags.place.state)?;
    let url = format!("http://127.0.0.1:{}/local/status", running.port);
    let agent = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .new_agent();
    let text = agent.get(&url).call().context("the server does not answer")?;
    let text = text.into_body().read_to_string()?;
    let status: serde_json::Value = serde_json::from_str(&text)?;
    let environments = status["environments"].as_array().cloned().unwrap_or_default();
    let living = environments.iter().filter(|it| it["status"] != "Terminated");
    if flags.json {
        for it in living {
            let mut line = it.clone();
            line["event"] = "environment".into();
            print(&line.to_string());
        }
        return Ok(());
    }
    let Running { port, region, .. } = running;
    print(&format!("serving {region} at http://127.0.0.1:{port}"));
    for it in living {
        let text = |key: &str| it[key].as_str().unwrap_or("none").to_owned();
        print(&format!(
            "{}  {} of {}, {}, {}, http://{}/",
            text("name"),
            text("version"),
            text("application"),
            text("status"),
            text("health"),
            text("address")
        ));
    }
    Ok(())
}

fn stop(directory: &Path) -> Result<()> {
    let Running { pid, .. } = running(directory)?;
    let pid = rustix::process::Pid::from_raw(pid).context("server.json names no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        .context("can't stop the server")?;
    let until = Instant::now() + Duration::from_secs(15);
    while running(directory).is_ok() {
        if Instant::now() > until {
            bail!("the server does not stop; its process is {pid:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    say("stopped; its environments go on running");
    Ok(())
}

/// The fence: everything goes here, and what is lost goes nowhere.
fn environment(directory: &Path) -> Result<()> {
    let Running { port, region, .. } = running(directory)?;
    let variables = [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("HTTPS_PROXY", "http://127.0.0.1:9".to_owned()),
        ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
    ];
    for (name, value) in variables {
        print(&format!("export {name}={value}"));
    }
    if std::io::stdout().is_terminal() {
        say("use it with: eval \"$(beanstalk environment)\"");
    }
    Ok(())
}
