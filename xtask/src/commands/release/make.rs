//! Makes a release of what was tried: names the images, reads them back, writes the record, commits
//! it, and tags the commit, in this order. Each step looks first at what is there already.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use fingerprint::sha256;
use semver::Version;

use super::Tried;
use super::begun::Writer;
use super::collect;
use super::commit::{self, Content, File};
use super::decide::short;
use super::repository::{self, Repository};
use crate::commands::image::{external, plan};
use crate::commands::{diff, doctor, releases};
use crate::ctx::Ctx;
use crate::project::assets::{Package, SOURCE};
use crate::project::compilers::{Compilers, Kind};
use crate::project::lock::epoch_seconds;
use crate::release::journal::Decision;
use crate::release::record::{Record, SCHEMA, paths};
use crate::release::sbom;
use crate::release::version;
use crate::tools::git::{self, Signature};
use crate::tools::{compose, docker};

/// A file of a release as the message of its tag names it.
pub(crate) fn sum(path: &str, text: &str) -> String {
    format!("{}  {path}", sha256(text.as_bytes()))
}

pub(super) fn make(
    ctx: &Ctx,
    repository: &Repository,
    decision: &Decision,
    tree: &Ctx,
    tried: &Tried,
) -> Result<()> {
    let version = &decision.version;
    let mut journal = Writer::open(ctx, &repository.places, decision)?;
    journal.step("images", || name_images(ctx, tried, version))?;
    let record = journal.step("record", || collect_record(tree, decision, tried))?;
    let commit = journal.step("commit", || {
        let files = files(ctx, &record)?;
        let commit = commit(ctx, repository, decision, &files)?;
        Ok((files, commit))
    });
    let (files, commit) = commit?;
    let branch = version::branch(version);
    if version::begins_branch(version) && repository.branch(&branch).is_none() {
        let create = git::create_branch(&ctx.sh, &branch, &decision.commit);
        journal.step("branch", || {
            repository.break_lock(ctx, &format!("refs/heads/{branch}"))?;
            ctx.run(create)
        })?;
    }
    journal.step("tag", || tag(ctx, repository, decision, &files, &commit))?;
    journal.close()
}

/// Gives the images that were tried the version as a tag.
fn name_images(ctx: &Ctx, tried: &Tried, version: &Version) -> Result<()> {
    let ids = tried.plan.ids();
    let name = |image: &String| format!("{}/{image}:{version}", tried.request.stack.name);
    let names: Vec<String> = ids.keys().map(name).collect();
    let there = plan::inspect(ctx, &names)?;
    for (image, id) in &ids {
        let name = name(image);
        match there.get(&name) {
            Some(found) if found.id == *id => {}
            // Nothing is released under this version yet, so nobody relies on the name.
            _ => ctx.run(docker::tag(&ctx.sh, id, &name))?,
        }
    }
    Ok(())
}

/// Everything that is known of the release.
fn collect_record(ctx: &Ctx, decision: &Decision, tried: &Tried) -> Result<Record> {
    let Tried { request, plan, gates } = tried;
    let ids = plan.ids();
    let images = &plan.images;
    let platform = images.first().map(|it| it.inputs.platform.clone());
    Ok(Record {
        schema: SCHEMA.into(),
        version: decision.version.clone(),
        previous: decision.previous.clone(),
        name: request.stack.name.clone(),
        commit: decision.commit.clone(),
        branch: version::branch(&decision.version),
        created: decision.created.clone(),
        by: decision.by.clone(),
        tools: tools(ctx)?,
        environment: request.facts.name.clone(),
        registry: request.facts.environment.registry.repository.clone(),
        platform: platform.context("the stack has no image of this project")?,
        epoch: request.lock.epoch.clone(),
        bases: collect::bases(request, &external::remembered(ctx, request.bases())),
        images: collect::images(ctx, images, &ids)?,
        services: collect::services(ctx, request, &ids)?,
        dependencies: collect::dependencies(ctx, images)?,
        assets: collect::assets(ctx)?,
        migrations: collect::migrations(ctx, request)?,
        gates: gates.clone(),
        configuration: collect::configuration(ctx, &request.facts.project)?,
    })
}

/// Program -> version, of those that decide something.
pub(super) fn tools(ctx: &Ctx) -> Result<BTreeMap<String, String>> {
    let mut tools = BTreeMap::from([(STEVEDORE.to_owned(), stevedore())]);
    if let doctor::Engine::Ready { version, .. } = doctor::engine_in_use(ctx) {
        tools.insert("docker".into(), version);
    }
    for (name, cmd) in [
        ("git", git::version(&ctx.sh)),
        ("docker buildx", docker::buildx_version(&ctx.sh)),
        (COMPOSE, compose::version(&ctx.sh)),
    ] {
        let said = ctx.read(cmd)?;
        tools.insert(name.into(), said.lines().next().unwrap_or_default().trim().to_owned());
    }
    if ctx.root.join(SOURCE).is_dir() {
        let compilers = Compilers::load(&ctx.root)?;
        for kind in [Kind::Sass, Kind::Esbuild] {
            let (_, Package { version, integrity, .. }) = compilers.package(kind)?;
            tools.insert(kind.name().into(), format!("{version} {integrity}"));
        }
    }
    Ok(tools)
}

/// This tool, and compose, among the tools of a record.
pub(super) const STEVEDORE: &str = "stevedore";
pub(super) const COMPOSE: &str = "docker compose";

/// This tool: its version, and what it was compiled from.
fn stevedore() -> String {
    format!("{} (sources {})", env!("CARGO_PKG_VERSION"), env!("STEVEDORE_SOURCES"))
}

/// The files that the commit of a release adds, each with its path from the project's root.
fn files(ctx: &Ctx, record: &Record) -> Result<Vec<File>> {
    let texts = [record.text()?, sbom::text(record)?, news(ctx, record)?];
    let files = paths(&record.version).into_iter().zip(texts);
    Ok(files.map(|(path, text)| File { path, text }).collect())
}

/// What has changed since the release before.
pub(super) fn news(ctx: &Ctx, record: &Record) -> Result<String> {
    Ok(match &record.previous {
        Some(previous) => diff::compare(ctx, &releases::load(ctx, previous)?, record)?.markdown(),
        None => format!("# {}\n\nThe first release.\n", record.version),
    })
}

/// Where files lie for git to take.
fn workshop(repository: &Repository) -> PathBuf {
    repository::directory(&repository.places).join("workshop")
}

/// The commit that adds the record to what was released: always the same for the same record.
fn commit(
    ctx: &Ctx,
    repository: &Repository,
    decision: &Decision,
    files: &[File],
) -> Result<String> {
    let prefix = &repository.places.prefix;
    let at_top = |it: &File| File { path: format!("{prefix}{}", it.path), text: it.text.clone() };
    let files: Vec<File> = files.iter().map(at_top).collect();
    let text = format!("Release {}\n\nOf commit {}.\n", decision.version, decision.commit);
    let content = Content { parent: Some(&decision.commit), files: &files, message: &text };
    commit::commit(ctx, &workshop(repository), &content, &signature(decision)?)
}

fn signature(decision: &Decision) -> Result<Signature<'_>> {
    let seconds = epoch_seconds(&decision.created)?;
    Ok(Signature { name: &decision.by.name, email: &decision.by.email, seconds })
}

/// What the message of the tag says: with it nobody edits a file of the release unseen.
fn tag_message(version: &Version, files: &[File]) -> String {
    let sums: Vec<String> = files.iter().map(|file| sum(&file.path, &file.text)).collect();
    format!("Release {version}\n\n{}\n", sums.join("\n"))
}

fn tag(
    ctx: &Ctx,
    repository: &Repository,
    decision: &Decision,
    files: &[File],
    commit: &str,
) -> Result<()> {
    let version = &decision.version;
    let name = version::tag(version);
    if let Some(there) = repository.here.get(&format!("refs/tags/{name}")) {
        // A release that died between its last two steps.
        anyhow::ensure!(
            there.target.as_deref() == Some(commit),
            "the tag {name} names {} already, and this release is {}; take it back with `cargo \
             xtask release --abort {version}`",
            short(there.commit()),
            short(commit)
        );
        return Ok(());
    }
    repository.break_lock(ctx, &format!("refs/tags/{name}"))?;
    let message = workshop(repository).join("tag.txt");
    ctx.write_cache(&message, tag_message(version, files).as_bytes())?;
    ctx.run(git::annotate(&ctx.sh, &name, commit, &message, &signature(decision)?))
}
