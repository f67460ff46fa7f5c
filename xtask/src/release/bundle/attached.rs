//! The services that outlive releases, as a compose definition of their own: what the local Elastic
//! Beanstalk runs beside an environment, as on AWS a database service would.
//!
//! Its variables are not filled in: they are known where it runs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Input, Problems};
use crate::project::outside;

/// Nothing where no service is attached.
pub(super) fn definition(input: &Input<'_>, problems: &mut Problems<'_>) -> Option<Value> {
    let attached =
        |name: &str| input.stack.services.get(name).is_some_and(|service| service.facts.attached);
    let mut services = Map::new();
    let mut named = BTreeSet::new();
    for name in input.stack.services.keys().filter(|name| attached(name)) {
        let mut fields = input.merged["services"][name].as_object().cloned().unwrap_or_default();
        fields.retain(|key, _| {
            let kept = !key.starts_with("x-");
            kept && !["build", "ports", "container_name", "profiles", "networks"].contains(&&**key)
        });
        for key in ["depends_on", "links"] {
            match fields.get_mut(key) {
                Some(Value::Object(others)) => others.retain(|name, _| attached(name)),
                Some(Value::Array(others)) => others.retain(|other| {
                    let other = other.as_str().unwrap_or_default();
                    attached(other.split(':').next().unwrap_or(other))
                }),
                _ => {}
            }
        }
        for mount in fields.get("volumes").and_then(Value::as_array).into_iter().flatten() {
            if outside::may_be_a_file(mount) {
                let words = "an attached service has no files of this machine on Elastic \
                             Beanstalk; take them into its image";
                problems.add(name, "volumes", words);
            } else if mount["type"] == "volume" {
                named.extend(mount["source"].as_str().map(str::to_owned));
            }
        }
        if let Some(image) = input.images.get(name) {
            fields.insert("image".to_owned(), image.as_str().into());
        }
        services.insert(name.clone(), Value::Object(fields));
    }
    let volume = |name: String| {
        let mut fields = input.merged["volumes"][&name].as_object().cloned().unwrap_or_default();
        // Each environment has its own.
        fields.remove("name");
        (name, Value::Object(fields))
    };
    let volumes: Map<String, Value> = named.into_iter().map(volume).collect();
    (!services.is_empty()).then(|| json!({"services": services, "volumes": volumes}))
}
