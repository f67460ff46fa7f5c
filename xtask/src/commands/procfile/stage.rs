//! Settings, Procfile and ports of an environment on this machine; nothing runs yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::commands::env::{self, Facts};
use crate::commands::ports::{self, Choice};
use crate::commands::start;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::dotenv;
use crate::project::environment::MAIN_PORT;
use crate::project::procfile::{self, BUILD, RELEASE, TEST};
use crate::project::substitute::substitute;
use crate::supervise::{Process, Rules};

/// The process that answers on the environment's own port, where there is one of that name.
const WEB: &str = "web";
/// How far the ports of two processes are apart, as foreman has it.
const STEP: u16 = 100;

#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) environment: String,
    pub(crate) release: Option<Process>,
    pub(crate) test: Option<Process>,
    pub(crate) build: Option<Process>,
    pub(crate) processes: Vec<Process>,
    pub(crate) port: Option<u16>,
    pub(crate) rules: Rules,
    /// The folder of files that `release` migrates with.
    pub(crate) migrations: Option<PathBuf>,
    /// Where pages hear of what changed; empty where nobody tells them.
    pub(crate) live_reload: String,
}

impl Stage {
    /// The rules for what runs to its end.
    pub(crate) fn rules_for_once(&self) -> Rules {
        Rules { restarts: 0, ..self.rules }
    }

    /// Prints the commands in their order, for a dry run.
    pub(crate) fn show(&self, ctx: &Ctx) {
        for process in self.release.iter().chain(&self.processes) {
            ctx.skip(&shell_words::join(&process.words));
        }
    }
}

/// Where the host engine keeps an environment's data.
pub(super) fn directory(ctx: &Ctx, environment: &str) -> PathBuf {
    ctx.state().join(environment).join("host")
}

/// What is to be run; fails where a stranger has the port.
pub(crate) fn prepare(
    ctx: &Ctx,
    environment: &str,
    port: Option<u16>,
    live_reload: &str,
) -> Result<Stage> {
    let facts = env::load(ctx, environment)?;
    let Some(wanted) = port.or_else(|| facts.environment.main_port()) else {
        return of_facts(ctx, &facts, None, live_reload);
    };
    match ports::choose(ctx, wanted, port.is_some(), None, &[])? {
        Choice::Port(port) => of_facts(ctx, &facts, Some(port), live_reload),
        Choice::Taken(owner) => bail!(
            "port {wanted} is in use by {owner}; choose another with --port, such as --port {}",
            ports::another(wanted)
        ),
    }
}

/// The same for whoever has the port.
pub(crate) fn read(
    ctx: &Ctx,
    environment: &str,
    port: Option<u16>,
    live_reload: &str,
) -> Result<Stage> {
    of_facts(ctx, &env::load(ctx, environment)?, port, live_reload)
}

fn of_facts(ctx: &Ctx, facts: &Facts, port: Option<u16>, live_reload: &str) -> Result<Stage> {
    let environment = &facts.name;
    env::ensure(ctx, facts)?;
    env::exposed::warn(ctx, facts);
    let mut settings = settings(ctx, facts, port)?;
    settings.insert("STEVEDORE_LIVE_RELOAD".into(), live_reload.to_owned());
    let name = format!("environments/{environment}/Procfile");
    let text = std::fs::read_to_string(ctx.root.join(&name)).with_context(|| {
        format!("can't read {name}, which the host engine runs; use Docker: `cargo xtask setup`")
    })?;
    let parsed = procfile::parse(&text).map_err(|problems| {
        exit::problems(&format!("can't use {name}"), &dotenv::in_file(&name, &problems))
    })?;
    let host = &facts.environment.host;
    let mut stage = Stage {
        environment: environment.to_owned(),
        release: None,
        test: None,
        build: None,
        processes: Vec::new(),
        port,
        rules: Rules {
            grace: Duration::from_secs(host.grace_seconds.into()),
            restarts: host.restarts.into(),
        },
        migrations: host.migrations.clone(),
        live_reload: live_reload.to_owned(),
    };
    let ports = ports(&parsed, port)?;
    for (process, port) in parsed.iter().zip(ports) {
        let ready = fill_in(ctx, facts, process, &settings, port)
            .map_err(|message| anyhow::anyhow!("{name}:{}: {message}", process.line))?;
        match process.name.as_str() {
            RELEASE => stage.release = Some(ready),
            TEST => stage.test = Some(ready),
            BUILD => stage.build = Some(ready),
            _ => stage.processes.push(ready),
        }
    }
    anyhow::ensure!(!stage.processes.is_empty(), "{name} names no process to run");
    Ok(stage)
}

/// The PORT of each process: the environment's own for `web`, or else for the first; then the next
/// ones. `release`, `test` and `build` run alone, so they have the environment's too.
fn ports(processes: &[procfile::Process], port: Option<u16>) -> Result<Vec<Option<u16>>> {
    let alone =
        |process: &&procfile::Process| [RELEASE, TEST, BUILD].contains(&process.name.as_str());
    let together = || processes.iter().filter(|process| !alone(process));
    let web = together().find(|process| process.name == WEB).or_else(|| together().next());
    let mut next = port;
    let mut take = |process: &procfile::Process| {
        if alone(&process) || web == Some(process) {
            return Ok(port);
        }
        let Some(last) = next else { return Ok(None) };
        next = last.checked_add(STEP);
        anyhow::ensure!(
            next.is_some(),
            "there is no port for {}: 65535 is the last one; choose a smaller one with --port",
            process.name
        );
        Ok(next)
    };
    processes.iter().map(&mut take).collect()
}

/// A line of the Procfile with its settings.
fn fill_in(
    ctx: &Ctx,
    facts: &Facts,
    process: &procfile::Process,
    settings: &BTreeMap<String, String>,
    port: Option<u16>,
) -> Result<Process, String> {
    let mut variables = settings.clone();
    variables.extend(port.map(|port| ("PORT".to_owned(), port.to_string())));
    for (name, value) in &facts.environment.host.variables {
        let value = substitute(value, &mut |name| variables.get(name).cloned())
            .map_err(|message| format!("{name} in [host.variables]: {message}"))?;
        variables.insert(name.clone(), value);
    }
    let fill = |word: &String| substitute(word, &mut |name| variables.get(name).cloned());
    let words = process.words.iter().map(fill).collect::<Result<_, String>>()?;
    Ok(Process { name: process.name.clone(), words, directory: ctx.root.clone(), variables })
}

/// What all processes see: public facts, then `.env`, then what the host engine adds.
fn settings(ctx: &Ctx, facts: &Facts, port: Option<u16>) -> Result<BTreeMap<String, String>> {
    let directory = directory(ctx, &facts.name);
    if !ctx.dry_run {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("can't create {}", ctx.relative(&directory).display()))?;
    }
    let mut settings = env::settings(ctx, facts)?;
    if ctx.dry_run {
        // It prints the commands: a value's name stands for it, which may be a secret.
        for name in facts.schema.variables.keys() {
            settings.insert(name.clone(), format!("<{name}>"));
        }
    }
    settings.insert("STEVEDORE_STATE".into(), directory.display().to_string());
    settings.insert("STEVEDORE_COMMIT".into(), start::commit(ctx));
    if let Some(port) = port {
        settings.insert(env::port_variable(MAIN_PORT), port.to_string());
    }
    Ok(settings)
}
