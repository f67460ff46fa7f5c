//! Whether the ports that a stack publishes answer, and what is done where they do not.
//!
//! An open port proves nothing: the engine holds it open while nothing listens in the container,
//! and a proxy in front answers 502 when it cannot reach what is behind it. So a page is asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// What a port of this machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody listens, or the connection ends without a byte.
    Nothing,
    /// The connection is open and nothing comes.
    Silence,
    Status(u16),
    /// Bytes that are not HTTP.
    Other,
}

impl Answer {
    /// A proxy answers 502, 503 or 504 when what is behind it does not.
    pub(crate) fn is_good(self) -> bool {
        match self {
            Answer::Nothing | Answer::Silence => false,
            Answer::Status(status) => !(502..=504).contains(&status),
            Answer::Other => true,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Nothing | Answer::Silence => f.write_str("does not answer"),
            Answer::Status(status) => write!(f, "answers with status {status}"),
            Answer::Other => f.write_str("answers"),
        }
    }
}

/// Asks for the page at a port.
pub(crate) fn ask(port: u16, patience: Duration) -> Answer {
    let connected =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience);
    let Ok(mut stream) = connected else { return Answer::Nothing };
    let asked = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    if asked.is_err() {
        return Answer::Nothing;
    }
    let mut start = Vec::new();
    // `HTTP/1.1 200`
    let read = stream.take(12).read_to_end(&mut start);
    if start.is_empty() {
        let is_silent =
            read.is_err_and(|it| matches!(it.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        return if is_silent { Answer::Silence } else { Answer::Nothing };
    }
    parse(&start)
}

fn parse(start: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(start);
    let status = text.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.map_or(Answer::Other, Answer::Status)
}

/// The ports among these whose page is good.
pub(crate) fn answering(ports: &BTreeSet<u16>, patience: Duration) -> BTreeSet<u16> {
    std::thread::scope(|scope| {
        let ask = |port: &u16| {
            let port = *port;
            scope.spawn(move || ask(port, patience).is_good().then_some(port))
        };
        let asked: Vec<_> = ports.iter().map(ask).collect();
        asked.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    })
}

pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_for_a_dead_backend_is_no_good_answer() {
        let good = |start: &str| parse(start.as_bytes()).is_good();
        for (start, expected) in [
            ("HTTP/1.1 200", true),
            ("HTTP/1.0 404", true),
            ("HTTP/1.1 500", true),
            ("HTTP/1.1 502", false),
            ("HTTP/1.1 503", false),
            ("HTTP/1.1 504", false),
            ("-ERR wrong n", true),
        ] {
            assert_eq!(good(start), expected, "{start}");
        }
    }

    #[test]
    fn a_port_that_is_open_answers_only_when_bytes_come() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ask(port, Duration::from_millis(50)), Answer::Silence);
        // The first connection waits in the queue.
        drop(listener.accept());
        let server = std::thread::spawn(move || drop(listener.accept()));
        assert_eq!(ask(port, Duration::from_secs(5)), Answer::Nothing);
        server.join().unwrap();
        assert_eq!(ask(port, Duration::from_secs(5)), Answer::Nothing);
    }
}
