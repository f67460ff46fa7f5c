//! A server with a state of its own, a project with the real EB CLI in it, and what they answered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use crate::asked::{campaign, engine};
use crate::sign::Reply;
use crate::{sign, tools};

/// Longest wait for anything, also where two slow processors work on many tests; only a hang takes that
/// long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20 * 60);

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const DOCKER_BRANCH: &str = "Docker running on 64bit Amazon Linux 2023";
pub(crate) const ECS_BRANCH: &str = "ECS running on 64bit Amazon Linux 2023";

/// A server that runs. It ends with the test, and all that it made in the engine ends with it.
pub(crate) struct Server {
    scratch: tempfile::TempDir,
    arguments: Vec<String>,
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(&[])
    }

    /// With further arguments of `serve`.
    pub(crate) fn with(arguments: &[&str]) -> Server {
        let scratch = tempfile::Builder::new().prefix("beanstalk-test-").tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let child = spawn(scratch.path(), &arguments);
        let mut server = Server { scratch, arguments, child, port: 0 };
        server.wait_until_it_serves();
        server
    }

    /// Its `--state`.
    pub(crate) fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// What it said on stderr, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// The name by which its containers are known.
    pub(crate) fn owner(&self) -> String {
        fs::read_to_string(self.state().join("owner")).unwrap_or_default().trim().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`; its containers go on.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same state, after [`Server::kill`]; at another port.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        self.child = spawn(self.scratch.path(), &self.arguments);
        self.wait_until_it_serves();
    }

    fn wait_until_it_serves(&mut self) {
        let file = self.state().join("server.json");
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let place: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            // After a kill the file of the one before is still there.
            if place["pid"] == self.child.id()
                && let Some(port) = place["port"].as_u64()
            {
                self.port = u16::try_from(port).unwrap();
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended ({ended:?}):\n{}", self.log());
            assert!(started.elapsed() < PATIENCE, "it does not serve:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A signed call of an action of Elastic Beanstalk.
    pub(crate) fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Reply {
        sign::call(self.port, action, parameters)
    }

    /// A signed request to S3, for `/BUCKET/KEY?QUERY`.
    pub(crate) fn s3(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        sign::Request { method, path, body, ..sign::Request::s3() }.send(self.port)
    }

    /// The bucket of the region.
    pub(crate) fn bucket(&self) -> String {
        self.call("CreateStorageLocation", &[]).succeeds().text("S3Bucket")
    }

    /// Uploads a bundle and makes it a version of an application, which is made too.
    pub(crate) fn version(&self, application: &str, label: &str, bundle: &[u8]) -> Reply {
        let (bucket, key) = (self.bucket(), format!("{application}/{label}.zip"));
        self.s3("PUT", &format!("/{bucket}/{key}"), bundle).succeeds();
        self.call(
            "CreateApplicationVersion",
            &[
                ("ApplicationName", application),
                ("VersionLabel", label),
                ("AutoCreateApplication", "true"),
                ("SourceBundle.S3Bucket", &bucket),
                ("SourceBundle.S3Key", &key),
            ],
        )
    }

    /// Creates an environment of one instance on the Docker branch, or with further parameters.
    pub(crate) fn create(&self, application: &str, name: &str, more: &[(&str, &str)]) -> Reply {
        let platform = format!("arn:aws:elasticbeanstalk:{REGION}::platform/{DOCKER_BRANCH}/4.3.0");
        let mut parameters = vec![
            ("ApplicationName", application),
            ("EnvironmentName", name),
            ("OptionSettings.member.1.Namespace", "aws:elasticbeanstalk:environment"),
            ("OptionSettings.member.1.OptionName", "EnvironmentType"),
            ("OptionSettings.member.1.Value", "SingleInstance"),
        ];
        if !more.iter().any(|(key, _)| *key == "PlatformArn") {
            parameters.push(("PlatformArn", &platform));
        }
        parameters.extend(more);
        self.call("CreateEnvironment", &parameters)
    }

    /// All environments that ever were, as `/local/status` has them.
    pub(crate) fn environments(&self) -> Vec<serde_json::Value> {
        let (_, text) = get(&format!("127.0.0.1:{}", self.port), "/local/status").unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        status["environments"].as_array().unwrap().clone()
    }

    /// The living environment of a name.
    #[track_caller]
    pub(crate) fn environment(&self, name: &str) -> serde_json::Value {
        let all = self.environments().into_iter();
        let mut living = all.filter(|it| it["status"] != "Terminated" && it["name"] == name);
        living.next().unwrap_or_else(|| panic!("no environment {name}"))
    }

    /// Waits until nothing is being done to an environment, and returns it.
    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> serde_json::Value {
        wait_until(&format!("{name} to be Ready"), || self.environment(name)["status"] == "Ready");
        self.environment(name)
    }

    /// `NAME.localhost:PORT` of an environment.
    #[track_caller]
    pub(crate) fn address(&self, name: &str) -> String {
        self.environment(name)["address"].as_str().unwrap().to_owned()
    }

    /// The page of an environment, by its address; nothing when it is not a 200.
    #[track_caller]
    pub(crate) fn page(&self, name: &str) -> Option<String> {
        get(&self.address(name), "/").filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// Messages of the events of an environment, oldest first.
    pub(crate) fn events(&self, name: &str) -> Vec<String> {
        let reply = self.call("DescribeEvents", &[("EnvironmentName", name)]).succeeds();
        let mut events = reply.texts("Message");
        events.reverse();
        events
    }

    /// Sets a failure drill: `slow=100`, `stuck=my-env`, `clear=true`…
    pub(crate) fn drill(&self, form: &str) {
        let (status, text) = post(&format!("127.0.0.1:{}", self.port), "/local/drill", form);
        assert_eq!(status, 200, "{text}");
    }
}

fn spawn(scratch: &Path, arguments: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(scratch.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_beanstalk"))
        .args(["serve", "--port", "0", "--state"])
        .arg(scratch.join("state"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.log());
        }
        let owner = self.owner();
        if !owner.is_empty() {
            remove_all(&owner);
        }
    }
}

/// Removes what a server made in the engine.
fn remove_all(owner: &str) {
    let filter = format!("label=stevedore.beanstalk={owner}");
    for (list, remove) in [
        (vec!["container", "ls", "--all"], vec!["container", "rm", "--force", "--volumes"]),
        (vec!["network", "ls"], vec!["network", "rm"]),
        (vec!["volume", "ls"], vec!["volume", "rm", "--force"]),
        (vec!["image", "ls"], vec!["image", "rm", "--force"]),
    ] {
        let found = docker(&[list, vec!["--quiet", "--filter", &filter]].concat());
        let found: Vec<&str> = found.split_whitespace().collect();
        if !found.is_empty() {
            docker(&[remove, found].concat());
        }
    }
}

/// A project with git, and the real EB CLI that knows one server only.
pub(crate) struct Eb<'s> {
    server: &'s Server,
    directory: tempfile::TempDir,
    home: tempfile::TempDir,
}

impl<'s> Eb<'s> {
    /// An empty directory with git.
    pub(crate) fn new(server: &'s Server) -> Eb<'s> {
        let directory = tempfile::Builder::new().prefix("eb-test-").tempdir().unwrap();
        let eb = Eb { server, directory, home: tempfile::tempdir().unwrap() };
        eb.git(&["init", "--quiet", "--initial-branch", "main"]);
        eb
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Eb<'s> {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Everything that is there, as a commit.
    pub(crate) fn commit(&self, message: &str) -> &Eb<'s> {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message])
    }

    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> &Eb<'s> {
        let own = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"];
        let git = self.tool("git").args(own).args(arguments).output().unwrap();
        assert!(git.status.success(), "git {arguments:?}: {git:?}");
        self
    }

    /// A program in the project, with a clean environment and the fence: every call goes to the
    /// server, and one that would go elsewhere goes nowhere.
    pub(crate) fn tool(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        fence(&mut command, &self.server.url(), self.home.path());
        command
    }

    /// Runs `eb ARGUMENTS` to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(arguments, "")
    }

    /// As [`Eb::run`], with a text on its stdin.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Answer {
        let mut command = self.tool(tools::venv().join("bin/eb"));
        command.args(arguments);
        finish(command, stdin, &format!("eb {}", arguments.join(" ")))
    }
}

/// Sets the variables of reference §0.11 and no others.
pub(crate) fn fence(command: &mut Command, url: &str, home: &Path) {
    let kept = ["PATH", "LANG", "TMPDIR"].map(|name| (name, std::env::var_os(name)));
    command.env_clear();
    command.envs(kept.into_iter().filter_map(|(name, value)| Some((name, value?))));
    command.env("HOME", home).envs([
        ("AWS_ENDPOINT_URL", url),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("PAGER", "cat"),
        ("PYTHONUNBUFFERED", "1"),
    ]);
}

/// Runs a command to its end, or to the end of patience.
#[track_caller]
pub(crate) fn finish(mut command: Command, stdin: &str, shown: &str) -> Answer {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut input = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut input, stdin.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    command.stdin(input).stdout(output.reopen().unwrap()).stderr(output.reopen().unwrap());
    // One file for both, at its end each time: the order is that of a terminal.
    let append = || fs::File::options().append(true).open(output.path()).unwrap();
    command.stdout(append()).stderr(append());
    let started = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read(output.path()).unwrap();
            panic!("{shown} does not end; it said:\n{}", String::from_utf8_lossy(&said));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let output = String::from_utf8_lossy(&fs::read(output.path()).unwrap()).into_owned();
    let code = status.code().unwrap_or(-1);
    // The transcript: with `--nocapture`, or where a test fails.
    let (thread, seconds) = (std::thread::current(), started.elapsed().as_secs_f64());
    let story = thread.name().unwrap_or_default();
    println!("[{story}] $ {shown}\n{output}(exit code {code}, {seconds:.1} s)");
    Answer { command: shown.to_owned(), code, output }
}

/// What a command answered, stdout and stderr as on a terminal.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) command: String,
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn succeeds(self) -> Answer {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "{} said:\n{}", self.command, self.output);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Answer {
        assert!(self.output.contains(text), "{}: no {text:?} in\n{}", self.command, self.output);
        self
    }

    #[track_caller]
    pub(crate) fn does_not_say(self, text: &str) -> Answer {
        assert!(!self.output.contains(text), "{}: {text:?} in\n{}", self.command, self.output);
        self
    }

    /// The rest of the line that begins with a text, spaces apart.
    #[track_caller]
    pub(crate) fn after(&self, text: &str) -> String {
        let rest = self.output.lines().find_map(|line| line.trim().strip_prefix(text));
        rest.unwrap_or_else(|| panic!("no line {text:?} in\n{}", self.output)).trim().to_owned()
    }
}

/// Tells stories at once, whatever the number of test threads: `eb` waits most of the time. All that
/// fail are named.
pub(crate) fn side_by_side<'s>(stories: &[(&'s str, fn())]) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let start = |(name, story): &(&'s str, fn())| {
            let thread = std::thread::Builder::new().name((*name).to_owned());
            (*name, thread.spawn_scoped(scope, *story).unwrap())
        };
        let running: Vec<_> = stories.iter().map(start).collect();
        let failed = running.into_iter().filter_map(|(name, it)| it.join().err().map(|_| name));
        failed.collect()
    });
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// The stories by their names.
macro_rules! stories {
    ($($story:ident,)*) => { $crate::dsl::side_by_side(&[$((stringify!($story), $story)),*]) };
}
pub(crate) use stories;

/// Waits for a condition; a hang is a failure with a name.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs docker to its end: its stdout.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(60))).build().new_agent()
}

/// A GET at `NAME.localhost:PORT`, which needs no name service: status and body, or nothing when
/// nobody answers.
pub(crate) fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let port = address.rsplit_once(':').unwrap().1;
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = agent().get(url).header("Host", address).call().ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.into_body().read_to_string().ok()?))
}

/// A POST of a form.
pub(crate) fn post(address: &str, path: &str, form: &str) -> (u16, String) {
    let answer = agent().post(format!("http://{address}{path}")).send(form).unwrap();
    (answer.status().as_u16(), answer.into_body().read_to_string().unwrap())
}
