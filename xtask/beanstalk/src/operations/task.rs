//! ECS tasks that ended: an essential container takes the others with it, and the scheduler of the
//! service starts the task again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::engine::Container;
use crate::service::{About, Service};
use crate::stack;
use crate::state::{Environment, Severity, Status};

/// The scheduler waits so long before it tries again.
const PAUSE: Duration = Duration::from_secs(10);

/// When each instance's task was started again.
pub(crate) type Started = BTreeMap<String, Instant>;

/// Starts tasks again whose essential container has ended.
pub(crate) fn start_again(
    service: &Arc<Service>,
    environments: &[Environment],
    containers: &[Container],
    started: &mut Started,
) {
    for environment in environments.iter().filter(|it| it.status == Status::Ready) {
        for instance in &environment.instances {
            let recently = |at: &Instant| at.elapsed() < PAUSE;
            if started.get(&instance.id).is_some_and(recently) {
                continue;
            }
            let own = containers.iter().filter(|it| it.instance == instance.id && !it.running);
            let essential = essential(service, &instance.id);
            let ended: Vec<&Container> =
                own.filter(|it| !it.restarting && essential.contains(&it.service)).collect();
            if let Some(container) = ended.first() {
                started.insert(instance.id.clone(), Instant::now());
                // It may fail for ever; each try is seen in the events, and so is its health.
                again(service, environment, &instance.id, container).ok();
            }
        }
    }
}

fn essential(service: &Service, instance: &str) -> Vec<String> {
    let file = service.instance_directory(instance).join("compose.json");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let definition: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let names = definition["x-essential"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn again(
    service: &Arc<Service>,
    environment: &Environment,
    instance: &str,
    container: &Container,
) -> Result<()> {
    let text = format!(
        "ECS task stopped due to: Essential container in task exited. ({}: exit code {})",
        container.service, container.exit_code
    );
    service.tell(&About::environment(environment, ""), Severity::Warn, text)?;
    let project = stack::project_name(instance);
    service.engine.stop(&project)?;
    let definition = service.instance_directory(instance).join("compose.json");
    service.engine.up(&project, &definition, false)?;
    super::instance::find(service, environment)
}
