//! esbuild, which bundles and minifies scripts and style sheets. It runs beside us and is told
//! what to build in the packets of its own JavaScript library; nothing is read by it or written
//! but what it asks us for or what lies in a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use self::packet::{Packet, Value};
use self::requests::{Reply, answer, build_request, found_package, package_request};
use crate::look::whole_from;
use crate::process::{self, Process};

mod packet;
mod requests;

/// What an address in an output begins with until all outputs have their names.
pub(crate) const TOKEN: &str = "stevedore:";
/// Where esbuild believes to write; all paths of its answers begin with it.
pub(crate) const OUT: &str = "/out";
/// The namespace of modules whose value is the address of a file.
const ADDRESS: &str = "address";

/// One process.
pub(crate) struct Esbuild {
    process: Process,
    sent: u32,
}

/// What shall be built.
pub(crate) struct Request {
    /// What each output shall be called, without its extension, and the source that it is made of.
    pub(crate) entries: Vec<(String, PathBuf)>,
    /// Options of the command line.
    pub(crate) flags: Vec<String>,
    /// Directories that packages are found in by their names.
    pub(crate) packages: Vec<PathBuf>,
    pub(crate) directory: PathBuf,
}

/// An address that esbuild has met.
pub(crate) struct Question<'q> {
    pub(crate) path: &'q str,
    /// The file that has it; empty where it is an entry.
    pub(crate) importer: &'q Path,
    /// What the import says of the type, as in `with { type: "text" }`.
    pub(crate) with: &'q str,
    /// `import-statement`, `dynamic-import`, `require-call`, `import-rule`, `url-token`, …
    pub(crate) kind: &'q str,
}

impl Question<'_> {
    /// Where the file lies that has the address.
    pub(crate) fn directory(&self) -> &Path {
        self.importer.parent().unwrap_or(self.importer)
    }
}

/// What an address means.
pub(crate) enum Meaning {
    /// esbuild finds out by itself.
    Open,
    /// A package that is found in the given directories only, wherever the importer lies.
    Package,
    /// That file.
    File(PathBuf),
    /// An address that is written as it is given here.
    Address(String),
    /// A module whose value is the address that this token stands for.
    AddressModule(String),
    Wrong(String),
}

/// A text that we have, and how it is read: `css`, `js`, `ts` …
pub(crate) struct Text {
    pub(crate) text: Vec<u8>,
    pub(crate) loader: &'static str,
}

/// Who answers what esbuild asks meanwhile.
pub(crate) trait Host {
    fn resolve(&mut self, question: &Question<'_>) -> Meaning;
    /// The text of a file; an error in words where it must not be read; nothing: it lies there.
    fn load(&mut self, path: &Path) -> Result<Option<Text>, String>;
}

/// What esbuild found wrong.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) text: String,
    /// Where, if it is known.
    pub(crate) place: Option<MessagePlace>,
    /// What it says besides.
    pub(crate) notes: Vec<String>,
}

impl Message {
    /// All that it says.
    pub(crate) fn words(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("\n  {note}"));
        notes.fold(self.text.clone(), |text, note| text + &note)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct MessagePlace {
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// In bytes, from 0.
    pub(crate) column: usize,
    pub(crate) source_line: String,
}

impl MessagePlace {
    /// What stands before it in its line.
    pub(crate) fn before(&self) -> &str {
        self.source_line.get(..self.column).unwrap_or_default()
    }
}

/// What a build gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) outputs: Vec<Output>,
    /// The sources that are modules by their syntax.
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) errors: Vec<Message>,
    pub(crate) warnings: Vec<Message>,
}

/// A file that esbuild made, source maps too.
#[derive(Debug)]
pub(crate) struct Output {
    /// Path from [`OUT`].
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

#[derive(Default, Deserialize)]
struct Metafile {
    #[serde(default)]
    inputs: BTreeMap<String, Input>,
}

#[derive(Deserialize)]
struct Input {
    format: Option<String>,
}

impl Esbuild {
    pub(crate) fn start(program: &Path) -> Result<Esbuild> {
        let start = || -> Result<Esbuild> {
            // It serves nobody who does not know its version.
            let service = format!("--service={}", process::ask(program, "--version")?);
            let mut process = Process::start(program, &[service.as_ref(), "--ping".as_ref()])?;
            let greeting = packet::block(&mut process.answers);
            greeting.map_err(|error| process.explain(error))?;
            Ok(Esbuild { process, sent: 0 })
        };
        start().with_context(|| format!("can't use esbuild ({})", program.display()))
    }

    /// Builds, asking `host` for what only it knows.
    pub(crate) fn build(&mut self, request: &Request, host: &mut dyn Host) -> Result<Outcome> {
        let answer = self.ask(request, host).map_err(|error| self.process.explain(error));
        let answer = answer.context("esbuild did not answer")?;
        let error = answer.get("error").text();
        if !error.is_empty() {
            bail!("esbuild: {error}");
        }
        outcome(request, answer)
    }

    fn ask(&mut self, request: &Request, host: &mut dyn Host) -> Result<Value> {
        let id = self.sent;
        self.sent += 1;
        let question = Packet { id, is_request: true, value: build_request(request) };
        self.process.send(&question.bytes())?;
        // Names of packages that esbuild looks for: our question -> its own, and the name.
        let mut wanted: BTreeMap<u32, (u32, String)> = BTreeMap::new();
        loop {
            let packet = Packet::receive(&mut self.process.answers)?;
            if !packet.is_request {
                if packet.id == id {
                    return Ok(packet.value);
                }
                if let Some((id, name)) = wanted.remove(&packet.id) {
                    let value = found_package(packet.value, &name);
                    self.process.send(&Packet { id, is_request: false, value }.bytes())?;
                }
                continue;
            }
            let value = match answer(&packet.value, host) {
                Reply::Value(value) => value,
                Reply::Package => {
                    let name = packet.value.get("path").text().to_owned();
                    let question = package_request(&packet.value);
                    wanted.insert(self.sent, (packet.id, name));
                    let question = Packet { id: self.sent, is_request: true, value: question };
                    self.sent += 1;
                    self.process.send(&question.bytes())?;
                    continue;
                }
            };
            let reply = Packet { id: packet.id, is_request: false, value };
            self.process.send(&reply.bytes())?;
        }
    }
}

/// What esbuild says of a name that leads nowhere begins so; the name and a quote follow.
pub(crate) const UNRESOLVED: &str = "Could not resolve \"";
fn outcome(request: &Request, mut answer: Value) -> Result<Outcome> {
    let messages = |name: &str| {
        let list = answer.get(name).list().iter();
        list.map(|value| message(request, value)).collect()
    };
    let (errors, warnings) = (messages("errors"), messages("warnings"));
    let metafile: Metafile = match answer.get("metafile").bytes() {
        [] => Metafile::default(),
        text => serde_json::from_slice(text).context("esbuild's list of files is damaged")?,
    };
    let modules = metafile.inputs.into_iter().filter(|(_, it)| it.format.as_deref() == Some("esm"));
    let output = |mut value: Value| {
        let path = value.get("path").text();
        let name = path.strip_prefix(OUT).unwrap_or(path).trim_start_matches('/').to_owned();
        Output { name, content: value.take("contents").into_bytes() }
    };
    Ok(Outcome {
        outputs: answer.take("outputFiles").into_list().into_iter().map(output).collect(),
        modules: modules.map(|(path, _)| whole_from(&request.directory, &path)).collect(),
        errors,
        warnings,
    })
}

fn message(request: &Request, value: &Value) -> Message {
    let place = |value: &Value| match value {
        Value::Map(_) => Some(MessagePlace {
            file: whole_from(&request.directory, value.get("file").text()),
            line: value.get("line").number(),
            column: value.get("column").number(),
            source_line: value.get("lineText").text().to_owned(),
        }),
        _ => None,
    };
    let notes = value.get("notes").list().iter().map(|note| note.get("text").text().to_owned());
    Message {
        text: value.get("text").text().to_owned(),
        place: place(value.get("location")),
        notes: notes.filter(|note| !note.is_empty()).collect(),
    }
}
