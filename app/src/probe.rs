//! `app health`: asks the running server, for container health checks in images that hold no HTTP
//! client. One request by hand over a socket: a client library would be the largest dependency of
//! the program.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::config::HealthConfig;

/// For the whole exchange; the server gives its store two seconds of this.
const DEADLINE: Duration = Duration::from_secs(4);
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

pub(crate) fn run(config: &HealthConfig) -> anyhow::Result<()> {
    let address = SocketAddr::new(config.host, config.port);
    let response =
        ask(address).with_context(|| format!("no answer from http://{address}/health"))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("http://{address}/health answered {status:?}: {}", body.trim());
    }
    writeln!(std::io::stdout(), "{}", body.trim()).context("cannot write to stdout")
}

fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let end = Instant::now() + DEADLINE;
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write!(stream, "GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    while response.len() < RESPONSE_BYTES_MAX {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("it took more than {} seconds", DEADLINE.as_secs());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            count => response.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8(response).context("the answer is not text")
}
