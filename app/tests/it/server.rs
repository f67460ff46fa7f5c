//! The binary: run to its end, or run as a server that listens on a free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use crate::database::Database;
use crate::http::{self, DEADLINE, Response};

pub(crate) type Variables<'a> = &'a [(&'a str, &'a str)];

/// What a run to the end left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Only the variables given: nothing of the developer's own environment reaches the app.
pub(crate) fn command(arguments: &[&str], variables: Variables<'_>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
pub(crate) fn run(arguments: &[&str], variables: Variables<'_>) -> Finished {
    finish(command(arguments, variables).spawn().unwrap())
}

#[track_caller]
pub(crate) fn finish(child: Child) -> Finished {
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let output = receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        signal(pid, "KILL");
        panic!("the app did not end within {} seconds", DEADLINE.as_secs())
    });
    let output = output.unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
pub(crate) fn migrate(database: &Database) -> String {
    let finished = run(&["migrate"], &[("DATABASE_URL", &database.url)]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    lines: Receiver<String>,
    /// Every line of the log that was read.
    pub(crate) log: Vec<String>,
}

impl Server {
    /// Migrates and serves.
    #[track_caller]
    pub(crate) fn start(database: &Database) -> Server {
        migrate(database);
        Server::start_with(database, &[])
    }

    #[track_caller]
    pub(crate) fn start_with(database: &Database, variables: Variables<'_>) -> Server {
        let url = [("DATABASE_URL", database.url.as_str())];
        let mut server = Server::spawn(&[&url, variables].concat());
        server.wait_until_listening();
        server
    }

    /// A server that may have to wait for its store first.
    #[track_caller]
    pub(crate) fn spawn(variables: Variables<'_>) -> Server {
        // Not the assets that this checkout may have built: a test that is about some brings them.
        let none = concat!(env!("CARGO_TARGET_TMPDIR"), "/no-assets");
        let own = [("HOST", "127.0.0.1"), ("PORT", "0"), ("STATIC_DIR", none)];
        let mut command = command(&["serve"], &[&own, variables].concat());
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // Ends with the pipe, or with the test.
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|it| sender.send(it).is_ok())
        });
        Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), lines, log: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn wait_until_listening(&mut self) {
        let line = self.wait_for_line("listening");
        // LOG_FORMAT=json writes "address":"…", text address=….
        let (_, after) = line.split_once("address").unwrap();
        let address = after.trim_start_matches(['"', ':', '=']);
        let end = address.find([' ', '"']).unwrap_or(address.len());
        self.address = address[..end].parse().unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no {part:?} in the log {:?}", self.log));
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Reads the log to its end and waits for the process.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => self.log.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it goes on: {:?}", self.log),
            }
        }
    }

    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended();
        assert!(status.success(), "{status:?} {:?}", self.log);
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path)
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Response {
        http::request(self.address, &format!("{method} {path}"), &[], b"")
    }

    pub(crate) fn post_json(&self, path: &str, body: &str) -> Response {
        let headers = [("content-type", "application/json; charset=utf-8")];
        http::request(self.address, &format!("POST {path}"), &headers, body.as_bytes())
    }

    pub(crate) fn post_form(&self, body: &str) -> Response {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        http::request(self.address, "POST /", &headers, body.as_bytes())
    }

    #[track_caller]
    pub(crate) fn add(&self, body: &str) -> Value {
        let response = self.post_json("/activity", body);
        assert_eq!(response.status, 201, "{response:?}");
        response.json()
    }

    /// The kinds of `/activities`, in its order.
    #[track_caller]
    pub(crate) fn kinds(&self, query: &str) -> Vec<String> {
        let listed = self.get(&format!("/activities{query}")).json();
        let kind = |it: &Value| it["kind"].as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(kind).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn signal(pid: u32, name: &str) {
    let script = r#"kill -s "$0" "$1""#;
    let status = Command::new("sh").args(["-c", script, name, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
