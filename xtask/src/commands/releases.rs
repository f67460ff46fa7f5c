//! `releases`: the releases that this clone has. Also the way to a record, for every other command.
//!
//! A release is an annotated tag `vX.Y.Z` whose commit holds `releases/X.Y.Z.json`; nothing of that
//! is on a branch, so the checkout does not matter. Other tags are none of our business: a
//! lightweight one that somebody set, or those from before this project was released by this tool.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fingerprint::short;
use semver::Version;

use super::deploy::log;
use super::release::repository;
use crate::cli;
use crate::ctx::{Answer, Ctx, QUESTION};
use crate::exit;
use crate::project::Project;
use crate::release::changes::{printable, size};
use crate::release::deployment::Log;
use crate::release::record::{self, Record};
use crate::release::version;
use crate::tools::git;

/// How many records are read at once.
const AT_ONCE: usize = 8;
/// How many versions are named to somebody who asked for another one.
const NAMED: usize = 10;

/// What a tag with the name of a release holds.
enum Held {
    Record(Box<Record>),
    Damaged(anyhow::Error),
    /// No record: it was not made by this tool.
    Nothing,
}

impl cli::Releases {
    pub(crate) fn run(self, ctx: &Ctx) -> Result<()> {
        let tags = tags(ctx)?;
        let (versions, lightweight): (Vec<_>, Vec<_>) =
            tags.into_iter().rev().partition(|(_, annotated)| *annotated);
        let versions: Vec<Version> = versions.into_iter().map(|it| it.0).collect();
        let (mut rows, mut damaged, mut foreign) = (Vec::new(), 0, Vec::new());
        let deployed = deployed(ctx)?;
        for (version, held) in versions.iter().zip(read_all(ctx, &versions)?) {
            match held {
                Held::Record(record) => rows.push(Row::of(&record, deployed.get(version))),
                Held::Nothing => foreign.push(version::tag(version)),
                Held::Damaged(problem) => {
                    damaged += 1;
                    rows.push(Row::damaged(version, &problem));
                }
            }
        }
        if !foreign.is_empty() {
            let tags = foreign.join(", ");
            ctx.say(format_args!(
                "not of `cargo xtask release`, since they hold no record: {tags}"
            ));
        }
        if !lightweight.is_empty() {
            let tags: Vec<String> = lightweight.iter().map(|it| version::tag(&it.0)).collect();
            ctx.say(format_args!(
                "lightweight, so not releases: {}; `git fetch --tags --force` gets annotated ones",
                tags.join(", ")
            ));
        }
        if rows.is_empty() {
            ctx.say(
                "no release yet; `cargo xtask release 0.1.0` makes the first one, and \
                 `git fetch --tags` gets those of others",
            );
        }
        show(ctx, &rows)?;
        anyhow::ensure!(
            damaged == 0,
            "{damaged} of {} releases can't be read; the list says what is wrong with each",
            rows.len()
        );
        Ok(())
    }
}

/// Version -> the environments that it runs in, by the logs as this clone has last seen them.
fn deployed(ctx: &Ctx) -> Result<BTreeMap<Version, Vec<String>>> {
    let mut deployed = BTreeMap::<Version, Vec<String>>::new();
    for environment in Project::load(&ctx.root)?.environments {
        let log = log::last_seen(ctx, &environment)?;
        if let Some(current) = log.as_ref().and_then(Log::current) {
            deployed.entry(current.version.clone()).or_default().push(environment);
        }
    }
    Ok(deployed)
}

/// The releases that this clone has, oldest version first.
pub(crate) fn versions(ctx: &Ctx) -> Result<Vec<Version>> {
    let tags = tags(ctx)?.into_iter();
    Ok(tags.filter(|(_, annotated)| *annotated).map(|(version, _)| version).collect())
}

/// The record of a release.
///
/// Fails with the versions that there are when this is none of them.
pub(crate) fn load(ctx: &Ctx, version: &Version) -> Result<Record> {
    let tags = tags(ctx)?;
    let tag = version::tag(version);
    let problem = match tags.get(version) {
        None => format!("there is no release {version}"),
        Some(false) => format!("the tag {tag} is lightweight, so it is not a release"),
        Some(true) => match read_all(ctx, std::slice::from_ref(version))?.pop() {
            Some(Held::Record(record)) => return Ok(*record),
            Some(Held::Damaged(problem)) => return Err(problem),
            Some(Held::Nothing) | None => {
                format!(
                    "the tag {tag} holds no {}, so it is not a release",
                    record::paths(version)[0]
                )
            }
        },
    };
    let annotated = tags.iter().filter(|(_, annotated)| **annotated).map(|(version, _)| version);
    let mut known: Vec<String> =
        annotated.rev().filter(|it| *it != version).map(Version::to_string).collect();
    let more = known.len().saturating_sub(NAMED);
    known.truncate(NAMED);
    let known = match (known.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => known.join(", "),
        (false, more) => format!("{} and {more} more", known.join(", ")),
    };
    // A tag that is here is only replaced by force.
    let force = if tags.contains_key(version) { " --force" } else { "" };
    Err(exit::usage(format!(
        "{problem}; known: {known}; `git fetch --tags{force}` gets those of others"
    )))
}

/// Every tag with the name of a release, and whether it is an annotated one.
fn tags(ctx: &Ctx) -> Result<BTreeMap<Version, bool>> {
    let cmd = git::references(&ctx.sh);
    let shown = cmd.to_string();
    let answer = ctx.ask(cmd, QUESTION)?;
    if answer.stderr.contains("not a git repository") {
        anyhow::bail!(
            "{} is no git repository, and releases are tags of one; `git init` makes it one",
            ctx.root.display()
        );
    }
    if !answer.status.success() {
        // The usual reason is said with what to type.
        repository::places(ctx)?;
    }
    let references = git::parse_references(&answer.success(&shown)?).into_iter();
    let tags = references.filter_map(|(name, reference)| {
        Some((version::of_tag(name.strip_prefix("refs/tags/")?)?, reference.target.is_some()))
    });
    Ok(tags.collect())
}

fn read_all(ctx: &Ctx, versions: &[Version]) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    for versions in versions.chunks(AT_ONCE) {
        // From where we are: a project may lie below its repository's top.
        let object =
            |it: &Version| format!("refs/tags/{}:./{}", version::tag(it), record::paths(it)[0]);
        let cmds = versions.iter().map(|it| git::blob(&ctx.sh, &object(it))).collect();
        for (version, answer) in versions.iter().zip(ctx.ask_all(cmds, QUESTION)?) {
            all.push(read(ctx, version, answer)?);
        }
    }
    Ok(all)
}

fn read(ctx: &Ctx, version: &Version, answer: Answer) -> Result<Held> {
    let (tag, [path, ..]) = (version::tag(version), record::paths(version));
    let damaged = |error: anyhow::Error| error.context(format!("{path} in the tag {tag}"));
    if answer.status.success() {
        return Ok(match Record::parse(&answer.stdout).and_then(|it| check(it, version)) {
            Ok(record) => Held::Record(Box::new(record)),
            Err(error) => Held::Damaged(damaged(error)),
        });
    }
    let found = ctx.ask(git::find_file(&ctx.sh, &format!("refs/tags/{tag}"), &path), QUESTION)?;
    if found.status.success() && found.stdout.is_empty() {
        return Ok(Held::Nothing);
    }
    let said = answer.stderr.trim().to_owned();
    Ok(Held::Damaged(damaged(anyhow::anyhow!("{said}; `git fsck` says what this clone lacks"))))
}

/// The record of this version; its commit may stand in an argv.
fn check(record: Record, version: &Version) -> Result<Record> {
    anyhow::ensure!(record.version == *version, "the record is of release {}", record.version);
    let commit = &record.commit;
    let is_hash =
        [40, 64].contains(&commit.len()) && commit.bytes().all(|it| it.is_ascii_hexdigit());
    anyhow::ensure!(is_hash, "the record names {commit:?} as its commit");
    Ok(record)
}

/// A line of the list, and the same as an event.
struct Row {
    columns: [String; 5],
    event: serde_json::Value,
}

impl Row {
    fn of(record: &Record, deployed: Option<&Vec<String>>) -> Row {
        let images = record.images.values();
        let packages: BTreeSet<(&String, &String)> =
            images.clone().flat_map(|image| image.packages.installed()).collect();
        let layers: BTreeMap<&String, u64> =
            images.flat_map(|image| &image.layers).map(|it| (&it.diff_id, it.size)).collect();
        let bytes: u64 = layers.values().sum();
        let stores = record.services.iter();
        let stores: BTreeMap<&String, u64> =
            stores.filter_map(|(name, it)| Some((name, it.store.as_ref()?.major))).collect();
        let mut stack =
            vec![format!("epoch {}", day(&record.epoch)), count(packages.len(), "package")];
        stack.extend(stores.iter().map(|(name, major)| format!("{name} {major}")));
        stack.push(format!("{} of {}", count(record.images.len(), "image"), size(bytes)));
        stack.extend(deployed.map(|environments| format!("runs in {}", environments.join(", "))));
        let columns = [
            record.version.to_string(),
            day(&record.created).to_owned(),
            short(&record.commit).to_owned(),
            record.by.name.clone(),
            stack.join(", "),
        ];
        let event = serde_json::json!({
            "event": "release", "version": record.version, "created": record.created,
            "commit": record.commit, "by": record.by, "epoch": record.epoch,
            "packages": packages.len(), "stores": stores, "images": record.images.len(),
            "size_bytes": bytes, "deployed": deployed.cloned().unwrap_or_default(),
        });
        Row { columns, event }
    }

    fn damaged(version: &Version, problem: &anyhow::Error) -> Row {
        let problem = format!("{problem:#}").replace('\n', " ");
        let event = serde_json::json!({
            "event": "release", "version": version, "problem": problem,
        });
        let columns = [version.to_string(), String::new(), String::new(), String::new(), problem];
        Row { columns, event }
    }
}

/// Of a time such as `2026-11-21T11:35:01Z`.
fn day(time: &str) -> &str {
    time.split('T').next().unwrap_or(time)
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn show(ctx: &Ctx, rows: &[Row]) -> Result<()> {
    let width = |column: usize| {
        rows.iter().map(|row| row.columns[column].chars().count()).max().unwrap_or_default()
    };
    let [a, b, c, d] = [0, 1, 2, 3].map(width);
    for Row { columns: [version, date, commit, by, stack], event } in rows {
        if ctx.json {
            ctx.event(event)?;
            continue;
        }
        let line = match date.is_empty() {
            true => format!("{version:a$}  {stack}"),
            false => format!("{version:a$}  {date:b$}  {commit:c$}  {by:d$}  {stack}"),
        };
        ctx.print(printable(&line))?;
    }
    Ok(())
}
