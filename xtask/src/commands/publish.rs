//! `publish`: takes a release to the registry and to the remote repository, or an environment's
//! images to the registry for colleagues.
//!
//! Images first, then all of them read back, then branch and tag in one push that does all or
//! nothing: where a tag is, its images can be pulled. Before the first image a claim on the version
//! is pushed, a branch that must not be there yet, so of several who publish a version one does;
//! the last push removes it. What is there already and is the same is done; what is there and
//! differs is an error, always.

use std::path::Path;

use anyhow::Result;
use semver::Version;

use super::doctor;
use super::release::repository::{self, Repository};
use super::release::{self, git_problems, short};
use super::releases;
use crate::cli;
use crate::ctx::Ctx;
use crate::exit;
use crate::release::record::Record;
use crate::release::version;
use crate::tools::git::{Change, Places, References};

pub(crate) mod claim;
pub(crate) mod images;
mod moving;
pub(crate) mod references;
mod refusal;

use images::{Shelf, There};

impl cli::Publish {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        match version::parse(&self.what) {
            Ok(version) if self.unlock => claim::unlock(ctx, &version),
            Ok(version) => publish(ctx, &version),
            Err(problem) if self.what.contains('.') || self.unlock => Err(exit::usage(problem)),
            Err(_) => moving::publish(ctx, &self.what),
        }
    }
}

fn publish(ctx: &Ctx, version: &Version) -> Result<()> {
    let places = repository::places(ctx)?;
    let _lock = repository::lock(ctx, &places)?;
    let note = repository::directory(&places).join(format!("{version}.names"));
    images::forget_names(ctx, &note);
    let plan = look(ctx, &places, version)?;
    if plan.is_done() {
        return say_done(ctx, &plan, "is published already");
    }
    if !plan.missing.is_empty() {
        doctor::require_engine(ctx)?;
    }
    ctx.confirm(&plan.question())?;
    let plan = claim(ctx, &places, plan)?;
    execute(ctx, &plan, &note)
}

/// Observes and plans. A claim of ours that has come too late is removed.
fn look<'c>(ctx: &'c Ctx, places: &Places, version: &Version) -> Result<Plan<'c>> {
    let repository = Repository::observe(ctx, places.clone())?;
    plan(ctx, &repository, version).inspect_err(|_| {
        if let Err(failed) = claim::give_back(ctx, &repository, version) {
            ctx.warn(format_args!("our claim on {version} is still there: {failed:#}"));
        }
    })
}

/// Makes the claim, and looks again: between the first look and the claim somebody may have
/// published the version, and nobody may after it.
fn claim<'c>(ctx: &'c Ctx, places: &Places, plan: Plan<'c>) -> Result<Plan<'c>> {
    let Some(claim) = plan.claim.as_ref().filter(|claim| claim.expected.is_empty()) else {
        return Ok(plan);
    };
    let version = &plan.record.version;
    let claimed = references::claim(ctx, &plan.remote, version, claim);
    if ctx.dry_run {
        return Ok(plan);
    }
    // Who else has it is said better by what is there than by the words of the push.
    let plan = look(ctx, places, version)?;
    if plan.is_done() && claimed.is_ok() {
        // Another run of ours was quicker.
        claim::remove(ctx, &plan.remote, version, &plan.commit)?;
    }
    let ours = plan.claim.as_ref().is_some_and(|claim| !claim.expected.is_empty());
    match claimed {
        Err(error) if !ours && !plan.is_done() => Err(error),
        _ => Ok(plan),
    }
}

/// Without a remote repository nothing can be published or deployed.
pub(crate) const NO_REMOTE: &str =
    "no git remote is configured; add one with `git remote add origin URL`";

/// What has to be done, after everything that can be asked was asked.
struct Plan<'r> {
    record: Record,
    shelf: Shelf<'r>,
    remote: String,
    /// The commit that the tag is of.
    commit: String,
    /// Images that the registry lacks, each with the ID that it has here.
    missing: Vec<(String, String)>,
    claim: Option<Change>,
    /// Branch and tag, as far as they are not there.
    references: Vec<Change>,
}

impl Plan<'_> {
    fn is_done(&self) -> bool {
        self.missing.is_empty() && self.references.is_empty() && self.claim.is_none()
    }

    fn question(&self) -> String {
        let names: Vec<&str> = self.missing.iter().map(|(image, _)| image.as_str()).collect();
        let images = match names.as_slice() {
            [] => "no image, since all are there,".to_owned(),
            names => names.join(", "),
        };
        format!(
            "publish {}: {images} to {}, then branch and tag to {}?",
            self.record.version, self.shelf.repository, self.remote
        )
    }
}

/// Looks at registry, engine and remote repository; every problem at once.
fn plan<'c>(ctx: &'c Ctx, repository: &Repository, version: &Version) -> Result<Plan<'c>> {
    let mut problems = Vec::new();
    let tag = format!("refs/tags/{}", version::tag(version));
    let name = repository.remote_name().to_owned();
    let Some(here) = repository.here.get(&tag) else {
        return Err(exit::usage(match repository.there().contains_key(&tag) {
            true => format!(
                "{version} is published, and not here; get it with `git fetch {name} tag {}`",
                version::tag(version)
            ),
            false => format!("{version} is not released; `cargo xtask release {version}` makes it"),
        }));
    };
    let record = releases::load(ctx, version)?;
    problems.extend(git_problems::in_the_way(repository, version));
    problems.extend(git_problems::push_urls(ctx, repository)?);
    problems.extend(release::commit_problems(ctx, &repository.places, here, &record)?);
    let references = match repository.remote.as_ref().map(|remote| &remote.references) {
        None => {
            problems.push(NO_REMOTE.into());
            Vec::new()
        }
        Some(Err(words)) => {
            problems.push(release::cannot_list(&name, words));
            Vec::new()
        }
        Some(Ok(there)) => changes(ctx, there, &here.object, &record, &name, &mut problems)?,
    };
    let claim = claim::of(repository.there(), version, here.commit(), &mut problems);
    let shelf = Shelf::open(ctx, &record);
    let (shelf, missing) = match shelf.and_then(|shelf| {
        let is_published = repository.there().contains_key(&tag);
        let missing = missing(ctx, &shelf, &record, is_published, &mut problems)?;
        Ok((shelf, missing))
    }) {
        Ok(found) => found,
        Err(error) if problems.is_empty() => return Err(error),
        Err(error) if exit::code(&error) == exit::INTERRUPTED => return Err(error),
        Err(error) => {
            problems.push(format!("{error:#}"));
            return Err(exit::problems(&format!("{version} can't be published"), &problems));
        }
    };
    if !problems.is_empty() {
        return Err(exit::problems(&format!("{version} can't be published"), &problems));
    }
    let commit = here.commit().to_owned();
    let claim = claim.filter(|_| !missing.is_empty() || !references.is_empty());
    Ok(Plan { record, shelf, remote: name, commit, missing, claim, references })
}

/// What branch and tag need in the remote repository.
fn changes(
    ctx: &Ctx,
    there: &References,
    tag: &str,
    record: &Record,
    remote: &str,
    problems: &mut Vec<String>,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let branch = format!("refs/heads/{}", record.branch);
    let commit = &record.commit;
    match there.get(&branch).map(|it| it.object.clone()) {
        // Its commit may never become a release.
        _ if version::is_prerelease(&record.version) => {}
        Some(head) if head == *commit => {}
        Some(head) if repository::is_ancestor(ctx, &head, commit)? == Some(true) => {
            changes.push(Change { source: commit.clone(), name: branch, expected: head });
        }
        // Somebody continued it already.
        Some(head) if repository::is_ancestor(ctx, commit, &head)? == Some(true) => {}
        Some(head) => problems.push(format!(
            "{remote}'s {} is at {}, which does not belong to this release; look with `git fetch \
             {remote} {}` and `git log FETCH_HEAD`",
            record.branch,
            short(&head),
            record.branch
        )),
        None => {
            changes.push(Change { source: commit.clone(), name: branch, expected: String::new() })
        }
    }
    let name = version::tag(&record.version);
    match there.get(&format!("refs/tags/{name}")) {
        None => changes.push(Change {
            source: tag.to_owned(),
            name: format!("refs/tags/{name}"),
            expected: String::new(),
        }),
        Some(found) if found.object == tag => {}
        Some(found) => problems.push(format!(
            "{remote} has another {name}, of {}: somebody else published {}; take yours back with \
             `git tag --delete {name}`, get theirs with `git fetch {remote} tag {name}`, and \
             release the next version",
            short(found.commit()),
            record.version
        )),
    }
    Ok(changes)
}

/// What the registry lacks and the engine has.
fn missing(
    ctx: &Ctx,
    shelf: &Shelf<'_>,
    record: &Record,
    is_published: bool,
    problems: &mut Vec<String>,
) -> Result<Vec<(String, String)>> {
    let mut missing = Vec::new();
    for image in record.images.keys() {
        match shelf.look(record, image)? {
            There::Same(_) => {
                match (shelf.read_back(record, image), images::here(ctx, record, image)) {
                    (Ok(_), _) => {}
                    (Err(error), _) if exit::code(&error) == exit::INTERRUPTED => {
                        return Err(error);
                    }
                    // A part of it is lost: the push brings what is missing.
                    (Err(_), Ok(Some(id))) => missing.push((image.clone(), id)),
                    (Err(error), _) => problems.push(format!("{error:#}")),
                }
            }
            There::Other(found) => problems.push(format!(
                "the registry has a different {}, whose configuration is {found}; a published name \
                 never moves, so {}{}",
                shelf.name(record, image),
                match is_published {
                    true => String::new(),
                    false => format!(
                        "take this release back with `cargo xtask release --abort {}`, and ",
                        record.version
                    ),
                },
                release::taken::use_next(&record.version)
            )),
            There::Nothing => match images::here(ctx, record, image)? {
                Some(id) => missing.push((image.clone(), id)),
                None => problems.push(format!(
                    "neither the registry nor this engine has {image} of {}; publish where it was \
                     released",
                    record.version
                )),
            },
        }
    }
    Ok(missing)
}

/// A straight line: images, read back, branch and tag.
fn execute(ctx: &Ctx, plan: &Plan<'_>, note: &Path) -> Result<()> {
    let Plan { record, shelf, remote, claim, references, .. } = plan;
    let version = &record.version;
    shelf.push(record, &plan.missing, note)?;
    let mut digests = Vec::new();
    for image in record.images.keys() {
        let status = match plan.missing.iter().any(|(missing, _)| missing == image) {
            true => "pushed",
            false => "there",
        };
        let digest = if ctx.dry_run { String::new() } else { shelf.read_back(record, image)? };
        digests.push((image, status, digest));
    }
    let release =
        Change { source: String::new(), name: claim::name(version), expected: plan.commit.clone() };
    references::push(ctx, remote, references, claim.is_some().then_some(release))?;
    if ctx.dry_run {
        return Ok(());
    }
    references::confirm(ctx, remote, references)?;
    for (image, status, digest) in digests {
        match ctx.json {
            true => ctx.event(&serde_json::json!({
                "event": "image", "image": image, "status": status, "digest": digest,
            }))?,
            false => {
                ctx.print(format_args!("{status:7} {}@{digest}", shelf.name(record, image)))?
            }
        }
    }
    say_done(ctx, plan, "is published")
}

fn say_done(ctx: &Ctx, plan: &Plan<'_>, words: &str) -> Result<()> {
    let version = &plan.record.version;
    match ctx.json {
        true => ctx.event(&serde_json::json!({"event": "published", "version": version})),
        false => ctx.print(format_args!("{version} {words}")),
    }
}
