//! One simulated instance: a bundle unpacked, its hooks run, its containers started and asked for
//! their health.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Job, Wanted, attached, hooks};
use crate::bundle;
use crate::door::SAMPLE;
use crate::ebextensions::{self, Extensions};
use crate::engine::{Container, tail};
use crate::health::Check;
use crate::service::Service;
use crate::settings::{self, COMMAND, Settings};
use crate::stack::{self, Layout, Surroundings, project_name};
use crate::state::{Environment, Moment, Status};

/// The version of `eb create --sample`, which has no bundle.
pub(crate) const SAMPLE_VERSION: &str = "Sample Application";

/// Answers in a row until an instance counts as healthy.
const HEALTHY: u32 = 2;

/// What of a failed command is told in an event; the rest is in the log.
const OUTPUT: usize = 500;

/// The settings that the bundle of a version brings.
///
/// # Errors
///
/// When the bundle or one of its configuration files cannot be read.
pub(super) fn files(job: &Job<'_>, wanted: &Wanted) -> Result<Settings> {
    let Some(bundle) = bundle_file(job, wanted)? else { return Ok(Settings::new()) };
    let directory = job.service.directory.join("tmp");
    std::fs::create_dir_all(&directory)?;
    let directory = tempfile::tempdir_in(directory)?;
    bundle::unpack(&bundle, directory.path()).context("The source bundle cannot be unpacked")?;
    Ok(ebextensions::load(directory.path())?.settings)
}

fn bundle_file(job: &Job<'_>, wanted: &Wanted) -> Result<Option<PathBuf>> {
    let Some(label) = &wanted.version else { return Ok(None) };
    let application = job.environment()?.application;
    let version =
        job.service.read(|state| state.versions.get(&(application, label.clone())).cloned());
    let version = version.with_context(|| format!("the version {label} was deleted"))?;
    let Some(place) = version.bundle else { return Ok(None) };
    let file = job.service.read(|state| state.objects.get(&place).map(|it| it.file.clone()));
    let file = file
        .with_context(|| format!("the source bundle {}/{} was deleted", place.bucket, place.key))?;
    Ok(Some(job.service.directory.join("objects").join(file)))
}

/// Deploys on all of them at once; says what went wrong, in the words of the service.
pub(super) fn deploy_all(job: &Job<'_>, ids: &[String], wanted: &Wanted) -> Result<Vec<String>> {
    let results: Vec<(String, Result<()>)> = std::thread::scope(|scope| {
        let deploy = |id: &String| {
            let id = id.clone();
            scope.spawn(move || {
                let result = deploy(job, &id, wanted);
                let failed = result.is_err();
                let state = if failed { "Failed" } else { "Deployed" };
                let recorded = job.service.update_instance(&job.id, &id, |it| {
                    it.result = state.to_owned();
                    it.deployed = Moment::now();
                });
                (id, result.and(recorded))
            })
        };
        let running: Vec<_> = ids.iter().map(deploy).collect();
        let panicked = || (String::new(), Err(anyhow::anyhow!("the worker panicked")));
        running.into_iter().map(|it| it.join().unwrap_or_else(|_| panicked())).collect()
    });
    let failed: Vec<&(String, Result<()>)> =
        results.iter().filter(|(_, result)| result.is_err()).collect();
    if failed.is_empty() {
        return Ok(Vec::new());
    }
    let mut problems = Vec::new();
    for (id, result) in &failed {
        let Err(error) = result else { continue };
        let text = format!("{error:#}");
        let text = tail(&text, OUTPUT).trim();
        // Some texts of the service are whole sentences that `eb` knows.
        let known = text.find("ECS Application sourcebundle").map(|at| &text[at..]);
        problems.push(known.map_or_else(|| text.to_owned(), str::to_owned));
        problems.push(format!(
            "[Instance: {id}] Command failed on instance. Return code: 1 Output: Engine execution \
             has encountered an error.."
        ));
    }
    problems.push("Instance deployment failed. For details, see 'eb-engine.log'.".to_owned());
    let (good, bad) = (results.len() - failed.len(), failed.len());
    problems.push(format!(
        "Command execution completed on all instances. Summary: [Successful: {good}, Failed: \
         {bad}]."
    ));
    let ids: Vec<&str> = failed.iter().map(|(id, _)| id.as_str()).collect();
    problems.push(format!(
        "Unsuccessful command execution on instance id(s) '{}'. Aborting the operation.",
        ids.join(", ")
    ));
    Ok(problems)
}

fn deploy(job: &Job<'_>, id: &str, wanted: &Wanted) -> Result<()> {
    let service = job.service;
    service.update_instance(&job.id, id, |it| {
        it.result = "In Progress".to_owned();
        it.version.clone_from(&wanted.version);
        it.deployment = wanted.deployment;
    })?;
    let root = service.instance_directory(id);
    std::fs::create_dir_all(root.join("logs"))?;
    let log = root.join("logs/eb-engine.log");
    let result = deploy_in(job, id, &root, wanted);
    let line = match &result {
        Ok(()) => "[INFO] the deployment succeeded".to_owned(),
        Err(error) => format!("[ERROR] {error:#}"),
    };
    write_log(&log, &line)?;
    result
}

fn write_log(log: &Path, line: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "{} {line}", Moment::now())?;
    Ok(())
}

fn deploy_in(job: &Job<'_>, id: &str, root: &Path, wanted: &Wanted) -> Result<()> {
    let service = job.service;
    let label = wanted.version.as_deref().unwrap_or(SAMPLE_VERSION);
    let log = root.join("logs/eb-engine.log");
    write_log(&log, &format!("[INFO] deployment {} of {label} begins", wanted.deployment))?;
    service.drill(&job.id, job)?;
    let Some(bundle) = bundle_file(job, wanted)? else {
        service.engine.down(&project_name(id))?;
        service.doors.know(id, SAMPLE);
        return Ok(());
    };
    // A new place each time: what runs is not touched before its successor is there.
    let source = root.join(format!("app-{}", names(root)?));
    bundle::unpack(&bundle, &source)
        .context("Instance deployment: the source bundle cannot be unpacked")?;
    let layout = Layout { instance: id.to_owned(), root: root.to_owned(), source };
    let extensions = ebextensions::load(&layout.source)?;
    let effective = settings::effective(&extensions.settings, &wanted.settings);
    let started = Instant::now();
    let deadline = settings::number(&effective, COMMAND, "Timeout");
    let around = surroundings(job, &effective)?;
    before(job, &layout, &extensions, wanted, &around)?;
    let kind = wanted.kind;
    let project = stack::project(&service.engine, kind, &layout, &around)?;
    let definition = serde_json::to_vec_pretty(&project.definition)?;
    let mut file = tempfile::NamedTempFile::new_in(root)?;
    file.write_all(&definition)?;
    file.persist(layout.definition())?;
    stack::connect_attached(&service.engine, kind, &layout, &around)?;
    service.engine.up(&layout.project(), &layout.definition(), project.build)?;
    hooks::after(job, &layout, wanted, &around)?;
    locate(service, id, project.front.as_ref())?;
    let spent = started.elapsed();
    let left = Duration::from_secs(deadline).saturating_sub(spent).min(service.options.patience);
    if settings::get(&effective, COMMAND, "IgnoreHealthCheck") != "true" {
        wait_healthy(job, id, &Check::of(&effective), &project.essential, left)?;
    }
    remove_older(root, &layout.source)
}

fn before(
    job: &Job<'_>,
    layout: &Layout,
    extensions: &Extensions,
    wanted: &Wanted,
    around: &Surroundings,
) -> Result<()> {
    for ignored in &extensions.ignored {
        write_log(&layout.journal(), &format!("[WARN] {ignored} does nothing here"))?;
    }
    hooks::before(job, layout, extensions, wanted, around)
}

/// The number of the next folder; the present one is never used again.
fn names(root: &Path) -> Result<u64> {
    let mut last = 0;
    for entry in std::fs::read_dir(root)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("app-").and_then(|number| number.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last + 1)
}

fn remove_older(root: &Path, present: &Path) -> Result<()> {
    for entry in std::fs::read_dir(root)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("app-") && entry.path() != present {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    Ok(())
}

fn surroundings(job: &Job<'_>, effective: &Settings) -> Result<Surroundings> {
    let (attached, offered) = attached::of(job.service, &job.id)?;
    let mut properties = offered;
    properties.extend(settings::properties(effective));
    Ok(Surroundings {
        environment: job.id.clone(),
        properties,
        port: Check::of(effective).port,
        attached,
    })
}

/// Asks docker where the front of an instance is published.
fn locate(service: &Service, id: &str, front: Option<&(String, u16)>) -> Result<Option<u16>> {
    let Some((name, inside)) = front else {
        service.doors.forget(id);
        return Ok(None);
    };
    let containers = service.engine.containers()?;
    let mut own = containers.iter().filter(|it| it.instance == id && it.service == *name);
    let port = own.find_map(|it| it.ports.get(inside).copied());
    match port {
        Some(port) => service.doors.know(id, port),
        None => service.doors.forget(id),
    }
    Ok(port)
}

fn wait_healthy(
    job: &Job<'_>,
    id: &str,
    check: &Check,
    essential: &[String],
    patience: Duration,
) -> Result<()> {
    let service = job.service;
    let until = Instant::now() + patience;
    let (mut good, mut round) = (0, 0u32);
    let mut problem = format!("no container publishes port {}", check.port);
    while Instant::now() < until {
        if job.aborted() {
            bail!("The deployment was aborted.");
        }
        if round.is_multiple_of(5) {
            let containers = service.engine.containers()?;
            let own = containers.iter().filter(|it| it.instance == id);
            let own: Vec<&Container> = own.collect();
            ended(service, &own, essential)?;
        }
        round += 1;
        match service.doors.instance(id).map(|port| check.ask(port)) {
            Some(Ok(())) => good += 1,
            Some(Err(said)) => (good, problem) = (0, said),
            None => {}
        }
        if good >= HEALTHY {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(if good > 0 { 50 } else { 200 }));
    }
    bail!("The instance did not become healthy within {} s: {problem}.", patience.as_secs())
}

/// A container that has ended and will not start again makes waiting useless.
fn ended(service: &Service, own: &[&Container], essential: &[String]) -> Result<()> {
    for container in own {
        let matters = container.exit_code != 0 || essential.contains(&container.service);
        if container.running || container.restarting || !matters {
            continue;
        }
        let log = service.engine.logs(&container.id, "5");
        bail!(
            "Container {} ended with exit code {}. {}",
            container.service,
            container.exit_code,
            log.trim()
        );
    }
    Ok(())
}

/// All of an instance, containers first.
pub(super) fn remove(service: &Service, id: &str) -> Result<()> {
    service.engine.down(&project_name(id))?;
    service.engine.remove_images(id)?;
    service.doors.forget(id);
    match std::fs::remove_dir_all(service.instance_directory(id)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("can't remove the directory of an instance")
        }
        _ => Ok(()),
    }
}

/// Directories of instances that nobody has, and files that were being written: the server was
/// killed between two steps.
pub(super) fn remove_unknown(
    service: &Service,
    environments: &BTreeMap<String, Environment>,
) -> Result<()> {
    let living = environments.values().filter(|it| it.status != Status::Terminated);
    let known: Vec<&String> = living.flat_map(|it| &it.instances).map(|it| &it.id).collect();
    // Logs are asked for again: who knew their addresses is gone.
    for directory in ["tmp", "logs"] {
        std::fs::remove_dir_all(service.directory.join(directory)).ok();
    }
    let directory = service.directory.join("instances");
    remove_unfinished(&service.directory)?;
    remove_unfinished(&service.directory.join("attached"))?;
    for id in &known {
        remove_unfinished(&directory.join(id))?;
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&&name) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Files that were to be renamed when they are whole; some hold properties.
fn remove_unfinished(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Containers of an environment run again, as they were: the machine may have been restarted.
pub(super) fn revive(service: &Arc<Service>, environment: &Environment) -> Result<()> {
    let containers = service.engine.containers()?;
    for instance in &environment.instances {
        let definition = service.instance_directory(&instance.id).join("compose.json");
        let own = || containers.iter().filter(|it| it.instance == instance.id);
        let stopped = own().any(|it| !it.running && it.exit_code != 0) || own().count() == 0;
        if stopped && definition.exists() && environment.operation.is_none() {
            // What cannot be started again is seen by the health monitor.
            service.engine.up(&project_name(&instance.id), &definition, false).ok();
        }
    }
    find(service, environment)
}

/// Leads traffic to the instances that run.
pub(super) fn find(service: &Service, environment: &Environment) -> Result<()> {
    for instance in &environment.instances {
        let definition = service.instance_directory(&instance.id).join("compose.json");
        match std::fs::read_to_string(definition) {
            Ok(text) => drop(locate(service, &instance.id, front(&text).as_ref())?),
            Err(_) if instance.result == "Deployed" => service.doors.know(&instance.id, SAMPLE),
            Err(_) => {}
        }
    }
    service.point(environment);
    Ok(())
}

/// The front of a definition, which says so itself.
fn front(definition: &str) -> Option<(String, u16)> {
    let definition: serde_json::Value = serde_json::from_str(definition).ok()?;
    let front = definition.get("x-front")?;
    let port = front.get("port")?.as_u64()?;
    Some((front.get("service")?.as_str()?.to_owned(), u16::try_from(port).ok()?))
}

/// The layout of an instance as it runs, for what only looks.
pub(crate) fn logs_of(service: &Service, id: &str) -> PathBuf {
    service.instance_directory(id).join("logs")
}
