//! Dockerrun files of both versions.

use serde_json::{Value, json};

use super::raw::{archive, file};
use super::{Case, Target, fails, works};
use crate::app;
use crate::dsl::{ECS_BRANCH, engine};

const WRONG: &str = "ECS Application sourcebundle validation error";

fn bundle(version: &str, dockerrun: impl AsRef<[u8]>) -> Vec<u8> {
    archive(&[file("Dockerrun.aws.json", dockerrun), file("version.txt", version)])
}

/// The good one, changed.
fn but(name: &'static str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut dockerrun: Value = serde_json::from_str(&app::dockerrun()).unwrap();
    change(&mut dockerrun);
    bundle(name, dockerrun.to_string())
}

#[test]
fn a_task_definition_gets_an_instance_and_no_more() {
    engine!();
    let target = Target::new(ECS_BRANCH, &app::ecs_bundle("good"));
    let container = |name: &'static str, key: &'static str, value: Value| {
        but(name, |it| it["containerDefinitions"][0][key] = value)
    };
    let volume = |name: &'static str, path: &str| {
        let path = path.to_owned();
        but(name, |it| {
            let containers = &mut it["containerDefinitions"][0]["mountPoints"];
            let mount = json!({"sourceVolume": "more", "containerPath": "/more"});
            containers.as_array_mut().unwrap().push(mount);
            let more = json!({"name": "more", "host": {"sourcePath": path}});
            it["volumes"].as_array_mut().unwrap().push(more);
        })
    };
    let logs = |name: &'static str, of: &'static str| {
        but(name, |it| {
            let containers = &mut it["containerDefinitions"][0]["mountPoints"];
            let mount = json!({"sourceVolume": of, "containerPath": "/more"});
            containers.as_array_mut().unwrap().push(mount);
        })
    };
    let second = |name: &'static str, links: [&'static str; 2]| {
        but(name, |it| {
            let mut other = it["containerDefinitions"][0].clone();
            (other["name"], other["portMappings"]) = ("other".into(), json!([]));
            other["links"] = json!([links[1]]);
            it["containerDefinitions"][0]["links"] = json!([links[0]]);
            it["containerDefinitions"].as_array_mut().unwrap().push(other);
        })
    };
    let version = |name: &'static str, version: Value| {
        let says = format!(
            "{WRONG}: Unsupported AWSEBDockerrunVersion: {}",
            version.as_str().map_or_else(|| version.to_string(), str::to_owned)
        );
        fails(name, says, but(name, |it| it["AWSEBDockerrunVersion"] = version))
    };
    let wrong =
        |name: &'static str, says: &str, bundle: Vec<u8>| -> Case { fails(name, says, bundle) };
    let canary = target.canary();
    let deep = "[".repeat(100_000);
    target.deploy_all(vec![
        version("version-1", json!(1)),
        version("version-3", json!("3")),
        version("version-none", Value::Null),
        version("version-object", json!({"a": 1})),
        wrong("missing", &format!("{WRONG}: Dockerrun.aws.json is missing"), app::bundle("x")),
        wrong("no-json", &format!("{WRONG}: Dockerrun.aws.json is no JSON"), bundle("x", "{")),
        wrong("deep", &format!("{WRONG}: Dockerrun.aws.json is no JSON"), bundle("x", deep)),
        wrong("no-text", "Dockerrun.aws.json is no text", bundle("x", b"\xff\xfe\x00")),
        wrong(
            "huge",
            "Dockerrun.aws.json has more than 1048576 bytes",
            bundle("x", " ".repeat(2 << 20)),
        ),
        wrong("a-list", "Unsupported AWSEBDockerrunVersion: null", bundle("x", "[1]")),
        wrong(
            "no-container",
            "defines no container",
            but("x", |it| {
                it["containerDefinitions"] = json!([]);
            }),
        ),
        wrong("circle", "the links of", second("circle", ["other", "web"])),
        wrong(
            "own-link",
            "the links of web go round in a circle",
            container("x", "links", json!(["web"])),
        ),
        wrong(
            "unknown-link",
            "it links to \"db\", which is no",
            container("x", "links", json!(["db:db"])),
        ),
        wrong(
            "foreign-link",
            "which is no container of",
            container("x", "links", json!(["/other:db"])),
        ),
        wrong("privileged", "it is privileged", container("x", "privileged", json!(true))),
        wrong("bad-name", "a letter that ECS refuses", container("x", "name", json!("../web"))),
        wrong("no-name", "a letter that ECS refuses", container("x", "name", json!(""))),
        wrong("memory", "At least one of 'memory' or", container("x", "memory", Value::Null)),
        wrong("negative-memory", WRONG, container("x", "memory", json!(-1))),
        wrong("port", WRONG, container("x", "portMappings", json!([{"containerPort": 70_000}]))),
        wrong(
            "essential",
            "must have at least one essential",
            container("x", "essential", json!(false)),
        ),
        wrong(
            "same-name",
            "two containers have the name web",
            but("x", |it| {
                let other = it["containerDefinitions"][0].clone();
                it["containerDefinitions"].as_array_mut().unwrap().push(other);
            }),
        ),
        wrong("volume", "volume \"gone\" is not defined", logs("x", "gone")),
        wrong(
            "depends",
            "it depends on \"db\"",
            container(
                "x",
                "dependsOn",
                json!([
                    {"containerName": "db", "condition": "START"}
                ]),
            ),
        ),
        works("root", volume("root", "/")),
        works("socket", volume("socket", "/var/run/docker.sock")),
        works("canary", volume("canary", &format!("{canary}/directory"))),
        works("parents", volume("parents", "/var/app/current/../../../../../../escaped")),
        works("relative", volume("relative", "../../../escaped")),
        works("logs", logs("logs", "awseb-logs-../../../../../escaped")),
        works(
            "linux",
            container(
                "linux",
                "linuxParameters",
                json!({
                    "capabilities": {"add": ["ALL"]}, "devices": [{"hostPath": "/dev/sda"}]
                }),
            ),
        ),
        works(
            "labels",
            container("labels", "dockerLabels", json!({"stevedore.beanstalk": "other"})),
        ),
        works("dollars", container("dollars", "hostname", json!("web"))),
    ]);
}

#[test]
fn a_single_container_gets_an_instance_and_no_more() {
    engine!();
    let target = Target::docker();
    let image = app::image();
    let wrong = |name: &'static str, says: &str, dockerrun: String| {
        fails(name, says, bundle(name, dockerrun))
    };
    let one = |more: Value| {
        let volumes = [json!({"HostDirectory": "/var/app/current", "ContainerDirectory": "/app"})];
        let volumes: Vec<Value> =
            volumes.into_iter().chain(more.as_array().cloned().unwrap()).collect();
        let image = json!({"Name": image, "Update": "false"});
        json!({"AWSEBDockerrunVersion": "1", "Image": image, "Volumes": volumes}).to_string()
    };
    let flag = json!({"AWSEBDockerrunVersion": "1", "Image": {"Name": "--help"}}).to_string();
    let root = json!([{"HostDirectory": "/", "ContainerDirectory": "/more"}]);
    let up = json!([{"HostDirectory": "../../escaped", "ContainerDirectory": "/more"}]);
    target.deploy_all(vec![
        wrong("version-2", "has AWSEBDockerrunVersion 2", app::dockerrun()),
        wrong("no-json", "Dockerrun.aws.json is no JSON", "{".to_owned()),
        wrong(
            "no-image",
            "Dockerrun.aws.json names no Image",
            r#"{"AWSEBDockerrunVersion": 1}"#.into(),
        ),
        wrong("flag", "names the image \"--help\"", flag),
        fails(
            "directory",
            "Dockerrun.aws.json is no file",
            archive(&[file("Dockerrun.aws.json/a", "")]),
        ),
        works("plain", bundle("plain", one(json!([])))),
        works("root", bundle("root", one(root))),
        works("parents", bundle("parents", one(up))),
    ]);
}
