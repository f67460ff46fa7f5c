//! The host engine: the Procfile on this machine. Killed anywhere, it leaves no process behind.

use std::fs;
use std::process::Command;

use expect_test::{Expect, expect};

use crate::dsl::{Project, Running, free_port, get, wait_until};

const DEV: [&str; 3] = ["dev", "--engine", "host"];
const DETACH: [&str; 4] = ["dev", "--engine", "host", "--detach"];

/// Answers `GET /NAME` with the variable of that name.
const SERVER: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("=" + os.environ.get(self.path[1:], "(none)")).encode())
    def log_message(self, *arguments):
        pass
print("listening")
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Waits for ever; with `deaf` it ignores every polite request to end.
const WAIT: &str = r#"
import signal, sys
if "deaf" in sys.argv:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
while True:
    signal.pause()
"#;

/// Leaves a process of another session behind, whose parent has ended; then waits.
const DOUBLE: &str = r#"
import os, sys
wait = [sys.executable, "wait.py"] + sys.argv[1:]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(wait[0], wait)
    os._exit(0)
os.execv(wait[0], wait)
"#;

/// A project whose Procfile holds these lines, and the port of its `web`.
fn project(procfile: &str) -> (Project, u16) {
    let (project, port) = (Project::new(), free_port());
    project
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"))
        .file("environments/dev/Procfile", procfile)
        .file("server.py", SERVER)
        .file("wait.py", WAIT)
        .file("double.py", DOUBLE);
    (project, port)
}

const WEB: &str = "web: python3 -u server.py\n";

/// An argument by which processes are found, wherever they went; a failed test leaves none either.
struct Marker(String);

impl Marker {
    fn new(project: &Project) -> Marker {
        Marker(format!("marker-{}-end", project.name))
    }

    /// The argument `$STEVEDORE_STATE`.
    fn state(project: &Project) -> Marker {
        Marker(project.path(".stevedore/dev/host").display().to_string())
    }

    /// The processes that have the argument.
    fn alive(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let has = |pid: &String| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.0)
        };
        processes
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(has)
            .collect()
    }

    #[track_caller]
    fn until(&self, count: usize) {
        wait_until(&format!("{count} processes"), || self.alive().len() == count);
    }

    #[track_caller]
    fn none(&self) {
        assert_eq!(self.alive(), Vec::<String>::new(), "processes are left");
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        for pid in self.alive() {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

/// Ends what was detached, also where a test fails.
struct Detached<'p>(&'p Project);

impl Drop for Detached<'_> {
    fn drop(&mut self) {
        if claim(self.0).exists() {
            self.0.xtask(&["stop", "dev"]);
        }
    }
}

/// Where a supervisor says that it runs.
fn claim(project: &Project) -> std::path::PathBuf {
    project.path(".stevedore/dev/host/supervisor.json")
}

/// The exit code after a signal.
fn end(dev: &mut Running<'_>, signal: &str) -> i32 {
    dev.signal(signal);
    dev.ends()
}

fn refuses(procfile: &str, expected: Expect) {
    let (project, _) = project(procfile);
    let answer = project.xtask(&DEV).exits(1);
    expected.assert_eq(&answer.stderr);
    assert_eq!(answer.stdout, "", "nothing was started");
}

#[test]
fn the_address_comes_once_the_port_answers_and_each_line_names_its_process() {
    let (project, port) = project(&format!("{WEB}a-worker: sh worker.sh\n"));
    project.file("worker.sh", "echo working\necho failing >&2\nexec python3 wait.py\n");
    let mut dev = project.spawn(&DEV);
    dev.until(&format!("dev answers on http://127.0.0.1:{port}/\n"));
    assert!(get(port, "/").is_some());
    dev.until("web      | listening\n");
    dev.until("a-worker | working\n").until("a-worker | failing\n");
    assert_eq!(end(&mut dev, "-INT"), 130);
    assert!(dev.output().contains("dev is stopped; its data is kept"), "{}", dev.output());
    assert!(get(port, "/").is_none());
}

#[test]
fn ctrl_c_ends_what_ignores_it_hides_from_it_and_holds_our_pipe() {
    let (project, port) = project(&format!(
        "{WEB}deaf: python3 wait.py deaf $MARKER\ndouble: python3 double.py $MARKER\n\
         daemon: sh daemon.sh $MARKER\n"
    ));
    let marker = Marker::new(&project);
    project
        .file(
            "environments/dev/environment.toml",
            format!("[ports]\nhttp = {port}\n[host.variables]\nMARKER = \"{}\"\n", marker.0),
        )
        .file("daemon.sh", "setsid python3 wait.py deaf $1 &\nexec python3 wait.py $1\n");
    let mut dev = project.spawn(&DEV);
    dev.until("answers on");
    marker.until(5);
    assert_eq!(end(&mut dev, "-INT"), 130);
    marker.none();
    assert!(!claim(&project).exists());
}

#[test]
fn a_flood_of_output_can_be_ended() {
    let (project, port) = project(&format!("{WEB}flood: python3 flood.py\n"));
    let marker = Marker(project.path("flood.py").display().to_string());
    project.file("flood.py", "while True:\n    print('x' * 1000)\n");
    let mut dev = project.spawn(&DEV);
    wait_until("the server", || get(port, "/").is_some());
    wait_until("the flood", || project.output_path().metadata().unwrap().len() > 1 << 20);
    assert_eq!(end(&mut dev, "-INT"), 130);
    marker.none();
    assert!(get(port, "/").is_none());
}

#[test]
fn release_ends_before_the_others_begin() {
    let (project, _) = project("release: sh release.sh\nweb: sh web.sh\n");
    project
        .file("release.sh", "python3 -c 'import time; time.sleep(0.5)'\ntouch released\n")
        .file("web.sh", "test -e released || exit 9\nexec python3 -u server.py\n");
    let mut dev = project.spawn(&DEV);
    dev.until("answers on");
    assert_eq!(end(&mut dev, "-INT"), 130);
}

#[test]
fn a_release_that_fails_stops_the_start_and_its_whole_log_is_shown() {
    let (project, _) = project("release: python3 release.py\nweb: sh web.sh\n");
    project
        .file("release.py", "for n in range(3000): print('line', n)\nprint('no database')\nexit(7)")
        .file("web.sh", "touch started\n");
    for arguments in [&DEV[..], &DETACH[..]] {
        let answer = project.xtask(arguments).exits(7).says("release failed (exit status: 7)");
        let all = answer.stdout + &answer.stderr;
        assert!(all.contains("release | line 2999\nrelease | no database\n"), "{all}");
        assert!(!project.path("started").exists());
        assert!(!claim(&project).exists());
    }
}

#[test]
fn the_end_of_one_process_ends_the_others_and_is_named() {
    let (project, port) = project(&format!("{WEB}worker: python3 worker.py\n"));
    // A pipe full of short lines takes longer to show than an end takes to be noticed.
    project.file("worker.py", "print('\\n' * 200_000 + 'no memory')\nexit(3)\n").file(
        "environments/dev/environment.toml",
        format!("[ports]\nhttp = {port}\n[host]\nrestarts = 0\n"),
    );
    let answer = project.xtask(&DEV).exits(3).says("worker ended (exit status: 3)");
    let answer = answer.prints("worker  | \nworker  | no memory\n");
    assert!(!answer.stderr.contains("web ended"));
    assert!(get(port, "/").is_none());
}

#[test]
fn a_program_that_is_not_there_is_named_and_the_others_end() {
    let (project, _) = project("one: python3 wait.py $STEVEDORE_STATE\ntwo: no-such-program\n");
    let state = Marker::state(&project);
    project.xtask(&DEV).exits(1).says("can't start two: no-such-program");
    state.none();
}

#[test]
fn when_xtask_is_killed_its_processes_end_and_the_next_start_works() {
    let (project, port) = project(&format!("{WEB}worker: python3 wait.py $STEVEDORE_STATE\n"));
    let state = Marker::state(&project);
    let mut dev = project.spawn(&DEV);
    dev.until("answers on");
    state.until(1);
    dev.signal("-KILL");
    state.until(0);
    wait_until("the server's end", || get(port, "/").is_none());
    // Nobody has taken its exit status yet: a zombie does not run.
    project.xtask(&DETACH).succeeds().prints("answers on");
    let _stop = Detached(&project);
    assert_eq!(dev.ends(), 128 + 9);
}

#[test]
fn a_second_dev_says_that_one_runs() {
    let (project, _) = project(WEB);
    let mut dev = project.spawn(&DEV);
    dev.until("answers on");
    let says = format!("dev runs on the host engine already (process {})", dev.pid());
    project.xtask(&DEV).exits(1).says(&says).says("cargo xtask stop dev");
    project.xtask(&DETACH).exits(1).says(&says);
    project.xtask(&["stop"]).succeeds().says("dev is stopped; its data is kept");
    assert_eq!(dev.ends(), 143);
}

#[test]
fn detached_it_goes_on_and_status_logs_and_stop_find_it() {
    let (project, port) = project(WEB);
    let _stop = Detached(&project);
    let url = format!("http://127.0.0.1:{port}/");
    project.xtask(&DETACH).succeeds().prints(&format!("dev answers on {url}\n"));
    assert!(get(port, "/").is_some());
    let status = project.xtask(&["status"]).succeeds();
    status.prints(&format!("dev: engine host, {url}\n")).prints("web");
    let events = project.xtask(&["--json", "status"]).succeeds().events();
    assert_eq!((&events[0]["engine"], &events[0]["url"]), (&"host".into(), &url.into()));
    let logs = || project.xtask(&["logs", "--no-follow"]).succeeds().stdout;
    wait_until("the log", || logs().contains("web     | listening\n"));
    let answer = project.xtask(&["--json", "logs", "--no-follow", "dev", "web"]).succeeds();
    let listening = |event: &serde_json::Value| event["text"] == "listening";
    let event = answer.events().into_iter().find(listening).unwrap();
    assert_eq!((&event["event"], &event["service"]), (&"line".into(), &"web".into()));
    let unknown = project.xtask(&["logs", "--no-follow", "dev", "wbe"]);
    unknown.exits(2).says("there is no process \"wbe\"; there are: web");
    project.xtask(&["stop"]).succeeds().says("dev is stopped; its data is kept");
    assert!(get(port, "/").is_none());
}

#[test]
fn a_detached_start_that_is_broken_off_leaves_nothing() {
    let (project, _) =
        project("release: python3 wait.py $STEVEDORE_STATE\nweb: python3 server.py\n");
    let state = Marker::state(&project);
    let mut dev = project.spawn(&DETACH);
    state.until(1);
    assert_eq!(end(&mut dev, "-INT"), 130);
    state.none();
    assert!(!claim(&project).exists());
}

#[test]
fn a_release_that_runs_is_found_by_stop() {
    let (project, _) =
        project("release: python3 wait.py $STEVEDORE_STATE\nweb: python3 server.py\n");
    let state = Marker::state(&project);
    let mut dev = project.spawn(&DEV);
    state.until(1);
    project.xtask(&DEV).exits(1).says("dev runs on the host engine already");
    project.xtask(&["stop"]).succeeds();
    assert_eq!(dev.ends(), 143);
    state.none();
}

#[test]
fn without_a_port_a_detached_start_returns_when_the_processes_run() {
    let (project, _) = project("worker: python3 double.py $STEVEDORE_STATE\n");
    let state = Marker::state(&project);
    project.file("environments/dev/environment.toml", "");
    let _stop = Detached(&project);
    project.xtask(&DETACH).succeeds();
    state.until(2);
    let status = project.xtask(&["status"]).succeeds();
    status.prints("dev: engine host\n").prints("worker");
    project.xtask(&["stop"]).succeeds();
    state.none();
}

#[test]
fn a_log_of_an_earlier_run_is_not_shown_as_this_ones() {
    let (project, _) = project(WEB);
    let _stop = Detached(&project);
    project.xtask(&DETACH).succeeds();
    project.xtask(&["stop"]).succeeds();
    let mut dev = project.spawn(&DEV);
    dev.until("answers on");
    project.xtask(&["logs", "--no-follow"]).exits(1).says("shows its log there");
    assert_eq!(end(&mut dev, "-INT"), 130);
}

#[test]
fn data_outlives_a_stop() {
    let (project, _) = project(&format!("release: sh release.sh\n{WEB}"));
    project.file("release.sh", "echo started >> \"$STEVEDORE_STATE/data\"\n");
    let _stop = Detached(&project);
    for _ in 0..2 {
        project.xtask(&DETACH).succeeds();
        project.xtask(&["stop"]).succeeds();
    }
    assert_eq!(project.read(".stevedore/dev/host/data"), "started\nstarted\n");
}

#[test]
fn what_only_a_shell_can_do_is_refused_with_its_line() {
    let shell = |command: &str, sign: &str| {
        let (project, _) = project(&format!("# ours\nweb: {command}\n"));
        let says = format!(
            "can't use environments/dev/Procfile:\n  environments/dev/Procfile:2: `{sign}` needs a \
             shell; put the command into a script and name that\n"
        );
        project.xtask(&DEV).exits(1).says(&says);
    };
    shell("touch a | cat", "|");
    shell("touch a && touch b", "&");
    shell("touch a; touch b", ";");
    shell("touch a >b", ">");
    shell("touch a 2>&1", ">");
    shell("touch a <b", "<");
    shell("touch a&", "&");
    shell("touch `id`", "`");
    shell("touch \"`id`\"", "`");
    shell("touch $(id)", "(");
    refuses(
        "web: A=1 python3 server.py\n",
        expect![[r#"
        error: can't use environments/dev/Procfile:
          environments/dev/Procfile:1: settings in front of a command need a shell; put them into .env
    "#]],
    );
}

#[test]
fn quoted_signs_are_plain_text() {
    let (project, _) = project("once: echo 'a|b;c' \"d&e\" f\\>g\n");
    project.xtask(&DEV).exits(1).prints("once    | a|b;c d&e f>g\n");
}

#[test]
fn every_problem_of_a_procfile_is_listed() {
    refuses(
        "web: touch a\nnothing\nweb: touch b\n\nx:\nBad_Name: y\nz: 'open\n",
        expect![[r#"
        error: can't use environments/dev/Procfile:
          environments/dev/Procfile:2: write `name: command`
          environments/dev/Procfile:3: web is here already
          environments/dev/Procfile:5: x has no command
          environments/dev/Procfile:6: "Bad_Name" is not a usable name: 1 to 63 lower-case letters, digits and single hyphens, a letter or digit at both ends
          environments/dev/Procfile:7: missing closing quote
    "#]],
    );
    refuses(
        "\nweb: touch $NOBODY\n",
        expect![[r#"
        error: environments/dev/Procfile:2: $NOBODY has no value
    "#]],
    );
    refuses(
        "release: touch a\n",
        expect![[r#"
        error: environments/dev/Procfile names no process to run
    "#]],
    );
    let project = Project::new();
    project.xtask(&DEV).exits(1).says("can't read environments/dev/Procfile");
}

#[test]
fn a_port_in_use_names_its_owner_and_another_port() {
    let (project, port) = project(WEB);
    let holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let says = format!("(process {}); choose another with --port", std::process::id());
    let answer = project.xtask(&DEV).exits(1).says(&says);
    assert!(answer.stderr.contains(&format!("port {port} is in use by ")), "{}", answer.stderr);
    assert!(!project.path("environments/dev/.env").exists(), "nothing was begun");

    let other = free_port();
    let _stop = Detached(&project);
    let answer = project.xtask(&[&DETACH[..], &["--port", &other.to_string()]].concat());
    answer.succeeds().prints(&format!("dev answers on http://127.0.0.1:{other}/\n"));
    assert!(get(other, "/PORT").unwrap().1.ends_with(&format!("={other}")));
    drop(holder);
}

#[test]
fn processes_get_public_settings_secrets_and_what_the_host_replaces() {
    let (project, port) = project(WEB);
    project
        .file("environments/dev/.env.example", "KEY=generate:hex32\nDATABASE=stack\n")
        .file(
            "environments/dev/environment.toml",
            format!(
                "[ports]\nhttp = {port}\n[variables]\nMODE = \"slow\"\n\
                 [host.variables]\nDATABASE = \"file:$STEVEDORE_STATE/db\"\nBOTH = \"$MODE-$PORT\"\n"
            ),
        );
    let _stop = Detached(&project);
    project.xtask(&DETACH).succeeds().says("created environments/dev/.env (DATABASE, KEY)");
    let seen = |name: &str| {
        let (_, answer) = get(port, &format!("/{name}")).unwrap();
        answer.rsplit_once('=').unwrap().1.to_owned()
    };
    let key = seen("KEY");
    let dotenv = project.read("environments/dev/.env");
    assert!(dotenv.contains(&format!("KEY={key}\n")));
    assert_eq!(key.len(), 32);
    assert_eq!(seen("MODE"), "slow");
    assert_eq!(seen("BOTH"), format!("slow-{port}"));
    let state = project.path(".stevedore/dev/host");
    assert_eq!(seen("DATABASE"), format!("file:{}/db", state.display()));
}

#[test]
fn test_runs_the_test_line_only_and_its_failure_is_a_gate() {
    let (project, _) = project(&format!("release: touch released\n{WEB}test: sh test.sh\n"));
    let test = ["test", "--engine", "host"];
    project.file("test.sh", "echo tested\n");
    project.xtask(&test).succeeds().prints("test    | tested\n");
    project.file("test.sh", "echo one failed\nexit 5\n");
    let answer = project.xtask(&test).exits(3).says("test failed (exit status: 5)");
    answer.prints("test    | one failed\n");
    assert!(!project.path("released").exists());
    project.file("environments/dev/Procfile", WEB);
    project.xtask(&test).exits(1).says("has no `test:` line");
}

#[test]
fn two_checkouts_run_beside_each_other() {
    let (one, first) = project(WEB);
    let (two, _) = project(WEB);
    two.file("environments/dev/environment.toml", format!("[ports]\nhttp = {first}\n"));
    let _stop = (Detached(&one), Detached(&two));
    one.xtask(&DETACH).succeeds();
    let port = first.to_string();
    let home = one.root().display().to_string();
    let owner = |text: &str| text.contains(&format!(" of the checkout {home}"));
    let fixed = two.xtask(&[&DETACH[..], &["--port", &port]].concat()).exits(1);
    assert!(owner(&fixed.stderr), "{}", fixed.stderr);
    let answer = two.xtask(&DETACH).succeeds();
    assert!(owner(&answer.stderr), "{}", answer.stderr);
    let second = answer.stdout.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap();
    let second: u16 = second.parse().unwrap();
    assert_ne!(first, second);
    one.xtask(&["stop"]).succeeds();
    assert!(get(first, "/").is_none());
    assert!(get(second, "/").is_some());
    two.xtask(&["status"]).succeeds().prints("dev: engine host");
}

#[test]
fn a_claim_of_a_supervisor_that_does_not_run_is_ignored() {
    let me = std::process::id();
    for text in [
        format!("{{\"pid\":{me},\"started\":1,\"port\":1,\"processes\":\"web\"}}"),
        "{\"pid\":4194399,\"started\":1,\"port\":1,\"processes\":\"web\"}".into(),
        "{\"pid\":0,\"started\":0,\"port\":null,\"processes\":\"\"}".into(),
        "garbage \u{0} {".into(),
        String::new(),
    ] {
        let (project, _) = project("once: echo ran\n");
        project.file(".stevedore/dev/host/supervisor.json", text);
        project.xtask(&DEV).exits(1).prints("once    | ran\n").says("once ended");
        assert!(!claim(&project).exists());
    }
}
