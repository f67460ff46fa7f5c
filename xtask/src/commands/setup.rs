//! `setup`: installs what is missing with the machine's package manager and starts the engine.
//!
//! Every step looks first, so a second run changes nothing. Without an init system the engine is
//! started as a process of its own session, which outlives us.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::doctor::{self, Engine};
use crate::cli::Setup;
use crate::ctx::{self, Ctx};
use crate::exit;
use crate::project::assets;
use crate::tools::mmdebstrap::Mirrors;
use crate::tools::{apt, docker, eb, pip};

/// How long an engine may take until it answers.
const ENGINE_START: Duration = Duration::from_secs(60);

impl Setup {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let engine = doctor::engine(ctx);
        if !engine.is_to_be_set_up()
            && !matches!(engine, Engine::Denied)
            && let Some(problem) = engine.problem()
        {
            // What is installed and started here would not be used.
            return Err(exit::missing(problem));
        }
        let changed = install(ctx, &BTreeMap::new())? | start_engine(ctx)? | install_clients(ctx)?;
        if !ctx.dry_run {
            doctor::require_engine(ctx)?;
        }
        if !changed {
            ctx.say("everything is installed and the engine runs; nothing was changed");
        }
        Ok(())
    }
}

/// Installs the packages that are missing; true when there were any. `programs` are those that the
/// caller needs besides: program -> package.
pub(crate) fn install(ctx: &Ctx, programs: &BTreeMap<String, String>) -> Result<bool> {
    let mut missing: Vec<&str> = missing_engine_packages(ctx);
    let engine_missing = !missing.is_empty();
    let is_missing = |program: &str| which::which(program).is_err();
    if is_missing("mmdebstrap") {
        missing.push(apt::MMDEBSTRAP);
    }
    if is_missing(apt::CURL) {
        missing.push(apt::CURL);
    }
    if is_missing(apt::NPM) && ctx.root.join(assets::SOURCE).is_dir() {
        missing.push(apt::NPM);
    }
    for (_, package) in programs.iter().filter(|(program, _)| is_missing(program)) {
        if !missing.contains(&package.as_str()) {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(false);
    }
    if which::which("apt-get").is_err() {
        if !engine_missing {
            // Only needed where no registry answers, and what needs it says so.
            return Ok(false);
        }
        return Err(exit::missing(format!(
            "{} are missing and this machine has no apt-get; install Docker Engine with its buildx \
             and compose plugins, start it, and run `cargo xtask doctor`",
            missing.join(", ")
        )));
    }
    ctx.confirm(&format!("install {} with apt-get?", missing.join(", ")))?;
    let sudo = !rustix::process::geteuid().is_root();
    if sudo {
        // The only question that sudo may ask is asked here, where it has the terminal.
        let code = ctx.run_interactive(apt::validate_sudo(&ctx.sh))?;
        anyhow::ensure!(code == 0, "sudo refuses; run `cargo xtask setup` as root");
    }
    ctx.say(format_args!("installing {}", missing.join(", ")));
    let bar = ctx.spinner("apt-get".into());
    ctx.run(apt::update(&ctx.sh, sudo))?;
    if engine_missing && !has_candidate(ctx, "docker-buildx")? {
        let mirrors = mirrors()?;
        write_as_root(ctx, sudo, apt::PIN_PATH, &apt::pin())?;
        write_as_root(ctx, sudo, apt::SOURCES_PATH, &apt::sources(&mirrors.main))?;
        ctx.run(apt::update(&ctx.sh, sudo))?;
    }
    ctx.run(apt::install(&ctx.sh, sudo, &missing))?;
    bar.finish_and_clear();
    Ok(true)
}

/// Installs the EB CLI and the AWS CLI below the tool's own directory, where the machine has none;
/// true when that was done.
pub(crate) fn install_clients(ctx: &Ctx) -> Result<bool> {
    if clients(ctx).is_some() {
        return Ok(false);
    }
    let directory = clients_directory(ctx);
    ctx.confirm(&format!("install the EB CLI and the AWS CLI into {}?", directory.display()))?;
    let _lock = ctx.lock("clients")?;
    ctx.say("installing the EB CLI and the AWS CLI");
    let bar = ctx.spinner("pip".into());
    // Half of it is not taken for all: what `clients` looks for comes last.
    let packages = [format!("awsebcli=={}", eb::VERSION), "awscli".to_owned()];
    ctx.run(pip::environment(&ctx.sh, &directory)).context(format!(
        "no Python environment can be made; Debian's package {} is needed",
        pip::VENV
    ))?;
    ctx.run(pip::install(&ctx.sh, &directory, &packages))?;
    ctx.write_cache(&directory.join(COMPLETE), b"")?;
    bar.finish_and_clear();
    Ok(true)
}

/// What the directory of the clients has when they are whole.
const COMPLETE: &str = "complete";

fn clients_directory(ctx: &Ctx) -> PathBuf {
    ctx.common().join(format!("eb-{}", eb::VERSION))
}

/// `eb` and `aws`: the machine's, or those that were installed here.
pub(crate) fn clients(ctx: &Ctx) -> Option<(PathBuf, PathBuf)> {
    let own = clients_directory(ctx);
    let complete = own.join(COMPLETE).exists();
    let find = |name: &str| {
        let own = complete.then(|| own.join("bin").join(name));
        which::which(name).ok().or(own)
    };
    Some((find("eb")?, find("aws")?))
}

/// The engine's packages when some part of it is not there; a foreign engine needs none.
fn missing_engine_packages(ctx: &Ctx) -> Vec<&'static str> {
    let installed = which::which("dockerd").is_ok();
    match doctor::engine(ctx) {
        engine if !engine.is_to_be_set_up() => Vec::new(),
        Engine::NoAnswer(..) if installed => {
            let plugin =
                |cmd| ctx.ask(cmd, ctx::QUESTION).is_ok_and(|answer| answer.status.success());
            let complete = plugin(docker::buildx_version(&ctx.sh))
                && plugin(crate::tools::compose::version(&ctx.sh));
            if complete { Vec::new() } else { apt::ENGINE.to_vec() }
        }
        _ => apt::ENGINE.to_vec(),
    }
}

fn has_candidate(ctx: &Ctx, package: &str) -> Result<bool> {
    let policy = ctx.read(apt::policy(&ctx.sh, package))?;
    Ok(apt::has_candidate(&policy))
}

/// Where this machine gets Debian's packages.
pub(crate) fn mirrors() -> Result<Mirrors> {
    let mut texts = Vec::new();
    let lists = Path::new("/etc/apt/sources.list.d");
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    let more = std::fs::read_dir(lists).into_iter().flatten().flatten().map(|entry| entry.path());
    files.extend(
        more.filter(|path| {
            path.extension().is_some_and(|kind| kind == "list" || kind == "sources")
        }),
    );
    files.sort();
    for file in files {
        texts.extend(std::fs::read_to_string(file));
    }
    apt::mirrors(&texts).ok_or_else(|| {
        exit::missing(
            "this machine's apt sources name no Debian mirror, so no Debian image can be made here",
        )
    })
}

fn write_as_root(ctx: &Ctx, sudo: bool, path: &str, text: &str) -> Result<()> {
    if !sudo {
        return ctx.write(Path::new(path), text.as_bytes());
    }
    let mut file = tempfile::NamedTempFile::new().context("can't create a temporary file")?;
    file.write_all(text.as_bytes())?;
    ctx.run(apt::install_file(&ctx.sh, file.path(), path))
}

/// Starts the engine where none answers; true when it was started.
pub(crate) fn start_engine(ctx: &Ctx) -> Result<bool> {
    if !doctor::engine(ctx).is_to_be_set_up() {
        return Ok(false);
    }
    ctx.say("starting the Docker engine");
    if Path::new("/run/systemd/system").is_dir() {
        let sudo = !rustix::process::geteuid().is_root();
        ctx.run(apt::enable_engine(&ctx.sh, sudo))?;
    } else {
        if !rustix::process::geteuid().is_root() && !ctx.dry_run {
            return Err(exit::missing(
                "no engine runs and no init system starts one; start it as root: sudo dockerd",
            ));
        }
        let cmd = docker::dockerd(&ctx.sh, None);
        if ctx.skip(&cmd.to_string()) {
            return Ok(true);
        }
        let log = PathBuf::from("/var/log/dockerd.log");
        weigh_containers(ctx);
        ctx::detach(cmd, ctx.log_file(&log)?)?;
        ctx.say(format_args!("its log is {}", log.display()));
    }
    if !ctx.dry_run {
        wait_for_engine(ctx)?;
    }
    Ok(true)
}

/// Makes all containers together count as eight processes when the kernel shares out processors.
///
/// An init system gives each service its share. Without one, and with the first version of control
/// groups, all containers together count as one process, so that builds take ten times as long
/// beside some busy programs. Where it is not allowed, everything works all the same.
pub(super) fn weigh_containers(ctx: &Ctx) {
    const GROUPS: &str = "/sys/fs/cgroup/cpu";
    let weight = 8 * 1024;
    if Path::new(GROUPS).join("cpu.shares").exists() && !ctx.dry_run {
        // The engine uses the group if it is there.
        let file = ctx.log_file(&Path::new(GROUPS).join("docker/cpu.shares"));
        let _ = file.and_then(|mut file| Ok(write!(file, "{weight}")?));
    }
}

/// Waits until the engine answers.
pub(crate) fn wait_for_engine(ctx: &Ctx) -> Result<()> {
    let started = Instant::now();
    loop {
        match doctor::engine(ctx) {
            Engine::Ready { version, .. } => {
                ctx.say(format_args!("Docker engine {version} answers"));
                return Ok(());
            }
            Engine::NoAnswer(words, _) if started.elapsed() > ENGINE_START => {
                bail!("the engine was started but does not answer: {words}");
            }
            Engine::NoAnswer(..) if ctx.interrupted() => return Err(exit::interrupted()),
            Engine::NoAnswer(..) => std::thread::sleep(Duration::from_millis(200)),
            other => return Err(exit::missing(other.problem().unwrap_or_default())),
        }
    }
}
