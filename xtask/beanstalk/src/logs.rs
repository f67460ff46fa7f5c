//! Logs of the instances: the last lines as text, or all of them in a zip.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use zip::write::SimpleFileOptions;

use crate::engine::{Container, tail};
use crate::operations::logs_of;
use crate::service::{Service, locked};
use crate::state::{Environment, Moment, names};

/// What was taken of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) instance: String,
    pub(crate) at: Moment,
    /// The secret part of its address.
    pub(crate) token: String,
}

/// Lines of each log in a tail.
const LINES: usize = 100;
/// What is taken of one file, from its end.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// How many samples of an environment are kept.
const KEPT: usize = 10;

/// Takes the logs of all instances; `kind` is `tail`, or `bundle` for everything.
pub(crate) fn take(service: &Service, environment: &Environment, kind: &str) -> Result<()> {
    let containers = service.engine.containers()?;
    let directory = service.directory.join("logs");
    std::fs::create_dir_all(&directory)?;
    let mut samples = Vec::new();
    for instance in &environment.instances {
        let own = containers.iter().filter(|it| it.instance == instance.id);
        let own: Vec<&Container> = own.collect();
        let token = names::letters(32);
        let content = match kind {
            "bundle" => bundle(service, &instance.id, &own)?,
            _ => text(service, &instance.id, &own).into_bytes(),
        };
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(&content)?;
        file.persist(directory.join(&token))?;
        samples.push(Sample { instance: instance.id.clone(), at: Moment::now(), token });
    }
    let mut known = locked(&service.logs);
    let known = known.entry((environment.id.clone(), kind.to_owned())).or_default();
    known.extend(samples);
    let over = known.len().saturating_sub(KEPT * environment.instances.len().max(1));
    for old in known.drain(..over) {
        std::fs::remove_file(directory.join(old.token)).ok();
    }
    Ok(())
}

/// All logs of an instance, by the path that they have on one.
fn all(
    service: &Service,
    instance: &str,
    own: &[&Container],
    lines: &str,
) -> Vec<(String, String)> {
    let directory = logs_of(service, instance);
    let mut all = Vec::new();
    let journal = directory.join("eb-engine.log");
    if journal.exists() {
        all.push(("/var/log/eb-engine.log".to_owned(), end_of(&journal)));
    }
    for container in own {
        let path = format!("/var/log/eb-docker/containers/{}-stdouterr.log", container.service);
        all.push((path, service.engine.logs(&container.id, lines)));
    }
    files(&directory.join("containers"), "/var/log/containers", &mut all);
    all
}

/// Text files that the containers wrote into their log directories.
fn files(directory: &Path, shown: &str, all: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let shown = format!("{shown}/{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), &shown, all),
            Ok(kind) if kind.is_file() => all.push((shown, end_of(&entry.path()))),
            // A link could lead anywhere.
            _ => {}
        }
    }
}

/// The last part of a file: a container may have written more than there is memory.
fn end_of(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(MOST_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut content = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut content)?;
        Ok(content)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn text(service: &Service, instance: &str, own: &[&Container]) -> String {
    let mut text = String::new();
    for (path, content) in all(service, instance, own, &LINES.to_string()) {
        let lines: Vec<&str> = content.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        let rule = "-".repeat(40);
        text += &format!("{rule}\n{path}\n{rule}\n{}\n\n", tail(&last, 100_000));
    }
    text
}

fn bundle(service: &Service, instance: &str, own: &[&Container]) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, content) in all(service, instance, own, "all") {
        zip.start_file(path.trim_start_matches('/'), SimpleFileOptions::default())?;
        zip.write_all(content.as_bytes())?;
    }
    Ok(zip.finish().context("can't write the zip")?.into_inner())
}

/// The content behind an address; only what is one of our tokens is ever opened.
pub(crate) fn read(service: &Service, token: &str) -> Option<(Vec<u8>, Moment)> {
    let known = locked(&service.logs);
    let sample = known.values().flatten().find(|sample| sample.token == token)?.clone();
    drop(known);
    let file = service.directory.join("logs").join(&sample.token);
    Some((std::fs::read(file).ok()?, sample.at))
}
