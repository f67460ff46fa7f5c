//! Live reload: what pages of dev are told when something was made of a saved file.
//!
//! A server on the loopback interface with two addresses: `/live.js`, which a page loads when the
//! app knows of it (`LIVE_RELOAD`), and `/news`, which that script listens to (server-sent events).
//! It lives as long as `dev` runs in the foreground; no other environment has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::ENVIRONMENT;
use crate::commands::start;
use crate::ctx::Ctx;

const SCRIPT: &str = include_str!("live.js");
/// How far above the app's port ours lies, when that is free: a page that is still open finds a
/// `dev` that was started again.
const ABOVE: u16 = 10_000;
/// A browser that takes longer to read is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most that is read of a request, in bytes.
const LONGEST: u64 = 16 << 10;

const VARIABLE: &str = "STEVEDORE_LIVE_RELOAD";

/// The variable of a `dev` of this checkout that runs in the foreground.
pub(crate) fn running(ctx: &Ctx) -> Option<(String, String)> {
    let address = std::fs::read_to_string(path(ctx)).ok()?;
    let port = address.rsplit(':').next()?.parse().ok()?;
    start::answers(port).then(|| (VARIABLE.into(), address))
}

pub(super) fn forget(ctx: &Ctx) {
    let _ = std::fs::remove_file(path(ctx));
}

fn path(ctx: &Ctx) -> PathBuf {
    ctx.state().join(ENVIRONMENT).join("live")
}

/// Ends with the process.
pub(super) struct Live {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pages: Vec<TcpStream>,
    /// What is wrong now; empty when nothing is.
    problem: String,
}

impl Live {
    pub(super) fn start(app: Option<u16>) -> Result<Live> {
        let near = app.and_then(|app| app.checked_add(ABOVE)).unwrap_or(0);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = bind(near).or_else(|_| bind(0)).context("can't listen for pages")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A request that does not come to its end keeps nobody else waiting.
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        Ok(Live { port, state })
    }

    /// By which the app learns what to put before `/live.js`.
    pub(super) fn variable(&self) -> (String, String) {
        (VARIABLE.into(), format!("http://127.0.0.1:{}", self.port))
    }

    /// So that whoever else starts a service again tells it the same.
    pub(super) fn announce(&self, ctx: &Ctx) -> Result<()> {
        ctx.write_cache(&path(ctx), self.variable().1.as_bytes())
    }

    pub(super) fn reload(&self) {
        self.tell("reload", &serde_json::Value::Null);
    }

    /// Style sheets by their file names: what pages have, and what is to be in its place.
    pub(super) fn styles(&self, replaced: &[(String, String)]) {
        self.tell("styles", &serde_json::json!(replaced));
    }

    /// What is wrong now, on top of every page; empty when nothing is any more.
    pub(super) fn problem(&self, text: &str) {
        if std::mem::replace(&mut lock(&self.state).problem, text.to_owned()) != text {
            self.tell("problem", &serde_json::json!(text));
        }
    }

    fn tell(&self, event: &str, data: &serde_json::Value) {
        let message = message(event, data);
        lock(&self.state).pages.retain_mut(|page| page.write_all(message.as_bytes()).is_ok());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// JSON has no line breaks, which would end the message.
fn message(event: &str, data: &serde_json::Value) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let request = Request::read(&stream)?;
    let origin = request.origin.as_deref();
    let head = |kind: &str| {
        let allowed = origin
            .map_or(String::new(), |origin| format!("Access-Control-Allow-Origin: {origin}\r\n"));
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n{allowed}")
    };
    let ends = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    match request.path.as_str() {
        // The compiler's words are for this machine's own pages.
        _ if !request.is_local() => write!(stream, "HTTP/1.1 403 Forbidden\r\n{ends}").ok(),
        "/live.js" => {
            let (head, length) = (head("text/javascript; charset=utf-8"), SCRIPT.len());
            write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{SCRIPT}")
                .ok()
        }
        "/news" => {
            let mut state = lock(state);
            let now = message("problem", &serde_json::json!(state.problem));
            write!(stream, "{}\r\n{now}", head("text/event-stream")).ok()?;
            state.pages.push(stream);
            Some(())
        }
        _ => write!(stream, "HTTP/1.1 404 Not Found\r\n{ends}").ok(),
    }
}

#[derive(Debug, Default)]
struct Request {
    path: String,
    host: Option<String>,
    origin: Option<String>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream.take(LONGEST)).lines().map_while(Result::ok);
        let first = lines.next()?;
        let path = first.strip_prefix("GET ")?.split(' ').next()?.to_owned();
        let mut request = Request { path, ..Request::default() };
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = Some(value.trim().to_owned());
            match name.to_ascii_lowercase().as_str() {
                "host" => request.host = value,
                "origin" => request.origin = value,
                _ => {}
            }
        }
        Some(request)
    }

    /// Neither a page from elsewhere nor a name from elsewhere that leads here.
    fn is_local(&self) -> bool {
        let origin = self.origin.as_deref().is_none_or(|origin| {
            let host = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
            host.is_some_and(is_loopback)
        });
        origin && self.host.as_deref().is_some_and(is_loopback)
    }
}

/// A host with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(live: &Live, path: &str, headers: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", live.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
        BufReader::new(stream)
    }

    fn until(reader: &mut BufReader<TcpStream>, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            assert!(reader.read_line(&mut text).unwrap() > 0, "{wanted} is not in {text}");
        }
        text
    }

    #[test]
    fn pages_are_told_what_is_new_and_a_late_one_what_is_wrong() {
        let live = Live::start(None).unwrap();
        let mut early = ask(&live, "/news", "Host: localhost:1\r\n");
        until(&mut early, "event: problem\ndata: \"\"\n\n");
        live.problem("error[E0425]\n  --> src/page.rs");
        until(&mut early, "data: \"error[E0425]\\n  --> src/page.rs\"\n");
        let mut late = ask(&live, "/news", "Host: 127.0.0.1\r\nOrigin: http://app.localhost:8\r\n");
        let said = until(&mut late, "src/page.rs");
        assert!(said.contains("Access-Control-Allow-Origin: http://app.localhost:8\r\n"), "{said}");
        live.styles(&[("a-1.css".into(), "a-2.css".into())]);
        until(&mut early, "event: styles\ndata: [[\"a-1.css\",\"a-2.css\"]]\n\n");
        drop(early);
        live.reload();
        live.reload();
        until(&mut late, "event: reload\n");
    }

    #[test]
    fn pages_and_names_from_elsewhere_are_refused() {
        let live = Live::start(None).unwrap();
        for headers in [
            "Host: localhost\r\nOrigin: https://example.com\r\n",
            "Host: rebound.example.com\r\n",
            "Host: localhost\r\nOrigin: null\r\n",
            "",
        ] {
            let said = until(&mut ask(&live, "/news", headers), "\r\n");
            assert_eq!(said, "HTTP/1.1 403 Forbidden\r\n", "{headers}");
        }
        let mut script = ask(&live, "/live.js", "host: [::1]:9\r\n");
        until(&mut script, "new EventSource");
        assert!(until(&mut ask(&live, "/", "Host: localhost\r\n"), "\r\n").contains("404"));
    }
}
