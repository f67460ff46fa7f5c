//! The definitions of CI jobs in `docs/ci`: valid by the public schemas, and their steps run as each
//! system runs them: on a clone that it made, by another user, without an identity, a terminal or
//! anything in HOME.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::dsl::{engine, repository};
use crate::eb::tools::{once, run, venv};
use crate::shop::{Shop, git};
use crate::ward::Ward;

/// The field's tool for these schemas, which brings them along and reads YAML as GitLab does.
const SCHEMAS: &str = "check-jsonschema==0.39.0";

fn schemas() -> PathBuf {
    once("schemas-venv", |directory| {
        run(Command::new("python3").args(["-m", "venv"]).arg(directory));
        let mut pip = Command::new(directory.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", SCHEMAS]));
    })
}

fn definition(name: &str) -> PathBuf {
    repository().join("docs/ci").join(name)
}

/// What a schema finds wrong with a file; nothing where it is valid.
fn findings(file: &Path, system: &str) -> Option<String> {
    let mut check = Command::new(schemas().join("bin/check-jsonschema"));
    check.args(["--builtin-schema", system]);
    if system == "vendor.gitlab-ci" {
        check.args(["--data-transform", "gitlab-ci"]);
    }
    let output = check.arg(file).output().unwrap();
    assert!([Some(0), Some(1)].contains(&output.status.code()), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn the_definitions_are_valid_by_the_public_schemas() {
    engine!();
    let scratch = tempfile::tempdir().unwrap();
    for (name, system, right, wrong) in [
        ("github.yml", "vendor.github-workflows", "timeout-minutes: 60", "timeout-minutes: long"),
        ("gitlab.yml", "vendor.gitlab-ci", "resource_group: release", "resource_group: [release]"),
    ] {
        assert_eq!(findings(&definition(name), system), None, "{name}");
        let text = fs::read_to_string(definition(name)).unwrap();
        let broken = scratch.path().join(name);
        fs::write(&broken, text.replacen(right, wrong, 1)).unwrap();
        let found = findings(&broken, system).expect(wrong);
        assert!(found.contains(right.split(':').next().unwrap()), "{found}");
    }
}

/// One job of a definition, as its system runs it.
struct Job {
    /// Whether its clone has one commit only.
    shallow: bool,
    /// Whether a branch is checked out, and not a commit.
    on_branch: bool,
    /// Scripts in their order, each with the variables of its own.
    scripts: Vec<(String, BTreeMap<String, String>)>,
}

/// The jobs of a system, `ci`, `release` and `deploy`.
struct System {
    name: &'static str,
    jobs: BTreeMap<String, Job>,
    /// Who the definition says that the release is by.
    by: &'static str,
}

/// A file of YAML as JSON, with its anchors and merges resolved.
fn yaml(name: &str) -> Value {
    let script = "import json, sys; from ruamel.yaml import YAML; \
                  print(json.dumps(YAML(typ='safe').load(open(sys.argv[1]))))";
    let mut python = Command::new(schemas().join("bin/python"));
    let output = python.args(["-c", script]).arg(definition(name)).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(value: &Value, fill: &dyn Fn(&str) -> String) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    let text = |value: &Value| match (value.as_str(), &value["value"]) {
        (Some(text), _) => fill(text),
        (None, Value::String(text)) => text.clone(),
        _ => value.to_string(),
    };
    pairs.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// What GitHub fills in; an expression that is not expected here is a failure.
fn filled(text: &str, version: &str) -> String {
    let mut text = text.to_owned();
    for (expression, value) in [
        ("github.actor", "octocat"),
        ("inputs.version", version),
        ("inputs.environment", "prod"),
        ("secrets.DOCKER_AUTH_CONFIG", "{\"auths\": {}}"),
    ] {
        text = text.replace(&format!("${{{{ {expression} }}}}"), value);
    }
    assert!(!text.contains("${{"), "{text}");
    text
}

fn github(version: &str) -> System {
    let file = yaml("github.yml");
    let fill = |text: &str| filled(text, version);
    let mut jobs = BTreeMap::new();
    for (name, job) in file["jobs"].as_object().unwrap() {
        let mut shared = texts(&file["env"], &fill);
        shared.extend(texts(&job["env"], &fill));
        shared.insert("GITHUB_ACTIONS".into(), "true".into());
        let steps = job["steps"].as_array().unwrap();
        let shallow = steps[0]["with"]["fetch-depth"] != 0;
        assert!(steps[0]["uses"].as_str().unwrap().starts_with("actions/checkout@"));
        let scripts = steps.iter().filter_map(|step| {
            let mut variables = shared.clone();
            variables.extend(texts(&step["env"], &fill));
            Some((format!("set -eo pipefail\n{}", step["run"].as_str()?), variables))
        });
        let scripts = scripts.collect();
        jobs.insert(name.clone(), Job { shallow, on_branch: !shallow, scripts });
    }
    System { name: "GitHub Actions", jobs, by: "octocat" }
}

/// The lines of a script of GitLab, in which other scripts may lie.
fn lines(script: &Value) -> Vec<String> {
    match script {
        Value::Array(parts) => parts.iter().flat_map(lines).collect(),
        Value::String(line) => vec![line.clone()],
        _ => Vec::new(),
    }
}

fn gitlab(version: &str, workspace: &Path) -> System {
    let file = yaml("gitlab.yml");
    let directory = workspace.display().to_string();
    let given = [
        ("CI_PROJECT_DIR", directory.as_str()),
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_PROJECT_ID", "7"),
        ("CI_JOB_ID", "stevedore-test"),
        ("GITLAB_USER_NAME", "Ada"),
        ("GITLAB_USER_EMAIL", "ada@example.org"),
        ("DOCKER_AUTH_CONFIG", "{\"auths\": {}}"),
        ("AWS_ID_TOKEN", "a token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/deploy"),
    ];
    let fill = |text: &str| {
        given
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    };
    let mut jobs = BTreeMap::new();
    for name in ["ci", "release", "deploy"] {
        let job = &file[name];
        let mut variables = texts(&file["variables"], &fill);
        variables.extend(texts(&job["variables"], &fill));
        variables.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables.insert("GITLAB_CI".into(), "true".into());
        variables.insert("VERSION".into(), version.into());
        variables.insert("ENVIRONMENT".into(), "prod".into());
        let shallow = variables["GIT_DEPTH"] != "0";
        let mut script = vec!["set -eo pipefail".to_owned()];
        script.extend(lines(&file["default"]["before_script"]));
        script.extend(lines(&job["script"]));
        let scripts = vec![(script.join("\n"), variables)];
        jobs.insert(name.to_owned(), Job { shallow, on_branch: false, scripts });
    }
    System { name: "GitLab CI", jobs, by: "Ada" }
}

/// What stands between two marks, each time.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    text.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

fn jenkins(version: &str, workspace: &Path) -> System {
    let file = fs::read_to_string(definition("Jenkinsfile")).unwrap();
    let (functions, pipeline) = file.split_once("\npipeline {").unwrap();
    assert!(functions.contains("shallow: false, noTags: false"));
    let (head, stages) = pipeline.split_once("    stages {").unwrap();
    let assignments = head.lines().filter_map(|line| line.trim().split_once(" = '"));
    let mut variables: BTreeMap<String, String> = assignments
        .map(|(name, value)| (name.into(), value.trim_end_matches('\'').into()))
        .collect();
    let temporary = workspace.with_extension("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let config = temporary.join("config.json");
    fs::write(&config, "{\"auths\": {}}").unwrap();
    for (name, value) in [
        ("WORKSPACE", workspace.display().to_string()),
        ("VERSION", version.into()),
        ("ENVIRONMENT", "prod".into()),
        ("DOCKER_AUTH_CONFIG_FILE", config.display().to_string()),
        ("DOCKER_CONFIG", temporary.join("docker").display().to_string()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", config.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/deploy".into()),
    ] {
        variables.insert(name.into(), value);
    }
    let mut jobs = BTreeMap::new();
    for stage in stages.split("stage('").skip(1) {
        let (name, body) = stage.split_once('\'').unwrap();
        assert!(body.contains("checkOut()"));
        let steps = [between(functions, "sh '", "'\n"), between(body, "sh '", "'\n")].concat();
        let scripts = steps.into_iter().map(|it| (format!("set -e\n{it}"), variables.clone()));
        let scripts = scripts.collect();
        jobs.insert(name.to_owned(), Job { shallow: false, on_branch: true, scripts });
    }
    System { name: "Jenkins", jobs, by: "Jenkins" }
}

/// The machine of a CI system: where it clones to, and what a job finds there.
struct Runner<'s> {
    shop: &'s Shop,
    directory: tempfile::TempDir,
}

impl Runner<'_> {
    fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// `cargo xtask` is the program that is tested.
    fn install(&self) {
        let cargo = self.directory.path().join("bin/cargo");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = xtask ] || exit 9\nshift\nexec '{}' \"$@\"\n",
            env!("CARGO_BIN_EXE_xtask")
        );
        fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        fs::write(&cargo, script).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A clone as the systems make it; its files belong to somebody else where that can be done.
    fn clone(&self, shallow: bool, on_branch: bool) {
        let workspace = self.workspace();
        let _ = fs::remove_dir_all(&workspace);
        fs::create_dir(&workspace).unwrap();
        let url = format!("file://{}", self.shop.remote().display());
        let git = |arguments: &[&str]| git(&workspace, arguments);
        git(&["init", "--quiet", "--initial-branch", "nothing"]);
        git(&["remote", "add", "origin", &url]);
        let mut fetch = vec!["fetch", "--quiet", "origin"];
        match shallow {
            true => fetch.extend(["--depth=1", "+refs/heads/main:refs/remotes/origin/main"]),
            false => {
                fetch.extend(["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]);
            }
        }
        git(&fetch);
        match on_branch {
            true => git(&["checkout", "--quiet", "-B", "main", "refs/remotes/origin/main"]),
            false => git(&["checkout", "--quiet", "--detach", "refs/remotes/origin/main"]),
        };
        if is_root() {
            run(Command::new("chown").args(["-R", "nobody"]).arg(&workspace));
        }
        // The local Elastic Beanstalk is where AWS would be: nothing of the clone's.
        fs::create_dir(workspace.join(".stevedore")).unwrap();
        for name in ["beanstalk", "beanstalk-attached"] {
            let there = self.shop.project.path(".stevedore").join(name);
            fs::create_dir_all(&there).unwrap();
            std::os::unix::fs::symlink(there, workspace.join(".stevedore").join(name)).unwrap();
        }
    }

    /// Runs a script there: whether it succeeded, and all that it said.
    fn bash(&self, script: &str, variables: &BTreeMap<String, String>) -> (bool, String) {
        let path = std::env::var("PATH").unwrap();
        let clients = venv().join("bin");
        let fake = self.directory.path().join("bin");
        let log = self.directory.path().join("output");
        let file = fs::File::create(&log).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-c", script]).current_dir(self.workspace());
        bash.env_clear().env("PATH", format!("{}:{}:{path}", fake.display(), clients.display()));
        bash.envs(std::env::var_os("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
        bash.env("HOME", self.home()).env("CI", "true").envs(variables);
        let status = bash.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let done = status.status().unwrap().success();
        (done, fs::read_to_string(log).unwrap())
    }

    /// Empty at the beginning of each job.
    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn run(&self, system: &System, name: &str) {
        let job = &system.jobs[name];
        let started = std::time::Instant::now();
        self.clone(job.shallow, job.on_branch);
        let _ = fs::remove_dir_all(self.home());
        fs::create_dir(self.home()).unwrap();
        if system.name == "GitHub Actions" {
            // As actions/checkout does.
            let workspace = self.workspace().display().to_string();
            let line = ["config", "--global", "--add", "safe.directory", &workspace];
            let mut git = Command::new("git");
            run(git.args(line).env("HOME", self.home()).env_remove("GIT_CONFIG_GLOBAL"));
        }
        for (script, variables) in &job.scripts {
            let (done, said) = self.bash(script, variables);
            assert!(done, "{}, {name}:\n{script}\n--\n{said}", system.name);
        }
        let line = format!("{}: {name}: {:.1} s\n", system.name, started.elapsed().as_secs_f64());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn each_definition_checks_releases_publishes_and_deploys_on_a_clone_of_its_system() {
    engine!();
    let ward = Ward::new("");
    let runner = Runner { shop: &ward.shop, directory: tempfile::tempdir().unwrap() };
    runner.install();
    let workspace = runner.workspace();
    for (version, text, system) in [
        ("1.0.0", "one", github("1.0.0")),
        ("1.1.0", "two", gitlab("1.1.0", &workspace)),
        ("1.2.0", "three", jenkins("1.2.0", &workspace)),
    ] {
        ward.shop.project.file("app/source.txt", format!("{text}\n"));
        let commit = ward.shop.commit(text);
        for job in ["ci", "release", "deploy"] {
            runner.run(&system, job);
        }
        let tag = format!("v{version}");
        assert_eq!(ward.shop.git_there(&["rev-parse", &format!("{tag}^")]), commit);
        let tagger = ward.shop.git_there(&["for-each-ref", "--format=%(taggername)", "refs/tags"]);
        assert_eq!(tagger.lines().last(), Some(system.by), "{}", system.name);
        assert!(ward.page("prod").starts_with(&format!("200 {version} ")), "{}", system.name);
        assert_eq!(ward.log("prod").last().unwrap()["by"]["name"], system.by);
    }
    let story = ["1.0.0", "1.1.0", "1.2.0"].map(|it| format!("deploy {it} succeeded"));
    assert_eq!(ward.story("prod"), story);
}

#[test]
fn a_clone_that_cannot_do_says_what_the_job_has_to_set() {
    engine!();
    let shop = Shop::new("127.0.0.1:1");
    let runner = Runner { shop: &shop, directory: tempfile::tempdir().unwrap() };
    runner.install();
    fs::create_dir(runner.home()).unwrap();
    let says = |variables: &[(&str, &str)], words: &str| {
        let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let (done, said) = runner.bash("cargo xtask release 1.0.0 --yes", &pairs.collect());
        assert!(!done && said.contains(words), "no {words:?} in:\n{said}");
    };
    if is_root() {
        runner.clone(false, true);
        let directory = runner.workspace().display().to_string();
        says(&[], &format!("`git config --global --add safe.directory {directory}`"));
    }
    let trust = "git config --global --add safe.directory \"$PWD\"";
    assert!(runner.bash(trust, &BTreeMap::new()).0);
    runner.clone(true, true);
    let (name, address) = (("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.org"));
    says(&[name, address], "`fetch-depth: 0` of actions/checkout, `GIT_DEPTH: \"0\"` of GitLab CI");
    runner.clone(false, true);
    says(&[], "GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL");
}
