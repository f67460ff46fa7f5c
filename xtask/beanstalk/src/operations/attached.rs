//! Attached services: databases and brokers that hold data and outlive versions. One set an
//! environment, outside its bundles, as a managed database would be.
//!
//! The compose file may have a mapping `x-properties`: what the environment gets as properties,
//! weaker than its own, as the service offers the address of a database it made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Job;
use crate::engine::{LONG, SHORT};
use crate::platforms::Kind;
use crate::service::Service;
use crate::stack::Attached;
use crate::state::Severity;

pub(super) fn project(id: &str) -> String {
    format!("eb-{id}-attached")
}

/// The compose file of an environment: one for all of them, or its own in a directory.
fn definition(job: &Job<'_>) -> Result<Option<PathBuf>> {
    let Some(place) = &job.service.options.attached else { return Ok(None) };
    if !place.is_dir() {
        return Ok(Some(place.clone()));
    }
    let own = place.join(format!("{}.json", job.environment()?.name));
    Ok(own.exists().then_some(own))
}

/// The compose file that the set of an environment was started from.
fn written(service: &Service, id: &str) -> PathBuf {
    service.directory.join("attached").join(format!("{id}.json"))
}

/// Starts the set of an environment and waits until it is healthy; what runs stays as it is.
pub(super) fn start(job: &Job<'_>) -> Result<()> {
    let service = job.service;
    let Some(file) = definition(job)? else { return Ok(()) };
    let name = project(&job.id);
    let place = written(service, &job.id);
    let directory = place.parent().context("a file without a directory")?;
    std::fs::create_dir_all(directory)?;
    let path = file.to_str().context("the path is no text")?;
    let engine = &service.engine;
    let config = ["compose", "--project-name", &name, "--file", path, "config", "--format", "json"];
    let mut definition: Value = serde_json::from_str(&engine.run(&config, SHORT)?)?;
    let own = json!({
        engine.label.clone(): engine.owner, format!("{}.environment", engine.label): job.id,
    });
    let is_task = super::kind(&job.environment()?.platform)? == Kind::Ecs;
    for part in ["services", "networks", "volumes"] {
        for (_, entry) in
            definition.get_mut(part).and_then(Value::as_object_mut).into_iter().flatten()
        {
            if entry.is_null() {
                *entry = json!({});
            }
            entry["labels"] = own.clone();
            if let Some(fields) = entry.as_object_mut() {
                // Several environments have one each.
                fields.remove("container_name");
                fields.remove("ports");
                if is_task && part == "services" {
                    // Containers of the ECS branch are on Docker's bridge, and link to it there.
                    fields.remove("networks");
                    fields.insert("network_mode".to_owned(), "bridge".into());
                }
            }
        }
    }
    let text = serde_json::to_string_pretty(&definition)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(&place)?;
    let place = place.to_str().context("the path is no text")?;
    let of_set = ["compose", "--project-name", &name, "--file", place];
    let up = ["up", "--detach", "--wait", "--no-recreate"];
    engine.run(&[&of_set[..], &up].concat(), LONG).context("the attached services do not start")?;
    job.tell(Severity::Info, "Attached services of the environment are running.")
}

/// The containers of the set by their aliases, and the properties it offers.
pub(super) fn of(
    service: &Arc<Service>,
    id: &str,
) -> Result<(Option<Attached>, BTreeMap<String, String>)> {
    let file = written(service, id);
    let Ok(text) = std::fs::read_to_string(file) else { return Ok((None, BTreeMap::new())) };
    let definition: Value = serde_json::from_str(&text)?;
    let offered = definition.get("x-properties").and_then(Value::as_object);
    let offered = offered.into_iter().flatten().map(|(key, value)| {
        (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    let name = project(id);
    let format = "{{.Label \"com.docker.compose.service\"}} {{.Names}}";
    let filter = format!("label=com.docker.compose.project={name}");
    let list = ["container", "ls", "--filter", &filter, "--format", format];
    let containers = service.engine.run(&list, SHORT)?;
    let containers = containers
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(service, container)| (service.to_owned(), container.to_owned()))
        .collect();
    Ok((Some(containers), offered.collect()))
}

/// Starts the services that the definition has got since; the others stay as they are, whatever it
/// says of them now. Only a definition of its own can change under an environment.
pub(super) fn start_new(job: &Job<'_>) -> Result<()> {
    let Some(file) = definition(job)? else { return Ok(()) };
    let started = written(job.service, &job.id);
    let names = |file: &Path| -> Option<BTreeSet<String>> {
        let definition: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        Some(definition["services"].as_object()?.keys().cloned().collect())
    };
    let Some(wanted) = names(&file) else { return Ok(()) };
    match wanted.is_subset(&names(&started).unwrap_or_default()) {
        true => Ok(()),
        false => start(job),
    }
}

pub(super) fn remove(service: &Arc<Service>, id: &str) -> Result<()> {
    let file = written(service, id);
    if file.exists() {
        service.engine.down(&project(id))?;
        std::fs::remove_file(file)?;
    }
    Ok(())
}
