//! A TCP proxy in front of Postgres that can be cut and mended, for outages on demand.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Cut to begin with.
    pub(crate) fn to(server: String) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Lines { is_cut: true, open: Vec::new() }));
        let shared = Arc::clone(&lines);
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut lines = shared.lock().unwrap();
                if lines.is_cut {
                    continue;
                }
                let server = TcpStream::connect(&server).unwrap();
                lines.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                pump(server, client);
            }
        });
        Proxy { port, lines }
    }

    pub(crate) fn mend(&self) {
        self.lines.lock().unwrap().is_cut = false;
    }

    pub(crate) fn cut(&self) {
        let mut lines = self.lines.lock().unwrap();
        lines.is_cut = true;
        // Those that have ended by themselves cannot be shut down again.
        lines.open.drain(..).for_each(|it| drop(it.shutdown(Shutdown::Both)));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
    });
}
