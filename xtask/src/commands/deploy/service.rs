//! The service that runs an environment: AWS, or the local Elastic Beanstalk. `client.rs` asks it;
//! `eb` changes it, and `aws` makes the one change that `eb` cannot.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::client::{ANSWER, Client};
use crate::commands::{beanstalk, setup};
use crate::ctx::Ctx;
use crate::exit;
use crate::project::beanstalk::Target;
use crate::release::deployment;
use crate::secret::Secret;
use crate::tools::aws::query::Question;
use crate::tools::aws::{self, Access, Environment, Event, Of, Place, Properties};
use crate::tools::eb;

/// The region that a local service is in.
const LOCAL_REGION: &str = "us-east-1";

pub(crate) struct Service<'c> {
    ctx: &'c Ctx,
    /// In the directory that `eb` works in.
    workshop: Ctx,
    client: Client,
    pub(crate) target: deployment::Target,
    pub(crate) local: bool,
}

impl<'c> Service<'c> {
    /// Finds programs and account. `name` is the project's environment, whose files are kept apart.
    pub(crate) fn open(ctx: &'c Ctx, name: &str, target: &Target) -> Result<Service<'c>> {
        let (fence, region) = match &target.region {
            Some(region) => (Vec::new(), region.clone()),
            None => (beanstalk::fence(ctx)?, LOCAL_REGION.to_owned()),
        };
        let elsewhere = ctx.variables_like("AWS_ENDPOINT_URL");
        anyhow::ensure!(
            target.region.is_none() || elsewhere.is_empty(),
            "{} would be deployed to in {region}, and {} leads elsewhere; `unset {}` first",
            target.environment,
            elsewhere.join(" and "),
            elsewhere.join(" ")
        );
        let profile = target.profile.clone().filter(|_| target.region.is_some());
        let (eb, aws) = setup::clients(ctx).ok_or_else(|| {
            exit::missing("eb and aws are not installed; `cargo xtask setup` installs them")
        })?;
        let access = Access { eb, aws, region: region.clone(), profile, fence };
        let directory = ctx.state().join("deploy").join(name);
        ctx.state_directory(&directory)?;
        let workshop = ctx.at(directory, ctx.state().to_path_buf())?;
        let mut service = Service {
            ctx,
            workshop,
            client: Client::open(ctx, access)?,
            target: deployment::Target {
                account: String::new(),
                region,
                application: target.application.clone(),
                environment: target.environment.clone(),
            },
            local: target.region.is_none(),
        };
        let identity: aws::Identity = service.ask(&aws::identity())?;
        service.target.account = identity.account;
        Ok(service)
    }

    /// Where bundles and what else belongs to one environment lie.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.workshop.root
    }

    /// What somebody types to do with the service what this tool does not do.
    pub(crate) fn by_hand(&self, action: &str) -> String {
        let Access { aws, region, profile, .. } = &self.client.access;
        let profile = profile.as_ref().map(|it| format!(" --profile {it}")).unwrap_or_default();
        let call =
            format!("{}{profile} --region {region} elasticbeanstalk {action}", aws.display());
        match self.local {
            true => format!("( eval \"$(cargo xtask beanstalk environment)\"; {call} )"),
            false => call,
        }
    }

    // --- questions --------------------------------------------------------------------------

    fn ask<T: DeserializeOwned>(&self, question: &Question) -> Result<T> {
        aws::parse(self.client.ask(self.ctx, question)?)
    }

    pub(crate) fn environment(&self) -> Result<Option<Environment>> {
        let target = &self.target;
        let question = aws::environments(&target.application, &target.environment);
        let found: aws::Environments = self.ask(&question)?;
        Ok(found.environments.into_iter().next())
    }

    /// What it told since a time, the oldest first.
    pub(crate) fn events(&self, since: Option<&str>) -> Result<Vec<Event>> {
        let deployment::Target { application, environment, .. } = &self.target;
        let found: aws::Events = self.ask(&aws::events(application, environment, since))?;
        let mut events = found.events;
        events.reverse();
        // The time itself is part of what is asked for, and was told already.
        events.retain(|event| since.is_none_or(|since| event.event_date.as_str() > since));
        Ok(events)
    }

    /// What each instance runs; nothing where the service does not say.
    pub(crate) fn instances(&self) -> Result<Vec<aws::Instance>> {
        match self.ask::<aws::Instances>(&aws::instances(&self.target.environment)) {
            Ok(found) => Ok(found.instance_health_list),
            Err(error) if exit::code(&error) == exit::FAILED => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The SHA-256 of the bundle that lies under a label; `None` where no version has it.
    pub(crate) fn bundle(&self, label: &str) -> Result<Option<String>> {
        let question = aws::versions(&self.target.application, label);
        let found: aws::Versions = match self.ask(&question) {
            Err(error) if format!("{error:#}").contains("No Application named") => return Ok(None),
            found => found?,
        };
        let Some(version) = found.application_versions.into_iter().next() else {
            return Ok(None);
        };
        let place = version.source_bundle.with_context(|| format!("{label} has no bundle"))?;
        self.hash(&place).map(Some)
    }

    fn hash(&self, place: &Place) -> Result<String> {
        let directory = tempfile::tempdir().context("can't create a directory")?;
        let file = directory.path().join("bundle.zip");
        let fetched = self.client.fetch(self.ctx, place, &file);
        fetched.with_context(|| format!("can't get {}/{} back", place.bucket, place.key))?;
        let bytes = std::fs::read(&file).context("can't read the bundle")?;
        Ok(fingerprint::sha256(&bytes))
    }

    /// The properties of the environment as they are.
    pub(crate) fn properties(&self) -> Result<Properties> {
        self.properties_of(Of::Environment(&self.target.environment))
    }

    /// Those of a deployment, as they were kept.
    pub(crate) fn kept(&self, template: &str) -> Result<Option<Properties>> {
        match self.properties_of(Of::Template(template)) {
            Ok(properties) => Ok(Some(properties)),
            Err(error) => {
                let none = ["No Configuration Template named", "No Application named"];
                let said = format!("{error:#}");
                if none.iter().any(|words| said.contains(words)) { Ok(None) } else { Err(error) }
            }
        }
    }

    fn properties_of(&self, of: Of<'_>) -> Result<Properties> {
        let question = aws::settings(&self.target.application, of);
        aws::parse_settings(self.client.ask(self.ctx, &question)?)
    }

    // --- changes ----------------------------------------------------------------------------

    /// Writes what `eb` reads: the application, and the bundle as its artifact.
    fn configure(&self, artifact: &str) -> Result<()> {
        let text = eb::config(&self.target.application, &self.target.region, artifact);
        let path = self.directory().join(".elasticbeanstalk/config.yml");
        self.ctx.write_cache(&path, text.as_bytes())
    }

    pub(crate) fn create(&self, platform: &str) -> Result<()> {
        self.configure("none")?;
        let sh = &self.workshop.sh;
        let name = &self.target.environment;
        let cmd = eb::create_environment(sh, &self.client.access, name, platform, self.local);
        self.workshop.run(cmd).context("the environment can't be made")
    }

    /// Puts a bundle, a file in [`Service::directory`], into the service.
    pub(crate) fn upload(&self, artifact: &str, label: &str, description: &str) -> Result<()> {
        self.configure(artifact)?;
        let cmd = eb::create_version(&self.workshop.sh, &self.client.access, label, description);
        self.workshop.run(cmd).with_context(|| format!("the bundle {label} can't be uploaded"))
    }

    /// Begins the update, with changed settings or without.
    pub(crate) fn submit(&self, label: &str, change: &Change) -> Result<()> {
        if change.is_empty() {
            self.configure("none")?;
            let sh = &self.workshop.sh;
            let cmd = eb::deploy(sh, &self.client.access, &self.target.environment, label);
            return self.workshop.run(cmd);
        }
        let parameters = json!({
            "EnvironmentName": self.target.environment,
            "VersionLabel": label,
            "OptionSettings": options(&change.set),
            "OptionsToRemove": change.removed.iter().map(|(namespace, name)| json!({
                "Namespace": namespace, "OptionName": name,
            })).collect::<Vec<_>>(),
        });
        self.change(aws::UPDATE, &parameters, &change.set)
    }

    /// Has the service keep the properties of a deployment, beside its other settings.
    pub(crate) fn keep(&self, template: &str, id: &str, properties: &Properties) -> Result<()> {
        let parameters = json!({
            "ApplicationName": self.target.application,
            "TemplateName": template,
            "EnvironmentId": id,
            "OptionSettings": options(properties),
        });
        self.change(aws::KEEP, &parameters, properties)
    }

    pub(crate) fn forget(&self, template: &str) -> Result<()> {
        let application = &self.target.application;
        self.ctx.run(aws::forget(&self.ctx.sh, &self.client.access, application, template))
    }

    pub(crate) fn abort(&self) -> Result<()> {
        self.configure("none")?;
        self.workshop.run(eb::abort(
            &self.workshop.sh,
            &self.client.access,
            &self.target.environment,
        ))
    }

    /// Parameters may be secret: they go by stdin, and nothing that comes back is shown before
    /// their values are out of it.
    fn change(
        &self,
        action: &str,
        parameters: &serde_json::Value,
        secrets: &Properties,
    ) -> Result<()> {
        let cmd = aws::change(&self.ctx.sh, &self.client.access, action);
        let parameters = Secret::new(parameters.to_string());
        let done = self.ctx.run_with_input(cmd, &parameters, ANSWER);
        done.map_err(|error| without(&error, secrets))
    }
}

/// What an update changes beside the version.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) set: Properties,
    /// Namespace and name.
    pub(crate) removed: Vec<(String, String)>,
}

impl Change {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// From one state to another; only what `managed` names is taken away.
    pub(crate) fn between(
        now: &Properties,
        wanted: &Properties,
        managed: &std::collections::BTreeSet<String>,
    ) -> Change {
        let is_new = |(key, value): &(&(String, String), &Secret)| now.get(*key) != Some(*value);
        let set = wanted.iter().filter(is_new).map(|(key, it)| (key.clone(), it.clone()));
        let gone = now.keys().filter(|key| managed.contains(&key.1) && !wanted.contains_key(*key));
        Change { set: set.collect(), removed: gone.cloned().collect() }
    }

    /// Their names, for people.
    pub(crate) fn names(&self) -> Vec<String> {
        let set = self.set.keys().map(|(_, name)| name.clone());
        set.chain(self.removed.iter().map(|(_, name)| format!("-{name}"))).collect()
    }
}

fn options(properties: &Properties) -> Vec<serde_json::Value> {
    let option = |((namespace, name), value): (&(String, String), &Secret)| json!({"Namespace": namespace, "OptionName": name, "Value": value.reveal()});
    properties.iter().map(option).collect()
}

/// An error without the values that the service may have repeated in it.
fn without(error: &anyhow::Error, secrets: &Properties) -> anyhow::Error {
    let code = exit::code(error);
    let mut text = format!("{error:#}");
    let mut values: Vec<&str> = secrets.values().map(Secret::reveal).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in values.into_iter().filter(|value| value.len() > 3) {
        text = text.replace(value, "(a setting)");
    }
    exit::Exit { code, message: text }.into()
}
