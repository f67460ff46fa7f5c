//! A Debian repository of one package, served to builds: what a security update comes from.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dsl::docker;

/// The one package.
pub(crate) const PACKAGE: &str = "stevedore-demo";

/// Ends with the test.
pub(crate) struct AptRepository {
    directory: tempfile::TempDir,
    /// `HOST:PORT`, as a build step reaches it.
    pub(crate) address: String,
    ended: Arc<AtomicBool>,
}

impl AptRepository {
    /// An empty one, on the address by which containers reach this machine.
    pub(crate) fn start() -> AptRepository {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = docker(&["network", "inspect", "bridge", "--format", format]);
        let listener = TcpListener::bind(format!("{}:0", gateway.trim())).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let directory = tempfile::tempdir().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (root, flag) = (directory.path().to_path_buf(), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                serve(&root, &stream);
            }
        });
        AptRepository { directory, address, ended }
    }

    /// Adds a version beside those that are there, as a mirror does.
    pub(crate) fn publish(&self, version: &str) {
        let root = self.directory.path();
        let package = root.join(format!("work-{version}"));
        fs::create_dir_all(package.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\nMaintainer: Ada \
             <ada@example.org>\nDescription: a package that gets a fix\n"
        );
        fs::write(package.join("DEBIAN/control"), &control).unwrap();
        fs::create_dir_all(package.join("usr/share/demo")).unwrap();
        fs::write(package.join("usr/share/demo/version"), version).unwrap();
        let name = format!("{PACKAGE}_{version}_all.deb");
        let file = root.join(&name);
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).args([&package, &file]);
        assert!(build.output().unwrap().status.success());
        let bytes = fs::read(&file).unwrap();
        let entry = format!(
            "{control}Filename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            fingerprint::sha256(&bytes)
        );
        let mut list =
            fs::File::options().create(true).append(true).open(root.join("Packages")).unwrap();
        list.write_all(entry.as_bytes()).unwrap();
    }

    /// The instruction that installs the newest version from here and from nowhere else.
    pub(crate) fn instruction(&self) -> String {
        let list = format!("deb [trusted=yes] http://{}/ ./", self.address);
        let only = "-o Dir::Etc::sourcelist=/demo.list -o Dir::Etc::sourceparts=-";
        format!(
            "RUN echo '{list}' > /demo.list && apt-get update {only} \\\n    \
             && apt-get install {only} --yes {PACKAGE} \\\n    \
             && rm -rf /demo.list /var/lib/apt/lists/* /var/cache/apt/* /var/log/*\n"
        )
    }
}

impl Drop for AptRepository {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

/// Answers one request, and closes.
fn serve(root: &Path, mut stream: &TcpStream) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or("/");
    let name: PathBuf = path.trim_start_matches("/./").trim_start_matches('/').into();
    let (status, body) = match fs::read(root.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
