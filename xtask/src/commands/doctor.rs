//! `doctor`: looks at this machine and this project; changes nothing.

use anyhow::Result;

use super::setup;
use crate::cli::Doctor;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::Project;
use crate::project::lock;
use crate::tools::docker_engine::{self, PLUGINS};

mod engine;
pub(crate) use engine::{
    Engine, another_machine, engine, engine_in_use, remembered_platform, require, require_engine,
    require_engine_for_a_start, still_has,
};

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
        for (name, found) in engine_lines(ctx) {
            report(&name, found)?;
        }
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

/// What there is of docker, and which commands can run with it.
fn engine_lines(ctx: &Ctx) -> Vec<(String, Result<String, String>)> {
    let found = engine::answering(ctx);
    let of_engine = match (&found, found.problem()) {
        (Engine::Ready { version, platform, .. }, _) => {
            Ok(format!("{version} on {platform}{}", details(ctx)))
        }
        (Engine::NoAnswer(words, _), Some(problem)) if !words.is_empty() => {
            Err(format!("{problem}\n         docker says: {words}"))
        }
        (_, problem) => Err(problem.unwrap_or_default()),
    };
    let mut lines = vec![("docker engine".to_owned(), of_engine)];
    if !matches!(found, Engine::NoClient) {
        lines.extend(PLUGINS.iter().map(|it| {
            let version = engine::plugin(ctx, it);
            (format!("docker {}", it.name), version.map_err(|it| it.problem().unwrap_or_default()))
        }));
    }
    let is_complete = lines.iter().all(|(_, found)| found.is_ok());
    let commands = match (is_complete, found.problem_for_a_start()) {
        (true, None) => "all can run".to_owned(),
        (true, Some(problem)) => format!(
            "image, publish, release and test can run; dev --engine docker, start, restart, run, \
             rehearse and beanstalk serve cannot: {problem}"
        ),
        (false, _) => {
            "only those can run that need no engine: dev --engine host, procfile, check, assets, env"
                .to_owned()
        }
    };
    lines.push(("commands".to_owned(), Ok(commands)));
    lines
}

/// How the engine keeps images, and whose users its containers have.
fn details(ctx: &Ctx) -> String {
    let answer = ctx.ask(docker_engine::info(&ctx.sh), QUESTION).ok();
    let info = answer.and_then(|answer| docker_engine::parse_info(&answer.stdout).ok());
    let Some(info) = info else { return String::new() };
    let users = match info.users() {
        Some("userns-remap") => {
            ", userns-remap: of the files that a service mounts it can read what every user may \
             read, and write none"
        }
        Some("rootless") => {
            ", rootless: of the files that a service mounts, only root in its container can write \
             any or read private ones"
        }
        _ => "",
    };
    format!(", image store: {}{users}", info.image_store())
}
