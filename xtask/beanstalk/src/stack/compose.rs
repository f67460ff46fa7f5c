//! The Docker branch with a compose file: compose itself reads it, in an empty environment, and
//! what it says of the machine is turned to the instance's own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Layout, Project, Surroundings, bind, limits, published, services};
use crate::engine::{Engine, SHORT};

pub(super) fn project(
    engine: &Engine,
    layout: &Layout,
    around: &Surroundings,
    file: &str,
) -> Result<Project> {
    write_env(&layout.source, &around.properties)?;
    files_are_inside(layout, file)?;
    let source = layout.source.to_str().context("the path is no text")?;
    let config = engine.run_in(
        &layout.source,
        &[("EB_LOG_BASE_DIR", super::LOGS)],
        &[
            "compose",
            "--project-name",
            &layout.project(),
            "--project-directory",
            source,
            "--file",
            file,
            "config",
            "--format",
            "json",
        ],
        SHORT,
    )?;
    let mut definition: Value = serde_json::from_str(&config)?;
    names(&mut definition, layout)?;
    let mut front = None;
    let (mut build, mut containers) = (false, 0);
    own_images(&mut definition, layout);
    for (name, service) in services(&mut definition)? {
        let fields = service.as_object_mut().with_context(|| format!("service {name}"))?;
        containers += limits::service(name, fields, &layout.source)?;
        fields.remove("container_name");
        build |= fields.contains_key("build");
        for port in fields.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let target = port["target"].as_u64().and_then(|it| u16::try_from(it).ok());
            let target = target.with_context(|| format!("a port of service {name}"))?;
            let protocol = port["protocol"].as_str().unwrap_or("tcp").to_owned();
            if port["published"].as_str() == Some(&around.port.to_string()) && protocol == "tcp" {
                front = Some((name.clone(), target));
            }
            *port = published(target, &protocol);
        }
        for volume in fields.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if volume["type"] == "bind" {
                let text = |key: &str| volume[key].as_str().unwrap_or_default().to_owned();
                let read_only = volume["read_only"] == true;
                *volume = bind(layout, &text("source"), &text("target"), read_only)?;
            }
        }
        std::fs::create_dir_all(layout.logs().join("containers").join(name))?;
    }
    limits::containers(containers)?;
    Ok(Project { definition, front, essential: Vec::new(), build })
}

/// The properties as the service writes them, unless the bundle brings a file of its own.
fn write_env(source: &Path, properties: &BTreeMap<String, String>) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(source.join(".env"));
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error).context("can't write .env"),
    };
    for (key, value) in properties {
        writeln!(file, "{key}={value}")?;
    }
    Ok(())
}

/// Compose reads other files while it reads this one, and they name others; all must be the
/// bundle's.
fn files_are_inside(layout: &Layout, file: &str) -> Result<()> {
    let mut waiting = vec![layout.source.join(file)];
    let mut seen = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        let shown = file.strip_prefix(&layout.source).unwrap_or(&file).display().to_string();
        if !seen.insert(file.clone()) {
            continue;
        }
        let text = crate::bundle::text(&file)?.with_context(|| format!("{shown} is missing"))?;
        let value = crate::bundle::yaml(&text)
            .with_context(|| format!("{shown} is no YAML that can be read"))?;
        let folder = file.parent().unwrap_or(&layout.source);
        let (mut problem, mut named) = (None, Vec::new());
        walk(&value, "", "", &mut |above, key, text| {
            if key == "project_directory" {
                problem = Some(format!("{shown}: {key} is not simulated"));
            }
            if !READS.contains(&key) {
                return;
            }
            // A variable could become anything, and compose knows how to read from afar.
            let path = super::plain(&folder.join(text));
            if text.contains('$') || text.contains(':') || !path.starts_with(&layout.source) {
                problem = Some(format!("{shown}: {key} {text:?} is outside the bundle"));
            }
            if matches!((above, key), (_, "include") | ("include", "path") | ("extends", "file")) {
                named.push(path);
            }
        });
        if let Some(problem) = problem {
            bail!(problem);
        }
        waiting.extend(named);
    }
    Ok(())
}

/// Keys whose texts are files or directories that compose reads, or reads from.
const READS: &[&str] = &["env_file", "include", "file", "path", "label_file"];

/// What is built has the name of the instance: one of the bundle's choice could be one that other
/// projects of this machine use.
fn own_images(definition: &mut Value, layout: &Layout) {
    let Some(services) = definition.get_mut("services").and_then(Value::as_object_mut) else {
        return;
    };
    let built = services.iter().filter(|(_, service)| service.get("build").is_some());
    let named = built.filter_map(|(name, service)| Some((service["image"].as_str()?, name)));
    let own: BTreeMap<String, String> = named
        .map(|(image, name)| (image.to_owned(), format!("{}-{name}", layout.project())))
        .collect();
    for service in services.values_mut() {
        if let Some(image) = service["image"].as_str().and_then(|image| own.get(image)) {
            service["image"] = image.as_str().into();
        }
    }
}

/// Calls with each text, the nearest key above it and the one above that.
fn walk<'v>(
    value: &'v Value,
    above: &'v str,
    key: &'v str,
    found: &mut impl FnMut(&str, &str, &str),
) {
    match value {
        Value::String(text) => found(above, key, text),
        Value::Array(list) => list.iter().for_each(|value| walk(value, above, key, found)),
        Value::Object(fields) => {
            // Variables of a service are data, whatever their names.
            let is_data = |inner: &str| above == "services" && inner == "environment";
            let read = fields.iter().filter(|(inner, _)| !is_data(inner));
            read.for_each(|(inner, value)| walk(value, key, inner, found));
        }
        _ => {}
    }
}

/// Networks and volumes of a fixed name would be shared between instances, external ones with the
/// projects of this machine.
fn names(definition: &mut Value, layout: &Layout) -> Result<()> {
    for part in ["networks", "volumes"] {
        let Some(entries) = definition.get_mut(part).and_then(Value::as_object_mut) else {
            continue;
        };
        for (name, entry) in entries {
            if entry.get("external").is_some_and(|external| *external != json!(false)) {
                bail!("{part} {name} is external: an instance has none but the bundle's own");
            }
            limits::driver(part, name, entry)?;
            if !entry.is_object() {
                *entry = json!({});
            }
            entry["name"] = format!("{}_{name}", layout.project()).into();
        }
    }
    for part in ["secrets", "configs"] {
        for (name, entry) in definition.get(part).and_then(Value::as_object).into_iter().flatten() {
            let file = entry["file"].as_str().unwrap_or_default();
            if !file.is_empty() && !Path::new(file).starts_with(&layout.source) {
                bail!("{part} {name} is a file outside the bundle");
            }
        }
    }
    Ok(())
}
