//! What somebody with a browser would see of the app while it changes: requests one after the
//! other, and pages to compare.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(10);
/// Of a page, in bytes.
const MOST: u64 = 16 << 20;

/// The front page as it is served.
pub(super) struct Page {
    pub(super) status: u16,
    body: Vec<u8>,
    /// Two requests in a row got the same.
    stable: bool,
}

impl Page {
    pub(super) fn get(port: u16) -> Result<Page> {
        let (status, body) = get(port)?;
        let stable = get(port)?.1 == body;
        Ok(Page { status, body, stable })
    }

    pub(super) fn is_well(&self) -> bool {
        (200..400).contains(&self.status)
    }

    /// That the page is what it was before. One that changes by itself is only asked for its
    /// status.
    pub(super) fn compare(&self, after: &Page) -> Result<()> {
        ensure!(
            self.status == after.status,
            "the page had status {}, and has {} after the way back",
            self.status,
            after.status
        );
        let same = self.body == after.body || !self.stable || !after.stable;
        ensure!(same, "the page has other bytes after the way back");
        Ok(())
    }
}

/// One request over HTTP/1.0, which ends with the connection: the status and the body.
fn get(port: u16) -> Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("nobody listens")?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").context("no answer")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("no status")?, answer.split_off(end + 4)))
}

/// Requests until it is ended.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) asked: u64,
    /// Connections that gave no answer.
    pub(super) silent: u64,
    /// Answers with an error of the server.
    pub(super) refused: u64,
}

impl Traffic {
    pub(super) fn begin(port: u16) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut counts = Counts::default();
            while !stopped.load(Ordering::Relaxed) {
                counts.asked += 1;
                match get(port) {
                    Err(_) => counts.silent += 1,
                    Ok((status, _)) => counts.refused += u64::from(status >= 500),
                }
                std::thread::sleep(PAUSE);
            }
            counts
        });
        Traffic { stop, thread }
    }

    pub(super) fn end(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
