//! `check`: the gates that need no engine: what can be said of the project by reading it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::gate::{self, Gates, Status};
use super::release::repository;
use super::volumes::{self, Unnamed};
use super::{assets, env, preflight};
use crate::cli::Check;
use crate::ctx::{Ctx, QUESTION};
use crate::exit;
use crate::project::assets::SOURCE;
use crate::project::{Project, dockerfile, image, lock};
use crate::release::record::Gate;
use crate::tools::{git, shell};

impl Check {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let project = Project::load(&ctx.root)?;
        let mut gates = Gates::new(ctx);
        run(ctx, &mut gates, &project)?;
        gates.finish()
    }
}

/// Runs them all, and then those that the project's files add.
pub(crate) fn run(ctx: &Ctx, gates: &mut Gates<'_>, project: &Project) -> Result<()> {
    own(ctx, gates, project)?;
    for (name, line) in &gate::declared(ctx, project)?.check {
        gates.run_program(name, line, &[], false)?;
    }
    Ok(())
}

const DOCKERFILES: &str = "Dockerfiles";
const SCRIPTS: &str = "shell scripts";
const ASSETS: &str = "assets";

/// Runs those that the tool has by itself.
pub(crate) fn own(ctx: &Ctx, gates: &mut Gates<'_>, project: &Project) -> Result<()> {
    gates.run(DOCKERFILES, || dockerfiles(ctx, project))?;
    for name in &project.environments {
        gates.run(&format!("environment {name}"), || environment(ctx, name))?;
    }
    gates.run(SCRIPTS, || shell_scripts(ctx))?;
    if has_assets(ctx) {
        gates.run(ASSETS, || assets::check(ctx).map(|()| Status::Passed))?;
    }
    Ok(())
}

/// Those that [`own`] runs.
pub(crate) fn expected(ctx: &Ctx, project: &Project) -> Vec<Gate> {
    let environments = project.environments.iter().map(|name| format!("environment {name}"));
    let mut names = vec![DOCKERFILES.to_owned()];
    names.extend(environments);
    names.push(SCRIPTS.into());
    names.extend(has_assets(ctx).then(|| ASSETS.into()));
    names.into_iter().map(|name| Gate { name, fingerprint: None }).collect()
}

fn has_assets(ctx: &Ctx) -> bool {
    ctx.root.join(SOURCE).is_dir()
}

fn passed_unless(title: &str, problems: &[String]) -> Result<Status> {
    match problems.is_empty() {
        true => Ok(Status::Passed),
        false => Err(exit::problems(title, problems)),
    }
}

/// Every Dockerfile can be read the way the builder reads it, and its bases are known.
fn dockerfiles(ctx: &Ctx, project: &Project) -> Result<Status> {
    let lock = lock::load(&ctx.root)?;
    let mut problems = Vec::new();
    for image in &project.images {
        let name = format!("docker/{image}/Dockerfile");
        let text = std::fs::read_to_string(ctx.root.join(&name))
            .with_context(|| format!("can't read {name}"))?;
        match dockerfile::parse(&text, None, &BTreeMap::new()) {
            Err(message) => problems.push(format!("{name}:{message}")),
            Ok(references) => {
                let unknown = references.images.iter().filter(|base| {
                    !project.images.contains(*base) && !lock.external.contains_key(*base)
                });
                problems.extend(unknown.map(|base| {
                    format!(
                        "{name}: {base} does not stand in {}; record it with `cargo xtask image \
                         update`",
                        lock::PATH
                    )
                }));
            }
        }
    }
    passed_unless("Dockerfiles have problems", &problems)
}

/// The compose files of an environment fit together with its variables and with the images.
fn environment(ctx: &Ctx, name: &str) -> Result<Status> {
    let facts = env::load(ctx, name)?;
    let stack = env::load_stack(ctx, &facts)?;
    for (service, found) in &stack.services {
        let paths = found.unnamed_volumes.iter().cloned();
        let volumes = paths.map(|path| Unnamed { service: service.clone(), path });
        volumes::warn(ctx, name, volumes);
    }
    let mut problems = env::undeclared(&facts, &stack);
    problems.extend(env::exposed_secrets(ctx, &facts, &stack));
    let unused = facts.schema.variables.iter().filter(|(name, _)| !stack.variables.contains(*name));
    problems.extend(unused.map(|(variable, found)| {
        format!("environments/{name}/.env.example:{}: no compose file uses {variable}", found.line)
    }));
    let host = &facts.environment.host.variables;
    let public = facts.environment.variables.keys();
    let unused =
        public.filter(|name| !stack.variables.contains(*name) && !host.contains_key(*name));
    problems.extend(unused.map(|variable| {
        format!("environments/{name}/environment.toml: no compose file uses {variable}")
    }));
    let epoch = lock::load(&ctx.root)?.epoch;
    if let Err(error) = image::recipes(&facts.project, &stack, &facts.environment, &epoch) {
        problems.push(format!("{error:#}"));
    } else {
        problems.extend(preflight::problems(ctx, &facts, &stack)?);
    }
    passed_unless(&format!("environment {name} has problems"), &problems)
}

/// Every shell script in git can be parsed; shellcheck looks closer where it is installed.
fn shell_scripts(ctx: &Ctx) -> Result<Status> {
    let cmd = git::list_files(&ctx.sh);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, QUESTION)?;
    if !answer.status.success() {
        // The usual reason is said with what to type.
        repository::places(ctx)?;
    }
    let listed = answer.success(&shown)?;
    let mut problems = Vec::new();
    let closer = which::which("shellcheck").is_ok();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let Some(kind) = shell_of(&ctx.root.join(path)) else { continue };
        // No name of a file is an option.
        let path = format!("./{path}");
        let mut questions = vec![shell::parse_only(&ctx.sh, kind, &path)];
        questions.extend(closer.then(|| shell::shellcheck(&ctx.sh, &path)));
        for question in questions {
            let answer = ctx.ask(question, QUESTION)?;
            if !answer.status.success() {
                let said = format!("{}{}", answer.stdout, answer.stderr);
                problems.push(said.trim_end().to_owned());
            }
        }
    }
    passed_unless("shell scripts have problems", &problems)
}

/// The shell of a script, by its first line; of nothing but regular files.
fn shell_of(path: &Path) -> Option<&'static str> {
    use std::io::Read;
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut start = [0; 64];
    let length = std::fs::File::open(path).ok()?.read(&mut start).ok()?;
    let line = start[..length].split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_prefix("#!")?;
    let word = line.split_whitespace().rfind(|word| !word.starts_with('-'))?;
    let program = word.rsplit('/').next()?;
    ["sh", "bash", "dash"].into_iter().find(|shell| *shell == program)
}
