//! The state on disk: a log of changes, one JSON line a transaction, replayed at the start.
//!
//! A line is `["CRC32",[CHANGE,…]]`, and the sum is that of the list's bytes: what is damaged is
//! never taken for what was written. A last line without its newline is what a crash cut off, and
//! is dropped. The log is written anew, without what is over, when it opens and has grown; a new
//! file takes the place of the old one by a rename.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::{Change, Event, Moment, State, Status};

/// Events and terminated environments are remembered for six weeks, as the service does.
const KEPT: u64 = 42 * 24 * 60 * 60 * 1000;

/// The first line: what the file is.
const HEADER: &str = r#"{"stevedore.beanstalk":2}"#;

pub(crate) struct Log {
    pub(crate) state: State,
    file: File,
    path: PathBuf,
    /// Held as long as the server lives; the kernel lets go of it.
    _lock: File,
    last_event: Moment,
}

impl Log {
    /// # Errors
    ///
    /// When another server uses the directory, or a line is not what this version writes.
    pub(crate) fn open(directory: &Path) -> Result<Log> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("can't create {}", directory.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .with_context(|| format!("can't write to {}", directory.display()))?;
        // One that was killed while it started a command holds it a moment longer.
        let until = Instant::now() + Duration::from_secs(2);
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() > until {
                bail!("another server uses {}; stop it first: beanstalk stop", directory.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let path = directory.join("state.jsonl");
        let (mut state, lines) = read(&path)?;
        let entities = state.whole().count();
        forget_the_past(&mut state);
        let last_event = state.events.last().map(|event| event.date).unwrap_or_default();
        let grown = lines > 2 * entities + 1000 || !path.exists();
        let file = if grown { rewrite(&path, &state)? } else { append(&path)? };
        Ok(Log { state, file, path, _lock: lock, last_event })
    }

    /// Makes the changes, first on disk.
    ///
    /// # Errors
    ///
    /// When they cannot be written; then none of them is made.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<()> {
        let line = line_of(&changes)?;
        let end = self.file.seek(SeekFrom::End(0))?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not have another one behind it.
            self.file.set_len(end).ok();
            return Err(error).with_context(|| format!("can't write {}", self.path.display()));
        }
        for change in changes {
            self.state.apply(change);
        }
        Ok(())
    }

    /// When the next event happens: `eb` asks for what is later than the last one it saw by a
    /// millisecond, so two events of one millisecond would hide one another.
    pub(crate) fn next_event(&mut self) -> Moment {
        let next = Moment::now().max(Moment(self.last_event.0 + 2));
        self.last_event = next;
        next
    }
}

fn read(path: &Path) -> Result<(State, usize)> {
    let mut state = State::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((state, 0)),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        if line.last() != Some(&b'\n') {
            // A crash cut it off, unless only its last byte is another.
            let rest = line.split_last().map_or(&[][..], |(_, rest)| rest);
            if number == 1 || changes_of(rest).is_some() {
                bail!("{}:{number} is damaged: its end is no newline", path.display());
            }
            break;
        }
        if number == 1 {
            if line.trim_ascii() != HEADER.as_bytes() {
                bail!("{}:1 is not of this version: {HEADER} is expected", path.display());
            }
        } else {
            let changes = changes_of(line.trim_ascii_end());
            let changes = changes.with_context(|| {
                format!(
                    "{}:{number} is damaged, and what follows builds on it; restore the file from \
                     a copy, or move the directory away to begin anew",
                    path.display()
                )
            })?;
            changes.into_iter().for_each(|change| state.apply(change));
        }
        line.clear();
    }
    Ok((state, number))
}

const SUM: usize = 8;

fn line_of(changes: &[Change]) -> Result<Vec<u8>> {
    let changes = serde_json::to_vec(changes)?;
    let mut line = format!("[\"{:08x}\",", crc32fast::hash(&changes)).into_bytes();
    line.extend(changes);
    line.extend(b"]\n");
    Ok(line)
}

/// What a line says, without its newline; nothing when it is not as it was written.
fn changes_of(line: &[u8]) -> Option<Vec<Change>> {
    let (sum, rest) = line.strip_prefix(b"[\"")?.split_at_checked(SUM)?;
    let changes = rest.strip_prefix(b"\",")?.strip_suffix(b"]")?;
    let own = format!("{:08x}", crc32fast::hash(changes));
    (sum == own.as_bytes()).then(|| serde_json::from_slice(changes).ok())?
}

fn forget_the_past(state: &mut State) {
    let oldest = Moment(Moment::now().0.saturating_sub(KEPT));
    state.events.retain(|event: &Event| event.date >= oldest);
    state.environments.retain(|_, it| it.status != Status::Terminated || it.updated >= oldest);
}

fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    // What a crash cut off goes, lest the next line become a part of it.
    let content = std::fs::read(path)?;
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole == 0 {
        bail!("{} is damaged: it does not begin with {HEADER}", path.display());
    }
    file.set_len(whole as u64)?;
    Ok(file)
}

fn rewrite(path: &Path, state: &State) -> Result<File> {
    let directory = path.parent().context("a file has a directory")?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    {
        let mut writer = std::io::BufWriter::new(&mut new);
        writeln!(writer, "{HEADER}")?;
        for change in state.whole() {
            writer.write_all(&line_of(&[change])?)?;
        }
        writer.flush()?;
    }
    new.as_file().sync_all()?;
    let file = new.persist(path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Log;
    use crate::state::{Application, Change};

    fn names(log: &Log) -> Vec<String> {
        log.state.applications.keys().cloned().collect()
    }

    /// A log of five transactions: its bytes, and where each of its lines ends.
    fn written(directory: &Path) -> (Vec<u8>, Vec<usize>) {
        let mut log = Log::open(directory).unwrap();
        for number in 0..5 {
            let name = format!("app-{number}");
            let one = Application { name, ..Application::default() };
            log.commit(vec![Change::Application(one)]).unwrap();
        }
        let bytes = std::fs::read(directory.join("state.jsonl")).unwrap();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends = ends.map(|(at, _)| at + 1).collect();
        (bytes, ends)
    }

    #[allow(clippy::disallowed_methods)] // The damage is the test.
    fn opened(directory: &Path, bytes: &[u8]) -> anyhow::Result<Log> {
        std::fs::write(directory.join("state.jsonl"), bytes).unwrap();
        Log::open(directory)
    }

    #[test]
    fn a_line_that_was_cut_off_is_dropped_and_those_before_it_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, ends) = written(directory.path());
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            match opened(directory.path(), &bytes[..cut]) {
                Ok(mut log) => {
                    assert_eq!(names(&log).len(), whole - 1, "cut at {cut}");
                    // What comes next is no part of the rest.
                    let one = Application { name: "next".to_owned(), ..Application::default() };
                    log.commit(vec![Change::Application(one)]).unwrap();
                    drop(log);
                    let log = Log::open(directory.path()).unwrap();
                    assert_eq!(names(&log).len(), whole, "cut at {cut}");
                }
                // Without its newline a line is whole or not: nobody was told that it is there.
                Err(error) => {
                    let text = format!("{error:#}");
                    assert!(whole == 0, "cut at {cut}: {text}");
                    assert!(text.contains("state.jsonl"), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_that_names_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, ends) = written(directory.path());
        for at in 0..bytes.len() {
            let line = 1 + ends.iter().filter(|end| **end <= at).count();
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let Err(error) = opened(directory.path(), &damaged) else {
                    panic!("bit {bit} of byte {at} is taken for good");
                };
                let text = format!("{error:#}");
                let place = format!("state.jsonl:{line} is ");
                assert!(text.contains(&place), "byte {at}, bit {bit}: {text}");
            }
        }
    }
}
