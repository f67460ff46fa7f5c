//! A zip archive whose bytes depend on nothing but names, modes and contents.
//!
//! Names are sorted, times are the first that a zip can hold, modes are given by the caller, and
//! there are no entries for directories. Files are compressed by several threads, and written in
//! their order; what is compressed and not yet written is bounded.
//!
//! It knows nothing of the rest of the tool: the benchmark has it too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};
use zip::write::{PreparedZipFile, SimpleFileOptions, ZipFileBuilder};
use zip::{CompressionMethod, DateTime, System, ZipWriter};

pub(crate) struct Entry {
    /// The path in the archive.
    pub(crate) name: String,
    pub(crate) executable: bool,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Text(String),
    /// With its size in bytes.
    File(PathBuf, u64),
}

/// Bytes that wait for being written, before they were compressed.
const WAITING: u64 = 64 << 20;
/// Larger files are never held whole.
pub(crate) const LARGE: u64 = 16 << 20;
/// What is read and hashed at once.
const CHUNK: usize = 256 << 10;
/// What decides whether a file is compressed at all.
const SAMPLE: u64 = 4 << 10;
/// Half the time of the usual 6, for a hundredth more.
const LEVEL: i64 = 3;

/// Writes all entries to an empty file: its SHA-256. `alive` is asked before each of them.
pub(crate) fn write(
    file: &mut File,
    mut entries: Vec<Entry>,
    most_bytes: u64,
    alive: &dyn Fn() -> Result<()>,
) -> Result<String> {
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let twice = entries.windows(2).find(|pair| pair[0].name == pair[1].name);
    ensure!(twice.is_none(), "two files would have the name {:?}", twice.map(|it| &it[0].name));
    let queue = Queue::default();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(16);
    let written = std::thread::scope(|scope| {
        let (done, ready) = mpsc::channel();
        for _ in 0..threads {
            let (queue, entries, done) = (&queue, &entries, done.clone());
            scope.spawn(move || {
                while let Some(next) = queue.take(entries) {
                    // The writer has given up when it does not listen.
                    let _ = done.send((next, prepare(&entries[next])));
                }
            });
        }
        drop(done);
        let written = append_all(file, &entries, &ready, &queue, most_bytes, alive);
        queue.end();
        written
    });
    written?;
    hash(file)
}

/// The number of an entry and what became of it.
type Done = (usize, Result<Option<PreparedZipFile>>);

fn append_all(
    file: &mut File,
    entries: &[Entry],
    ready: &mpsc::Receiver<Done>,
    queue: &Queue,
    most_bytes: u64,
    alive: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let fits = |bytes: u64| {
        ensure!(
            bytes <= most_bytes,
            "the bundle has more than {most_bytes} bytes, and Elastic Beanstalk takes no more"
        );
        Ok(())
    };
    let mut zip = ZipWriter::new(BufWriter::with_capacity(CHUNK, &mut *file));
    let mut early = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        alive()?;
        let tried = || format!("can't bundle {}", entry.name);
        let prepared = loop {
            match early.remove(&number) {
                Some(prepared) => break prepared,
                None => early.extend([ready.recv().context("a thread has failed")?]),
            }
        };
        match prepared.with_context(tried)? {
            Some(prepared) => zip.add_prepared_file(prepared).with_context(tried)?,
            None => {
                let options = options(entry).with_context(tried)?;
                zip.start_file(&*entry.name, options).with_context(tried)?;
                copy(entry, &mut zip, alive).with_context(tried)?;
            }
        }
        queue.give_back(entry);
        if let Some(writer) = zip.get_ref() {
            fits(writer.get_ref().metadata()?.len())?;
        }
    }
    zip.finish().map_err(std::io::Error::from).and_then(|mut it| it.flush())?;
    fits(file.metadata()?.len())
}

/// Compressed, or nothing of what is too large for that.
fn prepare(entry: &Entry) -> Result<Option<PreparedZipFile>> {
    if entry.size() > LARGE {
        return Ok(None);
    }
    let mut builder = ZipFileBuilder::new(&entry.name, options(entry)?)?;
    copy(entry, &mut builder, &|| Ok(()))?;
    Ok(Some(builder.finish()?))
}

fn options(entry: &Entry) -> Result<SimpleFileOptions> {
    let options = match entry.is_dense()? {
        true => SimpleFileOptions::default().compression_method(CompressionMethod::Stored),
        false => SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL)),
    };
    Ok(options
        .last_modified_time(DateTime::DEFAULT)
        .system(System::Unix)
        .unix_permissions(if entry.executable { 0o755 } else { 0o644 }))
}

/// Returns how many bytes the entry has.
fn copy(entry: &Entry, to: &mut dyn Write, alive: &dyn Fn() -> Result<()>) -> Result<u64> {
    let path = match &entry.content {
        Content::Text(text) => {
            to.write_all(text.as_bytes())?;
            return Ok(text.len() as u64);
        }
        Content::File(path, _) => path,
    };
    let mut file = File::open(path)?;
    let (mut buffer, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        alive()?;
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
    }
    ensure!(bytes == entry.size(), "it changed while it was read");
    Ok(bytes)
}

fn hash(file: &mut File) -> Result<String> {
    file.rewind()?;
    let (mut buffer, mut sha256) = (vec![0; CHUNK], Sha256::new());
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(sha256.finalize())),
            count => sha256.update(&buffer[..count]),
        }
    }
}

impl Entry {
    /// In bytes.
    fn size(&self) -> u64 {
        match &self.content {
            Content::Text(text) => text.len() as u64,
            Content::File(_, size) => *size,
        }
    }

    /// Whether it is compressed already, such as a picture: so it is in two samples, at its
    /// beginning and in its middle.
    fn is_dense(&self) -> Result<bool> {
        let Content::File(path, size) = &self.content else { return Ok(false) };
        let mut file = File::open(path)?;
        for place in [0, size / 2] {
            let mut sample = Vec::new();
            file.seek(SeekFrom::Start(place))?;
            (&mut file).take(SAMPLE).read_to_end(&mut sample)?;
            let mut smaller = DeflateEncoder::new(Vec::new(), Compression::fast());
            smaller.write_all(&sample)?;
            if smaller.finish()?.len() * 100 < sample.len() * 97 || sample.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it costs while it waits.
    fn weight(&self) -> u64 {
        if self.size() > LARGE { 0 } else { self.size() }
    }
}

/// Which entry is compressed next. They are taken in their order, so the one that the writer waits
/// for was always taken before it.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: usize,
    waiting: u64,
    ended: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, entries: &[Entry]) -> Option<usize> {
        let full = |state: &mut State| {
            let next = entries.get(state.next);
            let fits = |it: &Entry| state.waiting == 0 || state.waiting + it.weight() <= WAITING;
            !state.ended && next.is_some_and(|it| !fits(it))
        };
        let state = self.changed.wait_while(self.state(), full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let next = state.next;
        let entry = entries.get(next).filter(|_| !state.ended)?;
        state.waiting += entry.weight();
        state.next += 1;
        Some(next)
    }

    fn give_back(&self, entry: &Entry) {
        self.state().waiting -= entry.weight();
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }
}
