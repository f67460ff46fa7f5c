//! The service that runs an environment: AWS, or the local Elastic Beanstalk. What it is asked goes
//! by `aws`, what changes it by `eb`, but for the one change that `eb` cannot make.

use std::cell::{RefCell, RefMut};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::json;
use xshell::Cmd;

use crate::commands::{beanstalk, setup};
use crate::ctx::{Ctx, LONG, Resident};
use crate::exit;
use crate::project::beanstalk::Target;
use crate::release::deployment;
use crate::secret::Secret;
use crate::tools::aws::{self, Access, Environment, Event, Of, Place, Properties};
use crate::tools::eb;

/// Longest wait for one answer of the service, throttling and repetitions included.
const ANSWER: Duration = Duration::from_secs(90);

/// The region that a local service is in.
const LOCAL_REGION: &str = "us-east-1";

pub(crate) struct Service<'c> {
    ctx: &'c Ctx,
    /// In the directory that `eb` works in.
    workshop: Ctx,
    access: Access,
    /// The AWS CLI that stays up, once there was a question.
    aws: RefCell<Aws>,
    pub(crate) target: deployment::Target,
    pub(crate) local: bool,
}

enum Aws {
    NotStarted,
    StaysUp(Resident),
    /// It cannot stay up: it is a script of somebody's, or version 2, which is not Python's.
    StartsEachTime,
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
            access,
            aws: RefCell::new(Aws::NotStarted),
            target: deployment::Target {
                account: String::new(),
                region,
                application: target.application.clone(),
                environment: target.environment.clone(),
            },
            local: target.region.is_none(),
        };
        let identity: aws::Identity = service.ask(aws::identity(&ctx.sh, &service.access))?;
        service.target.account = identity.account;
        Ok(service)
    }

    /// Where bundles and what else belongs to one environment lie.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.workshop.root
    }

    /// What somebody types to do with the service what this tool does not do.
    pub(crate) fn by_hand(&self, action: &str) -> String {
        let Access { aws, region, profile, .. } = &self.access;
        let profile = profile.as_ref().map(|it| format!(" --profile {it}")).unwrap_or_default();
        let call =
            format!("{}{profile} --region {region} elasticbeanstalk {action}", aws.display());
        match self.local {
            true => format!("( eval \"$(cargo xtask beanstalk environment)\"; {call} )"),
            false => call,
        }
    }

    // --- questions --------------------------------------------------------------------------

    fn ask<T: DeserializeOwned>(&self, cmd: Cmd<'_>) -> Result<T> {
        aws::parse(&self.answer(cmd)?)
    }

    fn answer(&self, cmd: Cmd<'_>) -> Result<String> {
        self.answer_within(cmd, ANSWER)
    }

    fn answer_within(&self, cmd: Cmd<'_>, deadline: Duration) -> Result<String> {
        let shown = cmd.to_string();
        let mut aws = self.resident()?;
        let answer = match &mut *aws {
            Aws::StaysUp(resident) => {
                let answer = resident.ask(self.ctx, cmd, deadline);
                if answer.is_err() {
                    *aws = Aws::NotStarted;
                }
                answer?
            }
            _ => self.ctx.ask(cmd, deadline)?,
        };
        let said = answer.stderr.trim().to_owned();
        answer.success(&shown).map_err(|error| explain(error, &said))
    }

    /// The AWS CLI, started where that is still to be done.
    fn resident(&self) -> Result<RefMut<'_, Aws>> {
        let mut aws = self.aws.borrow_mut();
        if matches!(*aws, Aws::NotStarted) {
            *aws = match aws::interpreter(&self.access.aws) {
                None => Aws::StartsEachTime,
                Some(interpreter) => {
                    let cmd = aws::resident(&self.ctx.sh, &self.access, &interpreter);
                    match Resident::start(self.ctx, cmd, ANSWER) {
                        Ok(resident) => Aws::StaysUp(resident),
                        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
                        Err(_) => Aws::StartsEachTime,
                    }
                }
            };
        }
        Ok(aws)
    }

    pub(crate) fn environment(&self) -> Result<Option<Environment>> {
        let target = &self.target;
        let sh = &self.ctx.sh;
        let cmd = aws::environments(sh, &self.access, &target.application, &target.environment);
        let found: aws::Environments = self.ask(cmd)?;
        Ok(found.environments.into_iter().next())
    }

    /// What it told since a time, the oldest first.
    pub(crate) fn events(&self, since: Option<&str>) -> Result<Vec<Event>> {
        let deployment::Target { application, environment, .. } = &self.target;
        let cmd = aws::events(&self.ctx.sh, &self.access, application, environment, since);
        let mut events = self.ask::<aws::Events>(cmd)?.events;
        events.reverse();
        // The time itself is part of what is asked for, and was told already.
        events.retain(|event| since.is_none_or(|since| event.event_date.as_str() > since));
        Ok(events)
    }

    /// What each instance runs; nothing where the service does not say.
    pub(crate) fn instances(&self) -> Result<Vec<aws::Instance>> {
        let cmd = aws::instances(&self.ctx.sh, &self.access, &self.target.environment);
        match self.ask::<aws::Instances>(cmd) {
            Ok(found) => Ok(found.instance_health_list),
            Err(error) if exit::code(&error) == exit::FAILED => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The SHA-256 of the bundle that lies under a label; `None` where no version has it.
    pub(crate) fn bundle(&self, label: &str) -> Result<Option<String>> {
        let sh = &self.ctx.sh;
        let found = aws::versions(sh, &self.access, &self.target.application, label);
        let found: aws::Versions = match self.ask(found) {
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
        self.answer_within(aws::fetch(&self.ctx.sh, &self.access, place, &file), LONG)
            .with_context(|| format!("can't get {}/{} back", place.bucket, place.key))?;
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
        let application = &self.target.application;
        let cmd = aws::settings(&self.ctx.sh, &self.access, application, of);
        aws::parse_settings(&self.answer(cmd)?)
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
        let cmd = eb::create_environment(sh, &self.access, name, platform, self.local);
        self.workshop.run(cmd).context("the environment can't be made")
    }

    /// Puts a bundle, a file in [`Service::directory`], into the service.
    pub(crate) fn upload(&self, artifact: &str, label: &str, description: &str) -> Result<()> {
        self.configure(artifact)?;
        let cmd = eb::create_version(&self.workshop.sh, &self.access, label, description);
        self.workshop.run(cmd).with_context(|| format!("the bundle {label} can't be uploaded"))
    }

    /// Begins the update, with changed settings or without.
    pub(crate) fn submit(&self, label: &str, change: &Change) -> Result<()> {
        if change.is_empty() {
            self.configure("none")?;
            let sh = &self.workshop.sh;
            let cmd = eb::deploy(sh, &self.access, &self.target.environment, label);
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
        self.ctx.run(aws::forget(&self.ctx.sh, &self.access, application, template))
    }

    pub(crate) fn abort(&self) -> Result<()> {
        self.configure("none")?;
        self.workshop.run(eb::abort(&self.workshop.sh, &self.access, &self.target.environment))
    }

    /// Parameters may be secret: they go by stdin, and nothing that comes back is shown before
    /// their values are out of it.
    fn change(
        &self,
        action: &str,
        parameters: &serde_json::Value,
        secrets: &Properties,
    ) -> Result<()> {
        let cmd = aws::change(&self.ctx.sh, &self.access, action);
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

/// What has to be done about an answer that is none.
fn explain(error: anyhow::Error, said: &str) -> anyhow::Error {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["ExpiredToken", "Unable to locate credentials", "InvalidClientTokenId", "SSO"]) {
        return exit::missing(format!(
            "the credentials are missing, wrong or have expired; log in to AWS (`aws sts \
             get-caller-identity` must work), and run the same command again\n  {said}"
        ));
    }
    if has(&["Could not connect to the endpoint", "ProxyConnectionError", "ConnectTimeout"]) {
        return exit::missing(format!("the service does not answer\n  {said}"));
    }
    error
}
