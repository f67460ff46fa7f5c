//! The properties that an environment is to have: the templates of the release, filled in from
//! `.env`. What `.env` does not say and the environment has already stays as it is, so a job
//! without the secrets can deploy; what neither has gets its default. A property without a value is
//! none: the service keeps no empty ones.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fingerprint::sha256;
use serde_json::Value;

use super::service::Change;
use crate::commands::bundle::Bundle;
use crate::commands::env;
use crate::ctx::Ctx;
use crate::project::beanstalk::PlatformBranch;
use crate::project::dotenv::{self, Variables};
use crate::project::schema::{Schema, Source, Variable};
use crate::project::substitute::{self, substitute};
use crate::release::deployment::{self, Deployment, Kind};
use crate::secret::Secret;
use crate::tools::aws::{PROPERTIES, Properties, REFERENCES};

/// The service's limit, each property counted as `KEY=VALUE`.
const MOST_BYTES: usize = 4096;
const LONGEST_NAME: usize = 128;

/// What the environment is to have.
pub(crate) struct Wanted {
    pub(crate) properties: Properties,
    /// Over the names of all and the values of those that are not secret.
    pub(crate) sha256: String,
    /// Those whose value belongs to the data.
    pub(crate) attached: BTreeSet<String>,
}

impl Wanted {
    pub(crate) fn recorded(&self, template: String) -> deployment::Settings {
        deployment::Settings {
            template,
            sha256: self.sha256.clone(),
            names: self.properties.keys().map(|(_, name)| name.clone()).collect(),
            attached: self.attached.clone(),
        }
    }
}

/// The values of `.env`. `is_new` makes it first, for an environment that does not exist yet: a
/// running one has values already, which its data know, and made-up ones would take their place.
pub(crate) fn values(ctx: &Ctx, environment: &str, is_new: bool) -> Result<Variables> {
    let facts = env::load(ctx, environment)?;
    if is_new {
        env::ensure(ctx, &facts)?;
    }
    match facts.dotenv_path().exists() {
        true => dotenv::load(&facts.dotenv_path(), &facts.dotenv_name()),
        false => Ok(Variables::new()),
    }
}

/// Fills the properties of a release in. `now` is what the environment has.
pub(crate) fn wanted(
    bundle: &Bundle,
    environment: &str,
    values: &Variables,
    now: &Properties,
    local: bool,
    problems: &mut Vec<String>,
) -> Wanted {
    let mut properties = Properties::new();
    let mut public = BTreeMap::new();
    let mut all = defaults(&bundle.schema);
    all.extend(values.clone());
    for (name, property) in &bundle.properties {
        let is_absent = |it: &&String| match values.get(*it) {
            None => true,
            Some(value) => value.reveal().is_empty() && is_needed(bundle, it),
        };
        let absent: Vec<&String> = property.variables.iter().filter(is_absent).collect();
        public.insert(name, None);
        let kept = now.iter().find(|((_, there), _)| there == name);
        if let Some((key, value)) = kept.filter(|_| !absent.is_empty()) {
            if !property.secret {
                public.insert(name, Some(value.reveal().to_owned()));
            }
            properties.insert(key.clone(), value.clone());
            continue;
        }
        let missing: Vec<&str> =
            absent.iter().filter(|it| is_needed(bundle, it)).map(|it| it.as_str()).collect();
        if !missing.is_empty() {
            let next = match now.is_empty() {
                true => format!("`cargo xtask env init {environment}` makes what can be made"),
                // Made-up values would not be those that its data know.
                false => "copy it from where it was deployed before".to_owned(),
            };
            problems.push(format!(
                "{name} needs {} of environments/{environment}/.env; {next}",
                missing.join(" and "),
            ));
            continue;
        }
        let value = fill(&property.template, &all);
        if value.is_empty() {
            continue;
        }
        let namespace = match reference(&value) {
            None => PROPERTIES,
            Some(_) if local => {
                problems.push(format!(
                    "{name} names a secret store, and the local Elastic Beanstalk has none; give \
                     it a value"
                ));
                continue;
            }
            Some(Pinned(true)) => REFERENCES,
            Some(Pinned(false)) => {
                problems.push(format!(
                    "{name} names a secret without its version, so nobody could roll back to it; \
                     add the version to the ARN"
                ));
                continue;
            }
        };
        problems.extend(check(bundle, name, &value));
        if !property.secret {
            public.insert(name, Some(value.clone()));
        }
        properties.insert((namespace.to_owned(), name.clone()), Secret::new(value));
    }
    let attached = bundle.properties.iter().filter(|(_, property)| property.attached);
    Wanted {
        sha256: sha256(serde_json::json!(public).to_string().as_bytes()),
        attached: attached.map(|(name, _)| name.clone()).collect(),
        properties,
    }
}

/// The variables that a definition uses and that have no value.
pub(super) fn missing(definition: &Value, values: &Variables) -> BTreeSet<String> {
    match definition {
        Value::String(text) => {
            let names = substitute::names(text).unwrap_or_default();
            names.into_iter().filter(|name| !values.contains_key(name)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|it| missing(it, values)).collect(),
        Value::Object(fields) => fields.values().flat_map(|it| missing(it, values)).collect(),
        _ => BTreeSet::new(),
    }
}

/// What variables are where nobody gives them a value.
pub(super) fn defaults(schema: &Schema) -> Variables {
    let default = |(name, variable): (&String, &Variable)| match &variable.source {
        Source::Default(value) => Some((name.clone(), Secret::new(value.clone()))),
        Source::Optional => Some((name.clone(), Secret::new(""))),
        Source::Required | Source::Generated { .. } => None,
    };
    schema.variables.iter().filter_map(default).collect()
}

/// Whether a variable has to have a value.
fn is_needed(bundle: &Bundle, variable: &str) -> bool {
    let declared = bundle.schema.variables.get(variable);
    declared.is_some_and(|it| matches!(it.source, Source::Required | Source::Generated { .. }))
}

/// Whether what the service keeps is what is wanted; there may be more.
pub(crate) fn agree(kept: &Properties, wanted: &Properties) -> bool {
    wanted.iter().all(|(key, value)| kept.get(key) == Some(value))
}

/// Settings that are not those of a deployment, which the service has kept; names only.
pub(crate) fn differences(
    deployment: &Deployment,
    kept: &Properties,
    now: &Properties,
) -> Vec<String> {
    let settings = &deployment.settings;
    let value = |of: &Properties, name: &String| {
        let either = [PROPERTIES, REFERENCES].iter();
        either.map(|it| of.get(&((*it).to_owned(), name.clone())).cloned()).find(Option::is_some)
    };
    let mut found = Vec::new();
    for name in &settings.names {
        match (value(kept, name), value(now, name)) {
            (_, None) => found.push(format!("the setting {name} is gone")),
            // It belongs to the data: a rollback leaves it as it is.
            _ if deployment.kind == Kind::Rollback && settings.attached.contains(name) => {}
            (kept, now) if kept != now => found.push(format!("the setting {name} was changed")),
            _ => {}
        }
    }
    found
}

/// A text of the release with the values of `.env` in it.
pub(crate) fn fill(template: &str, values: &Variables) -> String {
    let mut value = |name: &str| values.get(name).map(|value| value.reveal().to_owned());
    // The bundle read it before.
    substitute(template, &mut value).unwrap_or_else(|_| template.to_owned())
}

/// Whether the version of a secret is named too.
struct Pinned(bool);

/// What a value says that is the name of a secret in a store of AWS.
fn reference(value: &str) -> Option<Pinned> {
    let parts: Vec<&str> = value.split(':').collect();
    match parts.as_slice() {
        // arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME:KEY:STAGE:VERSION
        ["arn", _, "secretsmanager", _, _, "secret", _, rest @ ..] => {
            Some(Pinned(rest.get(2).is_some_and(|version| !version.is_empty())))
        }
        // arn:aws:ssm:REGION:ACCOUNT:parameter/NAME:VERSION
        ["arn", _, "ssm", _, _, _, rest @ ..] => {
            Some(Pinned(rest.first().is_some_and(|version| version.parse::<u64>().is_ok())))
        }
        _ => None,
    }
}

/// What keeps a value from reaching the app as it is.
fn check(bundle: &Bundle, name: &str, value: &str) -> Option<String> {
    let sign = |it: char| it.is_ascii_alphanumeric() || "_.:/+-@".contains(it);
    if name.len() > LONGEST_NAME || !name.chars().all(sign) {
        return Some(format!("{name:?} can't be the name of a property of Elastic Beanstalk"));
    }
    if value.chars().any(char::is_control) {
        return Some(format!("the value of {name} has a line end or another control character"));
    }
    // The service writes properties into a `.env` as they are, for compose to read.
    let read = dotenv::parse(&format!("{name}={value}\n"));
    let arrives = read.is_ok_and(|read| read.get(name).is_some_and(|it| it.reveal() == value));
    let is_compose = bundle.target.platform_branch == PlatformBranch::Docker;
    (is_compose && !arrives && !value.is_empty()).then(|| {
        format!(
            "the value of {name} would reach the app changed: Elastic Beanstalk writes it into a \
             .env, which reads quotes, `$`, `#` and white space at its ends in its own way; use \
             other characters"
        )
    })
}

/// That the environment would have more than it may, with what others have set there.
pub(crate) fn too_much(now: &Properties, change: &Change) -> Option<String> {
    let stays = now.iter().filter(|(key, _)| !change.removed.contains(key));
    let all: BTreeMap<_, _> = stays.chain(&change.set).collect();
    let bytes: usize =
        all.iter().map(|((_, name), value)| name.len() + 1 + value.reveal().len()).sum();
    (bytes > MOST_BYTES).then(|| {
        format!(
            "the properties of the environment have {bytes} bytes, and Elastic Beanstalk takes \
             {MOST_BYTES}; keep long ones in a secret store"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{beanstalk::Beanstalk, schema};
    use crate::release::bundle::Property;

    #[test]
    fn the_name_of_a_secret_counts_only_with_its_version() {
        let store = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:token-AbCdEf";
        let parameter = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/shop/token";
        let pinned = |value: &str| reference(value).map(|Pinned(pinned)| pinned);
        assert_eq!(pinned(store), Some(false));
        assert_eq!(pinned(&format!("{store}:key:AWSCURRENT:")), Some(false), "a stage moves");
        assert_eq!(pinned(&format!("{store}:::EXAMPLE1-90ab")), Some(true));
        assert_eq!(pinned(parameter), Some(false));
        assert_eq!(pinned(&format!("{parameter}:7")), Some(true));
        assert_eq!(pinned(&format!("{parameter}:latest")), Some(false));
        for value in ["", "a:b", "arn:aws:s3:::bucket", "store://a:b@c/d"] {
            assert_eq!(pinned(value), None, "{value}");
        }
    }

    #[test]
    fn a_template_is_filled_in_with_what_env_says_and_nothing_else() {
        let values = Variables::from([("P".to_owned(), Secret::new("s3cret"))]);
        assert_eq!(fill("store://${P}@store/$$1", &values), "store://s3cret@store/$1");
    }

    /// A release with a secret that may be missing, a number with a default, and one that must be.
    fn bundle() -> Bundle {
        let schema = "DSN=optional:secret\nWORKERS=4\nKEY=required:secret\n";
        let property = |template: &str, secret| Property {
            template: template.to_owned(),
            secret,
            attached: false,
            variables: template
                .trim_matches(['$', '{', '}'])
                .split(' ')
                .map(str::to_owned)
                .collect(),
        };
        let properties = [("DSN", true), ("WORKERS", false), ("KEY", true)];
        let properties = properties
            .map(|(name, secret)| (name.to_owned(), property(&format!("${{{name}}}"), secret)));
        Bundle {
            record: crate::release::sample::record(),
            target: Beanstalk::default().target("shop", "prod").unwrap(),
            images: BTreeMap::new(),
            file: "bundle.zip".into(),
            sha256: String::new(),
            label: String::new(),
            properties: properties.into(),
            attached: None,
            variables: BTreeMap::new(),
            schema: schema::parse(schema).unwrap(),
        }
    }

    fn properties(lines: &str) -> Properties {
        let pair = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            ((PROPERTIES.to_owned(), name.to_owned()), Secret::new(value))
        };
        lines.split_whitespace().map(pair).collect()
    }

    /// What an environment with `now` is to have, by a `.env` that says this.
    fn filled_in(dotenv: &str, now: &str) -> Result<String, Vec<String>> {
        let (values, now) = (dotenv::parse(dotenv).unwrap(), properties(now));
        let mut problems = Vec::new();
        let wanted = wanted(&bundle(), "prod", &values, &now, false, &mut problems);
        let line =
            |((_, name), value): (&(String, String), &Secret)| format!("{name}={}", value.reveal());
        let lines: Vec<String> = wanted.properties.iter().map(line).collect();
        if problems.is_empty() { Ok(lines.join(" ")) } else { Err(problems) }
    }

    #[test]
    fn what_env_does_not_say_stays_as_the_environment_has_it() {
        let now = "DSN=store WORKERS=7 KEY=k";
        assert_eq!(filled_in("", now).unwrap(), "DSN=store KEY=k WORKERS=7");
        assert_eq!(filled_in("WORKERS=8\n", now).unwrap(), "DSN=store KEY=k WORKERS=8");
        assert_eq!(filled_in("", "KEY=k").unwrap(), "KEY=k WORKERS=4", "nobody says: the default");
        assert_eq!(filled_in("KEY=\n", now).unwrap(), "DSN=store KEY=k WORKERS=7");
        assert_eq!(filled_in("DSN=\n", now).unwrap(), "KEY=k WORKERS=7", "taken away on purpose");
        let problems = filled_in("DSN=x\n", "").unwrap_err();
        assert!(problems[0].starts_with("KEY needs KEY of environments/prod/.env"), "{problems:?}");
    }

    #[test]
    fn the_limit_counts_what_others_have_set_too() {
        let some = |name: &str, length: usize| {
            let key = (PROPERTIES.to_owned(), name.to_owned());
            Properties::from([(key, Secret::new("x".repeat(length)))])
        };
        let set = |set| Change { set, removed: Vec::new() };
        assert_eq!(too_much(&Properties::new(), &set(some("A", 4094))), None);
        assert!(too_much(&Properties::new(), &set(some("A", 4095))).is_some());
        assert!(too_much(&some("A", 4000), &set(some("B", 95))).is_some());
        // What is replaced counts once, and what goes does not.
        assert_eq!(too_much(&some("A", 4000), &set(some("A", 4000))), None);
        let removed = vec![(PROPERTIES.to_owned(), "A".to_owned())];
        let moved = Change { set: some("B", 4000), removed };
        assert_eq!(too_much(&some("A", 4000), &moved), None);
    }
}
