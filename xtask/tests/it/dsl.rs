//! A project in a temporary directory, the real binary in it, and what it answered.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::another_day;
use crate::asked::{HAS_ENGINE, engine_answers};
pub(crate) use crate::asked::{campaign, engine};

/// Longest wait for anything, also where two slow processors work on many tests; only a hang takes that
/// long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// In CI, where nobody sees the end of the output for long: why a test failed, at once.
fn tell_failures_at_once() {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        if std::env::var_os("CI").is_none() {
            return;
        }
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            usual(info);
            let thread = std::thread::current();
            // Not what a test prints, which is kept until the end.
            let _ = writeln!(std::io::stderr(), "{}: {info}", thread.name().unwrap_or("a thread"));
        }));
    });
}

/// A project that ends with the test, its containers, volumes and images too.
pub(crate) struct Project {
    directory: tempfile::TempDir,
    /// The project in it: mostly the directory itself.
    root: PathBuf,
    /// Holds what is the test's own and not the project's.
    scratch: tempfile::TempDir,
    /// The `name:` of its compose file: no two projects share one.
    pub(crate) name: String,
    variables: Vec<(String, String)>,
    has_stack: bool,
}

impl Project {
    /// An empty project: `docker/`, `environments/dev/` and nothing in them.
    pub(crate) fn new() -> Project {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        tell_failures_at_once();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}-{count}", std::process::id());
        let directory = tempfile::Builder::new().prefix("xtask-test-").tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let (root, mut variables) = (directory.path().to_path_buf(), Vec::new());
        if !HAS_ENGINE.load(Ordering::Relaxed) {
            // A unit test that asks an engine all the same finds none.
            variables.push(("DOCKER_HOST".into(), "unix:///nowhere".into()));
        }
        let project = Project { directory, root, scratch, name, variables, has_stack: false };
        project.mkdir("docker").mkdir("environments/dev");
        project
    }

    /// Like [`Project::new`], with a clean-up of everything docker made for it.
    pub(crate) fn for_containers() -> Project {
        let mut project = Project::new();
        project.has_stack = true;
        project
    }

    /// One image `app` that copies `app/`, on `base`, and a service that sleeps.
    pub(crate) fn with_stack() -> Project {
        let project = Project::for_containers();
        let lock = fs::read_to_string(repository().join("docker/stack.lock")).unwrap();
        project
            .file("docker/stack.lock", &lock)
            .file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN echo base > /base\n")
            .file("docker/app/Dockerfile", "FROM base\nARG GREETING\nCOPY . /app\nWORKDIR /app\n")
            .file("app/source.txt", "one\n")
            .file("app/lib/other.txt", "other\n")
            .compose(&[(
                "app",
                "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, \
                 command: [sleep, infinity], init: true, stop_grace_period: 1s, \
                 x-stevedore: {main: true}}",
            )]);
        if another_day::is_simulated() {
            project.make_base_today();
        }
        project
    }

    /// Like [`Project::with_stack`], with a base under a name of its own that a test may move.
    pub(crate) fn with_own_base() -> Project {
        let project = Project::with_stack();
        let lock = project.read("docker/stack.lock");
        let epoch = lock.split('"').nth(1).unwrap().to_owned();
        project.xtask(&["image", "build", "dev", "base"]).succeeds();
        // A second no other project has: this process and this project are in it.
        let number: u32 = project.name[1..].replace('-', "").parse().unwrap_or(7);
        let own = format!(
            "{}-01-01T{:02}:{:02}:{:02}Z",
            2000 + number % 20,
            number / 20 % 24,
            number / 480 % 60,
            number / 28_800 % 60
        );
        project.file("docker/stack.lock", lock.replace(&epoch, &own));
        docker(&["image", "tag", &external(&epoch), &external(&own)]);
        project.lock_what_is_here();
        fs::remove_dir_all(project.path(".stevedore")).unwrap();
        project
    }

    /// Debian's mirror refuses whose clock is in another year: the base is made before.
    fn make_base_today(&self) {
        let lock = self.read("docker/stack.lock");
        let base = external(lock.split('"').nth(1).unwrap());
        if docker(&["image", "ls", "--quiet", &base]).is_empty() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
            command.arg("-C").arg(self.root()).args(["image", "build", "dev", "base"]);
            assert!(command.output().unwrap().status.success());
            self.remove_images();
            fs::remove_dir_all(self.path(".stevedore")).unwrap();
        }
    }

    /// Writes into the lock what the base is in this engine, as `image update` would: the mirror
    /// may have moved since this repository's lock was written.
    pub(crate) fn lock_what_is_here(&self) -> &Project {
        let inputs = self.xtask(&["image", "inputs", "base"]).succeeds().stdout;
        let found =
            inputs.lines().find_map(|line| line.strip_prefix("external debian:trixie-slim "));
        let lock = self.read("docker/stack.lock");
        let locked = lock.split("content = \"").nth(1).and_then(|rest| rest.split('"').next());
        self.file("docker/stack.lock", lock.replace(locked.unwrap(), found.unwrap()))
    }

    /// The private name of the base of [`Project::with_own_base`].
    pub(crate) fn own_base(&self) -> String {
        external(self.read("docker/stack.lock").split('"').nth(1).unwrap())
    }

    /// Makes it a git repository that keeps secrets out; no file is added.
    pub(crate) fn in_git(&self) -> &Project {
        let init = Command::new("git").args(["init", "--quiet"]).arg(self.root()).status();
        assert!(init.unwrap().success());
        self.file(".gitignore", "/environments/*/.env\n")
    }

    /// Writes docker/compose.yml: each service on one line.
    pub(crate) fn compose(&self, services: &[(&str, &str)]) -> &Project {
        let list: String =
            services.iter().map(|(name, service)| format!("  {name}: {service}\n")).collect();
        self.file("docker/compose.yml", format!("name: {}\nservices:\n{list}", self.name))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The test's whole directory, whether the project lies in it or below.
    pub(crate) fn top(&self) -> &Path {
        self.directory.path()
    }

    /// Moves the project into a directory beside which there may be other things.
    pub(crate) fn move_below(&mut self, name: &str) -> &mut Project {
        let files: Vec<_> = fs::read_dir(&self.root).unwrap().flatten().collect();
        self.root.push(name);
        fs::create_dir_all(&self.root).unwrap();
        for file in files {
            fs::rename(file.path(), self.root.join(file.file_name())).unwrap();
        }
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// A place of the test's own, outside of the project.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn mkdir(&self, path: &str) -> &Project {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Project {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) -> &Project {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// A `.env` of dev as xtask would write it: for its owner only.
    pub(crate) fn dotenv(&self, text: impl AsRef<[u8]>) -> &Project {
        self.file("environments/dev/.env", text).mode("environments/dev/.env", 0o600)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// A program that the binary finds before the machine's own. `real` in it is the real one.
    pub(crate) fn fake(&mut self, program: &str, script: &str) -> &mut Project {
        let real = which::which(program).map(|path| path.display().to_string()).unwrap_or_default();
        let path = format!("fake/{program}");
        self.file(&path, format!("#!/bin/sh\nreal={real}\n{script}\n")).mode(&path, 0o755);
        let search = std::env::var("PATH").unwrap();
        self.variables.retain(|(name, _)| name != "PATH");
        self.variables.push(("PATH".into(), format!("{}:{search}", self.path("fake").display())));
        self
    }

    /// Writes down every call of docker, one a line, in `calls`.
    pub(crate) fn log_docker(&mut self) -> &mut Project {
        let log = self.path("calls").display().to_string();
        self.fake("docker", &format!("echo \"docker $*\" >> '{log}'\nexec \"$real\" \"$@\""))
    }

    /// The calls since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = self.path("calls");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn variable(&mut self, name: &str, value: &str) -> &mut Project {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        another_day::move_the_clock(&mut command, arguments);
        command.arg("-C").arg(self.root()).args(arguments).stdin(Stdio::null());
        // Of the CI system that may run these tests.
        for name in ["CI", "GITHUB_ACTIONS", "GITLAB_CI"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").envs(self.variables.iter().cloned());
        command
    }

    /// Runs `xtask -C <here> ARGUMENTS` to its end.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| {
            let root = self.root().display().to_string();
            String::from_utf8_lossy(bytes).replace(&root, "<root>").replace(&self.name, "<name>")
        };
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// What a spawned command has printed so far.
    pub(crate) fn output_path(&self) -> PathBuf {
        self.scratch.path().join("output")
    }

    /// Starts `xtask ARGUMENTS`; its output goes to [`Project::output_path`].
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running<'_> {
        let output = fs::File::create(self.output_path()).unwrap();
        let child = self
            .command(arguments)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Running { project: self, child }
    }

    /// The fingerprint alone, by another way than [`Project::fingerprint`].
    pub(crate) fn inputs(&self, image: &str) -> String {
        let answer = self.xtask(&["image", "inputs", image, "--fingerprint"]).succeeds();
        answer.stdout.trim().to_owned()
    }

    /// The exact image that a service of ours would run.
    pub(crate) fn fingerprint(&self, image: &str) -> String {
        let list = self.xtask(&["--json", "image", "list"]).succeeds();
        let found = list.events().into_iter().find(|event| event["image"] == image).unwrap();
        found["fingerprint"].as_str().unwrap().to_owned()
    }

    pub(crate) fn reference(&self, image: &str) -> String {
        format!("{}/{image}:f-{}", self.name, self.fingerprint(image))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if !self.has_stack || !engine_answers() {
            return;
        }
        self.remove_containers();
        let lock = fs::read_to_string(self.path("docker/stack.lock")).unwrap_or_default();
        let shared = fs::read_to_string(repository().join("docker/stack.lock")).unwrap();
        if let Some(epoch) = lock.split('"').nth(1).filter(|_| lock != shared) {
            docker(&["image", "rm", &external(epoch)]);
        }
        self.remove_images();
    }
}

impl Project {
    /// Every image that was ever built for the project.
    pub(crate) fn remove_images(&self) {
        let images = format!("reference={}/*", self.name);
        let list = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &images];
        remove_these(docker(&list).split_whitespace().collect(), &["image", "rm", "--force"]);
    }

    /// Those of every environment, in a second checkout too.
    fn remove_containers(&self) {
        const LABEL: &str = "com.docker.compose.project";
        let ours = format!("{}-", self.name);
        for (list, id, remove) in [
            (&["container", "ls", "--all"][..], "ID", &["container", "rm", "--force", "-v"][..]),
            (&["volume", "ls"], "Name", &["volume", "rm", "--force"]),
            (&["network", "ls"], "ID", &["network", "rm"]),
        ] {
            let (filter, format) =
                (format!("label={LABEL}"), format!("{{{{.Label \"{LABEL}\"}}}} {{{{.{id}}}}}"));
            let found = docker(&[list, &["--filter", &filter, "--format", &format]].concat());
            let is_ours = |line: &&str| line.starts_with(&ours);
            let ids = found.lines().filter(is_ours).filter_map(|line| line.split(' ').nth(1));
            remove_these(ids.collect(), remove);
        }
    }
}

fn remove_these(found: Vec<&str>, remove: &[&str]) {
    if !found.is_empty() {
        let _ = Command::new("docker").args(remove).args(found).output();
    }
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Answer {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Some line of stderr holds this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Answer {
        assert!(self.stderr.contains(text), "no {text:?} in stderr:\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Answer {
        assert!(self.stdout.contains(text), "no {text:?} in stdout:\n{}", self.stdout);
        self
    }

    /// One JSON object a line, each with an `event`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).expect(line);
            assert!(event["event"].is_string(), "{line}");
            event
        };
        self.stdout.lines().map(parse).collect()
    }

    /// `image: status: reason` of each image, fingerprints left out.
    #[track_caller]
    pub(crate) fn images(&self) -> Vec<String> {
        let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap().to_owned();
        let line = |event: serde_json::Value| {
            let line = format!("{} {}", text(&event, "image"), text(&event, "status"));
            match text(&event, "reason").as_str() {
                "" => line,
                reason => format!("{line}: {reason}"),
            }
        };
        self.events().into_iter().filter(|event| event["event"] == "image").map(line).collect()
    }
}

/// A command that runs.
pub(crate) struct Running<'p> {
    project: &'p Project,
    child: Child,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.project.output_path()).unwrap()
    }

    /// Waits until the output holds a text.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> &mut Self {
        wait_until(&format!("output {text:?}"), || {
            let output = self.output();
            if output.contains(text) {
                return true;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended ({ended:?}) without {text:?}:\n{output}");
            false
        });
        self
    }

    pub(crate) fn signal(&self, signal: &str) -> &Self {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self
    }

    /// Waits for the end; the exit code, 128 and the number for a signal.
    pub(crate) fn ends(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let mut status = None;
        wait_until("the end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition; a hang is a failure with a name.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Under which name xtask keeps the tests' external base at an epoch.
fn external(epoch: &str) -> String {
    let unique = fingerprint::sha256(format!("debian:trixie-slim {epoch}").as_bytes());
    format!("stevedore.invalid/external:debian-trixie-slim-{}", &unique[..12])
}

/// Runs docker to its end: its stdout.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file of an image.
pub(crate) fn file_in_image(image: &str, path: &str) -> String {
    docker(&["container", "run", "--rm", "--network", "none", image, "cat", path])
}

/// This repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A port of 127.0.0.1 that nobody has and that is given to one test only, of however many
/// processes of tests.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<fs::File>> = Mutex::new(Vec::new());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ports");
    fs::create_dir_all(&directory).unwrap();
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let lock = fs::File::create(directory.join(port.to_string())).unwrap();
        // Held until this process ends.
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            GIVEN.lock().unwrap().push(lock);
            return port;
        }
    }
}

/// A GET over HTTP: status and body, or nothing when nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// A POST of JSON over HTTP: status and body.
pub(crate) fn post(port: u16, path: &str, json: &str) -> Option<(u16, String)> {
    let length = json.len();
    request(
        port,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        ),
    )
}

fn request(port: u16, request: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let address = ([127, 0, 0, 1], port).into();
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}
