//! The deployment log on its branch in the remote repository: read, and moved forward. The push
//! that moves it is a compare-and-swap, so of several who deploy to one environment one does.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::commands::publish::NO_REMOTE;
use crate::commands::publish::references::{is_explained, land};
use crate::commands::release::cannot_list;
use crate::commands::release::commit::{self, Content, File};
use crate::commands::release::repository::{self, Repository, remote_references};
use crate::ctx::{Ctx, LONG};
use crate::exit;
use crate::release::deployment::{self, Deployment, Kind, Log, Outcome, Verdict};
use crate::release::record::Person;
use crate::tools::git::{self, Change, Places, References, Signature};

/// The log as the remote repository has it.
pub(crate) struct Ledger<'c> {
    ctx: &'c Ctx,
    places: Places,
    remote: String,
    pub(crate) environment: String,
    /// The commit that the branch is at; nothing where there is none yet.
    head: Option<String>,
    pub(crate) log: Log,
    pub(crate) person: Person,
    /// This clone, among all that deploy.
    pub(crate) owner: String,
}

impl<'c> Ledger<'c> {
    pub(crate) fn read(
        ctx: &'c Ctx,
        repository: &Repository,
        environment: &str,
    ) -> Result<Ledger<'c>> {
        let remote = repository.remote.as_ref().context(NO_REMOTE)?;
        let mut ledger = Ledger {
            ctx,
            places: repository.places.clone(),
            remote: remote.name.clone(),
            environment: environment.to_owned(),
            head: None,
            log: Log::default(),
            person: repository::person(ctx)?.map_err(anyhow::Error::msg)?,
            owner: owner(ctx, &repository.places)?,
        };
        // The push that takes the environment fails where this is old already.
        ledger.take(&remote.references)?;
        Ok(ledger)
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", deployment::branch(&self.environment))
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.log.0.last().map_or(1, |last| last.number + 1)
    }

    pub(crate) fn open_number(&self) -> Option<u64> {
        self.log.open().map(|open| open.number)
    }

    /// Which rollback is being made here. "The one before" is another one as soon as a rollback has
    /// succeeded, so whoever is killed then must not go further back by the same command.
    pub(crate) fn note(&self, number: u64) -> Result<()> {
        self.ctx.write_cache(&self.note_path(), number.to_string().as_bytes())
    }

    /// The rollback that was begun here, and ended without a word to whoever began it.
    pub(crate) fn noted(&self) -> Option<&Deployment> {
        let number: u64 = std::fs::read_to_string(self.note_path()).ok()?.parse().ok()?;
        let last = self.log.0.last().filter(|it| it.number == number && it.verdict.is_some());
        last.filter(|it| it.kind == Kind::Rollback && it.owner == self.owner)
    }

    /// Whoever made the rollback was told what came of it.
    pub(crate) fn forget_note(&self) {
        if !self.ctx.dry_run {
            let _ = std::fs::remove_file(self.note_path());
        }
    }

    fn note_path(&self) -> PathBuf {
        repository::directory(&self.places).join(format!("rollback-{}", self.environment))
    }

    /// Reads again what the remote repository has.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        self.take(&remote_references(self.ctx, &self.remote)?)
    }

    fn take(&mut self, there: &Result<References, String>) -> Result<()> {
        let (ctx, remote) = (self.ctx, &self.remote);
        let there = there.as_ref().map_err(|words| exit::missing(cannot_list(remote, words)))?;
        let name = self.reference();
        self.head = there.get(&name).map(|it| it.object.clone());
        self.log = match &self.head {
            None => Log::default(),
            Some(head) => {
                let cmd = git::fetch_object(&ctx.sh, remote, &name);
                let shown = cmd.to_string();
                ctx.ask(cmd, LONG)?.success(&shown)?;
                read(ctx, head)?
            }
        };
        Ok(())
    }

    /// Adds a deployment, which takes the environment.
    pub(crate) fn begin(&mut self, deployment: Deployment) -> Result<()> {
        let words = format!(
            "{}: {} {} begun",
            self.environment,
            deployment.kind.verb(),
            deployment.version
        );
        let mut log = self.log.clone();
        log.0.push(deployment);
        self.write(log, &words).map_err(|error| match is_explained(&error) {
            true => error.context("can't write to the log of deployments"),
            false => error.context(format!(
                "somebody else may deploy to {} at this moment; run the same command again",
                self.environment
            )),
        })
    }

    /// Whether a deployment goes on, by what the remote repository has now.
    pub(crate) fn goes_on(&mut self, number: u64) -> Result<bool> {
        self.refresh()?;
        Ok(self.open_number() == Some(number))
    }

    /// Gives a deployment its verdict, unless somebody did meanwhile: nothing is lost then.
    pub(crate) fn end(
        &mut self,
        number: u64,
        result: Outcome,
        reason: Option<String>,
    ) -> Result<()> {
        for last_try in [false, true] {
            let mut log = self.log.clone();
            let is_it = |it: &&mut Deployment| it.number == number && it.verdict.is_none();
            let Some(open) = log.0.last_mut().filter(is_it) else { return Ok(()) };
            let ended = now();
            open.verdict = Some(Verdict { result, reason: reason.clone(), ended });
            let words = format!(
                "{}: {} {} {}",
                self.environment,
                open.kind.verb(),
                open.version,
                result.word()
            );
            match self.write(log, &words) {
                Ok(()) => return Ok(()),
                Err(error) if last_try || exit::code(&error) == exit::INTERRUPTED => {
                    return Err(error.context("the verdict can't be written to the log"));
                }
                Err(_) => self.refresh()?,
            }
        }
        Ok(())
    }

    /// Moves the branch forward to a log.
    fn write(&mut self, log: Log, words: &str) -> Result<()> {
        let ctx = self.ctx;
        let workshop =
            repository::directory(&self.places).join(format!("deployments-{}", self.environment));
        let by = Signature {
            name: &self.person.name,
            email: &self.person.email,
            seconds: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs(),
        };
        let file = File { path: deployment::FILE.to_owned(), text: log.text()? };
        let content = Content { parent: self.head.as_deref(), files: &[file], message: words };
        let commit = commit::commit(ctx, &workshop, &content, &by)?;
        let change = Change {
            source: commit.clone(),
            name: self.reference(),
            expected: self.head.clone().unwrap_or_default(),
        };
        land(ctx, &self.remote, &[change])?;
        (self.head, self.log) = (Some(commit), log);
        Ok(())
    }
}

fn read(ctx: &Ctx, head: &str) -> Result<Log> {
    let text = ctx.read(git::blob(&ctx.sh, &format!("{head}:{}", deployment::FILE)))?;
    Log::parse(&text).with_context(|| format!("{} in commit {head} is damaged", deployment::FILE))
}

/// The log as this clone has last seen it: without a network.
pub(crate) fn last_seen(ctx: &Ctx, environment: &str) -> Result<Option<Log>> {
    let references = git::parse_references(&ctx.read(git::references(&ctx.sh))?);
    let end = format!("/{}", deployment::branch(environment));
    let mut seen = references.iter().filter(|(name, _)| name.starts_with("refs/remotes/"));
    match seen.find(|(name, _)| name.ends_with(&end)) {
        Some((_, reference)) => read(ctx, &reference.object).map(Some),
        None => Ok(None),
    }
}

pub(crate) fn now() -> String {
    in_future(Duration::ZERO)
}

pub(crate) fn in_future(duration: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + duration).to_string()
}

/// A name for this clone, made when it is first needed: of two that would be the same person's, one
/// may live and the other be gone.
fn owner(ctx: &Ctx, places: &Places) -> Result<String> {
    let path = repository::directory(places).join("owner");
    if let Ok(name) = std::fs::read_to_string(&path)
        && name.len() == 16
    {
        return Ok(name);
    }
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    let name = hex::encode(bytes);
    ctx.write_cache(&path, name.as_bytes())?;
    Ok(name)
}
