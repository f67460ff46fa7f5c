//! Random histories of deployments and rollbacks: after every step the images, the bundle's bytes
//! and the settings that are in use are those on record, and the log says what is so.
//!
//! A model of a few lines says what each step should do. One registry and one Elastic Beanstalk
//! serve all histories; each begins with no environment and no log. One history runs with all the
//! other tests; `STEVEDORE_FULL=1` runs fifty, or `STEVEDORE_HISTORIES` of them.

// A campaign says what it did; its figures are in RELIABILITY.md.
#![allow(clippy::print_stderr)]

use std::collections::BTreeMap;

use fingerprint::sha256;

use crate::campaign::chance::{Chance, size};
use crate::dsl::{campaign, docker, wait_until};
use crate::ward::Ward;

/// Versions and what their pages say. The second brings a migration that is marked compatible.
const VERSIONS: [(&str, &str); 4] =
    [("1.0.0", "one"), ("1.1.0", "two"), ("1.2.0", "broken"), ("1.3.0", "three")];
const BROKEN: &str = "1.2.0";
const STEPS: usize = 6;

#[derive(Clone, Copy, Debug)]
enum Step {
    Deploy(&'static str),
    Rollback,
    RollbackTo(&'static str),
    Token,
    Password,
    /// Somebody sets a property past the tool.
    Meddle,
    /// Somebody deletes a bundle from the service.
    Tidy(&'static str),
}

/// What every test run lives through; chance is for the full size.
const ORDINARY: [Step; 5] =
    [Step::Token, Step::Deploy("1.1.0"), Step::Rollback, Step::Tidy("1.1.0"), Step::Rollback];

/// Properties of an environment: one of the release, and one of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    token: String,
    database: String,
}

#[derive(Clone, Debug)]
struct Entry {
    version: &'static str,
    succeeded: bool,
    /// Number of the deployment whose settings were kept, and are those of this one.
    template: usize,
}

/// What should be so.
struct Model {
    dotenv: Settings,
    log: Vec<Entry>,
    /// Version and properties; nothing where there is no environment.
    runs: Option<(&'static str, Settings)>,
    kept: BTreeMap<usize, Settings>,
}

/// What a command should do.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Already,
    Broken,
    Nowhere,
}

impl Model {
    fn new() -> Model {
        let dotenv = Settings { token: "first".into(), database: database("first") };
        Model { dotenv, log: Vec::new(), runs: None, kept: BTreeMap::new() }
    }

    fn success(&self, fits: impl Fn(&Entry) -> bool) -> Option<Entry> {
        self.log.iter().rev().find(|it| it.succeeded && fits(it)).cloned()
    }

    fn deploy(&mut self, version: &'static str) -> Outcome {
        let current = self.success(|_| true);
        let runs = Some((version, self.dotenv.clone()));
        if current.as_ref().is_some_and(|it| it.version == version) && self.runs == runs {
            return Outcome::Already;
        }
        let same = |it: &Entry| self.kept.get(&it.template) == Some(&self.dotenv);
        let number = self.log.len() + 1;
        let template = current.filter(same).map_or(number, |it| it.template);
        self.kept.entry(template).or_insert(self.dotenv.clone());
        self.runs = runs;
        let succeeded = version != BROKEN;
        self.log.push(Entry { version, succeeded, template });
        if succeeded { Outcome::Done } else { Outcome::Broken }
    }

    fn rollback(&mut self, to: Option<&str>) -> Outcome {
        let last = self.log.last().cloned();
        let is_goal = |it: &Entry| match (to, &last) {
            (Some(to), _) => it.version == to,
            (None, Some(last)) => (it.version, it.template) != (last.version, last.template),
            (None, None) => false,
        };
        let Some(goal) = self.success(is_goal) else { return Outcome::Nowhere };
        let (_, now) = self.runs.clone().unwrap();
        let token = self.kept[&goal.template].token.clone();
        let runs = Some((goal.version, Settings { token, database: now.database }));
        let is_last = last.is_some_and(|it| {
            it.succeeded && (it.version, it.template) == (goal.version, goal.template)
        });
        if is_last && self.runs == runs {
            return Outcome::Already;
        }
        self.runs = runs;
        self.log.push(goal);
        Outcome::Done
    }
}

fn database(password: &str) -> String {
    format!("store://{password}@store")
}

fn step(chance: &mut Chance) -> Step {
    let version = |chance: &mut Chance| chance.pick(&VERSIONS).0;
    match chance.below(13) {
        0..=5 => Step::Deploy(version(chance)),
        6 | 7 => Step::Rollback,
        8 => Step::RollbackTo(version(chance)),
        9 => Step::Token,
        10 => Step::Password,
        11 => Step::Meddle,
        _ => Step::Tidy(version(chance)),
    }
}

struct Yard {
    ward: Ward,
    /// Version -> what the service calls it.
    labels: BTreeMap<&'static str, String>,
    /// For secrets that are new.
    round: usize,
}

impl Yard {
    fn new() -> Yard {
        let ward = Ward::new("");
        for (version, text) in VERSIONS {
            if text == "two" {
                let marked = "-- stevedore: compatible, a new table\nCREATE TABLE runs (x int);\n";
                ward.shop.project.file("app/migrations/2_runs.sql", marked);
            }
            ward.ship(version, text);
        }
        let labels = VERSIONS.map(|(version, _)| (version, ward.bundle_label(version)));
        Yard { ward, labels: labels.into(), round: 0 }
    }

    /// No environment and no log; versions, templates and events of the last history stay.
    fn begin(&self) {
        let branch = "refs/heads/stevedore/deployments/prod";
        if self.ward.environment("prod").is_null() {
            return;
        }
        self.ward.end_environment("prod");
        self.ward.shop.git_there(&["update-ref", "-d", branch]);
    }

    fn write_dotenv(&self, settings: &Settings) {
        let path = "environments/prod/.env";
        let password = settings.database.trim_start_matches("store://");
        let password = password.trim_end_matches("@store");
        let text = format!("PASSWORD={password}\nTOKEN={}\n", settings.token);
        self.ward.shop.project.file(path, text).mode(path, 0o600);
    }

    /// Does it, and holds what came of it against the model.
    fn take(&mut self, model: &mut Model, step: Step) {
        self.round += 1;
        let fresh = format!("s{}", self.round);
        let ward = &self.ward;
        let before = model.runs.clone();
        let settle = ["--yes", "--settle", "6"];
        let done = match step {
            Step::Deploy(version) => {
                let wanted = model.deploy(version);
                Some((wanted, ward.xtask(&[&["deploy", version], &settle[..]].concat()), version))
            }
            Step::Rollback | Step::RollbackTo(_) => {
                let to = if let Step::RollbackTo(version) = step { Some(version) } else { None };
                let wanted = model.rollback(to);
                let arguments = to.map_or(vec!["rollback"], |to| vec!["rollback", "--to", to]);
                let version = model.log.last().map_or("", |it| it.version);
                Some((wanted, ward.xtask(&[&arguments[..], &settle].concat()), version))
            }
            Step::Token => {
                model.dotenv.token = fresh;
                None
            }
            Step::Password => {
                model.dotenv.database = database(&fresh);
                None
            }
            Step::Meddle => {
                self.meddle(model, &fresh);
                None
            }
            Step::Tidy(version) => {
                if model.runs.as_ref().is_none_or(|(runs, _)| *runs != version) {
                    ward.forget_bundle(&self.labels[version]);
                }
                None
            }
        };
        self.write_dotenv(&model.dotenv);
        if let Some((wanted, answer, version)) = done {
            // What becomes of a failure is the service's business: it stays, or all that was before
            // comes back, version and settings.
            let back = before.filter(|(before, settings)| {
                let is = ward.environment("prod")["version"] == self.labels[before].as_str();
                is && self.settings() == *settings
            });
            if wanted == Outcome::Broken && back.is_some() {
                model.runs = back;
            }
            match wanted {
                Outcome::Done => answer.succeeds().prints(&format!("prod runs {version} (")),
                Outcome::Already => {
                    answer.succeeds().prints(&format!("prod runs {version} already"))
                }
                Outcome::Broken => answer.exits(1).says(&format!("prod did not get {version}")),
                Outcome::Nowhere => answer.exits(2).says("nothing to go back to"),
            };
        }
        self.assert_like(model);
    }

    fn meddle(&self, model: &mut Model, token: &str) {
        // An environment that is unwell takes long for what is nobody's business.
        let Some((version, settings)) = model.runs.as_mut().filter(|it| it.0 != BROKEN) else {
            return;
        };
        let name = self.ward.service_name("prod");
        let option = "Namespace=aws:elasticbeanstalk:application:environment,OptionName=TOKEN";
        let option = format!("{option},Value={token}");
        let update = ["update-environment", "--environment-name", &name];
        self.ward.aws(&[&update[..], &["--option-settings", &option]].concat());
        let page = format!("200 {version} {token} ");
        wait_until("their update", || {
            self.ward.environment("prod")["status"] == "Ready"
                && self.ward.page("prod").starts_with(&page)
        });
        settings.token = token.to_owned();
    }

    /// Service, page, containers and log, each against the model and each other.
    fn assert_like(&self, model: &Model) {
        let ward = &self.ward;
        let Some((version, settings)) = &model.runs else {
            assert!(ward.environment("prod").is_null());
            return;
        };
        let log = ward.log("prod");
        let told: Vec<_> = log
            .iter()
            .map(|it| (it["version"].as_str().unwrap(), it["verdict"]["result"] == "succeeded"))
            .collect();
        let wanted: Vec<_> = model.log.iter().map(|it| (it.version, it.succeeded)).collect();
        assert_eq!(told, wanted);
        let last = log.iter().rev().find(|it| it["version"] == *version).unwrap();
        let is_success = log.last().unwrap()["verdict"]["result"] == "succeeded";
        assert!(!is_success || Some(last) == log.last(), "{last}");
        assert_eq!(last["label"], self.labels[version].as_str());
        let environment = ward.environment("prod");
        assert_eq!(environment["version"], last["label"], "{environment}");
        let bundle = ward.bundle_there(&self.labels[version]).expect("the bundle is there");
        assert_eq!(sha256(&bundle), last["bundle"].as_str().unwrap());
        assert_eq!(self.settings(), *settings);
        assert_eq!(last["settings"]["attached"], serde_json::json!(["DATABASE"]));

        let images: Vec<String> = self.images();
        let recorded = last["images"].as_object().unwrap();
        let recorded: Vec<&str> = recorded.values().map(|it| it.as_str().unwrap()).collect();
        assert!(!images.is_empty());
        for image in &images {
            assert!(recorded.contains(&image.as_str()), "{image} and not {recorded:?}");
        }
        let (_, text) = VERSIONS.iter().find(|it| it.0 == *version).unwrap();
        let page = ward.page("prod");
        if *version == BROKEN {
            assert!(!page.starts_with("200"), "{page}");
            return;
        }
        assert_eq!(page, format!("200 {version} {} {text}", settings.token));
        let drift = ward.xtask(&["status", "prod", "--drift"]);
        let current = model.success(|_| true).unwrap();
        let is_kept =
            current.version == *version && model.kept[&current.template].token == settings.token;
        drift.exits(if is_kept { 0 } else { 1 });
    }

    fn settings(&self) -> Settings {
        let properties = self.ward.properties("prod");
        let value = |name: &str| properties.get(name).cloned().unwrap_or_default();
        Settings { token: value("TOKEN"), database: value("DATABASE") }
    }

    /// What runs of the app, by the names it was started with.
    fn images(&self) -> Vec<String> {
        let owner = self.ward.shop.project.read(".stevedore/beanstalk/owner");
        let filter = format!("label=stevedore.beanstalk={}", owner.trim());
        let ids = docker(&["container", "ls", "--quiet", "--filter", &filter]);
        let inspect = ["container", "inspect", "--format", "{{.Config.Image}}"];
        let arguments: Vec<&str> = inspect.into_iter().chain(ids.split_whitespace()).collect();
        let names = docker(&arguments);
        names.lines().filter(|name| name.contains("/app@")).map(str::to_owned).collect()
    }
}

#[test]
fn whatever_was_deployed_and_rolled_back_what_runs_is_what_is_on_record() {
    campaign!();
    let mut chance = Chance::new("histories");
    let most = std::env::var("STEVEDORE_HISTORIES").map_or(usize::MAX, |it| it.parse().unwrap());
    let count = size(1, 50).min(most);
    let mut yard = Yard::new();
    let mut steps = 0;
    for number in 1..=count {
        yard.begin();
        let mut model = Model::new();
        yard.write_dotenv(&model.dotenv);
        // Something to come back to.
        let mut history = vec![Step::Deploy("1.0.0")];
        match count {
            1 => history.extend(ORDINARY),
            _ => history.extend((0..STEPS).map(|_| step(&mut chance))),
        }
        eprintln!("history {number} of {count}: {history:?}");
        for step in history {
            yard.take(&mut model, step);
            steps += 1;
        }
    }
    eprintln!("{count} histories, {steps} steps");
}
