//! `start`: an environment in the background, healthy before the command returns.
//!
//! Settings, images, ports, then compose, then health; `dev` and `restart` share the steps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use fingerprint::{sha256, short};

use super::env::{self, Facts};
use super::image::build;
use super::image::plan::{Plan, Request};
use super::ports::{self, Choice};
use super::{dev, doctor};
use crate::cli::{Cache, Start};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::environment::MAIN_PORT;
use crate::project::image::{self, Recipe, recipes};
use crate::project::lock;
use crate::project::stack::Stack;
use crate::tools::compose::{self, Lines, Target};
use crate::tools::{docker, git};

mod checkout;
pub(crate) use checkout::is_elsewhere;

/// What compose writes on everything that it makes: its project, its service, and the directory
/// that they belong to.
pub(crate) const LABEL_PROJECT: &str = "com.docker.compose.project";
const LABEL_SERVICE: &str = "com.docker.compose.service";
pub(crate) const LABEL_HOME: &str = "com.docker.compose.project.working_dir";
/// On every container: which environment it belongs to.
pub(crate) const LABEL_ENVIRONMENT: &str = "dev.stevedore.environment";
/// Longest wait for health: a first start may compile the app.
const HEALTHY: Duration = Duration::from_secs(15 * 60);

impl Start {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        start(ctx, &self.environment, self.port).map(drop)
    }
}

/// Starts an environment and comes back when it is healthy.
pub(crate) fn start(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<Stage> {
    let stage = prepare(ctx, name, port)?;
    up(ctx, &stage, &[])?;
    if !ctx.dry_run {
        wait_until_healthy(ctx, &stage)?;
        announce(ctx, name, stage.facts.environment.main_port())?;
    }
    Ok(stage)
}

/// Starts services in the background. Compose waits for what they depend on and says little when
/// that fails; what failed and its log are our part.
pub(crate) fn up(ctx: &Ctx, stage: &Stage, services: &[String]) -> Result<()> {
    let bar = ctx.spinner(format!("starting {}", stage.facts.name));
    let started = ctx.run(compose::up_detached(&ctx.sh, &stage.target, services));
    bar.finish_and_clear();
    let Err(error) = started else { return Ok(()) };
    match look(ctx, stage) {
        Ok(Progress::Failed(problems)) if exit::code(&error) == exit::FAILED => {
            Err(explain_failure(ctx, stage, &problems))
        }
        _ => Err(error),
    }
}

/// An environment with its settings and images, ready to be started.
pub(crate) struct Stage {
    pub(crate) facts: Facts,
    pub(crate) stack: Stack,
    pub(crate) target: Target,
}

/// Brings settings and images up to date and looks at the ports.
pub(crate) fn prepare(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<Stage> {
    prepare_again(ctx, name, port, None)
}

/// The same where it runs already. Images that would be built in the same way as `built` stay as
/// they are: only settings have changed.
pub(crate) fn prepare_again(
    ctx: &Ctx,
    name: &str,
    port: Option<u16>,
    built: Option<&[Recipe]>,
) -> Result<Stage> {
    let mut facts = env::load(ctx, name)?;
    if let Some(port) = port {
        facts.environment.ports.insert(MAIN_PORT.into(), port);
    }
    doctor::require_engine(ctx)?;
    env::ensure(ctx, &facts)?;
    env::exposed::warn(ctx, &facts);
    let stack = env::load_stack(ctx, &facts)?;
    env::check_declared(&facts, &stack)?;
    let settings = env::settings(ctx, &facts)?;
    let project = checkout::claim(ctx, &project_name(&facts, &stack))?;
    choose_ports(ctx, &mut facts, &project, port.is_some())?;
    let mut target = target(ctx, &facts, &stack, project, settings);
    if name == dev::ENVIRONMENT {
        target.variables.extend(dev::live::running(ctx));
    }
    let lock = lock::load(&ctx.root)?;
    let images = images_path(ctx, &facts);
    if let Some(built) = built.filter(|_| images.exists())
        && recipes(&facts.project, &stack, &facts.environment, &lock.epoch)? == built
    {
        target.files.push(images);
        return Ok(Stage { facts, stack, target });
    }
    let mut request = Request::new(facts, stack, lock);
    request.needs_assets = name != dev::ENVIRONMENT;
    let plan = build::build(ctx, &mut request, Cache::Off)?;
    let Request { facts, stack, .. } = request;
    target.files.push(write_images(ctx, &facts, &stack, &plan)?);
    Ok(Stage { facts, stack, target })
}

/// The running (or stopped) stack of an environment: no image is looked at or built.
pub(crate) fn existing(ctx: &Ctx, name: &str) -> Result<Stage> {
    let facts = env::load(ctx, name)?;
    doctor::require_engine(ctx)?;
    let stack = env::load_stack(ctx, &facts)?;
    // What runs can be looked at and ended whatever has become of the settings since.
    let settings = env::settings(ctx, &facts).unwrap_or_default();
    let project = checkout::known(ctx, &project_name(&facts, &stack))?;
    let mut target = target(ctx, &facts, &stack, project, settings);
    target.files.extend(Some(images_path(ctx, &facts)).filter(|path| path.exists()));
    Ok(Stage { facts, stack, target })
}

/// The environment's name on the engine, as far as it is the only checkout's.
fn project_name(facts: &Facts, stack: &Stack) -> String {
    format!("{}-{}", stack.name, facts.name)
}

/// What compose needs to know of an environment with this name on the engine and these settings.
pub(crate) fn target(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    project: String,
    settings: BTreeMap<String, String>,
) -> Target {
    let mut variables: Vec<(String, String)> = settings.into_iter().collect();
    for (name, port) in &facts.environment.ports {
        variables.push((env::port_variable(name), port.to_string()));
    }
    variables.push(("STEVEDORE_UID".into(), rustix::process::getuid().as_raw().to_string()));
    variables.push(("STEVEDORE_GID".into(), rustix::process::getgid().as_raw().to_string()));
    variables.push(("STEVEDORE_COMMIT".into(), commit(ctx)));
    let checkout = sha256(ctx.root.as_os_str().as_encoded_bytes());
    variables.push(("STEVEDORE_CHECKOUT".into(), short(&checkout).to_owned()));
    let given = |name: &String| variables.iter().any(|(given, _)| given == name);
    let absent = stack.variables.iter().filter(|name| !given(name)).cloned().collect();
    Target { project, files: facts.compose_files(), variables, absent }
}

/// The commit of the checkout; `unknown` outside git.
pub(crate) fn commit(ctx: &Ctx) -> String {
    let answer = ctx.ask(git::describe(&ctx.sh), QUESTION);
    let commit = answer.ok().filter(|answer| answer.status.success());
    commit.map_or_else(|| "unknown".into(), |answer| answer.stdout.trim().to_owned())
}

fn images_path(ctx: &Ctx, facts: &Facts) -> std::path::PathBuf {
    ctx.state().join(&facts.name).join("images.yml")
}

/// The last overlay: every service of ours runs exactly the image that its inputs name.
fn write_images(
    ctx: &Ctx,
    facts: &Facts,
    stack: &Stack,
    plan: &Plan,
) -> Result<std::path::PathBuf> {
    let mut services = BTreeMap::new();
    for (name, service) in &stack.services {
        let image = image::of_service(&facts.project, stack, service);
        let mut entry = serde_json::json!({"labels": {LABEL_ENVIRONMENT: facts.name}});
        if let Some(planned) = image.and_then(|image| plan.of(&image)) {
            entry["image"] = planned.reference.clone().into();
            entry["pull_policy"] = "never".into();
        }
        services.insert(name, entry);
    }
    let path = images_path(ctx, facts);
    let text = serde_json::to_string_pretty(&serde_json::json!({ "services": services }))?;
    ctx.write_cache(&path, text.as_bytes())?;
    Ok(path)
}

/// Ports that nobody else has, in place of those that another checkout has.
fn choose_ports(ctx: &Ctx, facts: &mut Facts, project: &str, is_fixed: bool) -> Result<()> {
    let mut problems = Vec::new();
    let names: Vec<String> = facts.environment.ports.keys().cloned().collect();
    for name in names {
        let ports = &mut facts.environment.ports;
        let port = ports[&name];
        let others: Vec<u16> =
            ports.iter().filter(|(it, _)| **it != name).map(|(_, port)| *port).collect();
        let is_fixed = is_fixed && name == MAIN_PORT;
        let owner = match ports::choose(ctx, port, is_fixed, Some(project), &others)? {
            Choice::Port(found) => {
                ports.insert(name, found);
                continue;
            }
            Choice::Taken(owner) => owner,
        };
        let other = match name.as_str() {
            MAIN_PORT => {
                format!("choose another with --port, such as --port {}", ports::another(port))
            }
            name => format!(
                "change {name} under [ports] in environments/{}/environment.toml",
                facts.name
            ),
        };
        problems.push(format!("port {port} is in use by {owner}; {other}"));
    }
    if problems.is_empty() { Ok(()) } else { Err(exit::problems("can't publish", &problems)) }
}

/// Where each service stands on its way to health.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Healthy,
    /// The services that are not ready yet.
    Waiting(Vec<String>),
    /// What went wrong, a service each.
    Failed(Vec<String>),
}

/// Judges the containers of a stack; a service that runs once is done with exit code 0.
pub(crate) fn progress(stack: &Stack, containers: &[compose::Container]) -> Progress {
    let mut waiting = Vec::new();
    let mut failed = Vec::new();
    for (name, service) in &stack.services {
        let Some(container) = containers.iter().find(|container| container.service == *name) else {
            waiting.push(name.clone());
            continue;
        };
        match (container.state.as_str(), container.health.as_str()) {
            ("exited", _) if service.facts.once && container.exit_code == 0 => {}
            ("exited" | "dead", _) => {
                failed.push(format!("{name} ended with exit code {}", container.exit_code));
            }
            ("running", "unhealthy") => failed.push(format!("{name} is unhealthy")),
            ("running", "healthy") => {}
            ("running", _) if service.unchecked && !service.facts.once => {}
            _ => waiting.push(name.clone()),
        }
    }
    match (failed.is_empty(), waiting.is_empty()) {
        (false, _) => Progress::Failed(failed),
        (true, true) => Progress::Healthy,
        (true, false) => Progress::Waiting(waiting),
    }
}

/// The containers of a stack's services, running or not.
pub(crate) fn containers(ctx: &Ctx, stage: &Stage) -> Result<Vec<compose::Container>> {
    compose::parse_ps(&ctx.read(compose::ps(&ctx.sh, &stage.target))?)
}

/// Whether any service of the stack runs; those that do their work and end do not count.
pub(crate) fn runs(ctx: &Ctx, stage: &Stage) -> Result<bool> {
    let answer = ctx.read(docker::containers_of_project(&ctx.sh, &stage.target.project))?;
    let lasting =
        |name: &str| stage.stack.services.get(name).is_some_and(|service| !service.facts.once);
    let up = |container: &docker::Container| {
        matches!(container.state.as_str(), "running" | "restarting")
            && container.label(LABEL_SERVICE).is_some_and(lasting)
    };
    Ok(docker::parse_containers(&answer)?.iter().any(up))
}

pub(crate) fn look(ctx: &Ctx, stage: &Stage) -> Result<Progress> {
    Ok(progress(&stage.stack, &containers(ctx, stage)?))
}

/// Waits for health; a failure shows the log of what failed.
pub(crate) fn wait_until_healthy(ctx: &Ctx, stage: &Stage) -> Result<()> {
    let problems = until_healthy(ctx, stage)?;
    if problems.is_empty() { Ok(()) } else { Err(explain_failure(ctx, stage, &problems)) }
}

/// Waits until every service is healthy, or one is not going to be: what went wrong.
pub(crate) fn until_healthy(ctx: &Ctx, stage: &Stage) -> Result<Vec<String>> {
    let started = Instant::now();
    let bar = ctx.spinner("waiting for health".into());
    let problems = loop {
        match look(ctx, stage)? {
            Progress::Healthy => break Vec::new(),
            Progress::Failed(problems) => break problems,
            Progress::Waiting(services) if started.elapsed() > HEALTHY => {
                break vec![format!("{} never became healthy", services.join(", "))];
            }
            Progress::Waiting(services) => {
                bar.set_message(format!("waiting for {}", services.join(", ")));
            }
        }
        if ctx.interrupted() {
            return Err(exit::interrupted());
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    bar.finish_and_clear();
    Ok(problems)
}

/// The last lines of the logs of the services that problems begin with.
pub(crate) fn log_of(ctx: &Ctx, stage: &Stage, problems: &[String]) -> String {
    let named = |service: &&String| {
        problems.iter().any(|problem| problem.split(' ').next() == Some(service.as_str()))
    };
    let services: Vec<String> = stage.stack.services.keys().filter(named).cloned().collect();
    let lines = Lines { tail: Some(20), ..Lines::default() };
    let log = ctx.ask(compose::logs(&ctx.sh, &stage.target, &lines, &services), QUESTION);
    let log = log.map(|answer| answer.stdout).unwrap_or_default();
    log.lines().map(|line| format!("\n  {line}")).collect()
}

/// The problems with the last lines of each failed service's log.
pub(crate) fn explain_failure(ctx: &Ctx, stage: &Stage, problems: &[String]) -> anyhow::Error {
    let name = &stage.facts.name;
    let log = log_of(ctx, stage, problems);
    let next = format!("see `cargo xtask logs {name}`, and end it with `cargo xtask stop {name}`");
    exit::problems(&format!("{name} did not start"), &[problems, &[next]].concat()).context(log)
}

/// Whether somebody answers on a port of this machine.
pub(crate) fn answers(port: u16) -> bool {
    let address = ([127, 0, 0, 1], port).into();
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Says where the environment answers.
pub(crate) fn announce(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<()> {
    let Some(port) = port else {
        ctx.say(format_args!("{name} runs; it publishes no `http` port"));
        return Ok(());
    };
    let url = format!("http://127.0.0.1:{port}/");
    match ctx.json {
        true => ctx.event(&serde_json::json!({"event": "ready", "environment": name, "url": url})),
        false => ctx.print(format_args!("{name} answers on {url}")),
    }
}
