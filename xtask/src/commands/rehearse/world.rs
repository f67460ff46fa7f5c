//! What a rehearsal happens in: a clone, its remote repository, a registry, and a local Elastic
//! Beanstalk. All of it lies below `.stevedore/rehearsal`, and ends with the rehearsal but for its
//! files, so that one can look at what went wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fingerprint::{sha256, short};
use serde_json::{Value, json};

use super::ENVIRONMENT;
use crate::cli::Cache;
use crate::commands::env;
use crate::commands::image::plan::{self, Request};
use crate::commands::image::{build, destroy};
use crate::commands::release::{contents, repository};
use crate::ctx::{self, Ctx};
use crate::tools::{docker, git, xtask};

/// For the local Elastic Beanstalk, which may have to be compiled first.
const START: Duration = Duration::from_secs(15 * 60);
/// Of the registry in its container.
const PORT: &str = "5000";
/// What a registry is built from, and what its base is.
const REGISTRY: [&str; 3] = ["docker/registry", "docker/base", "docker/stack.lock"];

pub(super) struct World<'c> {
    ctx: &'c Ctx,
    directory: PathBuf,
    /// Where the clone's project is.
    clone: PathBuf,
    project: PathBuf,
    program: PathBuf,
    log: File,
    /// The branch that its releases come from.
    main: String,
    /// `HOST:PORT`, and the container.
    registry: Option<(String, String)>,
    server: Option<Child>,
    /// What lay under the names that the rehearsal gives to images.
    images: BTreeMap<String, Option<String>>,
}

impl<'c> World<'c> {
    pub(super) fn make(ctx: &'c Ctx) -> Result<World<'c>> {
        let directory = ctx.state().join("rehearsal");
        let (clone, remote) = (directory.join("clone"), directory.join("remote.git"));
        let places = repository::places(ctx)?;
        if directory.exists() {
            // One that was killed left its containers, and says there which they are.
            remove_containers(ctx, &clone.join(&places.prefix))?;
            remove_labelled(ctx, &label(&directory))?;
            ctx.remove_state(&directory)?;
        }
        let log = ctx.log_file(&directory.join("log"))?;
        ctx.run(git::clone_shared(&ctx.sh, &places.common, &clone))?;
        ctx.run(git::create_bare(&ctx.sh, &remote))?;
        let remote = remote.display().to_string();
        // What commits only point at comes from where the user's repository has it.
        let common = Path::new(&places.common);
        let lfs = contents::lfs_storage(ctx, common)?.display().to_string();
        let modules = common.join("modules");
        if modules.is_dir() && !ctx.dry_run {
            std::os::unix::fs::symlink(modules, clone.join(".git/modules"))
                .context("can't use the submodules of this repository")?;
        }
        for (key, value) in [
            ("lfs.storage", lfs.as_str()),
            ("remote.origin.url", remote.as_str()),
            ("user.name", "Rehearsal"),
            ("user.email", "rehearsal@localhost"),
            ("commit.gpgSign", "false"),
            ("tag.gpgSign", "false"),
        ] {
            ctx.run(git::configure(&ctx.sh, &clone, key, value))?;
        }
        Ok(World {
            ctx,
            project: clone.join(&places.prefix),
            clone,
            directory,
            program: std::env::current_exe().context("can't find this program's own file")?,
            log,
            main: String::new(),
            registry: None,
            server: None,
            images: BTreeMap::new(),
        })
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Runs one of our own commands in the clone; all it says goes to the log.
    pub(super) fn xtask(&self, arguments: &[&str]) -> Result<()> {
        let arguments = [arguments, &["--yes"]].concat();
        let cmd = xtask::call(&self.ctx.sh, &self.program, &self.project, &arguments);
        let mut log = &self.log;
        let _ = writeln!(log, "$ cargo xtask {}", arguments.join(" "));
        self.ctx.run_lines(cmd, &mut |line| {
            let _ = writeln!(log, "{line}");
        })
    }

    /// What one of our own commands prints.
    fn ask(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let cmd = xtask::call(&self.ctx.sh, &self.program, &self.project, arguments);
        let lines = self.ctx.read(cmd)?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The registry: Debian's own, from this project's Dockerfile.
    pub(super) fn start_registry(&mut self, stack: &str) -> Result<()> {
        let ctx = self.ctx;
        let home = self.directory.join("registry");
        for path in REGISTRY {
            copy(&ctx.root.join(path), &home.join(path)).with_context(|| {
                format!("can't use {path}, which the registry of a rehearsal is built from")
            })?;
        }
        let compose = json!({
            "name": stack, "services": {"registry": {"build": "docker/registry"}},
        });
        ctx.write_cache(&home.join("docker/compose.yml"), compose.to_string().as_bytes())?;
        std::fs::create_dir_all(home.join("environments/dev"))?;
        let home = ctx.at(home.clone(), home.join(".stevedore"))?;
        let mut request = Request::load(&home, "dev")?;
        let plan = build::build(&home, &mut request, Cache::Off)?;
        let image = plan.of("registry").context("no registry was built")?.id();
        let label = label(&self.directory);
        let container = ctx.run_for(docker::serve(&ctx.sh, &image, PORT, &label), "container")?;
        let address = ctx.read(docker::published(&ctx.sh, &container, PORT));
        self.registry = Some((String::new(), container));
        let address = address?.lines().next().unwrap_or_default().to_owned();
        if let Some(registry) = &mut self.registry {
            registry.0 = address;
        }
        Ok(())
    }

    pub(super) fn start_server(&mut self) -> Result<()> {
        let log = self.directory.join("beanstalk.log");
        let serve = ["beanstalk", "serve", "--port", "0"];
        let cmd = xtask::call(&self.ctx.sh, &self.program, &self.project, &serve);
        let server = self.server.insert(ctx::beside(cmd, self.ctx.log_file(&log)?)?);
        let started = Instant::now();
        loop {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            if said.contains("serving Elastic Beanstalk") {
                return Ok(());
            }
            let ended = server.try_wait()?.is_some() || started.elapsed() > START;
            anyhow::ensure!(!ended, "the local Elastic Beanstalk does not start:\n{said}");
            self.ctx.pause(Duration::from_millis(200))?;
        }
    }

    /// Begins a branch at a commit of the user's.
    pub(super) fn begin(&mut self, branch: &str, commit: &str) -> Result<()> {
        branch.clone_into(&mut self.main);
        let sh = &self.ctx.sh;
        self.ctx.run(git::begin_branch(sh, &self.clone, branch, commit))?;
        self.commit(commit)
    }

    /// Goes on with the files of a commit on a branch that is there.
    pub(super) fn go_on(&self, branch: &str, commit: &str) -> Result<()> {
        let sh = &self.ctx.sh;
        self.ctx.run(git::check_out_branch(sh, &self.clone, branch))?;
        self.ctx.run(git::take_files(sh, &self.clone, commit))?;
        self.commit(commit)
    }

    /// Commits the files of a commit with the registry and the target of the rehearsal.
    fn commit(&self, commit: &str) -> Result<()> {
        let path = self.project.join(format!("environments/{ENVIRONMENT}/environment.toml"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut facts: toml::Table = text.parse().with_context(|| {
            format!("environments/{ENVIRONMENT}/environment.toml of commit {commit}")
        })?;
        let (address, _) = self.registry.as_ref().context("no registry runs")?;
        let mut registry = toml::Table::new();
        registry.insert("repository".into(), format!("{address}/rehearsal").into());
        facts.insert("registry".into(), registry.into());
        let release = toml::Table::from_iter([("branch".into(), self.main.clone().into())]);
        facts.insert("release".into(), release.into());
        if let Some(beanstalk) = facts.get_mut("beanstalk").and_then(toml::Value::as_table_mut) {
            beanstalk.remove("region");
            beanstalk.remove("profile");
        }
        self.ctx.write_cache(&path, toml::to_string(&facts)?.as_bytes())?;
        let message = format!("Rehearsal of {commit}");
        self.ctx.run(git::commit_all(&self.ctx.sh, &self.clone, &message))?;
        self.make_up_secrets()
    }

    /// Secrets that nobody has; the user's own are not for a rehearsal.
    fn make_up_secrets(&self) -> Result<()> {
        let path = self.project.join(format!("environments/{ENVIRONMENT}/.env"));
        let project = self.ctx.at(self.project.clone(), self.project.join(".stevedore"))?;
        let facts = env::load(&project, ENVIRONMENT)?;
        if path.exists() || facts.schema.variables.is_empty() {
            return Ok(());
        }
        let made_up = env::trial_settings(&facts);
        let made_up = made_up.iter().filter(|(name, _)| facts.schema.variables.contains_key(*name));
        let text: String = made_up.map(|(name, value)| format!("{name}={value}\n")).collect();
        self.ctx.write_secret(&path, text.as_bytes())
    }

    /// Where the environment answers on this machine.
    pub(super) fn port(&self) -> Result<u16> {
        let environments = self.ask(&["--json", "beanstalk", "status"])?;
        let address = environments.iter().find_map(|it| it["address"].as_str());
        let port = address.and_then(|it| it.rsplit_once(':')?.1.parse().ok());
        port.context("the local Elastic Beanstalk has no environment")
    }

    /// Notes what lies under the names that the versions will give to images.
    pub(super) fn note_images(&mut self, stack: &str, versions: [&str; 2]) -> Result<()> {
        let images = crate::project::Project::load(&self.ctx.root)?.images;
        let name = |image: &String| versions.map(|version| format!("{stack}/{image}:{version}"));
        let names: Vec<String> = images.iter().flat_map(name).collect();
        let found = plan::inspect(self.ctx, &names)?;
        let id = |name: &String| found.get(name).map(|image| image.id.clone());
        self.images = names.iter().map(|name| (name.clone(), id(name))).collect();
        Ok(())
    }

    /// Ends all that runs, and gives images their names back.
    pub(super) fn end(mut self) -> Result<()> {
        let ctx = self.ctx;
        let interrupted = ctx.interrupted();
        if interrupted {
            ctx.clear_interrupt();
        }
        let mut ended = Vec::new();
        if let Some(mut server) = self.server.take() {
            ended.push(self.xtask(&["beanstalk", "stop"]));
            let _ = server.kill();
            let _ = server.wait();
            ended.push(remove_containers(ctx, &self.project));
        }
        if let Some((address, container)) = self.registry.take() {
            ended.push(ctx.run(docker::remove_container(&ctx.sh, &container)));
            ended.push(self.remove_images(&address));
        }
        ended.push(self.give_names_back());
        ended.into_iter().collect()
    }

    /// What the instances pulled from the registry that is gone.
    fn remove_images(&self, address: &str) -> Result<()> {
        let found = self.ctx.read(docker::exact_images(&self.ctx.sh, address))?;
        let names: Vec<String> = found.lines().map(str::to_owned).collect();
        if names.is_empty() { Ok(()) } else { destroy::remove(self.ctx, &names) }
    }

    fn give_names_back(&self) -> Result<()> {
        let names: Vec<String> = self.images.keys().cloned().collect();
        let now = plan::inspect(self.ctx, &names)?;
        for (name, before) in &self.images {
            match (before, now.get(name)) {
                (None, Some(_)) => destroy::remove(self.ctx, std::slice::from_ref(name))?,
                (Some(id), Some(image)) if *id != image.id => {
                    self.ctx.run(docker::tag(&self.ctx.sh, id, name))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the registry of a rehearsal is found by.
fn label(directory: &Path) -> String {
    let place = sha256(directory.as_os_str().as_encoded_bytes());
    format!("dev.stevedore.rehearsal={}", short(&place))
}

/// The environments' containers go on without their server.
fn remove_containers(ctx: &Ctx, project: &Path) -> Result<()> {
    match std::fs::read_to_string(project.join(".stevedore/beanstalk/owner")) {
        Ok(owner) => remove_labelled(ctx, &format!("stevedore.beanstalk={}", owner.trim())),
        Err(_) => Ok(()),
    }
}

fn remove_labelled(ctx: &Ctx, label: &str) -> Result<()> {
    for (kind, more, how) in docker::KINDS {
        let found = ctx.read(docker::labelled(&ctx.sh, kind, more, label))?;
        let ids: Vec<&str> = found.lines().collect();
        if !ids.is_empty() {
            ctx.run(docker::remove(&ctx.sh, kind, how, &ids))?;
        }
    }
    Ok(())
}

/// A file, or a folder with all in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).map(drop).with_context(|| from.display().to_string())
}
