//! Hooks and commands of a bundle: in a container that has the source, and nothing of this machine.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Job, Wanted};
use crate::bundle;
use crate::ebextensions::{Command, Extensions};
use crate::engine::{LONG, SHORT};
use crate::stack::{Layout, Surroundings};
use crate::state::{Deploys, names};

/// Before the containers: `commands`, `prebuild`, `container_commands`, `predeploy`.
pub(super) fn before(
    job: &Job<'_>,
    layout: &Layout,
    extensions: &Extensions,
    wanted: &Wanted,
    around: &Surroundings,
) -> Result<()> {
    let place = Place { job, layout, around, directory: "/var/app/staging" };
    for command in &extensions.commands {
        place.command(command)?;
    }
    place.hooks("prebuild", wanted.deploys)?;
    for command in &extensions.container_commands {
        place.command(command)?;
    }
    place.hooks("predeploy", wanted.deploys)
}

/// After them: `postdeploy`.
pub(super) fn after(
    job: &Job<'_>,
    layout: &Layout,
    wanted: &Wanted,
    around: &Surroundings,
) -> Result<()> {
    let place = Place { job, layout, around, directory: "/var/app/current" };
    place.hooks("postdeploy", wanted.deploys)
}

struct Place<'a> {
    job: &'a Job<'a>,
    layout: &'a Layout,
    around: &'a Surroundings,
    /// Where the source is for the hook.
    directory: &'static str,
}

impl Place<'_> {
    fn hooks(&self, step: &str, deploys: Deploys) -> Result<()> {
        let folder = match deploys {
            Deploys::Version => "hooks",
            Deploys::Settings | Deploys::Nothing => "confighooks",
        };
        let folder = Path::new(".platform").join(folder).join(step);
        let Ok(entries) = std::fs::read_dir(self.layout.source.join(&folder)) else {
            return Ok(());
        };
        let mut files: Vec<_> =
            entries.flatten().filter(|entry| entry.path().is_file()).map(|it| it.path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let shown = folder.join(&name).display().to_string();
            let mode = std::fs::metadata(&file)?.permissions().mode();
            if mode & 0o111 == 0 && !is_script(&file)? {
                bail!(
                    "The hook {shown} is no program: it has neither the mode of one nor a #! line"
                );
            }
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode | 0o100))?;
            let program = format!("{}/{shown}", self.directory);
            self.run(&shown, &[program], &Command::default())?;
        }
        Ok(())
    }

    fn command(&self, command: &Command) -> Result<()> {
        if let Some(test) = &command.test {
            let test = ["sh", "-c", test].map(str::to_owned);
            if self.run(&command.name, &test, command).is_err() {
                return Ok(());
            }
        }
        // Each instance is its own leader here, unless there are several: then it is the first.
        if command.leader_only && !self.is_leader()? {
            return Ok(());
        }
        match self.run(&command.name, &command.words, command) {
            Err(_) if command.ignore_errors => Ok(()),
            other => other,
        }
    }

    fn is_leader(&self) -> Result<bool> {
        let environment = self.job.environment()?;
        let deploying = environment.instances.iter().filter(|it| it.result == "In Progress");
        let first = deploying.map(|it| &it.id).min();
        Ok(first.is_none_or(|first| *first == self.layout.instance))
    }

    /// Its properties reach it by a file of their own, so that no argument holds them.
    fn run(&self, shown: &str, words: &[String], command: &Command) -> Result<()> {
        let engine = &self.job.service.engine;
        let mut variables = self.around.properties.clone();
        variables.extend(command.environment.clone());
        let lines: Vec<String> = variables
            .iter()
            .filter(|(key, value)| !key.contains('\n') && !value.contains('\n'))
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        let file = tempfile::NamedTempFile::new_in(&self.layout.root)?;
        (&file).write_all(lines.concat().as_bytes())?;
        let label = engine.own();
        let mount =
            format!("type=bind,source={},target={}", self.layout.source.display(), self.directory);
        let directory = command.directory.as_deref().unwrap_or(self.directory);
        let file = file.path().to_str().context("the path is no text")?;
        let name = format!("{}-hook-{}", self.layout.project(), names::letters(8));
        let mut arguments = vec![
            "run",
            "--rm",
            "--name",
            &name,
            "--pull",
            "missing",
            "--label",
            &label,
            "--mount",
            &mount,
            "--workdir",
            directory,
            "--env-file",
            file,
            &self.job.service.options.instance_image,
        ];
        arguments.extend(words.iter().map(String::as_str));
        if let Err(error) = engine.run(&arguments, LONG) {
            // One that took too long goes on without its client.
            engine.run(&["container", "rm", "--force", "--volumes", &name], SHORT).ok();
            return Err(error).with_context(|| format!("{shown} failed"));
        }
        // What it wrote is read on this machine from now on.
        bundle::stays_inside(&self.layout.source).with_context(|| format!("after {shown}"))
    }
}

fn is_script(file: &Path) -> Result<bool> {
    let mut first = Vec::new();
    std::fs::File::open(file)?.take(2).read_to_end(&mut first)?;
    Ok(first == b"#!")
}
