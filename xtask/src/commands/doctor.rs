//! `doctor`: looks at this machine and this project; changes nothing.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::setup;
use crate::cli::Doctor;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::Project;
use crate::project::lock;
use crate::tools::{compose, docker};

/// What can be said of the Docker engine of this machine.
#[derive(Debug)]
pub(crate) enum Engine {
    /// It answers, and its plugins are there; platform such as `linux/amd64`.
    Ready {
        version: String,
        platform: String,
    },
    NoClient,
    /// The client's own words.
    NoAnswer(String),
    Denied,
    NoPlugin(&'static str),
}

/// Looks for an engine. Asks nothing but local programs.
pub(crate) fn engine(ctx: &Ctx) -> Engine {
    look(ctx, false)
}

/// Like [`engine`], for a command that uses the engine at once: plugins that were there are not
/// looked for again, since each takes longer to start than the engine takes to answer.
pub(crate) fn engine_in_use(ctx: &Ctx) -> Engine {
    look(ctx, remembered(ctx).is_some_and(|it| it.had_plugins))
}

fn look(ctx: &Ctx, has_plugins: bool) -> Engine {
    let answer = match ctx.ask(docker::version(&ctx.sh), QUESTION) {
        Ok(answer) => answer,
        Err(error) if exit::code(&error) == exit::MISSING => return Engine::NoClient,
        Err(error) => return Engine::NoAnswer(format!("{error:#}")),
    };
    let server = docker::parse_version(&answer.stdout).ok().and_then(|version| version.server);
    let Some(server) = server else {
        let words = answer.stderr.trim().to_owned();
        let denied = words.contains("permission denied");
        return if denied { Engine::Denied } else { Engine::NoAnswer(words) };
    };
    let plugins =
        [("buildx", docker::buildx_version(&ctx.sh)), ("compose", compose::version(&ctx.sh))];
    for (plugin, cmd) in plugins.into_iter().filter(|_| !has_plugins) {
        if !ctx.ask(cmd, QUESTION).is_ok_and(|answer| answer.status.success()) {
            return Engine::NoPlugin(plugin);
        }
    }
    Engine::Ready { platform: server.platform(), version: server.version }
}

impl Engine {
    /// Why it cannot be used and what to type, or nothing when it can.
    pub(crate) fn problem(&self) -> Option<String> {
        let setup = "set it up with `cargo xtask setup`";
        match self {
            Engine::Ready { .. } => None,
            Engine::NoClient => Some(format!("docker is not installed; {setup}")),
            Engine::NoAnswer(_) => Some(format!("no Docker engine answers; {setup}")),
            Engine::Denied => Some(
                "the Docker engine refuses you; join its group with \
                 `sudo usermod --append --groups docker $USER` and log in again"
                    .into(),
            ),
            Engine::NoPlugin(plugin) => Some(format!("docker {plugin} is not installed; {setup}")),
        }
    }
}

/// What is remembered of the engine that the docker client talks to.
#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    endpoint: String,
    platform: String,
    #[serde(default)]
    had_plugins: bool,
}

fn remembered(ctx: &Ctx) -> Option<Remembered> {
    let text = std::fs::read(ctx.state().join("engine.json")).ok()?;
    let remembered: Remembered = serde_json::from_slice(&text).ok()?;
    (remembered.endpoint == ctx.docker_endpoint()).then_some(remembered)
}

/// The platform that the engine had when it was last asked.
pub(crate) fn remembered_platform(ctx: &Ctx) -> Option<String> {
    remembered(ctx).map(|remembered| remembered.platform)
}

/// Whether the engine still has the platform that is remembered of it: one question instead of all.
pub(crate) fn still_has(ctx: &Ctx, platform: &str) -> bool {
    let answer = ctx.ask(docker::version(&ctx.sh), QUESTION).ok();
    let version = answer.and_then(|answer| docker::parse_version(&answer.stdout).ok());
    let server = version.and_then(|version| version.server);
    server.is_some_and(|server| server.platform() == platform)
}

/// The platform of an engine that is ready, or an error that says what to type.
pub(crate) fn require_engine(ctx: &Ctx) -> Result<String> {
    let known = remembered(ctx);
    match look(ctx, known.as_ref().is_some_and(|it| it.had_plugins)) {
        Engine::Ready { platform, .. } => {
            if !known.is_some_and(|it| it.had_plugins && it.platform == platform) {
                let endpoint = ctx.docker_endpoint();
                let remembered =
                    Remembered { endpoint, platform: platform.clone(), had_plugins: true };
                let text = serde_json::to_vec(&remembered)?;
                ctx.remember(&ctx.state().join("engine.json"), &text);
            }
            Ok(platform)
        }
        _ if ctx.interrupted() => Err(exit::interrupted()),
        other => Err(exit::missing(other.problem().unwrap_or_default())),
    }
}

impl Doctor {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let mut problems = 0;
        let mut report = |name: &str, found: Result<String, String>| -> Result<()> {
            if found.is_err() {
                problems += 1;
            }
            if ctx.json {
                let (ok, text) = match &found {
                    Ok(text) => (true, text),
                    Err(text) => (false, text),
                };
                return ctx.event(&serde_json::json!({
                    "event": "check", "name": name, "ok": ok, "text": text,
                }));
            }
            match found {
                Ok(text) => ctx.print(format_args!("ok       {name}: {text}")),
                Err(text) => ctx.print(format_args!("missing  {name}: {text}")),
            }
        };
        let engine = engine(ctx);
        report(
            "docker engine",
            match (&engine, engine.problem()) {
                (Engine::Ready { version, platform }, _) => Ok(format!("{version} on {platform}")),
                (Engine::NoAnswer(words), Some(problem)) if !words.is_empty() => {
                    Err(format!("{problem}\n         docker says: {words}"))
                }
                (_, problem) => Err(problem.unwrap_or_default()),
            },
        )?;
        for (program, why) in [
            ("git", "tells which commit runs"),
            ("curl", "tells what a registry holds"),
            ("mmdebstrap", "makes base images where no registry answers"),
        ] {
            let found = which::which(program).map(|path| path.display().to_string());
            let missing = |_| format!("{why}; install it with `cargo xtask setup`");
            report(program, found.map_err(missing))?;
        }
        let clients = match setup::clients(ctx) {
            Some((eb, aws)) => format!("{}, {}", eb.display(), aws.display()),
            None => "not installed; who deploys needs them: `cargo xtask setup`".to_owned(),
        };
        report("eb and aws", Ok(clients))?;
        let project = Project::load(&ctx.root)?;
        let list = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        report("environments", Ok(list(&project.environments)))?;
        report("images", Ok(list(&project.images)))?;
        let lock = lock::load(&ctx.root);
        report(
            lock::PATH,
            lock.map(|lock| format!("epoch {}", lock.epoch)).map_err(|e| format!("{e:#}")),
        )?;
        for name in &project.environments {
            let checked = super::env::load(ctx, name).and_then(|facts| {
                let exposed = match super::env::load_stack(ctx, &facts) {
                    Ok(stack) => super::env::exposed_secrets(ctx, &facts, &stack),
                    Err(_) => super::env::exposed::to_git(ctx, &facts).into_iter().collect(),
                };
                anyhow::ensure!(exposed.is_empty(), "{}", exposed.join("; "));
                match facts.dotenv_path().exists() {
                    true => super::env::load_variables(&facts).map(|_| "complete".to_owned()),
                    false => Ok(".env is not made yet".to_owned()),
                }
            });
            report(&format!("settings of {name}"), checked.map_err(|e| format!("{e:#}")))?;
        }
        if problems == 0 {
            return Ok(());
        }
        Err(exit::missing(format!("{problems} of the above need attention")))
    }
}
