//! dart-sass, which compiles style sheets. It runs beside us and is spoken to in the Embedded Sass
//! protocol, so one start serves all sheets and errors have places.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use prost::Message as _;

use self::messages::{Compile, Event, Inbound, Kind, LoadPath, Log, Outbound, Outcome, Span};
use crate::process::Process;

mod messages;

/// Sheets that are compiled at one time: each takes a thread of the compiler's.
const AT_ONCE: usize = 4;
/// Most bytes of an answer that are believed.
const MOST: u64 = 1 << 30;

/// One process.
pub(crate) struct Sass(Process);

/// The compiler, started when it is first needed, and kept for the next build of the same process.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<Sass>>);

impl Kept {
    /// Like [`Sass::compile`]; one that failed is not asked again.
    pub(crate) fn compile(
        &self,
        directory: &Path,
        paths: &[PathBuf],
        load_paths: &[PathBuf],
    ) -> Result<Vec<Compiled>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was kept may have been ended by somebody meanwhile.
        let again = kept.take().and_then(|mut sass| {
            let compiled = sass.compile(paths, load_paths).ok()?;
            Some((sass, compiled))
        });
        let (sass, compiled) = match again {
            Some(done) => done,
            None => {
                let mut sass = Sass::start(directory)?;
                let compiled = sass.compile(paths, load_paths)?;
                (sass, compiled)
            }
        };
        *kept = Some(sass);
        Ok(compiled)
    }
}

/// A sheet as the compiler gave it back.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// CSS and its source map, or what is wrong.
    pub(crate) result: Result<(String, String), Complaint>,
    /// The files that it was made of, itself too.
    pub(crate) loaded: Vec<PathBuf>,
    /// What the compiler warned of.
    pub(crate) warnings: Vec<Complaint>,
}

/// What is wrong, or was warned of.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) place: Option<ComplaintPlace>,
    /// How one comes there, innermost first: `FILE LINE:COLUMN  WHAT`, a line each.
    pub(crate) trace: String,
    /// The name of the deprecation, if it is one.
    pub(crate) deprecation: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct ComplaintPlace {
    pub(crate) file: PathBuf,
    /// From 0.
    pub(crate) line: usize,
    /// From 0, in units of UTF-16.
    pub(crate) column: usize,
}

impl Sass {
    /// Starts the compiler of the package that lies in `directory`.
    fn start(directory: &Path) -> Result<Sass> {
        let src = directory.join("dart-sass/src");
        let snapshot = src.join("sass.snapshot");
        let arguments = [snapshot.as_os_str(), "--embedded".as_ref()];
        let process = Process::start(&src.join("dart"), &arguments);
        let process =
            process.with_context(|| format!("can't use dart-sass ({})", src.display()))?;
        Ok(Sass(process))
    }

    /// Compiles sheets; the answers are in the order of the paths. Packages are found below
    /// `load_paths`; what they are warned of is left out.
    fn compile(&mut self, paths: &[PathBuf], load_paths: &[PathBuf]) -> Result<Vec<Compiled>> {
        self.ask(paths, load_paths)
            .map_err(|error| self.0.explain(error))
            .context("dart-sass failed")
    }

    fn ask(&mut self, paths: &[PathBuf], load_paths: &[PathBuf]) -> Result<Vec<Compiled>> {
        let mut answers: BTreeMap<usize, Compiled> = BTreeMap::new();
        let mut warnings: BTreeMap<usize, Vec<Complaint>> = BTreeMap::new();
        let mut sent = 0;
        while answers.len() < paths.len() {
            while sent < paths.len() && sent < answers.len() + AT_ONCE {
                self.send(sent, &paths[sent], load_paths)?;
                sent += 1;
            }
            let (number, event) = self.receive()?;
            ensure!(number < sent, "it answers a question that nobody asked");
            match event {
                Event::Error(error) => bail!("{}", error.message),
                Event::Log(log) => warnings.entry(number).or_default().extend(heard(log)),
                Event::Compiled(compiled) => {
                    let result = match compiled.outcome.context("it answers nothing")? {
                        Outcome::Success(it) => Ok((it.css, it.source_map)),
                        Outcome::Failure(it) => Err(Complaint {
                            message: it.message,
                            place: it.span.and_then(place),
                            trace: it.stack_trace,
                            deprecation: None,
                        }),
                    };
                    let loaded = compiled.loaded_urls.iter().filter_map(|url| path_of(url));
                    let loaded = loaded.collect();
                    let warnings = warnings.remove(&number).unwrap_or_default();
                    answers.insert(number, Compiled { result, loaded, warnings });
                }
            }
        }
        Ok(answers.into_values().collect())
    }

    fn send(&mut self, number: usize, path: &Path, load_paths: &[PathBuf]) -> Result<()> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("its path is not text");
        let importer = |path: &PathBuf| Ok(LoadPath { path: text(path)? });
        let compile = Compile {
            path: text(path)?,
            source_map: true,
            importers: load_paths.iter().map(importer).collect::<Result<_>>()?,
            verbose: true,
            quiet_deps: true,
            source_map_include_sources: true,
            // Packages that people use can be loaded in parts by @import only.
            silence_deprecation: vec!["import".to_owned()],
        };
        let message = Inbound { compile: Some(compile) }.encode_to_vec();
        // Compilations are numbered from 1; 0 is the compiler itself.
        let mut id = Vec::new();
        prost::encoding::encode_varint(number as u64 + 1, &mut id);
        let mut packet = Vec::new();
        prost::encoding::encode_varint((id.len() + message.len()) as u64, &mut packet);
        packet.extend(id);
        packet.extend(message);
        self.0.send(&packet)
    }

    /// What it says next, and of which sheet.
    fn receive(&mut self) -> Result<(usize, Event)> {
        let length = self.number()?;
        ensure!(length <= MOST, "it announced {length} bytes");
        let mut packet = vec![0; usize::try_from(length)?];
        self.0.answers.read_exact(&mut packet).context("it ended in the middle of an answer")?;
        let mut rest = &packet[..];
        let id = prost::encoding::decode_varint(&mut rest).context("its answer is damaged")?;
        let message = Outbound::decode(rest).context("its answer is damaged")?;
        let event = message.event.context("it speaks of what was not asked")?;
        if let (Event::Error(error), 0 | 0xffff_ffff) = (&event, id) {
            bail!("{}", error.message);
        }
        Ok((usize::try_from(id.checked_sub(1).context("its answer is damaged")?)?, event))
    }

    /// A number as protobuf writes it: seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.0.answers.read_exact(&mut byte).context("it ended")?;
            number |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        bail!("its answer is damaged")
    }
}

/// A warning; `@debug` is one too: it was left there.
fn heard(log: Log) -> Option<Complaint> {
    let message = match Kind::try_from(log.kind) {
        Ok(Kind::Debug) => format!("@debug: {}", log.message),
        _ => log.message,
    };
    let deprecation = log.deprecation.filter(|it| !it.is_empty());
    Some(Complaint {
        message,
        place: log.span.and_then(place),
        trace: log.stack_trace,
        deprecation,
    })
}

fn place(span: Span) -> Option<ComplaintPlace> {
    let start = span.start?;
    let file = path_of(&span.url)?;
    Some(ComplaintPlace { file, line: start.line as usize, column: start.column as usize })
}

/// The path of a `file:` address.
pub(crate) fn path_of(url: &str) -> Option<PathBuf> {
    Some(crate::references::decoded(url.strip_prefix("file://")?).into())
}
