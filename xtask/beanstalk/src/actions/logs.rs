//! Logs: asked for, taken, and fetched by an address of their own.

use std::sync::Arc;

use super::{Answer, Call, environments};
use crate::server::answer::{Fields, Node, Refusal};
use crate::service::{About, locked};
use crate::state::Severity;

pub(super) fn request(call: &Call<'_>) -> Answer {
    let kind = call.query.required("InfoType")?.to_owned();
    if kind != "tail" && kind != "bundle" {
        return Err(Refusal {
            status: 400,
            code: "InvalidParameterValue",
            message: format!("InfoType {kind} is not simulated; tail and bundle are."),
        });
    }
    let environment = call.service.read(|state| environments::find(state, call.query, ""))?;
    let about = About::environment(&environment, call.request);
    let text = "requestEnvironmentInfo is starting.".to_owned();
    call.service.tell(&about, Severity::Info, text)?;
    let service = Arc::clone(call.service);
    std::thread::spawn(move || {
        let (severity, text) = match crate::logs::take(&service, &environment, &kind) {
            Ok(()) => (Severity::Info, "Pulled logs for environment instances.".to_owned()),
            Err(error) => {
                let text = format!("Failed to pull logs for environment instances. {error:#}");
                (Severity::Error, text)
            }
        };
        service.tell(&about, severity, text).ok();
    });
    Ok(None)
}

/// The latest of each instance.
pub(super) fn retrieve(call: &Call<'_>) -> Answer {
    let kind = call.query.required("InfoType")?;
    let environment = call.service.read(|state| environments::find(state, call.query, ""))?;
    let port = call.service.options.port;
    let known = locked(&call.service.logs);
    let samples = known.get(&(environment.id.clone(), kind.to_owned()));
    let mut latest: Vec<Node> = Vec::new();
    for instance in &environment.instances {
        let own = samples.into_iter().flatten().rev().find(|it| it.instance == instance.id);
        latest.extend(own.map(|sample| {
            let token = &sample.token;
            Fields::new()
                .with("InfoType", kind)
                .with("Ec2InstanceId", sample.instance.as_str())
                .with("SampleTimestamp", sample.at)
                .with("Message", format!("http://127.0.0.1:{port}/local/logs/{token}"))
                .into()
        }));
    }
    Ok(Some(Fields::new().list("EnvironmentInfo", latest.into_iter()).into()))
}
