//! `env init|check|show`: the settings of an environment.
//!
//! `.env` is made from `.env.example` and never overwritten; secrets are shown to nobody.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use fingerprint::sha256;

use super::preflight;
use crate::cli::EnvName;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::compose_files::{self, ComposeFiles};
use crate::project::dotenv::{self, Variables};
use crate::project::environment::{self, Environment};
use crate::project::needs::behind;
use crate::project::schema::{self, Schema, Source, holds_a_password, names_a_secret};
use crate::project::stack::{self, Stack};
use crate::project::{self, Project, env_file, image};
use crate::tools::compose;

pub(crate) mod exposed;

/// An environment as its own files describe it.
pub(crate) struct Facts {
    pub(crate) project: Project,
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) schema: Schema,
    pub(crate) compose: ComposeFiles,
}

pub(crate) fn load(ctx: &Ctx, name: &str) -> Result<Facts> {
    let project = Project::load(&ctx.root)?;
    let directory = project.environment(name)?;
    let shown = |file: &str| format!("environments/{name}/{file}");
    let environment =
        environment::load(&directory.join("environment.toml"), &shown("environment.toml"))?;
    let schema = schema::load(&directory.join(".env.example"), &shown(".env.example"))?;
    let compose = compose_files::find(&ctx.root, name);
    Ok(Facts { project, name: name.to_owned(), directory, environment, schema, compose })
}

impl Facts {
    pub(crate) fn dotenv_path(&self) -> PathBuf {
        self.directory.join(".env")
    }

    pub(crate) fn dotenv_name(&self) -> String {
        format!("environments/{}/.env", self.name)
    }

    /// The compose files, from the project's root.
    pub(crate) fn compose_files(&self) -> Vec<PathBuf> {
        self.compose.files.clone()
    }
}

/// The services of an environment, as compose reads its files.
pub(crate) fn load_stack(ctx: &Ctx, facts: &Facts) -> Result<Stack> {
    let mut stack = stack::parse(&describe(ctx, facts)?, &facts.environment.variables)?;
    for service in stack.services.values_mut() {
        for path in service.env_files.keys() {
            if *path == facts.dotenv_name() {
                service.from_files.extend(facts.schema.variables.keys().cloned());
                continue;
            }
            // Where it is missing, `undeclared` says so.
            let text = std::fs::read_to_string(ctx.root.join(path)).unwrap_or_default();
            let found = env_file::parse(&text);
            service.from_files.extend(found.sets);
            service.uses.extend(found.uses.iter().cloned());
            stack.variables.extend(found.uses);
        }
    }
    Ok(stack)
}

/// What compose says of an environment's files, with our own facts merged as its own are.
pub(crate) fn describe(ctx: &Ctx, facts: &Facts) -> Result<String> {
    facts.compose.check()?;
    let files = facts.compose_files();
    let merged = compose_config(ctx, &files, &[])?;
    let overlay_has_facts = files.get(1).is_some_and(|overlay| {
        std::fs::read_to_string(ctx.root.join(overlay))
            .is_ok_and(|text| text.contains("x-stevedore"))
    });
    match overlay_has_facts {
        true => stack::with_facts(&merged, &compose_config(ctx, &files[..1], &[])?),
        false => Ok(merged),
    }
}

/// What the overlay alone says, which makes no stack by itself; nothing where there is none.
pub(crate) fn load_overlay(ctx: &Ctx, facts: &Facts) -> Result<Option<String>> {
    let files = facts.compose_files();
    match &files[1..] {
        [] => Ok(None),
        overlay => compose_config(ctx, overlay, &["--no-consistency"]).map(Some),
    }
}

/// Keys by which a compose file has compose read others.
const REFERRING: [&str; 3] = ["include", "extends", "env_file"];

/// What compose makes of its files, remembered by their content: asking it takes longer than all
/// else that a build with nothing to do needs.
///
/// The file holds the key in its first line and compose's words, with their own hash, behind it.
fn compose_config(ctx: &Ctx, files: &[PathBuf], options: &[&str]) -> Result<String> {
    let asked = || ctx.read(compose::config(&ctx.sh, files).args(options));
    let mut key = options.join(" ");
    for file in files {
        let Ok(text) = std::fs::read_to_string(ctx.root.join(file)) else {
            return asked();
        };
        if REFERRING.iter().any(|word| text.contains(word)) {
            return asked();
        }
        key.push_str(&format!("{} {}\n", file.display(), sha256(text.as_bytes())));
    }
    let key = sha256(key.as_bytes());
    let path = ctx.state().join("compose").join(&key[..16]);
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Some((head, body)) = text.split_once('\n')
        && head == format!("{key} {}", sha256(body.as_bytes()))
    {
        return Ok(body.to_owned());
    }
    let body = asked()?;
    let text = format!("{key} {}\n{body}", sha256(body.as_bytes()));
    ctx.remember(&path, text.as_bytes());
    Ok(body)
}

/// The variables of `.env`, checked against the schema; every problem in one error.
pub(crate) fn load_variables(facts: &Facts) -> Result<Variables> {
    let name = facts.dotenv_name();
    let path = facts.dotenv_path();
    let variables = match path.exists() {
        true => dotenv::load(&path, &name)?,
        false if facts.schema.variables.is_empty() => Variables::new(),
        false => {
            return Err(exit::missing(format!(
                "{name} is missing; make it with `cargo xtask env init {}`",
                facts.name
            )));
        }
    };
    let problems = facts.schema.check(&variables);
    if problems.is_empty() {
        return Ok(variables);
    }
    Err(exit::problems(&format!("{name} does not fit .env.example"), &problems))
}

/// What the app gets to see: the public variables, then those of `.env`.
///
/// A dry run of the very first start has no `.env` yet, and needs none.
pub(crate) fn settings(ctx: &Ctx, facts: &Facts) -> Result<BTreeMap<String, String>> {
    let mut settings = facts.environment.variables.clone();
    if !ctx.dry_run || facts.dotenv_path().exists() {
        let secret = load_variables(facts)?;
        settings.extend(secret.iter().map(|(name, value)| (name.clone(), value.reveal().into())));
    }
    Ok(settings)
}

/// Names that compose files use though nobody gives them a value, and files under `env_file` that
/// are missing, as problems.
pub(crate) fn undeclared(facts: &Facts, stack: &Stack) -> Vec<String> {
    let mut problems = undeclared_names(facts, stack);
    for (service, found) in &stack.services {
        for (path, required) in &found.env_files {
            let is_made = *path == facts.dotenv_name() && !facts.schema.variables.is_empty();
            if *required && !is_made && !facts.project.root.join(path).exists() {
                problems.push(format!("service {service}: the env_file {path} does not exist"));
            }
        }
    }
    problems
}

fn undeclared_names(facts: &Facts, stack: &Stack) -> Vec<String> {
    let known = |name: &String| {
        facts.environment.variables.contains_key(name)
            || facts.schema.variables.contains_key(name)
            || name.starts_with("STEVEDORE_")
    };
    let unknown = stack.variables.iter().filter(|name| !known(name));
    unknown
        .map(|name| {
            format!(
                "the compose files use ${{{name}}}, which is neither in \
                 environments/{env}/.env.example nor in [variables] of \
                 environments/{env}/environment.toml",
                env = facts.name
            )
        })
        .collect()
}

/// Refuses compose files with a variable that would silently be empty.
pub(crate) fn check_declared(facts: &Facts, stack: &Stack) -> Result<()> {
    let problems = undeclared(facts, stack);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(exit::problems("undeclared variables", &problems))
    }
}

/// Settings for a trial run that nobody keeps: public ones as they are, secrets made up.
pub(crate) fn trial_settings(facts: &Facts) -> BTreeMap<String, String> {
    let mut settings = facts.environment.variables.clone();
    for (name, variable) in &facts.schema.variables {
        let value = match &variable.source {
            Source::Generated { digits } => random_hex(*digits),
            // Nobody knows its form; who needs one says so when it starts.
            Source::Required => random_hex(32),
            Source::Optional => String::new(),
            Source::Default(value) => value.clone(),
        };
        settings.insert(name.clone(), value);
    }
    settings
}

/// Makes `.env` where there is none, and adds what the schema has gained since.
pub(crate) fn ensure(ctx: &Ctx, facts: &Facts) -> Result<()> {
    let path = facts.dotenv_path();
    let present = match path.exists() {
        true => dotenv::load(&path, &facts.dotenv_name())?,
        false => Variables::new(),
    };
    let wanted = |name: &&String| match facts.schema.variables[*name].source {
        Source::Generated { .. } | Source::Default(_) => !present.contains_key(*name),
        Source::Required | Source::Optional => !path.exists(),
    };
    let added: Vec<&str> =
        facts.schema.variables.keys().filter(wanted).map(String::as_str).collect();
    if added.is_empty() {
        return Ok(());
    }
    let text = if path.exists() {
        let old = std::fs::read_to_string(&path)?;
        let fresh = facts.schema.fill(&present, &mut random_hex);
        let lines = fresh
            .lines()
            .filter(|line| line.split_once('=').is_some_and(|(name, _)| added.contains(&name)));
        let added: String = lines.map(|line| format!("{line}\n")).collect();
        format!("{}\n{added}", old.trim_end_matches('\n'))
    } else {
        facts.schema.fill(&present, &mut random_hex)
    };
    ctx.write_secret(&path, text.as_bytes())?;
    if ctx.dry_run {
        return Ok(());
    }
    let what = if present.is_empty() { "created" } else { "completed" };
    ctx.say(format_args!("{what} {} ({})", facts.dotenv_name(), added.join(", ")));
    Ok(())
}

pub(crate) fn random_hex(digits: usize) -> String {
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes).expect("the system's random numbers");
    let mut text = hex::encode(bytes);
    text.truncate(digits);
    text
}

pub(crate) fn init(flags: EnvName, ctx: &Ctx) -> Result<()> {
    let facts = load(ctx, &flags.environment)?;
    ensure(ctx, &facts)?;
    if ctx.dry_run {
        return Ok(());
    }
    load_variables(&facts).map(drop).context("fill in what is missing, then run it again")?;
    let name = facts.dotenv_name();
    ctx.say(match facts.dotenv_path().exists() {
        true => format!("{name} is complete"),
        false => format!("{name}.example declares no variables: {} needs no .env", facts.name),
    });
    Ok(())
}

pub(crate) fn check(flags: EnvName, ctx: &Ctx) -> Result<()> {
    let facts = load(ctx, &flags.environment)?;
    let mut problems = Vec::new();
    if let Err(error) = load_variables(&facts) {
        problems.push(format!("{error:#}"));
    }
    match load_stack(ctx, &facts) {
        Ok(stack) => {
            problems.extend(undeclared(&facts, &stack));
            problems.extend(exposed_secrets(ctx, &facts, &stack));
            if problems.is_empty() {
                problems.extend(preflight::refusal(ctx, &facts, &stack));
            }
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    if problems.is_empty() {
        ctx.say(format_args!("environment {} is complete and consistent", facts.name));
        return Ok(());
    }
    Err(exit::problems(&format!("environment {} has problems", facts.name), &problems))
}

/// Where the secrets of an environment would get to: git, and the images that are built for it.
pub(crate) fn exposed_secrets(ctx: &Ctx, facts: &Facts, stack: &Stack) -> Vec<String> {
    let mut problems: Vec<String> = exposed::to_git(ctx, facts).into_iter().collect();
    // What is wrong with the recipes or their ignore files is said where images are planned.
    if let Ok(recipes) = image::recipes(&facts.project, stack, &facts.environment, "") {
        problems
            .extend(exposed::to_builds(ctx, &facts.project, &recipes, false).unwrap_or_default());
    }
    problems
}

pub(crate) fn show(flags: EnvName, ctx: &Ctx) -> Result<()> {
    let facts = load(ctx, &flags.environment)?;
    let mut lines: BTreeMap<String, (String, &str)> = BTreeMap::new();
    for (name, value) in &facts.environment.variables {
        let hidden = names_a_secret(name);
        lines.insert(name.clone(), (shown(hidden, value), "environment.toml"));
    }
    let variables = match facts.dotenv_path().exists() {
        true => dotenv::load(&facts.dotenv_path(), &facts.dotenv_name())?,
        false => Variables::new(),
    };
    for (name, value) in &variables {
        let hidden = facts.schema.is_secret(name);
        lines.insert(name.clone(), (shown(hidden, value.reveal()), ".env"));
    }
    for (name, port) in &facts.environment.ports {
        lines.insert(port_variable(name), (port.to_string(), "environment.toml [ports]"));
    }
    for (name, (value, source)) in &lines {
        match ctx.json {
            true => ctx.event(&serde_json::json!({
                "event": "setting", "name": name, "value": value, "source": source,
            }))?,
            false => ctx.print(format_args!("{name}={value}  # {source}"))?,
        }
    }
    Ok(())
}

/// A value for people to see.
fn shown(hidden: bool, value: &str) -> String {
    match value {
        "" => "(empty)".into(),
        value if hidden || holds_a_password(value) => "(secret)".into(),
        value => value.to_owned(),
    }
}

/// The variable by which compose files learn a published port.
pub(crate) fn port_variable(port: &str) -> String {
    format!("STEVEDORE_PORT_{}", port.to_ascii_uppercase().replace('-', "_"))
}

/// Names of services as given on the command line; unknown ones are usage errors.
pub(crate) fn check_services(stack: &Stack, services: &[String]) -> Result<()> {
    services.iter().try_for_each(|service| match stack.switched_off.get(service) {
        Some(off) => Err(exit::usage(format!(
            "the service {service} is {}; remove its `profiles` from the compose files",
            behind(&off.profiles)
        ))),
        None => project::known("service", service, &stack.names()),
    })
}

/// The service that was named, or the main one.
pub(crate) fn service_or_main(stack: &Stack, named: Option<String>) -> Result<String> {
    if let Some(service) = named {
        check_services(stack, std::slice::from_ref(&service))?;
        return Ok(service);
    }
    let list = stack.names().into_iter().collect::<Vec<_>>().join(", ");
    stack.main().map(str::to_owned).ok_or_else(|| {
        exit::usage(format!("name a service ({list}), or mark one `x-stevedore: {{main: true}}`"))
    })
}
