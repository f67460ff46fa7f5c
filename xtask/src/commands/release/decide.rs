//! Which version is made from which commit, and everything that speaks against it.

use anyhow::Result;
use semver::Version;

use super::begun::Begun;
use super::repository::{self, Repository};
use super::{default_branch, git_problems, space, taken};
use crate::commands::releases;
use crate::ctx::Ctx;
use crate::exit;
use crate::project::lock;
use crate::release::journal::Decision;
use crate::release::record::Person;
use crate::release::version::{self, Wanted};

/// What came of looking.
pub(crate) enum Decided {
    /// It is released already, from just this commit.
    Done(Version),
    /// Not settled: these say why.
    No(Vec<String>),
    /// Settled; these still speak against it.
    Yes(Decision, Vec<String>),
}

/// Decides from what was observed. A release that was begun is the one that is meant.
pub(crate) fn decide(
    ctx: &Ctx,
    repository: &Repository,
    wanted: &Wanted,
    begun: &[Begun],
) -> Result<Decided> {
    let existing = repository.versions();
    let main = default_branch::find(ctx, repository)?;
    let checked_out = repository.checked_out.as_deref();
    let mut taken = existing.clone();
    let fitting = begun.iter().find(|begun| version::fits(wanted, &begun.version));
    let version = match fitting {
        Some(begun) => begun.version.clone(),
        None => {
            if let Some(newest) = nothing_new(ctx, repository, wanted, &existing, &main)? {
                return Ok(Decided::Done(newest));
            }
            taken = taken::versions(ctx, repository, wanted)?;
            version::choose(wanted, &taken, checked_out)
        }
    };
    let mut unsettled = Vec::new();
    for other in begun.iter().filter(|other| other.version != version) {
        let other = &other.version;
        unsettled.push(format!(
            "{other} was begun and is not finished; finish it with `cargo xtask release {other}`, \
             or take it back with `cargo xtask release --abort {other}`"
        ));
    }
    if let Some(begun) = begun.iter().find(|begun| begun.version == version) {
        return resume(ctx, repository, begun, unsettled);
    }
    let Some((source, commit)) = source(repository, &version, main, &mut unsettled) else {
        return Ok(Decided::No(unsettled));
    };
    if repository.has_tag(&version) {
        if unsettled.is_empty() && is_done(ctx, repository, &version, &commit)? {
            return Ok(Decided::Done(version));
        }
        unsettled.push(exists(repository, &version, &source));
    } else if let Some(problem) = version::problem(&version, &taken) {
        unsettled.push(problem);
    }
    let mut problems = branch_problems(ctx, repository, &version, &source, &commit)?;
    problems.extend(default_branch::checked_out_problem(ctx, repository, &source, &commit)?);
    problems.extend(git_problems::find(ctx, repository, &version, &commit)?);
    let previous = previous(ctx, repository, &version, &commit, existing, &mut problems)?;
    let by = repository::person(ctx)?;
    problems.extend(by.as_ref().err().cloned());
    problems.extend(space::problems(ctx));
    if !unsettled.is_empty() {
        unsettled.extend(problems);
        return Ok(Decided::No(unsettled));
    }
    ctx.say(format_args!("{version} comes from {source}"));
    let nobody = Person { name: String::new(), email: String::new() };
    let decision = Decision {
        version,
        previous,
        commit,
        created: lock::epoch(std::time::SystemTime::now()),
        by: by.unwrap_or(nobody),
    };
    Ok(Decided::Yes(decision, problems))
}

/// Goes on with a release that was begun here.
fn resume(
    ctx: &Ctx,
    repository: &Repository,
    begun: &Begun,
    mut unsettled: Vec<String>,
) -> Result<Decided> {
    let (decision, version) = (begun.decision()?, &begun.version);
    if is_done(ctx, repository, version, &decision.commit)? {
        // It died between its last step and the end of its journal.
        ctx.remove_state(&begun.path)?;
        return Ok(Decided::Done(version.clone()));
    }
    unsettled.extend(taken_meanwhile(repository, version));
    if !unsettled.is_empty() {
        return Ok(Decided::No(unsettled));
    }
    let mut problems = git_problems::find(ctx, repository, version, &decision.commit)?;
    problems.extend(space::problems(ctx));
    Ok(Decided::Yes(decision, problems))
}

/// The newest release, when it is of what a new one would be made of and no version was named:
/// `minor` twice makes one release.
fn nothing_new(
    ctx: &Ctx,
    repository: &Repository,
    wanted: &Wanted,
    existing: &[Version],
    main: &Result<String, String>,
) -> Result<Option<Version>> {
    if matches!(wanted, Wanted::Exactly(_)) {
        return Ok(None);
    }
    let next = version::choose(wanted, existing, repository.checked_out.as_deref());
    let Some(newest) = &version::previous(&next, existing) else { return Ok(None) };
    let branch = version::branch(newest);
    let branch = match (wanted, main) {
        (Wanted::Patch, _) => &branch,
        (_, Ok(main)) => main,
        (_, Err(_)) => return Ok(None),
    };
    let Some(head) = repository.branch(branch) else { return Ok(None) };
    let is_known = match repository.remote.as_ref().map(|remote| &remote.references) {
        None => true,
        Some(Err(_)) => false,
        Some(Ok(there)) => {
            there.get(&format!("refs/heads/{branch}")).is_none_or(|it| it.object == head)
        }
    };
    if !is_known {
        return Ok(None);
    }
    if default_branch::checked_out_problem(ctx, repository, branch, head)?.is_some() {
        return Ok(None);
    }
    let is_done = is_done(ctx, repository, newest, head)?;
    if is_done {
        ctx.say(format_args!("{branch} has nothing new since {newest}"));
    }
    Ok(is_done.then(|| newest.clone()))
}

/// The branch that a version is made from, and its head.
fn source(
    repository: &Repository,
    version: &Version,
    main: Result<String, String>,
    problems: &mut Vec<String>,
) -> Option<(String, String)> {
    let remote = repository.remote_name();
    let there = |name: &str| repository.there().contains_key(name);
    if version.patch == 0 {
        let main = main
            .map_err(|problem| {
                problems.extend(remote_silence(repository));
                problems.push(problem);
            })
            .ok()?;
        if let Some(commit) = repository.branch(&main) {
            let commit = commit.to_owned();
            return Some((main, commit));
        }
        problems.extend(remote_silence(repository));
        problems.push(default_branch::missing(repository, &main));
        return None;
    }
    let branch = version::branch(version);
    if let Some(commit) = repository.branch(&branch) {
        return Some((branch.clone(), commit.to_owned()));
    }
    let there = there(&format!("refs/heads/{branch}"));
    let first = version::tag(&Version::new(version.major, version.minor, 0));
    let tag = repository.here.contains_key(&format!("refs/tags/{first}"));
    problems.push(match (there, tag) {
        (true, _) => format!(
            "the branch {branch} is not here; get it with `git fetch {remote} \
             {branch}:{branch}`"
        ),
        (false, true) => {
            format!("the branch {branch} is missing; make it with `git branch {branch} {first}^`")
        }
        (false, false) if version.major + version.minor == 0 => {
            "there is no release to fix yet; `cargo xtask release 0.1.0` makes the first".into()
        }
        (false, false) => format!(
            "{version} would fix {branch}, which does not exist; `cargo xtask release {}.{}.0` \
             makes it from {}",
            version.major,
            version.minor,
            main.as_deref().unwrap_or("the default branch")
        ),
    });
    None
}

/// Whether a version is released here, from this commit.
fn is_done(ctx: &Ctx, repository: &Repository, version: &Version, commit: &str) -> Result<bool> {
    let tag = repository.here.get(&format!("refs/tags/{}", version::tag(version)));
    if tag.is_none() {
        return Ok(false);
    }
    Ok(releases::load(ctx, version).is_ok_and(|record| record.commit == *commit))
}

fn exists(repository: &Repository, version: &Version, source: &str) -> String {
    let tag = version::tag(version);
    let reference = format!("refs/tags/{tag}");
    let next: Vec<String> = match version::next_stage(version) {
        Some(next) => vec![next.to_string()],
        None => {
            let next = version::next(version, &repository.versions());
            next.iter().map(Version::to_string).collect()
        }
    };
    let next = next.first().map_or("minor", String::as_str);
    let remote = repository.remote_name();
    if let Some(problem) = repository.stale_tag(version) {
        return problem;
    }
    match repository.here.get(&reference).or(repository.there().get(&reference)) {
        Some(found) if found.target.is_none() => format!(
            "tag {tag} is lightweight; releases need an annotated tag: remove it with `git tag \
             --delete {tag}` (and in {remote} with `git push {remote} --delete {tag}`), or make \
             the next release with `cargo xtask release {next}`"
        ),
        Some(_) if repository.here.contains_key(&reference) => format!(
            "the tag {tag} exists already, and is not a release of what {source} is now; make the \
             next one with `cargo xtask release {next}`"
        ),
        _ => format!(
            "{version} is published already by somebody else; get it with `git fetch {remote} tag \
             {tag}`"
        ),
    }
}

/// The remote repository does not answer.
fn remote_silence(repository: &Repository) -> Option<String> {
    let remote = repository.remote.as_ref()?;
    let words = remote.references.as_ref().err()?;
    Some(cannot_list(&remote.name, words))
}

/// Why nothing is known of a remote repository.
pub(crate) fn cannot_list(name: &str, words: &str) -> String {
    format!(
        "cannot list the branches and tags of {name}; `git ls-remote {name}` must work: {words}"
    )
}

/// What speaks against the branches, here and there.
fn branch_problems(
    ctx: &Ctx,
    repository: &Repository,
    version: &Version,
    source: &str,
    commit: &str,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    if repository.places.shallow {
        problems.push(
            "this clone is shallow, so nobody can tell what is new; `git fetch --unshallow` \
             completes it; in a CI job set `fetch-depth: 0` of actions/checkout, `GIT_DEPTH: \"0\"` of \
             GitLab CI, or no `shallow` of Jenkins"
                .into(),
        );
    }
    let branch = version::branch(version);
    if version::begins_branch(version)
        && !repository.has_tag(version)
        && let Some(head) = repository.branch(&branch).filter(|head| *head != commit)
    {
        problems.push(format!(
            "the branch {branch} exists already at {}; remove it with `git branch --delete \
             --force {branch}`, or release a fix of it",
            short(head)
        ));
    }
    let Some(remote) = &repository.remote else { return Ok(problems) };
    let name = &remote.name;
    let Ok(references) = &remote.references else {
        problems.extend(remote_silence(repository));
        return Ok(problems);
    };
    if let Some(there) = references.get(&format!("refs/heads/{source}")) {
        match repository::is_ancestor(ctx, &there.object, commit)? {
            Some(true) => {}
            Some(false) if repository::is_ancestor(ctx, commit, &there.object)? != Some(true) => {
                problems.push(format!(
                    "{source} and {name}'s have both moved; bring them together with `git fetch \
                     {name}` and `git rebase {name}/{source} {source}`"
                ));
            }
            _ => problems.push(format!(
                "{source} is behind {name}; bring it up to date with `git fetch {name} \
                 {source}:{source}` (or `git pull`, where it is checked out)"
            )),
        }
    }
    if version::begins_branch(version) && references.contains_key(&format!("refs/heads/{branch}")) {
        let at = &references[&format!("refs/heads/{branch}")].object;
        if at != commit {
            problems.push(format!(
                "{name} has a branch {branch} already, at {}; is somebody else releasing \
                 {version}?",
                short(at)
            ));
        }
    }
    Ok(problems)
}

/// The release that a version follows: the newest before it with a record. A fix has the one that
/// it fixes in its history.
fn previous(
    ctx: &Ctx,
    repository: &Repository,
    version: &Version,
    commit: &str,
    mut existing: Vec<Version>,
    problems: &mut Vec<String>,
) -> Result<Option<Version>> {
    while let Some(previous) = version::previous(version, &existing) {
        let tag = version::tag(&previous);
        if !repository.here.contains_key(&format!("refs/tags/{tag}")) {
            problems.push(format!(
                "the release {previous} is not here; get it with `git fetch {} tag {tag}`",
                repository.remote_name()
            ));
            return Ok(Some(previous));
        }
        if let Some(problem) = repository.stale_tag(&previous) {
            problems.push(problem);
            return Ok(Some(previous));
        }
        let record = match releases::load(ctx, &previous) {
            Ok(record) => record,
            // A tag that is not a release is not one to follow; a damaged record may be.
            Err(error) if version.patch > 0 && exit::code(&error) != exit::USAGE => {
                problems.push(format!("{error:#}"));
                return Ok(Some(previous));
            }
            Err(error) => {
                ctx.warn(format_args!("{tag} is left out: {error:#}"));
                existing.retain(|other| *other != previous);
                continue;
            }
        };
        let released = &record.commit;
        if version.patch > 0 && repository::is_ancestor(ctx, released, commit)? != Some(true) {
            let branch = version::branch(version);
            let at = short(released);
            problems.push(format!(
                "{branch} does not contain {previous}, whose commit is {at}; rebase it with `git \
                 rebase {at} {branch}`"
            ));
        }
        return Ok(Some(previous));
    }
    Ok(None)
}

/// What others did since a release was begun here.
fn taken_meanwhile(repository: &Repository, version: &Version) -> Option<String> {
    let tag = version::tag(version);
    let remote = repository.remote_name();
    let reference = format!("refs/tags/{tag}");
    let theirs = repository.there().get(&reference)?;
    let ours = repository.here.get(&reference).map(|it| &it.object);
    (ours != Some(&theirs.object)).then(|| {
        format!(
            "somebody else has published {version} since it was begun here; take yours back with \
             `cargo xtask release --abort {version}`, get theirs with `git fetch {remote} tag \
             {tag}`, and release the next version"
        )
    })
}

/// A commit as people say it.
pub(crate) fn short(commit: &str) -> &str {
    &commit[..commit.len().min(12)]
}
