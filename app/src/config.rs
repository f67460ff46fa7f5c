//! Configuration: environment variables in, checked values out. Reading collects every problem, so
//! that one run names them all. Nothing else in the program reads the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::assets::Assets;
use crate::cdn::Cdn;
use crate::log::{Format, Log};
use crate::store::DatabaseUrl;

pub(crate) struct ServeConfig {
    pub(crate) database: DatabaseUrl,
    pub(crate) database_wait: Duration,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
    pub(crate) assets: Assets,
    pub(crate) cdn: Option<Cdn>,
    /// Where a page hears that it is out of date: only while one develops.
    pub(crate) live_reload: Option<String>,
    pub(crate) shutdown_grace: Duration,
    pub(crate) log: Log,
    pub(crate) identity: Identity,
}

impl ServeConfig {
    pub(crate) fn read(environment: &Environment) -> Result<ServeConfig, Invalid> {
        let mut reader = Reader::new(environment);
        let config = ServeConfig::read_by(&mut reader);
        reader.finish(config)
    }

    fn read_by(reader: &mut Reader<'_>) -> ServeConfig {
        let cdn = reader.cdn();
        ServeConfig {
            database: reader.database(),
            database_wait: reader.seconds("DATABASE_WAIT_SECONDS", 30),
            host: reader.host(),
            port: reader.port(),
            assets: reader.assets(cdn.as_ref()),
            cdn,
            live_reload: reader.live_reload(),
            shutdown_grace: reader.seconds("SHUTDOWN_GRACE_SECONDS", 8),
            log: reader.log(),
            identity: reader.identity(),
        }
    }
}

/// Every variable that the server reads, one a line; `required` behind what it cannot do without.
/// Found out by reading them, so that the list cannot be wrong.
pub(crate) fn variables() -> String {
    let nothing = Environment(BTreeMap::new());
    let mut reader = Reader::new(&nothing);
    ServeConfig::read_by(&mut reader);
    let required = |name: &str| {
        let problem = format!("{name}: ");
        reader.problems.iter().any(|it| it.starts_with(&problem))
    };
    let line = |name: &String| format!("{name}{}\n", if required(name) { " required" } else { "" });
    reader.names.iter().map(line).collect()
}

pub(crate) struct MigrateConfig {
    pub(crate) database: DatabaseUrl,
    pub(crate) database_wait: Duration,
    pub(crate) log: Log,
}

impl MigrateConfig {
    pub(crate) fn read(environment: &Environment) -> Result<MigrateConfig, Invalid> {
        let mut reader = Reader::new(environment);
        let config = MigrateConfig {
            database: reader.database(),
            database_wait: reader.seconds("DATABASE_WAIT_SECONDS", 30),
            log: reader.log(),
        };
        reader.finish(config)
    }
}

pub(crate) struct HealthConfig {
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
}

impl HealthConfig {
    pub(crate) fn read(environment: &Environment) -> Result<HealthConfig, Invalid> {
        let mut reader = Reader::new(environment);
        let (host, port) = (reader.host(), reader.port());
        if port == 0 {
            reader.refuse("PORT", "0 means any free port: name the one the server listens on");
        }
        reader.finish(HealthConfig { host: reachable(host), port })
    }
}

/// What is running, as the platform named it.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) version: String,
    pub(crate) commit: String,
    pub(crate) process: String,
}

impl Identity {
    pub(crate) fn read(environment: &Environment) -> Result<Identity, Invalid> {
        let mut reader = Reader::new(environment);
        let identity = reader.identity();
        reader.finish(identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app {} ({})", self.version, self.commit)
    }
}

/// A copy of the environment, so that reading it is a function of its argument.
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(crate) fn of_process() -> Environment {
        Environment(std::env::vars_os().collect())
    }
}

/// Every problem with the environment, in the order of reading.
#[derive(Debug)]
pub(crate) struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment is not valid:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Invalid {}

struct Reader<'a> {
    environment: &'a Environment,
    /// What was read so far.
    names: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a Environment) -> Reader<'a> {
        Reader { environment, names: BTreeSet::new(), problems: Vec::new() }
    }

    fn finish<T>(self, value: T) -> Result<T, Invalid> {
        if self.problems.is_empty() { Ok(value) } else { Err(Invalid(self.problems)) }
    }

    fn refuse(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{name}: {problem}"));
    }

    /// Empty counts as unset: compose files pass `NAME=` for what nobody set.
    fn text(&mut self, name: &str) -> Option<String> {
        self.names.insert(name.to_owned());
        let value = self.environment.0.get(name.as_ref() as &std::ffi::OsStr)?;
        match value.to_str() {
            None => self.refuse(name, "is not valid UTF-8"),
            Some("") => {}
            Some(text) => return Some(text.to_owned()),
        }
        None
    }

    /// An unusable value is recorded and the default stands in, so that reading goes on.
    fn value<T>(&mut self, name: &str, default: T, parse: impl Fn(&str) -> Result<T, &str>) -> T {
        let Some(text) = self.text(name) else { return default };
        match parse(&text) {
            Ok(value) => value,
            Err(wanted) => {
                let problem = format!("{text:?} is not {wanted}");
                self.refuse(name, &problem);
                default
            }
        }
    }

    fn seconds(&mut self, name: &str, default: u64) -> Duration {
        let seconds = self.value(name, default, |text| {
            let parsed = text.parse().ok().filter(|seconds| *seconds <= 3600);
            parsed.ok_or("a whole number of seconds from 0 to 3600")
        });
        Duration::from_secs(seconds)
    }

    fn host(&mut self) -> IpAddr {
        self.value("HOST", Ipv4Addr::UNSPECIFIED.into(), |text| {
            text.parse().map_err(|_| "an IP address to listen on, such as 0.0.0.0 or 127.0.0.1")
        })
    }

    fn port(&mut self) -> u16 {
        self.value("PORT", 8080, |text| text.parse().map_err(|_| "a port from 0 to 65535"))
    }

    fn log(&mut self) -> Log {
        let format = self.value("LOG_FORMAT", Format::Text, |text| match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("text or json"),
        });
        Log { format }
    }

    fn identity(&mut self) -> Identity {
        let mut word = |name, default: &str| {
            self.value(name, default.to_owned(), |text| {
                let plain = text.len() <= 100 && !text.chars().any(char::is_control);
                if plain { Ok(text.to_owned()) } else { Err("one line of at most 100 bytes") }
            })
        };
        Identity {
            version: word("APP_VERSION", "dev"),
            commit: word("APP_COMMIT", "unknown"),
            process: word("APP_PROCESS", "web"),
        }
    }

    fn cdn(&mut self) -> Option<Cdn> {
        self.value("ENV_CDN", None, |text| Cdn::parse(text).map(Some))
    }

    fn live_reload(&mut self) -> Option<String> {
        self.value("LIVE_RELOAD", None, |text| Cdn::parse(text).map(|place| Some(place.origin)))
    }

    /// A directory that is not there yet is fine, as a preview without assets is.
    fn assets(&mut self, cdn: Option<&Cdn>) -> Assets {
        let assets = Assets::open(&self.static_dir(), cdn);
        assets.unwrap_or_else(|problem| {
            self.refuse("STATIC_DIR", &problem);
            Assets::default()
        })
    }

    fn static_dir(&mut self) -> PathBuf {
        if let Some(named) = self.text("STATIC_DIR") {
            return named.into();
        }
        // The working directory is the repository around the app, or the app's own.
        if Path::new("app/assets").is_dir() { "app/dist".into() } else { "dist".into() }
    }

    /// The value never appears in a message: it holds a password.
    fn database(&mut self) -> DatabaseUrl {
        let text = self.text("DATABASE_URL");
        DatabaseUrl::parse(text.as_deref()).unwrap_or_else(|problem| {
            self.refuse("DATABASE_URL", &problem);
            DatabaseUrl::placeholder()
        })
    }
}

/// Where a client on this machine finds a server that listens on `host`.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(it) if it.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(it) if it.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}
