//! The services of an environment, read from what `docker compose config` says of them.
//!
//! Compose's files are the single description of the stack; compose itself reads them, and the
//! form without interpolation holds no secret and keeps our own keys. Facts for which compose has
//! no key stand in `x-stevedore:` on the service.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::hints::Hints;
use super::{needs, outside, substitute};
use crate::exit;

mod given;
mod order;
pub(crate) use order::Dependency;

#[derive(Debug)]
pub(crate) struct Stack {
    /// The `name:` of the files: the first part of every image and container name.
    pub(crate) name: String,
    pub(crate) services: BTreeMap<String, Service>,
    /// Services behind a profile: nothing starts them.
    pub(crate) switched_off: BTreeMap<String, SwitchedOff>,
    /// What the services name and nothing defines; compose would refuse to start them.
    pub(crate) problems: Vec<String>,
    /// Every `${NAME}` that the files use outside build sections, and every name without a value
    /// under `environment`, which compose would take from the caller's shell.
    pub(crate) variables: BTreeSet<String>,
    /// SHA-256 of everything that compose says of it.
    pub(crate) hash: String,
    /// Volumes that the stack has by name.
    pub(crate) volumes: BTreeSet<String>,
    /// Networks that the stack has by name.
    pub(crate) networks: BTreeSet<String>,
    /// Whether it uses files of this machine: mounted, as a setting, or by `env_file`.
    /// A mount whose source is a variable may be one.
    pub(crate) host_files: bool,
}

/// A service behind a profile. Its build may still be what another service's image comes from.
#[derive(Debug)]
pub(crate) struct SwitchedOff {
    pub(crate) profiles: Vec<String>,
    pub(crate) image: Option<String>,
    pub(crate) build: Option<Build>,
}

#[derive(Debug)]
pub(crate) struct Service {
    /// As the files have it, with the public variables filled in.
    pub(crate) image: Option<String>,
    pub(crate) build: Option<Build>,
    pub(crate) facts: Facts,
    /// The names of the variables under `environment`.
    pub(crate) environment: BTreeSet<String>,
    /// The names of the variables that files under `env_file` give it.
    pub(crate) from_files: BTreeSet<String>,
    /// Every `${NAME}` that its part of the files uses outside its build section.
    pub(crate) uses: BTreeSet<String>,
    /// The files under `env_file`, from the project's root, and whether each must exist.
    pub(crate) env_files: BTreeMap<String, bool>,
    /// What it sees of this machine's files, from the project's root.
    pub(crate) mounts: BTreeSet<String>,
    /// How many containers it has, as the files say it: a number, perhaps with variables.
    replicas: Option<String>,
    pub(crate) depends_on: BTreeMap<String, Dependency>,
    /// When the engine starts it again, in compose's words; `no` where the files do not say.
    pub(crate) restart: String,
    /// Where it has a volume without a name.
    pub(crate) unnamed_volumes: BTreeSet<String>,
}

/// A build section; paths from the project's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) context: String,
    pub(crate) dockerfile: String,
    pub(crate) target: Option<String>,
    pub(crate) args: BTreeMap<String, String>,
}

/// `x-stevedore:` of a service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Facts {
    /// The service that `shell` and `run` mean when none is named.
    pub(crate) main: bool,
    /// It holds data and outlives releases; a bundle never contains it.
    pub(crate) attached: bool,
    /// It does its work and ends: done is exit code 0. A service is so too where a different one
    /// waits for its end with `service_completed_successfully`.
    pub(crate) once: bool,
    /// The command in its image that prints the environment variables it reads, one a line: the
    /// name, and `required` behind those that it cannot do without.
    pub(crate) variables: Vec<String>,
    /// The command in the image of an attached service that prints its version: data of one major
    /// version, the first number in it, is not another's.
    pub(crate) version: Vec<String>,
    /// The folder, from the project's root, of the files that it migrates a database with.
    pub(crate) migrations: Option<String>,
    /// The command in its container that makes changed sources ready; `dev` runs it before it
    /// restarts the service, so that what does not compile changes nothing.
    pub(crate) compile: Vec<String>,
    /// How it is carried into a bundle.
    pub(crate) bundle: Hints,
}

const KEY: &str = "x-stevedore";

impl Service {
    /// The names of all variables that compose gives it.
    pub(crate) fn given(&self) -> BTreeSet<String> {
        self.environment.union(&self.from_files).cloned().collect()
    }
}

impl Stack {
    /// The names of all services.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.services.keys().cloned().collect()
    }

    /// How many containers a service has with these variables; one where nothing says it.
    pub(crate) fn replicas(&self, service: &str, variables: &[(String, String)]) -> usize {
        let text = self.services.get(service).and_then(|service| service.replicas.as_ref());
        let mut value = |name: &str| {
            let found = variables.iter().find(|(given, _)| given == name);
            found.map(|(_, value)| value.clone())
        };
        let text = text.and_then(|text| substitute::substitute(text, &mut value).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(1)
    }

    /// The service marked as main, when exactly one is.
    pub(crate) fn main(&self) -> Option<&str> {
        let mut marked = self.services.iter().filter(|(_, service)| service.facts.main);
        let (name, _) = marked.next()?;
        marked.next().is_none().then_some(name)
    }
}

/// What compose says of all files with the facts of the base in it, of which `base` is
/// what compose says alone: compose replaces its `x-stevedore:` by an overlay's, we merge the two.
pub(crate) fn with_facts(merged: &str, base: &str) -> Result<String> {
    let (mut merged, base) = (json(merged)?, json(base)?);
    for (name, service) in merged["services"].as_object_mut().into_iter().flatten() {
        let Some(mut facts) = base["services"][name][KEY].as_object().cloned() else { continue };
        let mut own = service[KEY].as_object().cloned().unwrap_or_default();
        // Hints are merged one by one too.
        if let (Some(Value::Object(below)), Some(Value::Object(hints))) =
            (facts.get("bundle"), own.get_mut("bundle"))
        {
            *hints = below.clone().into_iter().chain(std::mem::take(hints)).collect();
        }
        facts.extend(own);
        service[KEY] = facts.into();
    }
    Ok(merged.to_string())
}

/// A stack of two: the `kept` services of the newer, all others as the older has them.
pub(crate) fn combine(older: &str, newer: &str, kept: &BTreeSet<String>) -> Result<String> {
    let (mut all, newer) = (json(older)?, json(newer)?);
    for kind in ["services", "volumes", "networks", "configs", "secrets"] {
        for (name, value) in newer[kind].as_object().into_iter().flatten() {
            if kind != "services" || kept.contains(name) {
                all[kind][name] = value.clone();
            }
        }
    }
    Ok(all.to_string())
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("compose printed no JSON")
}

/// Reads `docker compose config --no-interpolate --no-path-resolution --format json`. `public` are
/// the variables of environment.toml.
pub(crate) fn parse(text: &str, public: &BTreeMap<String, String>) -> Result<Stack> {
    let hash = fingerprint::sha256(text.as_bytes());
    let merged = json(text)?;
    let name = merged["name"].as_str().unwrap_or_default().to_owned();
    super::check_name(&name).context("the compose file in docker/ needs a top-level `name:`")?;
    let (mut services, mut switched_off) = (BTreeMap::new(), BTreeMap::new());
    let mut problems = Vec::new();
    for (service, value) in merged["services"].as_object().into_iter().flatten() {
        let profiles: Vec<String> = needs::profiles(value).into_iter().map(str::to_owned).collect();
        if !profiles.is_empty() {
            let build = value.get("build").and_then(|build| parse_build(build).ok());
            let off = SwitchedOff { profiles, image: image(value, public), build };
            switched_off.insert(service.clone(), off);
            continue;
        }
        match parse_service(value, public) {
            Ok(facts) => {
                services.insert(service.clone(), facts);
            }
            Err(error) => problems.push(format!("service {service}: {error:#}")),
        }
    }
    if !problems.is_empty() {
        return Err(exit::problems("can't use the compose files", &problems));
    }
    for service in order::awaited_ends(&merged) {
        if let Some(service) = services.get_mut(&service) {
            service.facts.once = true;
        }
    }
    let mut variables = BTreeSet::new();
    collect_variables(&merged, &mut variables);
    variables.extend(services.values().flat_map(|service| &service.uses).cloned());
    for kind in ["secrets", "configs"] {
        // Their content can come from a variable, whose name stands there without a `$`.
        let all = merged[kind].as_object().into_iter().flatten();
        variables.extend(all.filter_map(|(_, it)| it["environment"].as_str().map(str::to_owned)));
    }
    let (volumes, networks) = (named(&merged["volumes"]), named(&merged["networks"]));
    let host_files = uses_host_files(&merged);
    let problems = needs::problems(&merged);
    Ok(Stack {
        name,
        services,
        switched_off,
        problems,
        variables,
        hash,
        volumes,
        networks,
        host_files,
    })
}

fn named(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn uses_host_files(merged: &Value) -> bool {
    let has_files = |service: &Value| {
        let mut mounts = service["volumes"].as_array().into_iter().flatten();
        service.get("env_file").is_some() || mounts.any(outside::may_be_a_file)
    };
    ["configs", "secrets"].iter().any(|kind| merged[kind].is_object())
        || merged["services"].as_object().is_some_and(|all| all.values().any(has_files))
}

/// What `image:` says, with the public variables filled in.
fn image(value: &Value, public: &BTreeMap<String, String>) -> Option<String> {
    let text = value["image"].as_str()?;
    let filled = substitute::fill_known(text, &|name| public.get(name).cloned());
    // What can't be read compose reports itself.
    Some(filled.unwrap_or_else(|_| text.to_owned()))
}

fn parse_service(value: &Value, public: &BTreeMap<String, String>) -> Result<Service> {
    let facts = value[KEY].as_object().cloned().unwrap_or_default();
    let facts: Facts = serde_json::from_value(Value::Object(facts)).context(KEY)?;
    check_facts(&facts)?;
    let build = value.get("build").map(parse_build).transpose()?;
    let image = image(value, public);
    let environment = given::environment(&value["environment"]);
    let mut uses = BTreeSet::new();
    collect_variables(value, &mut uses);
    uses.extend(given::without_value(&environment));
    let environment = environment.into_keys().collect();
    let env_files = given::env_files(&value["env_file"]);
    let bind = |mount: &Value| {
        let source = mount["source"].as_str().filter(|_| mount["type"] == "bind")?;
        (!source.starts_with('/')).then(|| normal(source))
    };
    let mounts = value["volumes"].as_array().into_iter().flatten().filter_map(bind).collect();
    let unnamed = |mount: &Value| {
        let is_unnamed = mount["type"] == "volume" && mount["source"].is_null();
        mount["target"].as_str().filter(|it| is_unnamed && it.starts_with('/')).map(str::to_owned)
    };
    let volumes = value["volumes"].as_array();
    let unnamed_volumes = volumes.into_iter().flatten().filter_map(unnamed).collect();
    let from_files = BTreeSet::new();
    // Compose lets `scale` win.
    let replicas = [&value["scale"], &value["deploy"]["replicas"]].into_iter().find_map(number);
    let depends_on = order::parse(value);
    let restart = value["restart"].as_str().unwrap_or("no").to_owned();
    Ok(Service {
        image,
        build,
        facts,
        environment,
        from_files,
        uses,
        env_files,
        mounts,
        replicas,
        depends_on,
        restart,
        unnamed_volumes,
    })
}

/// A number as compose prints it: text where it has variables.
fn number(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn check_facts(facts: &Facts) -> Result<()> {
    anyhow::ensure!(
        facts.version.is_empty() || facts.attached,
        "{KEY}: version is about the data of a service that is attached"
    );
    let outside = |folder: &String| folder.starts_with('/') || normal(folder).starts_with("..");
    if let Some(folder) = facts.migrations.as_ref().filter(|folder| outside(folder)) {
        anyhow::bail!("{KEY}: migrations {folder:?} is no folder below the project's root");
    }
    Ok(())
}

fn parse_build(value: &Value) -> Result<Build> {
    const KNOWN: [&str; 4] = ["context", "dockerfile", "target", "args"];
    let keys = value.as_object().context("build is no mapping")?;
    if let Some(key) = keys.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        anyhow::bail!("build.{key} is not supported; known: {}", KNOWN.join(", "));
    }
    let context = normal(value["context"].as_str().unwrap_or("."));
    let dockerfile = value["dockerfile"].as_str().unwrap_or("Dockerfile");
    let args = arguments(&value["args"]);
    // Compose leaves an argument without a value out, and the key behind with nothing in it.
    let args = args
        .filter(|args| !keys.contains_key("args") || !args.is_empty())
        .context("a build argument without a value would come from the shell; give it one")?;
    Ok(Build {
        dockerfile: normal(&format!("{context}/{dockerfile}")),
        context,
        target: value["target"].as_str().map(str::to_owned),
        args,
    })
}

/// Build arguments as a mapping, or as the list that compose makes of them where it merges files;
/// nothing where one has no value.
fn arguments(value: &Value) -> Option<BTreeMap<String, String>> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    match value {
        Value::Array(list) => {
            let pair = |item: &Value| {
                let (name, value) = item.as_str()?.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            };
            list.iter().map(pair).collect()
        }
        Value::Object(map) => {
            map.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        _ => Some(BTreeMap::new()),
    }
}

/// A path without `.` and `..` where they can be resolved; `.` for the root.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// The names of the variables in every text of the stack but build sections.
fn collect_variables(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            // What compose itself cannot read it reports itself.
            names.extend(substitute::names(text).unwrap_or_default());
        }
        Value::Array(items) => items.iter().for_each(|item| collect_variables(item, names)),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "build")
            .for_each(|(_, field)| collect_variables(field, names)),
        _ => {}
    }
}
