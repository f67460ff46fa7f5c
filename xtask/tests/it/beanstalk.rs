//! This repository's app on the local Elastic Beanstalk, deployed by the real EB CLI: both platform
//! branches, and what each deployment policy leaves of a broken bundle.

use serde_json::{Value, json};

use crate::dsl::{Project, Running, docker, get, post, wait_until};
use crate::eb::Eb;

const DOCKER: &str = "Docker running on 64bit Amazon Linux 2023";
const ECS: &str = "ECS running on 64bit Amazon Linux 2023";

/// Everything about the app on both branches; its images of prod are there already.
pub(crate) fn both_branches(project: &Project) {
    let images = Images::of(project);
    project.file("attached.yml", images.attached());
    let server = ["beanstalk", "serve", "--port", "0", "--attached", "attached.yml"];
    let mut server = project.spawn(&server);
    server.until("serving Elastic Beanstalk");
    on_docker(project, &images);
    on_ecs(project, &images);
    stop(project, server);
}

/// Names that nothing else uses, for what was built.
struct Images {
    app: String,
    nginx: String,
    postgres: String,
}

impl Images {
    fn of(project: &Project) -> Images {
        let list = project.xtask(&["--json", "image", "list", "prod"]).succeeds().events();
        let name = |image: &str| {
            let event = list.iter().find(|event| event["image"] == image).unwrap();
            let name = format!("{}/{image}:bundled", project.name);
            docker(&["image", "tag", event["id"].as_str().unwrap(), &name]);
            name
        };
        Images { app: name("app"), nginx: name("nginx"), postgres: name("postgres") }
    }

    /// The database is outside of the bundles, and its address a property.
    fn attached(&self) -> String {
        json!({
            "services": {"postgres": {
                "image": self.postgres,
                "environment": {"POSTGRES_PASSWORD": "secret"},
                "volumes": ["postgres:/var/lib/postgresql"],
                "healthcheck": {
                    "test": ["CMD", "pg_isready", "--quiet", "--host", "127.0.0.1"],
                    "interval": "1s", "start_period": "60s",
                },
            }},
            "volumes": {"postgres": {}},
            "x-properties": {"DATABASE_URL": "postgres://app:secret@postgres/app"},
        })
        .to_string()
    }

    fn compose(&self, app: &str) -> String {
        let migrated = json!({"migrate": {"condition": "service_completed_successfully"}});
        json!({"services": {
            "app": {"image": app, "env_file": [".env"], "depends_on": migrated},
            "migrate": {"image": self.app, "command": ["migrate"], "env_file": [".env"]},
            "nginx": {"image": self.nginx, "depends_on": ["app"], "ports": ["80:8080"]},
        }})
        .to_string()
    }

    fn dockerrun(&self) -> String {
        json!({"AWSEBDockerrunVersion": 2, "containerDefinitions": [
            {"name": "app", "image": self.app, "memory": 256,
             "dependsOn": [{"containerName": "migrate", "condition": "SUCCESS"}]},
            {"name": "migrate", "image": self.app, "memory": 128, "essential": false,
             "command": ["migrate"]},
            {"name": "nginx", "image": self.nginx, "memory": 128, "links": ["app"],
             "portMappings": [{"hostPort": 80, "containerPort": 8080}]},
        ]})
        .to_string()
    }
}

fn environment(project: &Project, name: &str) -> Value {
    let listed = project.xtask(&["--json", "beanstalk", "status"]).succeeds().events();
    listed.into_iter().find(|event| event["name"] == name).unwrap()
}

fn port(project: &Project, name: &str) -> u16 {
    let address = environment(project, name)["address"].as_str().unwrap().to_owned();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// What the app answers through the address of the environment: a page, and data that it keeps.
fn answers(port: u16, kind: &str) {
    let (status, page) = get(port, "/").unwrap();
    assert!(status == 200 && page.contains("Server: nginx"), "{page}");
    let body = format!(r#"{{"kind":"{kind}","minutes":17}}"#);
    assert_eq!(post(port, "/activity", &body).unwrap().0, 201);
    assert!(keeps(port, kind));
}

fn keeps(port: u16, kind: &str) -> bool {
    get(port, "/activities").is_some_and(|(_, list)| list.contains(&format!("\"kind\":\"{kind}\"")))
}

fn on_docker(project: &Project, images: &Images) {
    project.file("bundle/docker-compose.yml", images.compose(&images.app));
    let eb = Eb { project, folder: "bundle" };
    eb.succeeds(&["init", "sample", "--platform", DOCKER, "--region", "us-east-1"]);
    let create =
        ["create", "sample-docker", "--single", "--cname", "sample-docker", "--timeout", "5"];
    eb.succeeds(&create);
    let door = port(project, "sample-docker");
    answers(door, "run");

    // An app that ends at once: with AllAtOnce it stays, and is red.
    let broken = images.compose(&images.postgres);
    let first = environment(project, "sample-docker")["version"].clone();
    project.file("bundle/docker-compose.yml", &broken);
    let deploy =
        |label: &str| eb.run(&["deploy", "sample-docker", "--label", label, "--timeout", "5"]);
    let (code, said) = deploy("broken-1");
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("ERROR: ServiceError - Failed to deploy application."), "{said}");
    let after = environment(project, "sample-docker");
    assert_eq!((&after["version"], &after["health"]), (&first, &json!("Severe")), "{after}");
    assert_ne!(get(door, "/activities").map(|(status, _)| status), Some(200));

    // Another deployment mends it, and the data is where it was.
    project.file("bundle/docker-compose.yml", images.compose(&images.app));
    let (code, said) = deploy("mended");
    assert_eq!(code, 0, "{said}");
    wait_until("the data", || keeps(door, "run"));

    // With Immutable the same broken bundle is not even noticed by who uses the app.
    let policy = json!({"OptionSettings": {
        "aws:elasticbeanstalk:command": {"DeploymentPolicy": "Immutable"},
    }});
    eb.succeeds(&["config", "sample-docker", "--update", &policy.to_string()]);
    project.file("bundle/docker-compose.yml", broken);
    let (code, said) = deploy("broken-2");
    assert_eq!(code, 4, "{said}");
    let after = environment(project, "sample-docker");
    assert_eq!(after["version"], "mended");
    assert_eq!(after["health"], "Ok");
    assert!(keeps(door, "run"));
}

fn on_ecs(project: &Project, images: &Images) {
    project.file("ecs/Dockerrun.aws.json", images.dockerrun());
    let eb = Eb { project, folder: "ecs" };
    eb.succeeds(&["init", "sample", "--platform", ECS, "--region", "us-east-1"]);
    eb.succeeds(&["create", "sample-ecs", "--single", "--timeout", "5"]);
    let door = port(project, "sample-ecs");
    answers(door, "swim");
    assert!(!keeps(door, "run"), "one database for each environment");
}

/// Nothing is left in the engine.
fn stop(project: &Project, mut server: Running<'_>) {
    for (folder, name) in [("bundle", "sample-docker"), ("ecs", "sample-ecs")] {
        Eb { project, folder }.succeeds(&["terminate", name, "--force"]);
    }
    let left = docker(&["container", "ls", "--all", "--format", "{{.Image}}"]);
    assert!(!left.contains(":bundled"), "{left}");
    project.xtask(&["beanstalk", "stop"]).succeeds();
    assert_eq!(server.ends(), 0);
}
