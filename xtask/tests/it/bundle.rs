//! Bundles of real releases: what is in them, and that nothing but the release decides.

use std::path::Path;
use std::process::Command;

use crate::dsl::{Project, docker, engine};
use crate::registry::Registry;
use crate::shop::{Shop, git};

/// A proxy-less shop with a secret, hooks, and an attached database, released and published.
fn published(registry: &Registry) -> Shop {
    let shop = Shop::new(&registry.address);
    let project = &shop.project;
    project.compose(&[
        (
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, \
             command: [sleep, infinity], init: true, stop_grace_period: 2s, restart: always, \
             environment: {URL: 'db://app:${PASSWORD}@db/app', LOG: '${LOG}', \
             VERSION: '${STEVEDORE_VERSION:-dev}'}, depends_on: [db], \
             x-stevedore: {main: true, bundle: {ports: ['80:9090'], memory_mb: 64, \
             lossy: [restart]}}}",
        ),
        (
            "db",
            &format!(
                "{{image: {}/app, command: [sleep, infinity], init: true, stop_grace_period: 1s, \
                 environment: {{PASSWORD: '${{PASSWORD}}'}}, volumes: ['data:/data'], \
                 x-stevedore: {{attached: true}}}}",
                project.name
            ),
        ),
    ]);
    let compose = project.read("docker/compose.yml");
    project.file("docker/compose.yml", format!("{compose}volumes:\n  data:\n"));
    for environment in ["dev", "prod"] {
        let path = format!("environments/{environment}/.env.example");
        project.file(&path, "PASSWORD=generate:hex32\n");
    }
    let toml = "environments/prod/environment.toml";
    project.file(toml, project.read(toml) + "[variables]\nLOG = \"json\"\n");
    project.file("environments/dev/environment.toml", "[variables]\nLOG = \"text\"\n");
    let folder = "environments/prod/.platform/hooks/postdeploy";
    project
        .file(&format!("{folder}/10_tell.sh"), "#!/bin/sh\necho deployed\n")
        .mode(&format!("{folder}/10_tell.sh"), 0o755)
        .file(&format!("{folder}/läs mig.txt"), "notes\n")
        .file("environments/prod/.ebextensions/10.config", "option_settings: {}\n");
    shop.commit("an app with a database");
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    shop
}

/// `MODE NAME` of everything in a bundle.
fn listed(project: &Project, file: &str) -> Vec<String> {
    let events = project.xtask(&["--json", "bundle", "--list", file]).succeeds().events();
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap().to_owned();
    events.iter().map(|event| format!("{} {}", text(event, "mode"), text(event, "name"))).collect()
}

#[test]
fn a_bundle_is_the_release_and_nothing_of_what_somebody_works_on() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = published(&registry);
    let project = &shop.project;
    let file = project.scratch().join("one.zip").display().to_string();
    let made = project.xtask(&["--json", "bundle", "1.0.0", "--out", &file]).succeeds();
    let event = &made.events()[0];
    let bytes = std::fs::read(&file).unwrap();
    let sha256 = fingerprint::sha256(&bytes);
    assert_eq!(event["sha256"], sha256.as_str());
    assert_eq!(event["label"], format!("1.0.0-{}", &sha256[..12]));
    assert_eq!(event["properties"], serde_json::json!(["URL"]));
    assert_eq!(event["environment"], "<name>-prod");
    assert_eq!(
        listed(project, &file),
        [
            "100644 .ebextensions/00-stevedore.config",
            "100644 .ebextensions/10.config",
            "100755 .platform/hooks/postdeploy/10_tell.sh",
            "100644 .platform/hooks/postdeploy/läs mig.txt",
            "100644 docker-compose.yml",
        ]
    );
    let text = member(&file, "docker-compose.yml");
    let compose: serde_json::Value = serde_json::from_str(&text).unwrap();
    let app = &compose["services"]["app"];
    let manifest = registry.manifest(&format!("team/{}/app", project.name), "1.0.0");
    assert_eq!(manifest["config"]["digest"], shop.config("1.0.0", "app").as_str());
    let image = app["image"].as_str().unwrap();
    let path = format!("{}/team/{}/app@sha256:", registry.address, project.name);
    assert!(image.starts_with(&path), "{image}");
    assert_eq!(
        app["environment"],
        serde_json::json!({"LOG": "json", "URL": "${URL}", "VERSION": "1.0.0"})
    );
    assert!(compose["services"]["db"].is_null() && compose["volumes"].is_null(), "{text}");
    assert!(!text.contains("PASSWORD"), "{text}");

    // Another branch, staged and unstaged edits, a hook that nobody committed.
    shop.git(&["checkout", "--quiet", "-b", "idea"]);
    project.file("docker/compose.yml", "name: other\nservices: {}\n");
    shop.git(&["add", "docker/compose.yml"]);
    project.file("environments/prod/environment.toml", "[variables]\nLOG = \"other\"\n");
    project.file("environments/prod/.platform/hooks/prebuild/x", "x");
    let before = shop.git(&["status", "--porcelain"]);
    let other = project.scratch().join("other.zip").display().to_string();
    project.xtask(&["bundle", "1.0.0", "--out", &other]).succeeds().prints("1.0.0-");
    assert!(std::fs::read(&other).unwrap() == bytes);
    assert_eq!(shop.git(&["status", "--porcelain"]), before);
    assert!(!project.path(".stevedore/bundle/tree").exists(), "nothing is left behind");

    // A dry run asks, writes nothing, and says what it would write.
    let none = project.scratch().join("none.zip").display().to_string();
    let answer = project.xtask(&["--dry-run", "bundle", "1.0.0", "--out", &none]).succeeds();
    answer.prints(&format!("$ write {none}"));
    assert!(!Path::new(&none).exists());
}

#[test]
fn the_same_release_is_the_same_bytes_on_every_machine() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = published(&registry);
    let here = bundled(shop.project.root(), &[], "022");
    let elsewhere = tempfile::tempdir().unwrap();
    let clone = elsewhere.path().join("a clone");
    let remote = shop.remote().display().to_string();
    git(elsewhere.path(), &["clone", "--quiet", &remote, clone.to_str().unwrap()]);
    let far = [("TZ", "Asia/Tokyo"), ("LC_ALL", "tr_TR.UTF-8"), ("HOME", "/nonexistent")];
    assert!(bundled(&clone, &far, "077") == here, "another directory, time zone, locale, umask");
    let near = [("TZ", "America/New_York"), ("LANG", "C"), ("SOURCE_DATE_EPOCH", "0")];
    assert!(bundled(&clone, &near, "002") == here);
}

#[test]
fn a_release_that_is_not_in_its_registry_is_refused_with_what_to_type() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    let file = shop.project.scratch().join("x.zip").display().to_string();
    let bundle = |version: &str| shop.project.xtask(&["bundle", version, "--out", &file]);
    bundle("1.0.0").exits(2).says("there is no release 1.0.0; known: none");
    bundle("1.0").exits(2).says("releases are X.Y.Z");
    shop.release("1.0.0").succeeds();
    let answer = bundle("1.0.0").exits(1).says("1.0.0 is not in its registry");
    answer.says("/app:1.0.0 is not there; `cargo xtask publish 1.0.0` brings it");
    shop.publish("1.0.0").succeeds();
    let unknown = ["bundle", "1.0.0", "--env", "nowhere", "--out", &file];
    shop.project.xtask(&unknown).exits(2).says("is not an environment of this project");

    // Somebody moved the tag to another image.
    let name = format!("{}/team/{}/app:1.0.0", registry.address, shop.project.name);
    docker(&["image", "tag", &format!("{}/base:1.0.0", shop.project.name), &name]);
    docker(&["image", "push", "--quiet", &name]);
    docker(&["image", "rm", &name]);
    bundle("1.0.0").exits(1).says("is another image there, with the configuration sha256:");
    assert!(!Path::new(&file).exists());
}

#[test]
fn files_and_images_that_no_bundle_can_have_are_named_all_at_once() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = Shop::new(&registry.address);
    let folder = "environments/prod/.platform";
    shop.project
        .file(&format!("{folder}/a\\b"), "")
        .file(&format!("{folder}/new\nline"), "")
        .file("environments/prod/.ebextensions/00-stevedore.config", "{}")
        .file(
            "environments/qa/compose.yml",
            "services: {app: {build: {args: {GREETING: hello}}}}\n",
        );
    std::os::unix::fs::symlink("/etc/passwd", shop.project.path(&format!("{folder}/link")))
        .unwrap();
    shop.commit("hostile files");
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    let answer = shop.project.xtask(&["bundle", "1.0.0"]).exits(1);
    for text in [
        r#"environments/prod/".ebextensions/00-stevedore.config": this name belongs to the tool"#,
        r#"environments/prod/".platform/a\\b": its name has a letter"#,
        r#"environments/prod/".platform/link": it is no regular file"#,
        r#"environments/prod/".platform/new\nline": its name has a letter"#,
    ] {
        assert!(answer.stderr.contains(text), "{text}\n{}", answer.stderr);
    }
    let other = shop.project.xtask(&["bundle", "1.0.0", "--env", "qa"]).exits(1);
    other.says("qa builds the image app in another way than prod, whose images were released");
}

#[test]
fn the_eb_cli_takes_the_dockerrun_file_for_one_and_finds_the_stack_in_it() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = published(&registry);
    let toml = "environments/prod/environment.toml";
    let ecs = "[beanstalk]\nplatform_branch = \"ECS running on 64bit Amazon Linux 2023\"\n";
    shop.project.file(toml, shop.project.read(toml) + ecs);
    shop.commit("to the other branch");
    shop.release("minor").succeeds();
    shop.publish("1.1.0").succeeds();
    let file = shop.project.scratch().join("ecs.zip").display().to_string();
    shop.project.xtask(&["bundle", "1.1.0", "--out", &file]).succeeds();
    let text = member(&file, "Dockerrun.aws.json");
    let path = shop.project.scratch().join("Dockerrun.aws.json");
    std::fs::write(&path, &text).unwrap();
    let output =
        Command::new(crate::eb::python()).args(["-c", PYTHON]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let services: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let app = &services["app"];
    assert!(app["image"].as_str().unwrap().contains("/app@sha256:"), "{services}");
    assert_eq!(
        services,
        serde_json::json!({"app": {
            "image": app["image"], "command": ["sleep", "infinity"], "ports": ["80:9090"],
            "environment": {"LOG": "json", "VERSION": "1.1.0"},
        }})
    );
}

/// The EB CLI's own check of a Dockerrun file, and the compose services that it makes of it.
const PYTHON: &str = "\
import json, sys
from ebcli.containers import compose, dockerrun
from ebcli.containers.envvarcollector import EnvvarCollector
found = dockerrun.get_dockerrun(sys.argv[1])
dockerrun.validate_dockerrun_v2(found)
print(json.dumps(compose.compose_dict(found, '/project', '/nonexistent', EnvvarCollector())))
";

/// The bytes of a bundle that is made somewhere.
fn bundled(root: &Path, variables: &[(&str, &str)], umask: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "umask \"$0\"; exec \"$@\"", umask, env!("CARGO_BIN_EXE_xtask"), "-C"])
        .arg(root)
        .args(["bundle", "1.0.0", "--out", "bundle.zip"])
        .current_dir(directory.path())
        .env_remove("CI")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(directory.path().join("bundle.zip")).unwrap()
}

/// The text of a file in a bundle.
fn member(file: &str, name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    std::io::read_to_string(archive.by_name(name).unwrap()).unwrap()
}
