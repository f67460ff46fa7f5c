//! A proxy in front of a registry that breaks what a test tells it to break, and keeps the record of
//! what it was asked.
//!
//! Plain sockets and threads: a library would hide the very faults that are wanted. It knows nothing
//! but the standard library and hashes, so xtask's own unit tests can use it too.

#![allow(dead_code)] // each of the two binaries that use it needs a part

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use sha2::{Digest, Sha256};

/// What happens instead of the registry's answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Never an answer.
    BlackHole,
    /// The connection breaks within the body: of the request when it has one, else of the answer.
    Reset,
    /// The answer ends within its body, as if it were whole.
    Truncated,
    /// One bit of the answer's body is another.
    OtherBytes,
    /// This status, with this header (empty: none), and nothing of the registry's.
    Status(u16, &'static str),
    /// 201 for what is then not kept.
    Forget,
    /// Whoever has not this user and password gets 401.
    Basic(&'static str, &'static str),
    /// The same, by way of tokens; the password is an identity token too.
    Bearer(&'static str, &'static str),
}

/// The proxy; it ends with the test.
pub(crate) struct Faulty {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

struct State {
    address: String,
    upstream: String,
    closed: AtomicBool,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<String>>,
    uploaded: Mutex<u64>,
    /// Token -> scopes.
    granted: Mutex<BTreeMap<String, String>>,
}

struct Rule {
    method: String,
    path: String,
    left: Option<u32>,
    fault: Fault,
}

impl Faulty {
    /// `upstream`: `HOST:PORT` of the registry.
    pub(crate) fn in_front_of(upstream: &str) -> Faulty {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            address: address.clone(),
            upstream: upstream.to_owned(),
            closed: AtomicBool::new(false),
            rules: Mutex::default(),
            requests: Mutex::default(),
            uploaded: Mutex::default(),
            granted: Mutex::default(),
        });
        let mut faulty = Faulty { address, state, server: None };
        faulty.listen(listener);
        faulty
    }

    fn listen(&mut self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        self.server = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.closed.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&state);
                // A client that goes away is its own business.
                std::thread::spawn(move || stream.and_then(|stream| state.serve(stream)));
            }
        }));
    }

    /// From now on, for every request such as `GET /manifests/`: a method, or `*`, and a part of the
    /// path. The first rule that fits counts; a demand that is met lets the next one count.
    pub(crate) fn always(&self, requests: &str, fault: Fault) -> &Faulty {
        self.rule(requests, None, fault)
    }

    /// Like [`Faulty::always`], for the first `count` of them.
    pub(crate) fn first(&self, count: u32, requests: &str, fault: Fault) -> &Faulty {
        self.rule(requests, Some(count), fault)
    }

    fn rule(&self, requests: &str, left: Option<u32>, fault: Fault) -> &Faulty {
        let (method, path) = requests.split_once(' ').expect("METHOD PATH");
        let rule = Rule { method: method.into(), path: path.into(), left, fault };
        self.state.rules.lock().unwrap().push(rule);
        self
    }

    /// Forgets all rules: a registry without faults.
    pub(crate) fn heal(&self) -> &Faulty {
        self.state.rules.lock().unwrap().clear();
        self
    }

    /// Closes the port.
    pub(crate) fn refuse(&mut self) {
        if let Some(server) = self.server.take() {
            self.state.closed.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(&self.address);
            server.join().unwrap();
        }
    }

    /// Opens the port again.
    pub(crate) fn accept(&mut self) {
        self.state.closed.store(false, Ordering::SeqCst);
        self.listen(TcpListener::bind(&self.address).unwrap());
    }

    /// `METHOD PATH` of every request since the last look.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }

    /// Bytes of bodies that were sent to the registry since the last look, manifests too.
    pub(crate) fn uploaded(&self) -> u64 {
        std::mem::take(&mut self.state.uploaded.lock().unwrap())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.refuse();
    }
}

/// A request without its body, and without its last byte, which still lies in the socket: a socket
/// that is closed while something lies in it resets the connection.
struct Request {
    method: String,
    /// With the query.
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn has_body(&self) -> bool {
        self.header("transfer-encoding").is_some()
            || self.header("content-length").is_some_and(|length| length != "0")
    }

    /// The image's name in `/v2/NAME/…`.
    fn image(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("/v2/")?;
        ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|part| Some(rest.split_once(part)?.0))
    }

    fn asks(&self) -> bool {
        self.method == "GET" || self.method == "HEAD"
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(request) = read_head(&mut stream)? else { return Ok(()) };
        let line = format!("{} {}", request.method, decoded(&request.path));
        self.requests.lock().unwrap().push(line);
        let fault = self.fault(&request);
        match &fault {
            Some(Fault::BlackHole) => return io::copy(&mut stream, &mut io::sink()).map(drop),
            Some(Fault::Reset) if !request.has_body() => {
                let answer = self.forward(&request, &[])?;
                return stream.write_all(&answer[..half_of_body(&answer)]);
            }
            _ => {}
        }
        if request.header("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        stream.read_exact(&mut [0])?;
        if matches!(fault, Some(Fault::Reset)) {
            *self.uploaded.lock().unwrap() += stream.read(&mut [0; 512])? as u64;
            return Ok(());
        }
        let body = read_body(&mut stream, &request)?;
        if !request.path.starts_with("/faulty/") {
            *self.uploaded.lock().unwrap() += body.len() as u64;
        }
        let answer = match fault {
            None if request.path.starts_with("/faulty/token") => self.token(&request, &body),
            None => self.forward(&request, &body)?,
            Some(Fault::Status(status, header)) => answer(status, header, b""),
            Some(Fault::Forget) => {
                let digest = hex::encode(Sha256::digest(&body));
                let header = format!(
                    "Docker-Content-Digest: sha256:{digest}\r\nLocation: http://{}{}",
                    self.address, request.path
                );
                answer(201, &header, b"")
            }
            Some(Fault::Basic(..)) => answer(401, "WWW-Authenticate: Basic realm=\"faulty\"", b""),
            Some(Fault::Bearer(..)) => answer(401, &self.bearer_challenge(&request), b""),
            Some(Fault::OtherBytes) => {
                let mut answer = self.forward(&request, &body)?;
                let middle = half_of_body(&answer);
                answer.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
                answer
            }
            Some(Fault::Truncated) => {
                let mut answer = self.forward(&request, &body)?;
                answer.truncate(half_of_body(&answer));
                answer
            }
            Some(Fault::BlackHole | Fault::Reset) => unreachable!("served above"),
        };
        stream.write_all(&answer)
    }

    /// What the rules make of a request; demands that it meets are passed.
    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| {
            let fits = rule.method == "*" || rule.method == request.method;
            fits && request.path.contains(&rule.path)
                && !request.path.starts_with("/faulty/")
                && rule.left != Some(0)
                && !self.is_met(&rule.fault, request)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    fn is_met(&self, demand: &Fault, request: &Request) -> bool {
        let Some(given) = request.header("authorization") else { return false };
        match demand {
            Fault::Basic(user, password) => given == basic(user, password),
            Fault::Bearer(..) => {
                let granted = self.granted.lock().unwrap();
                let token = given.strip_prefix("Bearer ").unwrap_or_default();
                let Some(scopes) = granted.get(token) else { return false };
                let action = if request.asks() { "pull" } else { "push" };
                let image = request.image().map(|image| format!("repository:{image}:"));
                image.is_none_or(|image| {
                    let mut scopes = scopes.split(' ');
                    scopes.any(|it| it.starts_with(&image) && it[image.len()..].contains(action))
                })
            }
            _ => false,
        }
    }

    fn bearer_challenge(&self, request: &Request) -> String {
        let actions = if request.asks() { "pull" } else { "pull,push" };
        let scope = request.image().map(|image| format!(",scope=\"repository:{image}:{actions}\""));
        format!(
            "WWW-Authenticate: Bearer realm=\"http://{}/faulty/token\",service=\"faulty\"{}",
            self.address,
            scope.unwrap_or_default()
        )
    }

    /// The token server: a token for the scopes of a question with the right password.
    fn token(&self, request: &Request, body: &[u8]) -> Vec<u8> {
        let form = String::from_utf8_lossy(body).into_owned();
        let query = request.path.split_once('?').map(|(_, query)| query.to_owned());
        let form = decoded(&(query.unwrap_or_default() + "&" + &form));
        let fields: Vec<(&str, &str)> =
            form.split('&').filter_map(|it| it.split_once('=')).collect();
        let knows = |rule: &Rule| match rule.fault {
            Fault::Bearer(user, password) => {
                request.header("authorization") == Some(&basic(user, password))
                    || fields.contains(&("refresh_token", password))
            }
            _ => false,
        };
        if !self.rules.lock().unwrap().iter().any(knows) {
            return answer(401, "", b"");
        }
        let scopes = fields.iter().filter(|(name, _)| *name == "scope").map(|(_, scope)| *scope);
        let scopes = scopes.collect::<Vec<_>>().join(" ");
        let token = format!("token.{}", hex::encode(Sha256::digest(&scopes)));
        let text = format!("{{\"token\": \"{token}\", \"access_token\": \"{token}\"}}");
        self.granted.lock().unwrap().insert(token, scopes);
        answer(200, "Content-Type: application/json", text.as_bytes())
    }

    /// The registry's own answer.
    fn forward(&self, request: &Request, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut registry = TcpStream::connect(&self.upstream)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        const OURS: [&str; 5] =
            ["authorization", "connection", "content-length", "expect", "transfer-encoding"];
        for (name, value) in &request.headers {
            if !OURS.contains(&name.to_ascii_lowercase().as_str()) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        let length = body.len();
        let length =
            if request.asks() { String::new() } else { format!("Content-Length: {length}\r\n") };
        write!(registry, "{head}{length}Connection: close\r\n\r\n")?;
        registry.write_all(body)?;
        let mut answer = Vec::new();
        registry.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn answer(status: u16, header: &str, body: &[u8]) -> Vec<u8> {
    let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Faulty\r\n{line}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The text that a query or form stands for; the values that we get hold no `&`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, escaped) {
            (b'%', Some(byte)) => (&behind[2..], bytes.push(byte)),
            (b'+', _) => (behind, bytes.push(b' ')),
            (other, _) => (behind, bytes.push(*other)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the second half of an answer's body begins.
fn half_of_body(answer: &[u8]) -> usize {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    head.map_or(answer.len(), |at| at + 4 + (answer.len() - at - 4) / 2)
}

/// Up to the last byte of the head; nothing where it is none. A beginning of TLS is answered as a
/// server without TLS does it: with plain HTTP, by which clients know that it has none.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            io::copy(stream, &mut io::sink())?;
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Ok(Some(Request { method, path, headers }))
}

fn read_body(stream: &mut TcpStream, request: &Request) -> io::Result<Vec<u8>> {
    if request.header("transfer-encoding").is_none() {
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut body = Vec::new();
    loop {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            size.push(byte[0]);
        }
        let size = String::from_utf8_lossy(&size).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}
