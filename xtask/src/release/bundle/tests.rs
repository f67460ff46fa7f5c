//! One compose description, both platform branches, and everything that can't be carried over.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{Input, Made, make};
use crate::project::compose_files::ComposeFiles;
use crate::project::{environment, schema, stack};

mod both;
mod refusals;

/// A project as compose describes it.
struct Case {
    branch: &'static str,
    services: Value,
    overlay: Value,
    more: Value,
}

const DOCKER: &str = "Docker running on 64bit Amazon Linux 2023";
const ECS: &str = "ECS running on 64bit Amazon Linux 2023";
const SCHEMA: &str = "PASSWORD=generate:hex32\nMAIL=required:\nTOKEN=required:secret\n";

impl Case {
    fn new(branch: &'static str, services: Value) -> Case {
        Case { branch, services, overlay: Value::Null, more: json!({}) }
    }

    fn make(&self) -> anyhow::Result<Made> {
        let mut merged = json!({
            "name": "shop", "networks": {"default": {"name": "shop_default"}},
            "services": self.services,
        });
        for (key, value) in self.more.as_object().unwrap() {
            merged[key] = value.clone();
        }
        let stack = stack::parse(&merged.to_string(), &BTreeMap::new())?;
        let text = format!("[beanstalk]\nplatform_branch = {:?}\n", self.branch);
        let target = environment::parse(&text)?.beanstalk.target("shop", "prod")?;
        let image = |name: &String| {
            let image = merged["services"][name]["image"].as_str()?.strip_prefix("shop/")?;
            Some((name.clone(), format!("registry.example.org/shop/{image}@sha256:{image}")))
        };
        let public = [("LOG", "json"), ("PRICE", "5 $"), ("STEVEDORE_VERSION", "1.2.3")];
        let public = public.map(|(name, value)| (name.to_owned(), value.to_owned()));
        make(&Input {
            environment: "prod",
            files: &ComposeFiles {
                files: vec!["docker/compose.yml".into(), "environments/prod/compose.yml".into()],
                problems: Vec::new(),
            },
            merged: &merged,
            overlay: &self.overlay,
            stack: &stack,
            images: &stack.services.keys().filter_map(image).collect(),
            public: &BTreeMap::from(public),
            schema: &schema::parse(SCHEMA).unwrap(),
            target: &target,
        })
    }
}

/// The file that describes the services.
fn definition(branch: &'static str, services: Value) -> String {
    let made = Case::new(branch, services).make().unwrap();
    let mut files = made.files.into_iter();
    files.find(|(name, _)| !name.starts_with('.')).unwrap().1
}

/// The same with each key of the service `app`, and each beside the services, on one line.
fn brief(branch: &'static str, services: Value) -> String {
    let mut whole: Value = serde_json::from_str(&definition(branch, services)).unwrap();
    let mut whole = std::mem::take(whole.as_object_mut().unwrap());
    let services = whole.remove("services").map(|mut services| services["app"].take());
    let containers = whole.remove("containerDefinitions").map(|mut list| list[0].take());
    let app = services.or(containers).unwrap();
    let line = |(key, value): (&String, &Value)| format!("{key}: {value}\n");
    let keys: String = app.as_object().unwrap().iter().map(line).collect();
    keys + "\n" + &whole.iter().map(line).collect::<String>()
}

#[track_caller]
fn refused(case: &Case, expected: Expect) {
    let error = case.make().map(|made| made.files).unwrap_err();
    expected.assert_eq(&format!("{error:#}"));
}

/// A service that ECS takes, with a few keys more.
fn service(keys: Value) -> Value {
    let mut service = json!({"image": "shop/app", "mem_limit": "64m"});
    service.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    service
}
