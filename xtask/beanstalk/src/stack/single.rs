//! The Docker branch without a compose file: one image, from a Dockerfile or a Dockerrun file of
//! version 1, behind the proxy of the instance.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Layout, Project, Surroundings, bind, published};
use crate::engine::{Engine, LONG, SHORT};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dockerrun {
    image: Option<Image>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    volumes: Vec<Volume>,
    entrypoint: Option<String>,
    command: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    container_port: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    host_directory: String,
    container_directory: String,
}

const MISSING: &str = "Instance deployment: Both 'Dockerfile' and 'Dockerrun.aws.json' are missing \
                       in your source bundle. Include at least one of them. The deployment failed.";

pub(super) fn project(engine: &Engine, layout: &Layout, around: &Surroundings) -> Result<Project> {
    let dockerfile = layout.source.join("Dockerfile").is_file();
    let file = crate::bundle::text(&layout.source.join("Dockerrun.aws.json"))?;
    ensure!(dockerfile || file.is_some(), MISSING);
    let dockerrun = file.as_deref().map(parse).transpose()?.unwrap_or_default();
    let image = match (dockerfile, &dockerrun.image) {
        (true, _) => format!("{}:{}", layout.project(), "app"),
        (false, Some(image)) => image.name.clone(),
        (false, None) => bail!("Dockerrun.aws.json names no Image"),
    };
    // A name, and no flag of docker.
    ensure!(!image.starts_with('-'), "Dockerrun.aws.json names the image {image:?}");
    let source = layout.source.to_str().context("the path is no text")?;
    if dockerfile {
        let label = engine.own();
        let instance = format!("{}.instance={}", engine.label, layout.instance);
        let build = ["build", "--tag", &image, "--label", &label, "--label", &instance, source];
        engine.run(&build, LONG).context("Failed to build the Docker image")?;
    } else if engine.run(&["image", "inspect", &image], SHORT).is_err() {
        engine
            .run(&["pull", "--quiet", &image], LONG)
            .context("Failed to pull the Docker image")?;
    }
    let port = match dockerrun.ports.first() {
        Some(port) => number(&port.container_port).context("ContainerPort is no port")?,
        None => exposed(engine, &image)?,
    };
    let bind = |it: &Volume| bind(layout, &it.host_directory, &it.container_directory, false);
    let volumes: Vec<Value> = dockerrun.volumes.iter().map(bind).collect::<Result<_>>()?;
    let escaped = |text: &String| text.replace('$', "$$");
    let environment: serde_json::Map<String, Value> =
        around.properties.iter().map(|(key, value)| (key.clone(), escaped(value).into())).collect();
    let mut app = json!({
        "image": image, "environment": environment, "ports": [published(port, "tcp")],
        "volumes": volumes, "restart": "always",
    });
    let command = dockerrun.command.as_ref().map(|it| ("command", it));
    let entrypoint = dockerrun.entrypoint.as_ref().map(|it| ("entrypoint", it));
    for (key, text) in command.into_iter().chain(entrypoint) {
        app[key] = escaped(text).into();
    }
    let definition = json!({"services": {"app": app}});
    let front = Some(("app".to_owned(), port));
    Ok(Project { definition, front, essential: Vec::new(), build: false })
}

fn parse(text: &str) -> Result<Dockerrun> {
    let value: Value = serde_json::from_str(text).context("Dockerrun.aws.json is no JSON")?;
    let version = &value["AWSEBDockerrunVersion"];
    if *version != json!(1) && *version != json!("1") {
        bail!("Dockerrun.aws.json has AWSEBDockerrunVersion {version}; this platform takes \"1\"");
    }
    serde_json::from_value(value).context("Dockerrun.aws.json is not as it should be")
}

fn number(value: &Value) -> Option<u16> {
    let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    text.parse().ok().filter(|port| *port > 0)
}

fn exposed(engine: &Engine, image: &str) -> Result<u16> {
    let format = "{{json .Config.ExposedPorts}}";
    let ports = engine.run(&["image", "inspect", "--format", format, image], SHORT)?;
    let ports: Value = serde_json::from_str(&ports)?;
    let first = ports.as_object().and_then(|ports| ports.keys().next().cloned());
    let first = first.context("No EXPOSE directive found in Dockerfile, abort deployment")?;
    first.split('/').next().and_then(|port| port.parse().ok()).context("its port is no number")
}
