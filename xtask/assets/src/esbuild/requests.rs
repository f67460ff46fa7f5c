//! What esbuild is asked, and what it is answered when it asks.

use std::path::{Path, PathBuf};

use super::packet::Value;
use super::{ADDRESS, Host, Meaning, OUT, Question, Request, TOKEN, UNRESOLVED};

/// What is said to a question of esbuild.
pub(super) enum Reply {
    Value(Value),
    /// The name of a package: asked back, as from a place that no package lies beside.
    Package,
}

/// No directory above this one can have a `node_modules`.
const NOWHERE: &str = "/";

pub(super) fn package_request(question: &Value) -> Value {
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

pub(super) fn found_package(mut answer: Value, name: &str) -> Value {
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

pub(super) fn build_request(request: &Request) -> Value {
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
pub(super) fn answer(request: &Value, host: &mut dyn Host) -> Reply {
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
