//! `procfile`: the processes of an environment under the supervisor, and their end.

use std::fs;
use std::process::{Command, Stdio};

use crate::dsl::{Answer, Project, Running, free_port, repository, wait_until};

/// Writes its name to `ready`, and to `asked` when it is asked to end; then does what it is told:
/// `ends`, `ignores` it, or `finishes` what it has begun once there is a file `go`.
const ACTOR: &str = r#"
import os, signal, sys, time
name, then = sys.argv[1:3]
def note(file):
    with open(file, "a") as notes:
        notes.write(name + "\n")
def asked(*_):
    note("asked")
    if then == "finishes":
        while not os.path.exists("go"):
            time.sleep(0.02)
        note("finished")
    if then != "ignores":
        sys.exit(0)
signal.signal(signal.SIGTERM, asked)
note("ready")
while True:
    signal.pause()
"#;

/// A project whose Procfile holds these lines.
fn project(procfile: &str) -> Project {
    let project = Project::new();
    project.file("environments/dev/Procfile", procfile).file("actor.py", ACTOR);
    project
}

/// The lines of a file that processes write.
fn notes(project: &Project, file: &str) -> Vec<String> {
    let text = fs::read_to_string(project.path(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn until_noted(project: &Project, file: &str, count: usize) {
    wait_until(&format!("{count} lines in {file}"), || notes(project, file).len() == count);
}

/// `procfile ARGUMENTS`, once all its actors are ready.
fn spawn<'p>(project: &'p Project, arguments: &[&str], actors: usize) -> Running<'p> {
    let running = project.spawn(&[&["procfile"], arguments].concat());
    until_noted(project, "ready", actors);
    running
}

/// The exit code after a signal.
fn end(running: &mut Running<'_>, signal: &str) -> i32 {
    running.signal(signal);
    running.ends()
}

fn run(project: &Project, arguments: &[&str]) -> Answer {
    project.xtask(&[&["procfile"], arguments].concat())
}

#[test]
fn each_process_has_a_port_of_its_own_and_web_that_of_the_environment() {
    let line = |name: &str| format!("{name}: sh -c 'echo {name} $PORT' $PORT\n");
    let names = ["release", "clock", "web", "test", "worker"];
    let project = project(&names.map(line).concat());
    project.file("environments/dev/environment.toml", "[ports]\nhttp = 20100\n");
    let words = |port: u16| format!("$ sh -c 'echo web {port}' {port}\n");
    let shown = run(&project, &["--dry-run"]).succeeds().stdout;
    let expected = "$ sh -c 'echo release 20100' 20100\n$ sh -c 'echo clock 20200' 20200\n\
                    $ sh -c 'echo web 20100' 20100\n$ sh -c 'echo worker 20300' 20300\n";
    assert_eq!(shown, expected);
    run(&project, &["--dry-run", "--port", "30000"]).succeeds().prints(&words(30000));
    let answer = run(&project, &["--dry-run", "--port", "65400"]).exits(1);
    answer.says("there is no port for worker: 65535 is the last one");
}

#[test]
fn without_web_the_first_process_has_the_port_and_sees_it() {
    let port = free_port();
    let project = project("api: sh port.sh\nworker: sh port.sh wait\n");
    project
        .file("port.sh", "echo got $PORT\ntest $1 && exec python3 actor.py worker ends\n:\n")
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"));
    run(&project, &[]).succeeds().prints(&format!("api     | got {port}\n"));
}

#[test]
fn it_runs_the_environment_that_is_named_with_its_own_settings() {
    let project = project("web: echo dev\n");
    project
        .file("environments/qa/Procfile", "release: sh say.sh\nweb: sh say.sh\n")
        .file("environments/qa/environment.toml", "[variables]\nMODE = \"quiet\"\n")
        .file("environments/qa/.env.example", "KEY=\n")
        .file("environments/qa/.env", "KEY=of-qa\n")
        .mode("environments/qa/.env", 0o600)
        .file("say.sh", "echo $MODE $KEY\n");
    let answer = run(&project, &["qa"]).succeeds();
    assert_eq!(answer.stdout, "release | quiet of-qa\nweb     | quiet of-qa\n");
    run(&project, &["staging"]).exits(2);
}

#[test]
fn a_dry_run_prints_the_commands_and_no_secret() {
    let project = project("web: touch $KEY $MODE\n");
    project
        .file("environments/dev/environment.toml", "[variables]\nMODE = \"quiet\"\n")
        .file("environments/dev/.env.example", "KEY=\n")
        .dotenv("KEY=canary\n");
    let answer = run(&project, &["--dry-run"]).succeeds();
    assert_eq!(answer.stdout, "$ touch '<KEY>' quiet\n");
    assert!(!project.path("canary").exists() && !project.path(".stevedore").exists());
}

#[test]
fn a_process_that_fails_is_started_again_while_the_others_go_on() {
    let project = project("web: python3 actor.py web ends\nworker: sh worker.sh\n");
    project.file(
        "worker.sh",
        "echo started >> starts\ntest $(wc -l < starts) = 2 && exec python3 actor.py worker ends\n\
         exit 3\n",
    );
    let mut running = spawn(&project, &[], 2);
    assert_eq!(notes(&project, "ready"), ["web", "worker"], "web was started once");
    running.until("worker failed (exit status: 3); it is started again in 1 s");
    assert_eq!(end(&mut running, "-INT"), 130);
    assert_eq!(notes(&project, "starts").len(), 2);
}

#[test]
fn ten_good_seconds_begin_a_new_row_of_failures() {
    let project = project("worker: sh worker.sh\n");
    project.file("worker.sh", "echo again >> starts\nsleep 10.5\nexit 3\n");
    let mut running = spawn(&project, &["--restarts", "1"], 0);
    // One failure is allowed in a row, and these are three.
    wait_until("a third start", || notes(&project, "starts").len() == 3);
    assert!(!running.output().contains("in 2 s"), "each row begins with the shortest pause");
    assert_eq!(end(&mut running, "-INT"), 130);
}

#[test]
fn the_exit_code_is_that_of_the_first_failure() {
    let project = project("web: python3 actor.py web ends\nworker: sh worker.sh\n");
    project.file("worker.sh", "echo again >> starts\nexit $((7 + $(wc -l < starts)))\n");
    let answer = run(&project, &["--restarts", "1"]).exits(8);
    let answer = answer.says("warning: worker failed (exit status: 8); it is started again in 1 s");
    answer
        .says("error: worker failed 2 times in a row, at first with exit status: 8, so the others");
    assert_eq!(notes(&project, "starts").len(), 2);
    let answer = run(&project, &["--restarts", "0"]).exits(10);
    answer.says("error: worker ended (exit status: 10), so the others were ended too");
}

#[test]
fn the_exit_code_after_a_signal_is_128_and_its_number() {
    let project = project("worker: sh worker.sh\n");
    project.file("worker.sh", "kill -SEGV $$\n");
    run(&project, &["--restarts", "0"]).exits(139).says("worker ended (signal: 11 (SIGSEGV)");
}

#[test]
fn a_failure_with_the_code_of_an_interrupt_is_told_too() {
    let project = project("worker: sh worker.sh\n");
    project.file("worker.sh", "exit 130\n");
    run(&project, &["--restarts", "0"]).exits(130).says("worker ended (exit status: 130)");
}

#[test]
fn a_process_that_ends_well_ends_the_others() {
    let project = project("web: python3 actor.py web ends\nonce: sh once.sh\n");
    project.file("once.sh", "until test -e ready; do :; done\necho done\n");
    run(&project, &[]).succeeds().prints("once    | done\n").says("once ended (exit status: 0)");
    assert_eq!(notes(&project, "asked"), ["web"]);
}

#[test]
fn processes_end_one_after_the_other_the_last_one_first() {
    let line = |name: &str| format!("{name}: python3 actor.py {name} ends\n");
    let names = ["one", "two", "three", "four"];
    let project = project(&names.map(line).concat());
    let mut running = spawn(&project, &[], 4);
    assert_eq!(end(&mut running, "-INT"), 130);
    assert_eq!(notes(&project, "asked"), ["four", "three", "two", "one"]);
}

#[test]
fn the_next_one_waits_until_the_one_before_has_finished() {
    let project = project("one: python3 actor.py one ends\ntwo: python3 actor.py two finishes\n");
    let mut running = spawn(&project, &["--grace", "300"], 2);
    running.signal("-INT");
    until_noted(&project, "asked", 1);
    project.file("go", "");
    assert_eq!(running.ends(), 130);
    assert_eq!(notes(&project, "asked"), ["two", "one"]);
    assert_eq!(notes(&project, "finished"), ["two"]);
}

#[test]
fn who_does_not_end_keeps_nobody_from_being_asked() {
    let project = project("one: python3 actor.py one ends\ntwo: python3 actor.py two ignores\n");
    let mut running = spawn(&project, &["--grace", "1"], 2);
    assert_eq!(end(&mut running, "-TERM"), 143);
    assert_eq!(notes(&project, "asked"), ["two", "one"]);
}

#[test]
fn a_second_ctrl_c_kills() {
    let project = project("one: python3 actor.py one ignores\n");
    let mut running = spawn(&project, &["--grace", "300"], 1);
    running.signal("-INT");
    running.until("waiting for the processes to end; Ctrl-C kills them");
    assert_eq!(notes(&project, "asked"), ["one"]);
    assert_eq!(end(&mut running, "-INT"), 130);
}

#[test]
fn a_second_term_or_hangup_is_patient() {
    let project = project("one: python3 actor.py one finishes\n");
    let mut running = spawn(&project, &["--grace", "300"], 1);
    running.signal("-TERM");
    until_noted(&project, "asked", 1);
    running.signal("-TERM").signal("-HUP");
    project.file("go", "");
    assert_eq!(running.ends(), 143);
    assert_eq!(notes(&project, "finished"), ["one"]);
    assert_eq!(notes(&project, "asked"), ["one"], "nobody is asked twice");
}

#[test]
fn one_process_is_started_again_with_all_it_has_started_and_the_others_go_on() {
    let project = project("web: python3 actor.py web ends\nworker: sh worker.sh\n");
    project.file(
        "worker.sh",
        "setsid python3 actor.py helper ends &\nexec python3 actor.py worker ends\n",
    );
    let mut running = spawn(&project, &[], 3);
    project.xtask(&["restart", "dev", "worker"]).succeeds().says("started again: worker");
    until_noted(&project, "ready", 5);
    let mut asked = notes(&project, "asked");
    asked.sort();
    assert_eq!(asked, ["helper", "worker"]);
    let answer = project.xtask(&["restart", "dev", "wrker"]).exits(2);
    answer.says("there is no process \"wrker\"; there are: web, worker");
    assert_eq!(end(&mut running, "-INT"), 130);
    project.xtask(&["restart", "--dry-run", "dev", "worker"]);
    assert_eq!(notes(&project, "ready").len(), 5);
}

#[test]
fn status_and_stop_find_it() {
    let project = project("web: touch never\n");
    project.file("environments/qa/Procfile", "api: python3 actor.py api ends\n");
    let mut running = spawn(&project, &["qa"], 1);
    let says = format!("qa runs on the host engine already (process {})", running.pid());
    run(&project, &["qa"]).exits(1).says(&says).says("cargo xtask stop qa");
    project.xtask(&["status", "qa"]).succeeds().prints("qa: engine host\n").prints("  api");
    project.xtask(&["logs", "qa"]).exits(1).says("qa runs in the foreground");
    project.xtask(&["stop", "qa"]).succeeds().says("qa is stopped; its data is kept");
    assert_eq!(running.ends(), 143);
}

#[test]
fn events_are_one_object_a_line() {
    let project = project("web: python3 actor.py web ends\nworker: sh worker.sh\n");
    project.file("worker.sh", "until test -e ready; do :; done\necho out\necho err >&2\nexit 4\n");
    let answer = run(&project, &["--json", "--restarts", "1"]).exits(4);
    let of = |name: &str| {
        let events = answer.events().into_iter().filter(move |event| event["process"] == name);
        events.map(|event| event.to_string()).collect::<Vec<_>>()
    };
    let once = |restart: &str| {
        [
            r#"{"event":"start","process":"worker"}"#.to_owned(),
            r#"{"event":"line","line":"err","process":"worker","stream":"stderr"}"#.to_owned(),
            r#"{"event":"line","line":"out","process":"worker","stream":"stdout"}"#.to_owned(),
            format!(
                r#"{{"code":4,"event":"exit","process":"worker","restart_seconds":{restart},"signal":null}}"#
            ),
        ]
    };
    let mut worker = of("worker");
    // Two streams have no order between them.
    worker[1..3].sort();
    worker[5..7].sort();
    assert_eq!(worker, [once("1"), once("null")].concat());
    assert_eq!(of("web").len(), 2);
}

#[test]
fn names_are_aligned_and_coloured_only_where_that_is_wanted() {
    let project = project("web: echo hello\na-long-name: python3 actor.py it ends\n");
    run(&project, &[]).succeeds().prints("web         | hello\n");
    let answer = run(&project, &["--color", "always"]).succeeds();
    answer.prints("\u{1b}[36mweb         |\u{1b}[0m hello\n");
}

#[test]
fn a_flood_that_nobody_reads_delays_no_end_and_fills_no_memory() {
    let project = project("flood: python3 flood.py\none: python3 actor.py one ends\n");
    project.file("flood.py", "while True:\n    print('x' * 50_000_000, end='')\n");
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["procfile", "--grace", "300"])
        .current_dir(project.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until_noted(&project, "ready", 1);
    let mut first = [0; 4096];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    kill("-INT", child.id());
    // Nobody reads until it has ended.
    wait_until("the end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(most < 40_000, "{most} kB");
}

#[test]
fn when_a_guard_is_killed_its_process_ends_and_that_is_a_failure() {
    let project = project("one: sh one.sh\n");
    project
        .file("one.sh", "python3 actor.py helper ignores &\nexec python3 actor.py one ignores\n");
    let mut running = spawn(&project, &["--restarts", "0"], 2);
    kill("-KILL", child_of(running.pid()));
    running.until("one ended (signal: 9 (SIGKILL))");
    assert_eq!(running.ends(), 137);
    let here = project.root().canonicalize().unwrap();
    wait_until("the end of all", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        !processes
            .filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok())
            .any(|it| it == here)
    });
}

#[test]
fn a_guard_withstands_what_is_meant_for_a_terminals_group() {
    let project = project("one: python3 actor.py one finishes\n");
    let mut running = spawn(&project, &[], 1);
    let guard = child_of(running.pid());
    for signal in ["-INT", "-HUP", "-QUIT"] {
        kill(signal, guard);
    }
    running.signal("-INT");
    until_noted(&project, "asked", 1);
    // A guard that was ended has no child any more.
    child_of(guard);
    project.file("go", "");
    assert_eq!(running.ends(), 130);
    assert_eq!(notes(&project, "finished"), ["one"]);
}

#[test]
fn a_helper_is_asked_once_and_may_finish_after_its_process() {
    let project = project("one: sh one.sh\n");
    project.file("one.sh", "python3 actor.py helper finishes &\nexec python3 actor.py one ends\n");
    let mut running = spawn(&project, &["--grace", "300"], 2);
    running.signal("-INT");
    until_noted(&project, "asked", 2);
    wait_until("the end of the process", || children_of(child_of(running.pid())).len() == 1);
    project.file("go", "");
    assert_eq!(running.ends(), 130);
    assert_eq!((notes(&project, "asked").len(), notes(&project, "finished").len()), (2, 1));
}

#[test]
fn who_is_stopped_wakes_to_hear_that_it_should_end() {
    let project = project("one: sh one.sh\n");
    project
        .file("one.sh", "setsid python3 actor.py helper ends &\nexec python3 actor.py one ends\n");
    let mut running = spawn(&project, &["--grace", "300"], 2);
    let one = child_of(child_of(running.pid()));
    for pid in [child_of(one), one] {
        kill("-STOP", pid);
    }
    assert_eq!(end(&mut running, "-INT"), 130);
    assert_eq!(notes(&project, "asked"), ["one", "helper"]);
}

/// The one child of a process.
fn child_of(pid: u32) -> u32 {
    let children = children_of(pid);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn children_of(pid: u32) -> Vec<u32> {
    let output = Command::new("pgrep").args(["--parent", &pid.to_string()]).output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    pids.lines().map(|pid| pid.parse().unwrap()).collect()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_guard_is_no_command_for_people() {
    let help = Project::new().xtask(&["--help"]).succeeds().stdout;
    assert!(help.contains("  procfile ") && !help.contains("guard"), "{help}");
    let answer = Project::new().xtask(&["guard", "web"]).exits(1);
    answer.says("a guard is started by xtask, not by hand");
}

#[test]
fn this_repositorys_own_procfile_can_be_run() {
    let root = repository().display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["-C", &root, "--dry-run", "procfile", "--port", &free_port().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
