//! An update: another version, other settings, more or fewer instances; and what stays of one that
//! fails.

use anyhow::Result;

use super::{Job, Wanted, attached, instance, kind, policies};
use crate::health;
use crate::service::locked;
use crate::settings::{self, Settings};
use crate::state::{Deploys, Severity, Status, Target};

impl Job<'_> {
    pub(super) fn update(&self, target: &Target) -> Result<()> {
        let environment = self.environment()?;
        let wanted = Wanted {
            version: target.version.clone(),
            settings: target.settings.clone(),
            deployment: target.deployment,
            kind: kind(&target.platform)?,
            deploys: target.deploys,
        };
        if let Err(error) = attached::start_new(self) {
            return self.update_failed(target, &[format!("{error:#}")]);
        }
        match target.deploys {
            Deploys::Version => {
                self.tell(Severity::Info, "Deploying new version to instance(s).")?;
            }
            Deploys::Settings | Deploys::Nothing => {
                let name = &environment.name;
                let text = format!("Updating environment {name}'s configuration settings.");
                self.tell(Severity::Info, text)?;
            }
        }
        let files = match instance::files(self, &wanted) {
            Ok(files) => files,
            Err(error) => return self.update_failed(target, &[format!("{error:#}")]),
        };
        let problems = match target.deploys {
            Deploys::Nothing => Vec::new(),
            _ => policies::deploy(self, &wanted, &files)?,
        };
        let problems = match problems.is_empty() {
            true => self.scale(&wanted, &files)?,
            false => problems,
        };
        if problems.is_empty() && !self.aborted() {
            self.updated(target, &wanted, files)
        } else {
            self.update_failed(target, &problems)
        }
    }

    fn updated(&self, target: &Target, wanted: &Wanted, files: Settings) -> Result<()> {
        let mut after = self.environment()?;
        (after.status, after.version) = (Status::Ready, target.version.clone());
        (after.settings, after.files) = (target.settings.clone(), files.clone());
        health::refresh(self.service, &after)?;
        let news = match target.deploys {
            Deploys::Version => "New application version was deployed to running EC2 instances.",
            _ => "Successfully deployed new configuration to environment.",
        };
        let done = "Environment update completed successfully.";
        let end = [news, done].map(|text| (Severity::Info, text.to_owned()));
        self.finish(end.into(), |environment| {
            environment.status = Status::Ready;
            environment.version.clone_from(&target.version);
            environment.settings.clone_from(&target.settings);
            environment.platform.clone_from(&target.platform);
            environment.template.clone_from(&target.template);
            environment.deployment = wanted.deployment;
            environment.files = files;
        })
    }

    /// The instances are as the policy left them; settings alone are taken back.
    fn update_failed(&self, target: &Target, problems: &[String]) -> Result<()> {
        self.explain(problems)?;
        let mut end = Vec::new();
        let revert = self.aborted() || target.deploys != Deploys::Version;
        if revert && target.deploys != Deploys::Nothing {
            let environment = self.environment()?;
            let wanted = Wanted { deploys: target.deploys, ..self.present(&environment)? };
            locked(&self.service.aborts).remove(&self.id);
            let ids = environment.instance_ids();
            instance::deploy_all(self, &ids, &wanted)?;
            self.service.point(&self.environment()?);
        }
        let mut after = self.environment()?;
        after.status = Status::Ready;
        health::refresh(self.service, &after)?;
        if revert {
            let text = "The environment was reverted to the previous configuration setting.";
            end.push((Severity::Error, "Failed to deploy configuration.".to_owned()));
            end.push((Severity::Info, text.to_owned()));
        } else {
            end.push((Severity::Error, "Failed to deploy application.".to_owned()));
        }
        let deployment = target.deployment;
        self.finish(end, |environment| {
            environment.status = Status::Ready;
            environment.deployment = deployment;
        })
    }

    /// As many instances as the settings want.
    fn scale(&self, wanted: &Wanted, files: &Settings) -> Result<Vec<String>> {
        let count = settings::instances(&settings::effective(files, &wanted.settings));
        let environment = self.environment()?;
        let there = environment.instance_ids();
        if there.len() > count {
            self.take_away(&there[count..])?;
        } else if there.len() < count {
            let ids = self.launch(count - there.len(), wanted)?;
            let problems = instance::deploy_all(self, &ids, wanted)?;
            if !problems.is_empty() {
                return Ok(problems);
            }
            self.put_in_service(&ids)?;
        }
        Ok(Vec::new())
    }
}
