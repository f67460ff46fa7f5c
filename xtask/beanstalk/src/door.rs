//! The doors: one port on loopback for each environment, behind which its instances change.
//!
//! A door passes bytes on and knows nothing of HTTP, save the answer it gives while there is no
//! instance, which is the load balancer's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
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
    connections: Connections,
}

type Connections = Arc<Mutex<Vec<Arc<Connection>>>>;

/// An open connection to an instance.
struct Connection {
    /// Where the instance answers.
    port: u16,
    traffic: Mutex<Traffic>,
}

struct Traffic {
    /// The client has sent something that has no answer yet.
    is_waiting: bool,
    last: Instant,
}

/// An answer without a byte for so long counts as complete.
const COMPLETE: Duration = Duration::from_millis(100);

impl Connection {
    fn is_busy(&self) -> bool {
        let traffic = locked(&self.traffic);
        traffic.is_waiting || traffic.last.elapsed() < COMPLETE
    }

    fn passed(&self, is_waiting: bool) {
        *locked(&self.traffic) = Traffic { is_waiting, last: Instant::now() };
    }
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
        Doors {
            runtime,
            open: Mutex::default(),
            instances: Mutex::default(),
            connections: Connections::default(),
        }
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
            let connections = Arc::clone(&self.connections);
            self.runtime.spawn(async move {
                if let Ok(listener) = TcpListener::from_std(listener) {
                    serve(listener, targets, connections).await;
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

    /// Waits until the requests that instances have got are answered, but not longer than the
    /// service does.
    pub(crate) fn drain(&self, instances: &[String], limit: Duration) {
        let ports: Vec<u16> = instances.iter().filter_map(|it| self.instance(it)).collect();
        let until = Instant::now() + limit;
        let is_busy = || {
            let connections = locked(&self.connections);
            let mut own = connections.iter().filter(|it| ports.contains(&it.port));
            own.any(|connection| connection.is_busy())
        };
        while is_busy() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
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

async fn serve(listener: TcpListener, targets: Arc<Mutex<Targets>>, connections: Connections) {
    let number = AtomicU64::new(0);
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors: others will be closed.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let target = locked(&targets).choose(number.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(pass(client, target, Arc::clone(&connections)));
    }
}

async fn pass(client: TcpStream, target: Option<u16>, connections: Connections) {
    client.set_nodelay(true).ok();
    match target {
        None => answer(client, "503 Service Temporarily Unavailable", NOBODY).await,
        Some(SAMPLE) => answer(client, "200 OK", SAMPLE_PAGE).await,
        Some(port) => {
            let traffic = Mutex::new(Traffic { is_waiting: false, last: Instant::now() });
            let connection = Arc::new(Connection { port, traffic });
            locked(&connections).push(Arc::clone(&connection));
            match TcpStream::connect(("127.0.0.1", port)).await {
                Err(_) => answer(client, "502 Bad Gateway", NO_ANSWER).await,
                Ok(instance) => exchange(client, instance, &connection).await,
            }
            locked(&connections).retain(|it| !Arc::ptr_eq(it, &connection));
        }
    }
}

/// Passes bytes on in both directions until both have ended.
async fn exchange(client: TcpStream, instance: TcpStream, connection: &Connection) {
    instance.set_nodelay(true).ok();
    let (from_client, to_client) = client.into_split();
    let (from_instance, to_instance) = instance.into_split();
    tokio::join!(
        copy(from_client, to_instance, || connection.passed(true)),
        copy(from_instance, to_client, || connection.passed(false)),
    );
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: impl Fn(),
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        passed();
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// The service's `DeregistrationDelay`:
    /// <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/command-options-general.html>.
    #[test]
    fn an_instance_answers_what_it_was_asked_before_it_goes() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let doors = Doors::new(runtime.handle().clone());
        let instance = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        doors.know("i-1", instance.local_addr().unwrap().port());
        let port = doors.open(0).unwrap();
        doors.point(port, &[doors.instance("i-1").unwrap()]);
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let (mut asked, _) = instance.accept().unwrap();
        asked.read_exact(&mut [0; 18]).unwrap();
        doors.point(port, &[]);
        let started = Instant::now();
        let own = ["i-1".to_owned()];
        doors.drain(&own, Duration::from_millis(50));
        assert!(started.elapsed() >= Duration::from_millis(50), "it does not wait");

        let answer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            asked.write_all(b"HTTP/1.0 200 OK\r\n\r\ndone").unwrap();
        });
        doors.drain(&own, Duration::from_secs(60));
        answer.join().unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("done"), "{text}");
        doors.drain(&own, Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is under way any more");
    }
}
