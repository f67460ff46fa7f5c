//! The doors: one port on loopback for each environment, behind which its instances change.
//!
//! A door passes bytes on and knows nothing of HTTP, save the answer it gives while there is no
//! instance, which is the load balancer's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::service::locked;

/// Stands for the sample application of the service, which has no container.
pub(crate) const SAMPLE: u16 = 0;

pub(crate) struct Doors {
    runtime: Handle,
    open: Mutex<BTreeMap<u16, Door>>,
    /// Where instances answer, by their identifier.
    instances: Mutex<BTreeMap<String, u16>>,
}

struct Door {
    targets: Arc<Mutex<Targets>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Targets {
    ports: Vec<u16>,
    /// The new version and its share of the traffic in percent.
    trial: Option<(Vec<u16>, u64)>,
}

impl Targets {
    fn choose(&self, number: u64) -> Option<u16> {
        let (ports, number) = match &self.trial {
            // Spread over the hundred, so that ten percent is one in ten and not ten in a row.
            Some((ports, share)) if number * 37 % 100 < *share => (ports, number),
            _ => (&self.ports, number),
        };
        let count = u64::try_from(ports.len()).ok().filter(|count| *count > 0)?;
        ports.get(usize::try_from(number % count).ok()?).copied()
    }
}

impl Doors {
    pub(crate) fn new(runtime: Handle) -> Doors {
        Doors { runtime, open: Mutex::default(), instances: Mutex::default() }
    }

    /// Opens a door; port 0 lets the kernel choose. Returns its port.
    ///
    /// # Errors
    ///
    /// When somebody else listens there.
    pub(crate) fn open(&self, port: u16) -> Result<u16> {
        let mut open = locked(&self.open);
        if open.contains_key(&port) {
            return Ok(port);
        }
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("can't listen on port {port}"))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let targets = Arc::<Mutex<Targets>>::default();
        let task = {
            let targets = Arc::clone(&targets);
            self.runtime.spawn(async move {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    serve(listener, targets).await;
                }
            })
        };
        open.insert(port, Door { targets, task });
        Ok(port)
    }

    pub(crate) fn close(&self, port: u16) {
        if let Some(door) = locked(&self.open).remove(&port) {
            door.task.abort();
        }
    }

    pub(crate) fn point(&self, port: u16, instances: &[u16]) {
        if let Some(door) = locked(&self.open).get(&port) {
            *locked(&door.targets) = Targets { ports: instances.to_vec(), trial: None };
        }
    }

    /// Gives a share of the traffic, in percent, to others.
    pub(crate) fn share(&self, port: u16, others: &[u16], percent: u64) {
        if let Some(door) = locked(&self.open).get(&port) {
            locked(&door.targets).trial = Some((others.to_vec(), percent));
        }
    }

    pub(crate) fn know(&self, instance: &str, port: u16) {
        locked(&self.instances).insert(instance.to_owned(), port);
    }

    pub(crate) fn forget(&self, instance: &str) {
        locked(&self.instances).remove(instance);
    }

    /// Where an instance answers.
    pub(crate) fn instance(&self, instance: &str) -> Option<u16> {
        locked(&self.instances).get(instance).copied()
    }
}

async fn serve(listener: TcpListener, targets: Arc<Mutex<Targets>>) {
    let number = AtomicU64::new(0);
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors: others will be closed.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let target = locked(&targets).choose(number.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(pass(client, target));
    }
}

async fn pass(mut client: TcpStream, target: Option<u16>) {
    client.set_nodelay(true).ok();
    match target {
        None => answer(client, "503 Service Temporarily Unavailable", NOBODY).await,
        Some(SAMPLE) => answer(client, "200 OK", SAMPLE_PAGE).await,
        Some(port) => match TcpStream::connect(("127.0.0.1", port)).await {
            Err(_) => answer(client, "502 Bad Gateway", NO_ANSWER).await,
            Ok(mut instance) => {
                instance.set_nodelay(true).ok();
                tokio::io::copy_bidirectional(&mut client, &mut instance).await.ok();
            }
        },
    }
}

const NOBODY: &str = "no instance of this environment is in service\n";
const NO_ANSWER: &str = "the instance does not take connections\n";
const SAMPLE_PAGE: &str = "the sample application of the local Elastic Beanstalk\n";

async fn answer(mut client: TcpStream, status: &str, body: &str) {
    let mut request = [0; 8192];
    let read = client.read(&mut request);
    if tokio::time::timeout(std::time::Duration::from_secs(5), read).await.is_err() {
        return;
    }
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    client.write_all(text.as_bytes()).await.ok();
    client.shutdown().await.ok();
}
