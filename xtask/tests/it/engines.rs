//! Where the engine is and what it is: each is used, or refused before anything is built for it.
//! And what the caller's shell sets decides nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::dsl::{Project, docker, engine, free_port, wait_until};

// --- refusals -------------------------------------------------------------------------------

const DOCKER: &str = r#"{"Components":[{"Name":"Engine","Version":"26.1.5"}],
    "Version":"26.1.5","Os":"linux","Arch":"amd64"}"#;
const PODMAN: &str = r#"{"Components":[{"Name":"Podman Engine","Version":"5.7.0"},
    {"Name":"Engine","Version":"5.7.0"}],"Version":"5.7.0","Os":"linux","Arch":"amd64"}"#;

/// A project whose docker client knows the versions of engine and plugins, and has no image. What it
/// is asked for beyond that is an error.
fn project_with(server: &str, buildx: &str, compose: &str) -> Project {
    let mut project = Project::new();
    project
        .file("docker/stack.lock", "epoch = \"2026-11-01T00:00:00Z\"\n")
        .file("docker/app/Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("app/source.txt", "one\n")
        .file("environments/dev/Procfile", "once: echo ran on the host\n")
        .compose(&[("app", "{build: {context: app, dockerfile: ../docker/app/Dockerfile}}")]);
    let server = server.replace('\n', " ");
    project.fake(
        "docker",
        &format!(
            "echo \"$*\" >> \"$0.calls\"\n\
             case \"$1 $2\" in\n\
             'version --format') echo '{{\"Client\":{{\"Version\":\"28\"}},\"Server\":{server}}}' ;;\n\
             'info --format') echo '{{\"Driver\":\"overlay2\",\"SecurityOptions\":[]}}' ;;\n\
             'buildx version') echo 'github.com/docker/buildx {buildx} 1a2b3c' ;;\n\
             'compose version') echo '{compose}' ;;\n\
             'compose --project-directory') exec \"$real\" \"$@\" ;;\n\
             *) echo \"No such image: $*\" >&2; exit 1 ;;\n\
             esac"
        ),
    );
    project
}

/// Runs commands that need an engine: each ends at once with what to do, and builds nothing.
fn refuses(project: &Project, commands: &[&str], why: &str) {
    for words in commands {
        let arguments: Vec<&str> = words.split(' ').collect();
        project.xtask(&arguments).exits(4).says(why);
    }
    let calls = fs::read_to_string(project.path("fake/docker.calls")).unwrap();
    let questions = ["version ", "buildx version", "compose ", "info ", "image inspect"];
    let acts = calls.lines().filter(|call| !questions.iter().any(|it| call.starts_with(it)));
    assert_eq!(acts.collect::<Vec<_>>(), [""; 0]);
}

const NEED_AN_ENGINE: [&str; 13] = [
    "image build",
    "image update",
    "image prune",
    "start",
    "stop",
    "restart",
    "run id",
    "logs",
    "shell",
    "dev --engine docker",
    "test --engine docker",
    "rehearse 1.0.0",
    "setup",
];

#[test]
fn podman_is_refused_by_doctor_and_by_every_command_that_needs_an_engine() {
    let mut project = project_with(PODMAN, "v0.30.1", "2.40.3");
    project.variable("DOCKER_HOST", "unix:///run/podman/podman.sock");
    let why = "Podman 5.7.0 answers at unix:///run/podman/podman.sock, and `docker buildx bake` \
               cannot build with it; use Docker Engine: unset DOCKER_HOST and run `cargo xtask setup`";
    refuses(&project, &NEED_AN_ENGINE, why);
    // The platform is known without asking the engine.
    project.file("environments/dev/environment.toml", "[images]\nplatform = \"linux/amd64\"\n");
    refuses(&project, &["image build"], why);
    let doctor = project.xtask(&["doctor"]).exits(4);
    doctor.prints(why).prints("only those can run that need no engine");
    project.xtask(&["status"]).succeeds().says(why).prints("dev: engine none");
    project.xtask(&["dev", "--engine", "host"]).exits(1).prints("ran on the host");
}

#[test]
fn a_plugin_that_is_too_old_is_refused_with_both_versions() {
    let commands = ["image build", "start", "dev --engine docker"];
    let project = project_with(DOCKER, "v0.12.1", "2.40.3");
    let why = "docker buildx 0.12.1 is too old; update it to 0.13 or newer";
    refuses(&project, &commands, why);
    project.xtask(&["doctor"]).exits(4).prints(why);
    let project = project_with(DOCKER, "v0.30.1", "2.20.3");
    let why =
        "docker compose 2.20.3 is too old; update it to 2.26 or newer, as https://docs.docker.com";
    refuses(&project, &commands, why);
    project.xtask(&["doctor"]).exits(4).prints("docker buildx: 0.30.1").prints(why);
}

#[test]
fn an_engine_on_another_machine_starts_nothing() {
    let mut project = project_with(DOCKER, "v0.30.1", "2.40.3");
    project.variable("DOCKER_HOST", "ssh://root@build.example");
    let why = "the Docker engine at ssh://root@build.example is on another machine: images and \
               releases can be built there, but a stack that starts there has neither the ports nor \
               the files of this machine; to start it here, unset DOCKER_HOST";
    let starts = ["start", "dev --engine docker", "run id", "rehearse 1.0.0", "beanstalk serve"];
    refuses(&project, &starts, why);
    project.xtask(&["dev"]).exits(1).says(why).prints("ran on the host");
    project.xtask(&["plan"]).succeeds().prints("build  app");
    let doctor = project.xtask(&["doctor"]).succeeds();
    doctor
        .prints("docker engine: 26.1.5 on linux/amd64, image store: overlay2")
        .prints("image, publish, release and test can run")
        .prints(why);
}

// --- the caller's variables -----------------------------------------------------------------

/// What docker, compose, buildx and BuildKit read of their environment. With those of the first
/// five rows, commands failed or built different images before they were removed.
const STEERING: [(&str, &str); 27] = [
    ("BUILDX_CONFIG", "/proc/nowhere"),
    ("BUILDX_GIT_LABELS", "full"),
    ("COMPOSE_PARALLEL_LIMIT", "many"),
    ("DOCKER_API_VERSION", "1.24"),
    ("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "/nowhere.json"),
    ("BUILDKIT_COLORS", "run=red"),
    ("BUILDKIT_HOST", "tcp://127.0.0.1:1"),
    ("BUILDKIT_PROGRESS", "rawjson"),
    ("BUILDX_BAKE_FILE", "nowhere.hcl"),
    ("BUILDX_BUILDER", "nowhere"),
    ("BUILDX_EXPERIMENTAL", "1"),
    ("COMPOSE_ANSI", "always"),
    ("COMPOSE_BAKE", "1"),
    ("COMPOSE_CONVERT_WINDOWS_PATHS", "1"),
    ("COMPOSE_EXPERIMENTAL", "1"),
    ("COMPOSE_FILE", "nowhere.yml"),
    ("COMPOSE_IGNORE_ORPHANS", "1"),
    ("COMPOSE_PROFILES", "nothing"),
    ("COMPOSE_PROGRESS", "json"),
    ("COMPOSE_PROJECT_NAME", "something-else"),
    ("COMPOSE_REMOVE_ORPHANS", "0"),
    ("DOCKER_BUILDKIT", "0"),
    ("DOCKER_CLI_EXPERIMENTAL", "disabled"),
    ("DOCKER_CLI_HINTS", "1"),
    ("DOCKER_CONTENT_TRUST", "1"),
    ("DOCKER_DEFAULT_PLATFORM", "linux/arm64"),
    ("DOCKER_HIDE_LEGACY_COMMANDS", "1"),
];

/// What says where the engine and the logins are, and how to get there.
const KEPT: [(&str, &str); 9] = [
    ("DOCKER_AUTH_CONFIG", "{}"),
    ("DOCKER_CERT_PATH", "/certificates"),
    ("DOCKER_CONFIG", "/nowhere/docker"),
    ("DOCKER_CONTEXT", "default"),
    ("DOCKER_HOST", "tcp://127.0.0.1:1"),
    ("DOCKER_TLS", "1"),
    ("DOCKER_TLS_VERIFY", "1"),
    ("HTTPS_PROXY", "http://proxy.example"),
    ("SSH_AUTH_SOCK", "/nowhere/agent"),
];

#[test]
fn no_variable_that_steers_docker_reaches_it_and_those_that_say_where_it_is_do() {
    let mut project = Project::new();
    project.compose(&[("app", "{image: debian}")]);
    let seen = project.path("seen");
    project.fake("docker", &format!("env >> '{}'\nexit 1", seen.display()));
    for (name, value) in STEERING.iter().chain(&KEPT) {
        project.variable(name, value);
    }
    project.xtask(&["doctor"]).exits(4);
    let seen = fs::read_to_string(seen).unwrap();
    let has = |name: &str, value: &str| seen.lines().any(|line| line == format!("{name}={value}"));
    let reached: Vec<_> = STEERING.iter().filter(|(name, value)| has(name, value)).collect();
    assert_eq!(reached, [&("", ""); 0]);
    let lost: Vec<_> = KEPT.iter().filter(|(name, value)| !has(name, value)).collect();
    assert_eq!(lost, [&("", ""); 0]);
}

#[test]
fn the_callers_variables_change_neither_what_is_built_nor_what_runs() {
    engine!();
    let mut project = served();
    let plain = project.reference("app");
    for (name, value) in STEERING {
        project.variable(name, value);
    }
    project.xtask(&["start"]).succeeds();
    let label = "{{index .Config.Labels \"com.docker.image.source.revision\"}}{{.Architecture}}";
    let here = docker(&["version", "--format", "{{.Server.Arch}}"]);
    assert_eq!(docker(&["image", "inspect", "--format", label, &plain]), here);
    let log = project.xtask(&["--json", "logs", "--no-follow"]).succeeds().events();
    assert!(log.iter().any(|line| line["text"] == "listening"), "{log:?}");
    project.xtask(&["status"]).succeeds().prints("app ");
    project.xtask(&["run", "cat", "/app/source.txt"]).succeeds().prints("one");
    project.xtask(&["stop"]).succeeds();
}

// --- places ---------------------------------------------------------------------------------

/// A project with a service that says that it listens, and a file.
fn served() -> Project {
    let project = Project::with_stack();
    project.in_git();
    project.compose(&[(
        "app",
        "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
         command: [sh, -c, 'echo listening; sleep infinity'], stop_grace_period: 1s, \
         x-stevedore: {main: true}}",
    )]);
    project
}

/// The socket of the engine that the tests use.
fn engine_socket() -> PathBuf {
    let host = docker(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let path = host.trim().strip_prefix("unix://").expect("the tests need an engine on a socket");
    PathBuf::from(path)
}

/// Hands everything that comes to a socket on to the engine, until the process ends.
fn another_socket(path: &Path) {
    let (listener, engine) = (UnixListener::bind(path).unwrap(), engine_socket());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = UnixStream::connect(&engine).unwrap();
            let pairs =
                [(client.try_clone().unwrap(), engine.try_clone().unwrap()), (engine, client)];
            for (from, to) in pairs {
                std::thread::spawn(move || hand_on(from, to));
            }
        }
    });
}

fn hand_on(mut from: UnixStream, mut to: UnixStream) {
    let mut block = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut block) {
        if to.write_all(&block[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn another_socket_and_a_context_lead_to_the_engine() {
    engine!();
    let mut project = served();
    let socket = project.scratch().join("other.sock");
    another_socket(&socket);
    let url = format!("unix://{}", socket.display());
    project.variable("DOCKER_HOST", &url);
    project.xtask(&["start"]).succeeds();
    project.xtask(&["status"]).succeeds().prints("Up ");
    project.xtask(&["run", "cat", "/app/source.txt"]).succeeds().prints("one");
    project.xtask(&["stop"]).succeeds();

    let mut other = served();
    let config = other.scratch().join("docker");
    let docker = format!("host={url}");
    let mut create = Command::new("docker");
    create.env("DOCKER_CONFIG", &config).args(["context", "create", "tests", "--docker", &docker]);
    let made = create.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    other.variable("DOCKER_CONFIG", &config.display().to_string());
    other.variable("DOCKER_CONTEXT", "tests").variable("DOCKER_HOST", "");
    other.xtask(&["image", "build"]).succeeds().prints("built   app");
    other.xtask(&["doctor"]).succeeds().prints("commands: all can run");
    other.variable("DOCKER_CONTEXT", "nowhere");
    let why = "no Docker engine answers at the context nowhere; start it, or unset DOCKER_CONTEXT";
    other.xtask(&["image", "build"]).exits(4).says(why);
}

/// Takes TLS from clients with the certificate of a directory, and hands on what they say.
const TLS_PROXY: &str = r#"
import asyncio, ssl, sys
directory, port, engine = sys.argv[1:]
async def hand_on(reader, writer):
    while block := await reader.read(1 << 14):
        writer.write(block)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    engine_reader, engine_writer = await asyncio.open_unix_connection(engine)
    both = hand_on(reader, engine_writer), hand_on(engine_reader, writer)
    await asyncio.gather(*both, return_exceptions=True)
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
    context.load_verify_locations(directory + "/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()
asyncio.run(main())
"#;

/// Ends the process with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tls_with_a_certificate_of_its_own_leads_to_the_engine() {
    engine!();
    let mut project = served();
    let (directory, port) = (project.scratch().to_path_buf(), free_port().to_string());
    // One certificate for all three: it signs itself.
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::copy(directory.join("cert.pem"), directory.join("ca.pem")).unwrap();
    let proxy = Command::new("python3")
        .args(["-c", TLS_PROXY])
        .args([&directory, Path::new(&port), &engine_socket()])
        .stderr(Stdio::null())
        .spawn();
    let _proxy = Ends(proxy.unwrap());
    wait_until("the proxy", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let url = format!("tcp://127.0.0.1:{port}");
    project.variable("DOCKER_HOST", &url);
    let silent = format!("no Docker engine answers at {url}; start it, or unset DOCKER_HOST");
    project.xtask(&["image", "build"]).exits(4).says(&silent);
    project.variable("DOCKER_TLS_VERIFY", "1");
    project.variable("DOCKER_CERT_PATH", &directory.display().to_string());
    project.xtask(&["image", "build"]).succeeds().prints("built   app");
}

// --- what a killed engine leaves ------------------------------------------------------------

/// In a network and directories of its own: an interface on Docker's bridge whose container died
/// with its engine, the directory of such an engine, and `setup`. Prints what is left afterwards.
const AFTER_A_KILLED_ENGINE: &str = r#"
set -eu
for directory in /run /var/lib/docker /var/log; do mount -t tmpfs tmpfs $directory; done
ip link add docker0 type bridge
ip link add vethdead type veth peer name peer
ip link set vethdead master docker0
ip link add br-26bf7f5f6086 type bridge
dead=$TMPDIR/stevedore-ci-dead
mkdir -p "$dead/mounted data"
mount -t tmpfs tmpfs "$dead/mounted data"
touch $dead/dockerd.log
# Without a network they cannot be installed.
for client in eb aws; do install -D /bin/true $TMPDIR/clients/$client; done
trap 'kill $(cat /run/docker.pid)' EXIT
PATH=$TMPDIR/clients:$PATH "$1" setup --yes
ip -br link
"#;

#[test]
fn what_a_killed_engine_left_is_removed_before_the_next_one_starts() {
    engine!();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let project = served();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", AFTER_A_KILLED_ENGINE, "sh"])
        .arg(env!("CARGO_BIN_EXE_xtask"))
        .env_remove("DOCKER_HOST")
        .env("TMPDIR", project.scratch())
        .current_dir(project.root())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{out}\n{says}");
    assert!(
        says.contains("removing 2 network interfaces of a Docker engine that no longer runs"),
        "{says}"
    );
    assert!(out.contains("docker0"), "{out}");
    for left in ["vethdead", "peer", "br-26bf7f5f6086"] {
        assert!(!out.contains(left), "{left}: {out}");
    }
    assert!(!project.scratch().join("stevedore-ci-dead").exists(), "{says}");
}
