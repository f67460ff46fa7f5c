//! Frameworks and libraries as people use them, through the pipeline and into a browser, under a
//! strict content security policy and with integrity attributes: what a page looks like and what its
//! scripts do, without an error in the console and without a request that fails.
//!
//! `fixtures/styles` and `fixtures/scripts` have a folder for each case: its sources, the body of its
//! page, and in `case.json` what the page must come to. Plain runs take those that need few
//! packages; with `STEVEDORE_FULL=1` all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use crate::compilers::package;
use crate::dsl::{Entry, Project, tree};
use crate::web::{self, Reply};

/// Cases that every run takes.
const FEW: &[&str] = &[
    "bootstrap",
    "bootstrap-icons-css",
    "bootstrap-icons-scss",
    "classic-shared",
    "dynamic-import",
    "dynamic-template",
    "image-import",
    "jquery",
    "json",
    "jsx-preact",
    "lit",
    "new-url",
    "top-level-await",
    "typescript",
    "worker",
];

/// How long all pages together may take.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
struct Case {
    packages: Vec<String>,
    /// Folders of packages that Sass searches too.
    #[serde(default)]
    load_path_subfolders: Vec<String>,
    probe: Option<Probe>,
    /// Fonts that must load, as `document.fonts.load` takes them.
    #[serde(default)]
    fonts: Vec<String>,
    /// `module` or `classic`, where the case is one of scripts.
    script: Option<String>,
    /// Scripts in the order of the page.
    #[serde(default)]
    scripts: Vec<String>,
    /// What the page's `#result` must say.
    #[serde(default)]
    expect: String,
}

/// What an element must look like.
#[derive(Clone, Deserialize, serde::Serialize)]
struct Probe {
    selector: String,
    property: String,
    #[serde(default)]
    pseudo: Option<String>,
    value: String,
}

#[derive(Deserialize)]
struct Pin {
    version: String,
    integrity: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn is_full() -> bool {
    std::env::var_os("STEVEDORE_FULL").is_some()
}

/// A case, built: its project and what the manifest says.
struct Built {
    name: String,
    case: Case,
    body: String,
    project: Project,
    manifest: BTreeMap<String, Entry>,
}

fn build(name: &str, folder: &Path, pins: &BTreeMap<String, Pin>) -> Built {
    let case: Case = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
    let project = Project::new();
    for (path, text) in tree(folder) {
        if !["case.json", "body.html", "classes.html", "input.css"].contains(&&*path) {
            project.file(&path, text);
        }
    }
    if name == "tailwind" {
        project.file("app.css", tailwind(folder));
    }
    let mut command = project.command(&["build"]);
    for package_name in &case.packages {
        let pin = &pins[package_name];
        let load_path = package(package_name, &pin.version, &pin.integrity);
        command.arg("--load-path").arg(&load_path);
        let below = case.load_path_subfolders.iter();
        for folder in below.filter(|it| it.starts_with(&format!("{package_name}/"))) {
            command.arg("--load-path").arg(load_path.join(folder));
        }
    }
    let answer = crate::dsl::Answer::of(command, project.root());
    assert_eq!(answer.code, 0, "{name}:\n{}", answer.stderr);
    let body = fs::read_to_string(folder.join("body.html")).unwrap();
    let manifest = project.manifest();
    all_is_named(name, &project, &manifest);
    Built { name: name.to_owned(), case, body, project, manifest }
}

/// Tailwind's output for the classes of the page, by its own command line.
fn tailwind(folder: &Path) -> Vec<u8> {
    const WANTED: [&str; 2] = ["tailwindcss@4.3.5", "@tailwindcss/cli@4.3.5"];
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tailwind-4.3.5");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("package.json"), "{\"private\": true}").unwrap();
    for file in ["input.css", "classes.html"] {
        fs::copy(folder.join(file), place.join(file)).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(&place).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("npm", &["install", "--no-audit", "--no-fund", WANTED[0], WANTED[1]]);
    run("npx", &["tailwindcss", "--input", "input.css", "--output", "output.css"]);
    fs::read(place.join("output.css")).unwrap()
}

/// Every address in every output is one that the manifest names.
fn all_is_named(name: &str, project: &Project, manifest: &BTreeMap<String, Entry>) {
    let files: Vec<&str> = manifest.values().map(|entry| entry.file.as_str()).collect();
    for file in files.iter().filter(|file| file.ends_with(".css")) {
        let text = String::from_utf8(project.output(file)).unwrap();
        for part in text.split("url(").skip(1) {
            let address = part.split(')').next().unwrap().trim_matches(['"', '\'']);
            let path = address.split(['?', '#']).next().unwrap();
            let elsewhere = path.is_empty() || path.contains(':') || path.starts_with(['/', '%']);
            let named = files.iter().any(|it| it.ends_with(path.trim_start_matches("../")));
            assert!(elsewhere || named, "{name}: {file} names {address}");
        }
        assert!(!text.contains("stevedore:"), "{name}: {file}");
    }
}

impl Built {
    /// The page of the case.
    fn page(&self) -> String {
        let tag = |source: &str, before: &str, after: &str| {
            let Entry { file, integrity, .. } = &self.manifest[source];
            format!("{before}\"dist/{file}\" integrity=\"{integrity}\"{after}")
        };
        let tags = match self.case.script.as_deref() {
            None => {
                let source = ["app.scss", "app.css"].into_iter();
                let source = source.into_iter().find(|it| self.manifest.contains_key(*it)).unwrap();
                tag(source, "<link rel=\"stylesheet\" href=", ">")
            }
            Some("module") => {
                let source = ["app.js", "app.ts", "app.jsx"].into_iter();
                let source = source.into_iter().find(|it| self.manifest.contains_key(*it)).unwrap();
                tag(source, "<script type=\"module\" src=", "></script>")
            }
            Some(_) => {
                let sources = self.case.scripts.iter();
                sources.map(|it| tag(it, "<script defer src=", "></script>")).collect()
            }
        };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>{tags}\
             </head><body>{}</body></html>",
            self.name, self.body
        )
    }
}

const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
                      font-src 'self'; connect-src 'self'; img-src 'self' data:";

const RUNNER: &str = include_str!("../fixtures/runner.js");

#[derive(Debug, Deserialize)]
struct Found {
    name: String,
    found: String,
    errors: Vec<String>,
}

#[test]
fn frameworks_and_libraries_do_in_a_browser_what_their_authors_say() {
    let pins: BTreeMap<String, Pin> =
        serde_json::from_slice(&fs::read(fixtures().join("packages.json")).unwrap()).unwrap();
    let mut built = Vec::new();
    for kind in ["styles", "scripts"] {
        let mut folders: Vec<PathBuf> =
            fs::read_dir(fixtures().join(kind)).unwrap().map(|it| it.unwrap().path()).collect();
        folders.sort();
        for folder in folders {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            if is_full() || FEW.contains(&&*name) {
                built.push(build(&name, &folder, &pins));
            }
        }
    }
    let Ok(chromium) = which::which("chromium") else {
        assert!(
            std::env::var_os("STEVEDORE_REQUIRE_DOCKER").is_none(),
            "no chromium here, and this run requires it: apt-get install chromium"
        );
        return;
    };
    let (sender, done) = mpsc::channel();
    let cases: Vec<serde_json::Value> = built
        .iter()
        .map(|it| {
            let Case { probe, fonts, expect, .. } = &it.case;
            serde_json::json!({
                "name": it.name, "probe": probe, "fonts": fonts, "expect": expect,
            })
        })
        .collect();
    let expected: BTreeMap<String, String> = built
        .iter()
        .map(|it| {
            let value = it.case.probe.as_ref().map_or(&it.case.expect, |probe| &probe.value);
            (it.name.clone(), value.clone())
        })
        .collect();
    let pages: BTreeMap<String, Built> =
        built.into_iter().map(|it| (it.name.clone(), it)).collect();
    let server = web::serve(move |path, body| match path {
        "/" => Reply::html("<body><script type=\"module\" src=\"/runner.js\"></script>", ""),
        "/runner.js" => Reply::script(RUNNER),
        "/cases" => Reply::json(serde_json::to_vec(&cases).unwrap()),
        "/done" => {
            sender.send(body.to_vec()).unwrap();
            Reply::json(Vec::new())
        }
        path => {
            let (name, rest) = path[1..].split_once('/')?;
            let page = pages.get(name)?;
            match rest {
                "" => Reply::html(&page.page(), POLICY),
                rest => Reply::file(&page.project.path(rest)),
            }
        }
    });
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--enable-logging=stderr", "--window-size=1200,900", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://127.0.0.1:{}/", server.port()))
        .stdout(Stdio::null())
        .stderr(fs::File::create(profile.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let results = done.recv_timeout(PATIENCE);
    browser.kill().unwrap();
    browser.wait().unwrap();
    let log = fs::read_to_string(profile.path().join("log")).unwrap();
    let console: Vec<&str> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
    let results = results.unwrap_or_else(|_| panic!("no result:\n{}", console.join("\n")));
    let results: Vec<Found> = serde_json::from_slice(&results).unwrap();
    let mut wrong = Vec::new();
    for Found { name, found, errors } in &results {
        let expected = &expected[name];
        if !found.contains(expected.as_str()) {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
        wrong.extend(errors.iter().map(|error| format!("{name}: {error}")));
    }
    wrong.extend(server.missing().into_iter().map(|path| format!("nothing at {path}")));
    // Turbo puts a style element of its own into pages, which the policy forbids; it does without.
    let is_known = |line: &str| line.contains("inline style") && line.contains("turbo");
    wrong.extend(console.iter().filter(|line| !is_known(line)).map(|line| (*line).to_owned()));
    assert_eq!(results.len(), expected.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
