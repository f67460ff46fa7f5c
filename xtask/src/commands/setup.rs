//! `setup`: installs what is missing with the machine's package manager and starts the engine.
//!
//! Every step looks first, so a second run changes nothing. Without an init system the engine is
//! started as a process of its own session, which outlives us.

pub(super) mod killed_engine;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::doctor::{self, Engine};
use crate::cli::Setup;
use crate::ctx::{self, Ctx};
use crate::exit;
use crate::project::assets;
use crate::tools::engine_packages::{self, EngineSource};
use crate::tools::mmdebstrap::Mirrors;
use crate::tools::{apt, compose, docker, eb, pip};

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
        let venv = (clients(ctx).is_none() && !can_make_environments(ctx)).then_some(pip::VENV);
        let changed = install_packages(ctx, venv.into_iter().collect())?
            | start_engine(ctx)?
            | install_clients(ctx)?;
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
    let missing = programs.iter().filter(|(program, _)| is_missing(program));
    install_packages(ctx, missing.map(|(_, package)| package.as_str()).collect())
}

/// Installs these packages, and those of the tool that are missing; true when there were any.
fn install_packages(ctx: &Ctx, mut missing: BTreeSet<&str>) -> Result<bool> {
    let engine_missing = engine_is_missing(ctx);
    missing.extend([apt::MMDEBSTRAP, apt::CURL].into_iter().filter(|program| is_missing(program)));
    if is_missing(apt::NPM) && ctx.root.join(assets::SOURCE).is_dir() {
        missing.insert(apt::NPM);
    }
    let engine = engine_missing.then_some("the Docker engine with buildx and compose");
    let shown = engine.into_iter().chain(missing.iter().copied()).collect::<Vec<_>>().join(", ");
    if shown.is_empty() {
        return Ok(false);
    }
    if is_missing("apt-get") {
        if !engine_missing {
            // Each is only needed for some commands, whose errors name it.
            return Ok(false);
        }
        let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        return Err(exit::missing(format!(
            "this machine has neither apt-get nor the Docker engine with buildx and compose; {}, \
             and run `cargo xtask setup` again",
            engine_packages::without_apt(&os_release)
        )));
    }
    ctx.confirm(&format!("install {shown} with apt-get?"))?;
    let sudo = !rustix::process::geteuid().is_root();
    if sudo {
        // The only question that sudo may ask is asked here, where it has the terminal.
        let code = ctx.run_interactive(apt::validate_sudo(&ctx.sh))?;
        anyhow::ensure!(code == 0, "sudo refuses; run `cargo xtask setup` as root");
    }
    ctx.say(format_args!("installing {shown}"));
    update_lists(ctx, sudo)?;
    let mut packages = if engine_missing { offer_engine(ctx, sudo)? } else { Vec::new() };
    packages.extend(missing);
    let bar = ctx.spinner("apt-get install".into());
    ctx.run(apt::install(&ctx.sh, sudo, &packages))?;
    bar.finish_and_clear();
    Ok(true)
}

fn update_lists(ctx: &Ctx, sudo: bool) -> Result<()> {
    let bar = ctx.spinner("apt-get update".into());
    ctx.run(apt::update(&ctx.sh, sudo))?;
    bar.finish_and_clear();
    Ok(())
}

/// The engine's packages. Debian 12 gets the source that offers them.
fn offer_engine(ctx: &Ctx, sudo: bool) -> Result<Vec<&'static str>> {
    let policy = ctx.read(apt::policy(&ctx.sh))?;
    let sources = ctx.read(apt::source_policy(&ctx.sh))?;
    match engine_packages::choose(&policy, &sources) {
        Ok(EngineSource::Offered(packages)) => Ok(packages),
        Ok(EngineSource::Debian13 { mirror }) => {
            ctx.say("Debian 12 lacks buildx and compose 2; adding Debian 13 for the engine only");
            write_as_root(ctx, sudo, apt::PIN_PATH, &apt::pin())?;
            write_as_root(ctx, sudo, apt::SOURCES_PATH, &apt::sources(&mirror))?;
            update_lists(ctx, sudo)?;
            Ok(engine_packages::DEBIAN.to_vec())
        }
        Err(_) if ctx.dry_run => {
            ctx.say("a dry run does not update apt's lists; packages and sources may differ");
            Ok(engine_packages::DEBIAN.to_vec())
        }
        Err(problem) => Err(exit::missing(problem)),
    }
}

fn is_missing(program: &str) -> bool {
    which::which(program).is_err()
}

fn can_make_environments(ctx: &Ctx) -> bool {
    let answer = ctx.ask(pip::can_make_environments(&ctx.sh), ctx::QUESTION);
    answer.is_ok_and(|answer| answer.status.success())
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
    ctx.run(pip::environment(&ctx.sh, &directory)).context(
        "can't make a Python environment; install Python 3 with its modules venv and ensurepip",
    )?;
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

/// Whether some part of the engine is not there; a foreign engine needs none.
fn engine_is_missing(ctx: &Ctx) -> bool {
    match doctor::engine(ctx) {
        engine if !engine.is_to_be_set_up() => false,
        Engine::NoAnswer(..) if !is_missing("dockerd") => {
            let has =
                |plugin| ctx.ask(plugin, ctx::QUESTION).is_ok_and(|answer| answer.status.success());
            !has(docker::buildx_version(&ctx.sh)) || !has(compose::version(&ctx.sh))
        }
        _ => true,
    }
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
    let engine = doctor::engine(ctx);
    let is_silent = matches!(engine, Engine::NoClient | Engine::NoAnswer(..));
    if !is_silent || !engine.is_to_be_set_up() {
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
        prepare_machine(ctx)?;
        ctx::detach(cmd, ctx.log_file(&log)?)?;
        ctx.say(format_args!("its log is {}", log.display()));
    }
    if !ctx.dry_run {
        wait_for_engine(ctx)?;
    }
    Ok(true)
}

/// What an engine that we start finds here.
pub(super) fn prepare_machine(ctx: &Ctx) -> Result<()> {
    killed_engine::remove(ctx)?;
    weigh_containers(ctx);
    Ok(())
}

/// Makes all containers together count as eight processes when the kernel shares out processors.
///
/// An init system gives each service its share. Without one, and with the first version of control
/// groups, all containers together count as one process, so that builds take ten times as long
/// beside some busy programs. Where it is not allowed, everything works all the same.
fn weigh_containers(ctx: &Ctx) {
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
