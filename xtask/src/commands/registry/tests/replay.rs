//! A server that gives the answers of a text: what a registry answered, or what its documentation
//! says that it does.
//!
//! A block begins with `=== METHOD PATH`; `base64` behind it says how the body is written, `once`
//! that it is the answer to one request only, and `with HEADER` that it is for requests with this
//! header only. The first block that fits counts.
//! `HOST` in a head is the server itself. Lines before the first block are notes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine;

/// It runs until the tests end.
pub(super) struct Replay {
    /// `127.0.0.1:PORT`
    pub(super) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

struct Block {
    method: String,
    path: String,
    /// In lower case up to the colon.
    with: Option<String>,
    once: bool,
    head: String,
    body: Vec<u8>,
}

impl Replay {
    pub(super) fn new(text: &str) -> Replay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut blocks = parse(text, &address);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                // TLS, which is tried first, is not text.
                while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
                let mut words = head.split_whitespace();
                let (Some(method), Some(path)) = (words.next(), words.next()) else { continue };
                let headers: Vec<String> = head.lines().skip(1).map(lower_name).collect();
                let length = headers.iter().find_map(|it| it.strip_prefix("content-length: "));
                let mut form = vec![0; length.and_then(|it| it.parse().ok()).unwrap_or(0)];
                if reader.read_exact(&mut form).is_err() {
                    continue;
                }
                let form = String::from_utf8_lossy(&form).into_owned();
                let form = if form.is_empty() { form } else { format!(" {form}") };
                noted.lock().unwrap().push(format!("{method} {path}{form}"));
                let plain = path.split('?').next().unwrap_or_default();
                let at = blocks.iter().position(|block| {
                    let with = block.with.as_ref();
                    block.method == method
                        && block.path == plain
                        && with.is_none_or(|with| headers.contains(with))
                });
                let _ = match at.map(|at| &blocks[at]) {
                    Some(block) => stream.write_all(&[block.head.as_bytes(), &block.body].concat()),
                    None => stream.write_all(b"HTTP/1.1 418 Not in the text\r\n\r\n"),
                };
                if let Some(at) = at.filter(|at| blocks[*at].once) {
                    blocks.remove(at);
                }
            }
        });
        Replay { address, requests }
    }

    /// `METHOD PATH` and the form of every request since the last look.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn lower_name(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    }
}

fn parse(text: &str, address: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let text = text.strip_suffix('\n').unwrap_or(text);
    for block in format!("\n{text}").split("\n=== ").skip(1) {
        let (question, answer) = block.split_once('\n').unwrap();
        let (question, with) = match question.split_once(" with ") {
            Some((question, with)) => (question, Some(lower_name(with))),
            None => (question, None),
        };
        let mut words = question.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let (head, body) = answer.split_once("\n\n").unwrap_or((answer.trim_end(), ""));
        let marks: Vec<&str> = words.collect();
        let once = marks.contains(&"once");
        let body = match marks.contains(&"base64") {
            true => base64::engine::general_purpose::STANDARD
                .decode(body.split_whitespace().collect::<String>())
                .unwrap(),
            false => body.as_bytes().to_vec(),
        };
        // The end of the connection is the end of a body that has no length.
        let head = head.lines().filter(|line| lower_name(line) != "transfer-encoding: chunked");
        let head: Vec<String> = head.map(|line| line.replace("HOST", address)).collect();
        let head = head.join("\r\n") + "\r\nConnection: close\r\n\r\n";
        let body = if method == "HEAD" { Vec::new() } else { body };
        blocks.push(Block { method, path, with, once, head, body });
    }
    blocks
}
