//! Enhanced health, as `eb health` shows it.

use std::collections::BTreeMap;

use super::{Answer, Call, environments};
use crate::health::{self, Level};
use crate::server::answer::{Fields, Node};
use crate::state::Moment;

/// The service counts requests; a door passes bytes and counts none.
fn metrics() -> Fields {
    let codes = ["Status2xx", "Status3xx", "Status4xx", "Status5xx"];
    let codes = codes.into_iter().fold(Fields::new(), |fields, code| fields.with(code, "0"));
    Fields::new()
        .with("Duration", "10")
        .with("RequestCount", "0")
        .with("StatusCodes", codes)
        .with("Latency", Fields::new())
}

pub(super) fn environment(call: &Call<'_>) -> Answer {
    let environment = call.service.read(|state| environments::find(state, call.query, ""))?;
    let seen = health::of(call.service, &environment);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (level, _) in seen.instances.values() {
        *counts.entry(level.name()).or_default() += 1;
    }
    let kinds = ["NoData", "Unknown", "Pending", "Ok", "Info", "Warning", "Degraded", "Severe"];
    let counted = kinds.into_iter().fold(Fields::new(), |fields, kind| {
        fields.with(kind, counts.get(kind).copied().unwrap_or(0).to_string())
    });
    let status = match environment.operation {
        Some(_) => "Updating",
        None => "Ready",
    };
    let answer = Fields::new()
        .with("EnvironmentName", environment.name.as_str())
        .with("HealthStatus", seen.level.name())
        .with("Status", status)
        .with("Color", seen.level.color())
        .list("Causes", seen.causes.iter().map(|cause| cause.as_str().into()))
        .with("ApplicationMetrics", metrics())
        .with("InstancesHealth", counted)
        .with("RefreshedAt", refreshed(seen.at));
    Ok(Some(answer.into()))
}

fn refreshed(at: Moment) -> Moment {
    if at == Moment::default() { Moment::now() } else { at }
}

pub(super) fn instances(call: &Call<'_>) -> Answer {
    let environment = call.service.read(|state| environments::find(state, call.query, ""))?;
    let seen = health::of(call.service, &environment);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(2).collect();
    let node = |instance: &crate::state::Instance| -> Node {
        let unknown = || (Level::Pending, Vec::new());
        let (level, causes) = seen.instances.get(&instance.id).cloned().unwrap_or_else(unknown);
        let system = Fields::new().list("LoadAverage", load.iter().map(|it| (*it).into()));
        let deployment = Fields::new()
            .maybe("VersionLabel", instance.version.as_deref())
            .with("DeploymentId", instance.deployment.to_string())
            .with("Status", instance.result.as_str())
            .with("DeploymentTime", instance.deployed);
        Fields::new()
            .with("InstanceId", instance.id.as_str())
            .with("HealthStatus", level.name())
            .with("Color", level.color())
            .list("Causes", causes.iter().map(|cause| cause.as_str().into()))
            .with("LaunchedAt", instance.launched)
            .with("ApplicationMetrics", metrics())
            .with("System", system)
            .with("Deployment", deployment)
            .with("AvailabilityZone", format!("{}a", call.region))
            .with("InstanceType", "local")
            .into()
    };
    let list = environment.instances.iter().map(node);
    let answer = Fields::new().list("InstanceHealthList", list);
    Ok(Some(answer.with("RefreshedAt", refreshed(seen.at)).into()))
}
