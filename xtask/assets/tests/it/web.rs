//! A small web server for pages that a browser opens in tests.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What is answered to a request.
pub(crate) struct Reply {
    kind: &'static str,
    policy: String,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn html(text: &str, policy: &str) -> Option<Reply> {
        let (kind, policy) = ("text/html; charset=utf-8", policy.to_owned());
        Some(Reply { kind, policy, body: text.as_bytes().to_vec() })
    }

    pub(crate) fn script(text: &str) -> Option<Reply> {
        let (kind, policy) = ("text/javascript", String::new());
        Some(Reply { kind, policy, body: text.as_bytes().to_vec() })
    }

    pub(crate) fn json(body: Vec<u8>) -> Option<Reply> {
        Some(Reply { kind: "application/json", policy: String::new(), body })
    }

    /// A file, as its extension says; nothing where there is none.
    pub(crate) fn file(path: &Path) -> Option<Reply> {
        let kind = match path.extension()?.to_str()? {
            "css" => "text/css",
            "js" => "text/javascript",
            "svg" => "image/svg+xml",
            "json" | "map" => "application/json",
            "woff2" => "font/woff2",
            "png" => "image/png",
            "jpg" => "image/jpeg",
            _ => "application/octet-stream",
        };
        Some(Reply { kind, policy: String::new(), body: std::fs::read(path).ok()? })
    }
}

/// A server that runs until the process ends.
pub(crate) struct Server {
    port: u16,
    missing: Arc<Mutex<BTreeSet<String>>>,
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What was asked for and is not there; browsers ask for the icon by themselves.
    pub(crate) fn missing(&self) -> BTreeSet<String> {
        let mut missing = self.missing.lock().unwrap().clone();
        missing.remove("/favicon.ico");
        missing
    }
}

/// Answers each request by its path and body.
pub(crate) fn serve(
    answer: impl Fn(&str, &[u8]) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let missing: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let (answer, noted) = (Arc::new(answer), Arc::clone(&missing));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
            std::thread::spawn(move || {
                let Some((path, body)) = request(&stream) else { return };
                let reply = answer(&path, &body);
                if reply.is_none() {
                    noted.lock().unwrap().insert(path);
                }
                let _ = respond(&stream, reply);
            });
        }
    });
    Server { port, missing }
}

fn request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.split('?').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

fn respond(mut stream: &TcpStream, reply: Option<Reply>) -> std::io::Result<()> {
    let Some(Reply { kind, policy, body }) = reply else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let policy = match policy.is_empty() {
        true => String::new(),
        false => format!("Content-Security-Policy: {policy}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{policy}\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
