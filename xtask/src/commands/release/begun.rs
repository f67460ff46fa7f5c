//! Releases that were begun here: their journals, one file each, in the repository's own directory.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use semver::Version;

use super::repository;
use crate::ctx::Ctx;
use crate::release::journal::{self, Decision, Journal, Line};
use crate::release::version;
use crate::tools::git::Places;

/// What the name of a journal ends with.
const END: &str = ".journal";

/// A release that was begun and is not known to be finished.
pub(crate) struct Begun {
    pub(crate) version: Version,
    pub(crate) path: PathBuf,
    journal: Result<Journal, String>,
}

/// All of them; those in which nothing was decided are none.
pub(crate) fn list(places: &Places) -> Result<Vec<Begun>> {
    let mut begun = Vec::new();
    for entry in std::fs::read_dir(repository::directory(places)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(version) = name.strip_suffix(END).and_then(|it| version::parse(it).ok()) else {
            continue;
        };
        let path = entry.path();
        let bytes = std::fs::read(&path).with_context(|| format!("can't read {name}"))?;
        let journal = match journal::parse(&bytes) {
            Ok(None) => continue,
            Ok(Some(journal)) => Ok(journal),
            Err(error) => Err(format!("{error:#}")),
        };
        begun.push(Begun { version, path, journal });
    }
    begun.sort_by(|one, other| one.version.cmp(&other.version));
    Ok(begun)
}

impl Begun {
    /// What was decided; an error where the journal cannot be believed.
    pub(crate) fn decision(&self) -> Result<Decision> {
        match &self.journal {
            Ok(journal) => Ok(journal.decision.clone()),
            Err(problem) => anyhow::bail!(
                "the journal of {version} cannot be used: {problem}\n  take what was begun back \
                 with `cargo xtask release --abort {version}`, then release it again",
                version = self.version
            ),
        }
    }

    /// The steps that are known to be done.
    pub(crate) fn done(&self) -> &[String] {
        self.journal.as_ref().map_or(&[], |journal| &journal.done)
    }
}

/// A journal that is written.
pub(crate) struct Writer<'c> {
    ctx: &'c Ctx,
    path: PathBuf,
    file: Option<File>,
}

impl<'c> Writer<'c> {
    /// Opens the journal of a decision; a new one begins with it. Nothing in a dry run.
    pub(crate) fn open(ctx: &'c Ctx, places: &Places, decision: &Decision) -> Result<Writer<'c>> {
        let directory = repository::directory(places);
        let path = directory.join(format!("{}{END}", decision.version));
        if ctx.dry_run {
            return Ok(Writer { ctx, path, file: None });
        }
        let tried = || format!("can't write {}", path.display());
        std::fs::create_dir_all(&directory).with_context(tried)?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(tried)?;
        // What was being written when somebody died.
        let bytes = std::fs::read(&path).with_context(tried)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).with_context(tried)?;
        file.seek(SeekFrom::End(0)).with_context(tried)?;
        let mut writer = Writer { ctx, path, file: Some(file) };
        if whole == 0 {
            writer.append(&Line::Decided(decision.clone()))?;
            sync_directory(&directory);
        }
        Ok(writer)
    }

    /// Does a step, between two lines that say so.
    pub(crate) fn step<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.append(&Line::Begun(name.to_owned()))?;
        let done = step()?;
        self.append(&Line::Done(name.to_owned()))?;
        Ok(done)
    }

    /// Everything is done: nothing has to be taken up again.
    pub(crate) fn close(self) -> Result<()> {
        match self.file {
            None => Ok(()),
            Some(_) => std::fs::remove_file(&self.path).with_context(|| {
                format!("can't remove {}", self.ctx.relative(&self.path).display())
            }),
        }
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let text = journal::line(line)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_data())
            .with_context(|| format!("can't write {}", self.path.display()))
    }
}

/// Makes a new name durable; where that is not possible, the file itself is.
fn sync_directory(directory: &Path) {
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
}
