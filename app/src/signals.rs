//! Stop signals. Listening begins before anything slow does: as process 1 of a container a program
//! without handlers would not end at all.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn listen() -> anyhow::Result<Stop> {
        let listen = |kind| signal(kind).context("cannot listen for stop signals");
        Ok(Stop {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for a stop signal and returns its name.
    pub(crate) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
