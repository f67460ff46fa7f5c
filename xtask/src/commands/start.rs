//! `start`: an environment in the background, healthy before the command returns.
//!
//! Settings, images, ports, then compose, then the verdict; `dev` and `restart` share the steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use fingerprint::{sha256, short};

use super::env::{self, Facts};
use super::image::build;
use super::image::plan::{Assets, Request};
use super::ports::{self, Choice};
use super::{assets, dev, doctor, preflight, volumes};
use crate::cli::{Cache, Start};
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::assets::OUTPUT;
use crate::project::environment::MAIN_PORT;
use crate::project::image::{Recipe, recipes};
use crate::project::lock;
use crate::project::stack::Stack;
use crate::tools::compose::{self, Lines, Target};
use crate::tools::docker_container::{self, Container};
use crate::tools::git;

pub(crate) mod answers;
mod checkout;
mod existing;
mod overlay;
pub(crate) mod page;
pub(crate) mod startup;
pub(crate) mod verdict;
pub(crate) mod watched;
pub(crate) use checkout::is_elsewhere;
pub(crate) use existing::{Existing, existing};
use startup::Startup;
use verdict::Finding;

/// What compose writes on everything that it makes: its project, and the directory that it belongs
/// to.
pub(crate) const LABEL_PROJECT: &str = "com.docker.compose.project";
pub(crate) const LABEL_HOME: &str = "com.docker.compose.project.working_dir";
/// On every container: which environment it belongs to.
pub(crate) const LABEL_ENVIRONMENT: &str = "dev.stevedore.environment";
/// Compose 2.26 writes it before each line of a log, into pipes too.
const CLEAR_LINE: &str = "\u{1b}[2K";
/// Lines of the log of a service that failed.
const LOG_TAIL: u32 = 20;

impl Start {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        start(ctx, &self.environment, self.port).map(drop)
    }
}

/// Starts an environment and comes back when it is ready and answers.
pub(crate) fn start(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<Stage> {
    let stage = prepare_page(ctx, name, port)?;
    bring_up(ctx, &stage)?;
    if !ctx.dry_run {
        volumes::warn(ctx, name, volumes::of(&containers(ctx, &stage.target.project)?));
        answers::announce_page(ctx, &stage)?;
    }
    if stage.assets_follow {
        assets::update_if_possible(ctx)?;
    }
    Ok(stage)
}

/// Starts a stack and waits until it is ready; a failure shows the log of what failed.
pub(crate) fn bring_up(ctx: &Ctx, stage: &Stage) -> Result<()> {
    let failed = try_up(ctx, stage, &[])?;
    if failed.is_empty() { Ok(()) } else { Err(explain_failure(ctx, stage, &failed)) }
}

/// Starts services, all when none is named, and waits until the stack is ready: what has failed.
pub(crate) fn try_up(ctx: &Ctx, stage: &Stage, services: &[String]) -> Result<Vec<Finding>> {
    let mut startup = Startup::new(ctx, stage);
    let failed = startup.up(services)?;
    if !failed.is_empty() || ctx.dry_run { Ok(failed) } else { startup.until_ready(None) }
}

/// An environment with its settings and images, ready to be started.
pub(crate) struct Stage {
    pub(crate) facts: Facts,
    pub(crate) stack: Stack,
    pub(crate) target: Target,
    /// The assets are still to be made, once the page is there.
    pub(crate) assets_follow: bool,
}

/// Brings settings and images up to date and looks at the ports.
pub(crate) fn prepare(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<Stage> {
    prepare_with(ctx, name, port, None, false)
}

/// Like [`prepare`], for a caller that makes the assets afterwards if [`Stage::assets_follow`] says
/// so.
pub(crate) fn prepare_page(ctx: &Ctx, name: &str, port: Option<u16>) -> Result<Stage> {
    prepare_with(ctx, name, port, None, name == dev::ENVIRONMENT)
}

/// The same where it runs already. Images that would be built in the same way as `built` stay as
/// they are: only settings have changed.
pub(crate) fn prepare_again(
    ctx: &Ctx,
    name: &str,
    port: Option<u16>,
    built: Option<&[Recipe]>,
) -> Result<Stage> {
    prepare_with(ctx, name, port, built, false)
}

fn prepare_with(
    ctx: &Ctx,
    name: &str,
    port: Option<u16>,
    built: Option<&[Recipe]>,
    assets_may_follow: bool,
) -> Result<Stage> {
    let mut facts = env::load(ctx, name)?;
    if let Some(port) = port {
        facts.environment.ports.insert(MAIN_PORT.into(), port);
    }
    doctor::require_engine_for_a_start(ctx)?;
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
    let files = match preflight::filled(ctx, &facts, &stack, &target)? {
        Some(filled) => overlay::files_of(ctx, &facts, &target, &filled)?,
        None => BTreeMap::new(),
    };
    let lock = lock::load(&ctx.root)?;
    let images = overlay::path(ctx, &facts);
    let recipes = recipes(&facts.project, &stack, &facts.environment, &lock.epoch)?;
    if built.is_some_and(|built| images.exists() && recipes == built) {
        overlay::renew(ctx, &images, &files)?;
        target.files.push(images);
        return Ok(Stage { facts, stack, target, assets_follow: false });
    }
    let output = Path::new(OUTPUT).join("manifest.json");
    let no_image_holds_them = !recipes.iter().any(|recipe| recipe.is_made_of(&output));
    let assets_follow = assets_may_follow && no_image_holds_them && assets::may_follow(ctx)?;
    let mut request = Request::new(facts, stack, lock);
    request.assets = match name == dev::ENVIRONMENT {
        _ if assets_follow => Assets::Later,
        true => Assets::IfPossible,
        false => Assets::Required,
    };
    let plan = build::build(ctx, &mut request, Cache::Off)?;
    let Request { facts, stack, .. } = request;
    target.files.push(overlay::write(ctx, &facts, &stack, &plan, &files)?);
    Ok(Stage { facts, stack, target, assets_follow })
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

/// The containers of a stack's services, running or not.
pub(crate) fn containers(ctx: &Ctx, project: &str) -> Result<Vec<Container>> {
    labelled(ctx, LABEL_PROJECT, project)
}

/// The containers with a label, as the engine describes them; one-off commands are left out.
fn labelled(ctx: &Ctx, label: &str, value: &str) -> Result<Vec<Container>> {
    let listed = ctx.read(docker_container::list(&ctx.sh, label, value))?;
    let listed = docker_container::parse_list(&listed)?;
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = listed.iter().map(|it| it.id.clone()).collect();
    let cmd = docker_container::inspect(&ctx.sh, &ids);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, QUESTION)?;
    // One may be gone since it was listed.
    let stdout = match docker_container::lacks_containers(&answer.stderr) {
        true => answer.stdout,
        false => answer.success(&shown)?,
    };
    docker_container::parse(&stdout, &listed)
}

/// Whether any service of the stack runs; those that do their work and end do not count.
pub(crate) fn runs(ctx: &Ctx, stage: &Stage) -> Result<bool> {
    let lasting =
        |name: &str| stage.stack.services.get(name).is_some_and(|service| !service.facts.once);
    let is_up = |it: &Container| {
        matches!(it.state.status.as_str(), "running" | "restarting") && lasting(it.service())
    };
    Ok(containers(ctx, &stage.target.project)?.iter().any(is_up))
}

/// The last lines of the logs of the services that failed.
pub(crate) fn log_of(ctx: &Ctx, stage: &Stage, failed: &[Finding]) -> String {
    let services: BTreeSet<String> = failed.iter().map(|finding| finding.service.clone()).collect();
    let services: Vec<String> = services.into_iter().collect();
    let lines = Lines { tail: Some(LOG_TAIL), plain: true, ..Lines::default() };
    let target = stage.target.by_name();
    let log = ctx.ask(compose::logs(&ctx.sh, &target, &lines, &services), QUESTION);
    let log = log.map(|answer| answer.stdout).unwrap_or_default();
    log.lines().map(|line| format!("\n    {}", line.trim_start_matches(CLEAR_LINE))).collect()
}

/// What failed, and then the last lines of each failed service's log.
pub(crate) fn explain_failure(ctx: &Ctx, stage: &Stage, failed: &[Finding]) -> anyhow::Error {
    let name = &stage.facts.name;
    let log = log_of(ctx, stage, failed);
    let next = format!("see `cargo xtask logs {name}`, and end it with `cargo xtask stop {name}`");
    let mut problems: Vec<String> = failed.iter().map(|finding| finding.text.clone()).collect();
    if let Some(last) = problems.last_mut() {
        *last += &log;
    }
    problems.push(next);
    exit::problems(&format!("{name} did not start"), &problems)
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
