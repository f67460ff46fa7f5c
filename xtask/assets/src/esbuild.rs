//! esbuild, which bundles and minifies scripts and style sheets. It runs beside us and is told
//! what to build in the packets of its own JavaScript library; nothing is read by it or written
//! but what it asks us for or what lies in a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use self::packet::{Packet, Value};
use crate::look::whole_from;
use crate::process::{self, Process};

mod packet;

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

#[derive(Clone, Debug)]
pub(crate) struct MessagePlace {
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// In bytes, from 0.
    pub(crate) column: usize,
    pub(crate) source_line: String,
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

/// What is said to a question of esbuild.
enum Reply {
    Value(Value),
    /// The name of a package: asked back, as from a place that no package lies beside.
    Package,
}

/// No directory above this one can have a `node_modules`.
const NOWHERE: &str = "/";

fn package_request(question: &Value) -> Value {
    let same = |key: &'static str| (key, Value::Text(question.get(key).text().to_owned()));
    Value::map([
        ("command", Value::Text("resolve".into())),
        ("key", Value::Number(0)),
        ("pluginName", Value::Text(PLUGIN.into())),
        ("namespace", Value::Text("file".into())),
        ("resolveDir", Value::Text(NOWHERE.into())),
        same("path"),
        same("kind"),
    ])
}

fn found_package(mut answer: Value, name: &str) -> Value {
    if answer.get("path").text().is_empty() {
        return wrong(0, format!("{UNRESOLVED}{name}\""));
    }
    Value::map([
        ("id", Value::Number(0)),
        ("path", answer.take("path")),
        ("namespace", answer.take("namespace")),
        ("suffix", answer.take("suffix")),
        ("sideEffects", answer.take("sideEffects")),
    ])
}

/// What esbuild says of a name that leads nowhere begins so; the name and a quote follow.
pub(crate) const UNRESOLVED: &str = "Could not resolve \"";
const PLUGIN: &str = "stevedore";

/// An answer that is an error.
fn wrong(id: u32, text: String) -> Value {
    let message = Value::map([
        ("id", Value::Text(String::new())),
        ("pluginName", Value::Text(String::new())),
        ("text", Value::Text(text)),
        ("location", Value::Null),
        ("notes", Value::List(Vec::new())),
        ("detail", Value::Number(u32::MAX)),
    ]);
    Value::map([("id", Value::Number(id)), ("errors", Value::List(vec![message]))])
}

fn build_request(request: &Request) -> Value {
    let path = |path: &Path| Value::Text(path.display().to_string());
    let entry = |(name, source): &(String, PathBuf)| {
        Value::List(vec![Value::Text(name.clone()), path(source)])
    };
    let fixed = [
        "--log-level=silent",
        "--log-limit=0",
        "--color=false",
        "--metafile",
        "--sourcemap=external",
        "--legal-comments=inline",
        "--charset=utf8",
        // A file is called as it was found: where the project lies behind a link, too.
        "--preserve-symlinks",
        "--minify",
    ];
    let flags = fixed.into_iter().map(str::to_owned).chain(request.flags.iter().cloned());
    let flags = flags.chain([format!("--outdir={OUT}"), format!("--public-path={TOKEN}")]);
    let all = |id: u32, namespace: &str| {
        Value::List(vec![Value::map([
            ("id", Value::Number(id)),
            ("filter", Value::Text(".*".into())),
            ("namespace", Value::Text(namespace.into())),
        ])])
    };
    let plugin = Value::map([
        ("name", Value::Text(PLUGIN.into())),
        ("onStart", Value::Bool(false)),
        ("onEnd", Value::Bool(false)),
        ("onResolve", all(0, "")),
        ("onLoad", all(1, "")),
    ]);
    Value::map([
        ("command", Value::Text("build".into())),
        ("key", Value::Number(0)),
        ("entries", Value::List(request.entries.iter().map(entry).collect())),
        ("flags", Value::texts(flags)),
        ("write", Value::Bool(false)),
        ("stdinContents", Value::Null),
        ("stdinResolveDir", Value::Null),
        ("absWorkingDir", path(&request.directory)),
        ("nodePaths", Value::List(request.packages.iter().map(|it| path(it)).collect())),
        ("context", Value::Bool(false)),
        ("plugins", Value::List(vec![plugin])),
    ])
}

/// The answer to what esbuild asks.
fn answer(request: &Value, host: &mut dyn Host) -> Reply {
    let value = match request.get("command").text() {
        "on-start" => {
            Value::map([("errors", Value::List(Vec::new())), ("warnings", Value::List(Vec::new()))])
        }
        "on-resolve" => {
            let is_ours = request.get("namespace").text() == ADDRESS;
            if is_ours || request.get("resolveDir").text() == NOWHERE {
                return Reply::Value(Value::map([]));
            }
            let question = Question {
                path: request.get("path").text(),
                importer: Path::new(request.get("importer").text()),
                kind: request.get("kind").text(),
                with: request.get("with").get("type").text(),
            };
            let id = ("id", Value::Number(0));
            match host.resolve(&question) {
                Meaning::Open => Value::map([]),
                Meaning::Package => return Reply::Package,
                Meaning::File(path) => {
                    Value::map([id, ("path", Value::Text(path.display().to_string()))])
                }
                Meaning::Address(path) => {
                    Value::map([id, ("path", Value::Text(path)), ("external", Value::Bool(true))])
                }
                Meaning::AddressModule(path) => Value::map([
                    id,
                    ("path", Value::Text(path)),
                    ("namespace", Value::Text(ADDRESS.into())),
                    ("sideEffects", Value::Bool(false)),
                ]),
                Meaning::Wrong(text) => wrong(0, text),
            }
        }
        "on-load" => {
            let path = request.get("path").text();
            let contents = |text: Vec<u8>, loader: &str, directory: &Path| {
                Value::map([
                    ("id", Value::Number(1)),
                    ("contents", Value::Bytes(text)),
                    ("loader", Value::Text(loader.into())),
                    ("resolveDir", Value::Text(directory.display().to_string())),
                ])
            };
            if request.get("namespace").text() == ADDRESS {
                let text = format!("export default new URL(\"{path}\", import.meta.url).href");
                return Reply::Value(contents(text.into_bytes(), "js", Path::new("/")));
            }
            if request.get("namespace").text() != "file" {
                return Reply::Value(Value::map([]));
            }
            let path = Path::new(path);
            let directory = path.parent().unwrap_or(path);
            match host.load(path) {
                Ok(Some(found)) => contents(found.text, found.loader, directory),
                Ok(None) => Value::map([]),
                Err(text) => wrong(1, text),
            }
        }
        // `ping`, and what another version may ask.
        _ => Value::map([]),
    };
    Reply::Value(value)
}

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
