//! The dev loop on both engines: what each kind of saved file sets off, and what it does not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::campaign::chance::{Chance, size};
use crate::dsl::{
    PATIENCE, Project, Running, campaign, docker, engine, free_port, get, wait_until,
};

/// Serves what was built, and the variables of its environment.
const SERVER: &str = r#"
import http.server, os, sys
built = open(os.environ["BUILT"]).read()
if "crash" in built:
    sys.exit(7)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = built if self.path == "/" else os.environ.get(self.path[1:], "(none)")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *arguments):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Joins all sources into one file; one that says `error` does not compile.
const BUILD: &str = r#"
import os, sys, time
text = ""
for directory, names, files in sorted(os.walk("app/src")):
    for name in sorted(files):
        path = os.path.join(directory, name)
        line = open(path).read()
        if "error" in line:
            sys.exit(f"{path}:1: this does not compile")
        text += line
        if "slow" in line:
            open("building", "w")
            time.sleep(600)
target = os.environ["BUILT"]
open(target + ".new", "w").write(text)
os.rename(target + ".new", target)
"#;

const PROCFILE: &str = "release: python3 app/build.py\nbuild: python3 app/build.py\n\
    web: python3 -u app/server.py\n";

const FACTS: &str = "[host.variables]\nBUILT = \"$STEVEDORE_STATE/built\"\n\
    LIVE = \"$STEVEDORE_LIVE_RELOAD\"\n";

struct Loop<'p> {
    project: &'p Project,
    port: u16,
    running: Running<'p>,
    /// Lines of the loop so far.
    seen: usize,
}

fn project() -> (Project, u16) {
    let (project, port) = (Project::new(), free_port());
    project
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n{FACTS}"))
        .file("environments/dev/.env.example", "TOKEN=first\n")
        .file("environments/dev/Procfile", PROCFILE)
        .file(".gitignore", "building\n.env\n.stevedore\n*.log\n*~\n")
        .file("README.md", "read me\n")
        .file("app/server.py", SERVER)
        .file("app/build.py", BUILD)
        .file("app/src/a", "a")
        .file("app/src/b", "b");
    git(&project, &["init", "--quiet", "--initial-branch=main"]);
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message=first"]);
    (project, port)
}

fn git(project: &Project, arguments: &[&str]) {
    let as_somebody = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let mut git = Command::new("git");
    git.arg("-C").arg(project.root()).args(as_somebody).args(arguments);
    assert!(git.status().unwrap().success(), "git {arguments:?}");
}

impl<'p> Loop<'p> {
    fn start(project: &'p Project, port: u16, engine: &str) -> Loop<'p> {
        let mut running = project.spawn(&["dev", "--engine", engine]);
        running.until("dev answers on").until("watching ");
        Loop { project, port, running, seen: 0 }
    }

    /// What the loop did: the name of the work, `failed` where it did, and the files.
    fn lines(&self) -> Vec<String> {
        let output = self.running.output();
        let line = |line: &str| {
            if let Some((what, rest)) = line.split_once(" failed: ") {
                let what = what.trim_start_matches("error: ");
                return Some(format!("{what} failed: {}", rest.split(';').next().unwrap()));
            }
            let (what, rest) = line.split_once(" in ")?;
            let (seconds, files) = rest.split_once(" s: ")?;
            seconds.parse::<f64>().ok()?;
            Some(format!("{what}: {files}"))
        };
        output.lines().filter_map(line).collect()
    }

    /// The next line, and only that.
    #[track_caller]
    fn does(&mut self, wanted: &str) -> &mut Self {
        let (seen, started) = (self.seen, Instant::now());
        while self.lines().len() <= seen && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let lines = self.lines();
        assert_eq!(lines[seen..], [wanted], "{}", self.running.output());
        self.seen = lines.len();
        self
    }

    #[track_caller]
    fn shows(&mut self, path: &str, wanted: &str) -> &mut Self {
        let shown = page(self.port, path);
        assert!(shown == wanted, "{} at {path}", &shown[..shown.len().min(100)]);
        self
    }

    fn save(&mut self, path: &str, text: &str) -> &mut Self {
        self.project.file(path, text);
        self
    }

    /// Listens to what pages are told.
    fn news(&self) -> BufReader<TcpStream> {
        let address = page(self.port, "/LIVE");
        let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "GET /news HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        BufReader::new(stream)
    }
}

/// The body of a page, once there is one.
fn page(port: u16, path: &str) -> String {
    let mut page = None;
    wait_until("the page", || {
        page = get(port, path);
        page.is_some()
    });
    let (_, text) = page.unwrap();
    text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned())
}

/// Reads news until one holds this.
#[track_caller]
fn hears(news: &mut BufReader<TcpStream>, wanted: &str) {
    let mut heard = String::new();
    while !heard.contains(wanted) {
        assert!(news.read_line(&mut heard).unwrap() > 0, "{wanted:?} is not in {heard}");
    }
}

#[test]
fn on_the_host_each_kind_of_file_sets_off_the_least_that_is_right() {
    let (project, port) = project();
    let mut dev = Loop::start(&project, port, "host");
    let mut news = dev.news();

    dev.save("app/src/a", "A").does("web: app/src/a").shows("/", "Ab");
    hears(&mut news, "event: reload");

    // Neither a save without a change, nor what git ignores, nor what nobody runs.
    dev.save("app/src/a", "A").save("app/debug.log", "x").save("README.md", "again");
    dev.save("app/src/c", "c").does("web: app/src/c is new").shows("/", "Abc");

    // What does not compile is said once, here and on the page; the last good version serves.
    dev.save("app/src/b", "error").does("web failed: app/src/b").shows("/", "Abc");
    dev.running.until("app/src/b:1: this does not compile");
    hears(&mut news, "data: \"app/src/b:1: this does not compile\"");
    dev.save("app/src/c", "C").does("web failed: app/src/c").shows("/", "Abc");
    dev.save("app/src/b", "B").does("web: app/src/b").shows("/", "ABC");
    hears(&mut news, "event: problem\ndata: \"\"");

    // Settings, facts and processes.
    dev.save("environments/dev/.env", "TOKEN=second\n");
    dev.does("processes: environments/dev/.env").shows("/TOKEN", "second");
    let facts = format!("[ports]\nhttp = {port}\n[variables]\nCOLOR = \"red\"\n{FACTS}");
    dev.save("environments/dev/environment.toml", &facts);
    dev.does("processes: environments/dev/environment.toml").shows("/COLOR", "red");
    dev.save("environments/dev/Procfile", "web: python3 'not closed\n");
    dev.does("processes failed: environments/dev/Procfile").shows("/", "ABC");
    let with_name = PROCFILE.replace("-u app", "-u app/../app");
    dev.save("environments/dev/Procfile", &with_name);
    dev.does("processes: environments/dev/Procfile").shows("/", "ABC");

    // Directories: new, renamed, gone.
    dev.save("app/src/deep/er/d", "d").does("web: app/src/deep/er/d is new").shows("/", "ABCd");
    fs::rename(project.path("app/src/deep"), project.path("app/src/other")).unwrap();
    dev.does("web: app/src/deep/er/d is gone, app/src/other/er/d is new").shows("/", "ABCd");
    dev.save("app/src/other/er/d", "D").does("web: app/src/other/er/d").shows("/", "ABCD");
    fs::remove_dir_all(project.path("app/src/other")).unwrap();
    dev.does("web: app/src/other/er/d is gone").shows("/", "ABC");

    dev.running.signal("-INT");
    assert_eq!(dev.running.ends(), 130);
    assert_eq!(get(port, "/"), None, "nothing is left");
}

#[test]
fn on_a_terminal_the_last_line_says_where_it_answers_and_what_was_done() {
    let (project, port) = project();
    let typescript = project.scratch().join("typescript");
    let program = env!("CARGO_BIN_EXE_xtask");
    let line = format!(
        "stty rows 24 cols 60; exec {program} -C {} dev --engine host",
        project.root().display()
    );
    let mut dev = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &line])
        .arg(&typescript)
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let text = || fs::read_to_string(&typescript).unwrap_or_default();
    // The line, padded to the width of the terminal, and nothing scrolls over it.
    let shows = |shown: &str| {
        let wanted = format!("\x1b[24;1H\x1b[7m{:60}\x1b[0m", format!(" dev {shown}"));
        wait_until(shown, || text().contains(&wanted));
    };
    wait_until("a region", || text().contains("\x1b[1;23r"));
    shows(&format!("http://127.0.0.1:{port}/: ready"));
    wait_until("the watch", || text().contains("watching "));
    project.file("app/src/a", "error");
    shows(&format!("http://127.0.0.1:{port}/: web failed: app/src/a"));
    assert!(!text().contains("\x1b[r"));
    let mut keys = dev.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    assert_eq!(dev.wait().unwrap().code(), Some(130));
    assert!(text().contains("\x1b[r\x1b[24;1H\x1b[2K"), "the terminal is as it was");
}

#[test]
fn a_checkout_of_ten_thousand_files_is_one_change() {
    let (project, port) = project();
    git(&project, &["checkout", "--quiet", "-b", "many"]);
    for number in 0..10_000 {
        project.file(&format!("app/src/{}/{number}", number % 100), "x");
    }
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message=many"]);
    git(&project, &["checkout", "--quiet", "main"]);
    // As in a worktree, git's own files are elsewhere.
    let elsewhere = project.scratch().join("git").display().to_string();
    git(&project, &["init", "--quiet", "--separate-git-dir", &elsewhere]);
    let mut dev = Loop::start(&project, port, "host");
    git(&project, &["checkout", "--quiet", "many"]);
    let named = "app/src/0/0 is new, app/src/0/100 is new, app/src/0/1000 is new and 9997 more";
    dev.does(&format!("web: {named}")).shows("/", &format!("ab{}", "x".repeat(10_000)));
    git(&project, &["checkout", "--quiet", "main"]);
    dev.does(&format!("web: {}", named.replace("new", "gone"))).shows("/", "ab");
}

#[test]
fn what_a_saved_file_has_broken_waits_for_the_next_one() {
    let (project, port) = project();
    let mut dev = Loop::start(&project, port, "host");
    // Started again with longer and longer pauses; nobody waits for the last one.
    dev.save("app/src/a", "crash").does("web failed: app/src/a");
    assert!(!dev.running.output().contains("the last good version serves"));
    dev.save("app/src/a", "A").does("web: app/src/a").shows("/", "Ab");
    dev.running.signal("-INT");
    assert_eq!(dev.running.ends(), 130);

    let facts = format!("[ports]\nhttp = {port}\n[host]\nrestarts = 0\n{FACTS}");
    project.file("environments/dev/environment.toml", facts);
    let mut dev = Loop::start(&project, port, "host");
    dev.save("app/src/a", "crash").does("web failed: app/src/a");
    dev.running.until("waiting for the next change");
    project.xtask(&["status"]).succeeds().prints("dev: engine host");
    dev.save("app/src/a", "a").does("web: app/src/a").shows("/", "ab");
    dev.save("app/src/a", "crash").does("web failed: app/src/a");
    dev.running.until("waiting for the next change").signal("-INT");
    assert_eq!(dev.running.ends(), 130);

    // What no saved file has broken has an exit code of its own.
    project.file("app/src/a", "crash");
    project.xtask(&["dev", "--engine", "host"]).exits(7);
}

#[test]
fn settings_and_processes_wait_for_sources_that_compile() {
    let (project, port) = project();
    let mut dev = Loop::start(&project, port, "host");
    dev.save("app/src/b", "error").does("web failed: app/src/b");
    dev.save("environments/dev/.env", "TOKEN=second\n");
    dev.does("processes failed: environments/dev/.env").shows("/TOKEN", "first").shows("/", "ab");
    dev.save("app/src/b", "B").does("processes: app/src/b");
    dev.shows("/TOKEN", "second").shows("/", "aB");
    // Another process and a source at once.
    project.file("environments/dev/Procfile", PROCFILE.replace("web:", "site:"));
    dev.save("app/src/a", "A").does("processes: app/src/a, environments/dev/Procfile");
    dev.shows("/", "AB").save("app/src/a", "a").does("site: app/src/a").shows("/", "aB");
}

#[test]
fn ctrl_c_in_the_middle_of_a_build_ends_all_at_once() {
    let (project, port) = project();
    let mut dev = Loop::start(&project, port, "host");
    dev.save("app/src/a", "slow");
    wait_until("the build", || project.path("building").exists());
    dev.running.signal("-INT");
    assert_eq!(dev.running.ends(), 130);
}

#[test]
fn what_is_saved_while_it_starts_is_not_missed() {
    let (project, port) = project();
    let built = project.path(".stevedore/dev/host/built");
    project
        .file("app/start.py", "exec(open('app/build.py').read())\nwhile not os.path.exists('building'): time.sleep(0.01)\n")
        .file("environments/dev/Procfile", PROCFILE.replace("release: python3 app/build", "release: python3 app/start"));
    let running = project.spawn(&["dev", "--engine", "host"]);
    wait_until("the first build", || built.exists());
    project.file("app/src/a", "LATE").file("building", "");
    let mut dev = Loop { project: &project, port, running, seen: 0 };
    dev.does("web: app/src/a").shows("/", "LATEb");
}

#[test]
fn a_compiler_that_read_what_was_there_for_a_moment_runs_again() {
    let (project, port) = project();
    let wait = "while os.path.exists('building'): time.sleep(0.01)\n";
    let build = BUILD.replace("target = os", &format!("open(\"read\", \"w\")\n{wait}target = os"));
    project.file("app/build.py", build).file(".gitignore", "building\nread\n.env\n.stevedore\n");
    let mut dev = Loop::start(&project, port, "host");
    let read = || wait_until("the compiler has read", || project.path("read").exists());
    project.file("building", "");
    fs::remove_file(project.path("read")).unwrap();
    dev.save("app/src/a", "A");
    read();
    // Nobody sees the difference afterwards, but for who reads now.
    dev.save("app/src/b", "other").save("app/src/b", "b");
    fs::remove_file(project.path("building")).unwrap();
    wait_until("it to run twice", || dev.lines().len() == 2);
    assert_eq!(dev.lines(), ["web: app/src/a", "web: app/src/a"]);
    dev.shows("/", "Ab");
}

#[test]
fn a_submodule_hides_nothing_of_what_git_ignores() {
    let (project, port) = project();
    fs::create_dir_all(project.path("app/inner")).unwrap();
    git(&project, &["-C", "app/inner", "init", "--quiet"]);
    git(&project, &["-C", "app/inner", "commit", "--quiet", "--allow-empty", "--message=a"]);
    git(&project, &["-c", "advice.addEmbeddedRepo=false", "add", "app/inner"]);
    let mut dev = Loop::start(&project, port, "host");
    project.file("app/debug.log", "x").file("app/inner/c", "c");
    dev.does("web: app/inner/c is new");
    dev.save("app/other.log", "x").save("app/src/a", "A").does("web: app/src/a");
}

/// What a random round does to the sources.
fn meddle(project: &Project, chance: &mut Chance) {
    let path = |chance: &mut Chance| {
        let place = chance.pick(&["", "x/", "x/y/", "z/"]);
        format!("app/src/{place}f{}", chance.below(6))
    };
    let (one, other) = (path(chance), path(chance));
    let text = format!("{} ", chance.below(1000));
    let absolute = |path: &str| project.path(path);
    let parent = |path: &str| absolute(path).parent().unwrap().to_path_buf();
    // What is not there can't be moved, and a directory stays one.
    match chance.below(12) {
        0 | 1 => {
            fs::create_dir_all(parent(&one)).unwrap();
            let _ = fs::write(absolute(&one), &text);
        }
        2 => drop(fs::remove_file(absolute(&one))),
        3 => {
            // As editors save: beside it, then over it.
            project.file(&format!("{one}.new~"), &text);
            if fs::rename(absolute(&format!("{one}.new~")), absolute(&one)).is_err() {
                fs::remove_file(absolute(&format!("{one}.new~"))).unwrap();
            }
        }
        4 => {
            fs::create_dir_all(parent(&other)).unwrap();
            let _ = fs::rename(absolute(&one), absolute(&other));
        }
        5 => drop(fs::rename(absolute("app/src/x"), absolute("app/src/z/moved"))),
        6 => drop(fs::rename(absolute("app/src/z"), absolute("app/src/x"))),
        7 => drop(fs::remove_dir_all(absolute("app/src/x"))),
        8 => {
            // A file becomes a link to another one.
            let _ = fs::remove_file(absolute(&one));
            fs::create_dir_all(parent(&one)).unwrap();
            let _ = std::os::unix::fs::symlink(absolute("app/src/a"), absolute(&one));
        }
        9 => {
            // A file becomes a directory.
            let _ = fs::remove_file(absolute(&one));
            let _ = fs::create_dir_all(absolute(&one));
            let _ = fs::write(absolute(&one).join("inside"), &text);
        }
        10 => {
            // And back.
            let _ = fs::remove_dir_all(absolute(&one));
            fs::create_dir_all(parent(&one)).unwrap();
            let _ = fs::write(absolute(&one), &text);
        }
        _ => {
            // Made, filled and moved before anybody can look.
            project.file("app/src/new/deep/f", &text);
            let _ = fs::remove_dir_all(absolute("app/src/z"));
            fs::rename(absolute("app/src/new"), absolute("app/src/z")).unwrap();
        }
    }
}

#[test]
fn whatever_was_done_to_the_sources_what_is_served_is_a_full_build_of_them() {
    campaign!();
    let (project, port) = project();
    let dev = Loop::start(&project, port, "host");
    let mut chance = Chance::new("saves");
    let full = project.scratch().join("full");
    let rounds = std::env::var("STEVEDORE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    for round in 1..=rounds.unwrap_or(size(25, 2000)) {
        for _ in 0..=chance.below(4) {
            meddle(&project, &mut chance);
        }
        if round % 500 == 0 {
            // More than the kernel keeps for us.
            for number in 0..20_000 {
                let path = project.path("app/src/flood");
                fs::write(&path, number.to_string()).unwrap();
                fs::remove_file(&path).unwrap();
            }
        }
        let mut build = Command::new("python3");
        build.arg("app/build.py").current_dir(project.root()).env("BUILT", &full);
        assert!(build.status().unwrap().success());
        let (wanted, started) = (fs::read_to_string(&full).unwrap(), Instant::now());
        let mut shown = String::new();
        while shown != wanted {
            let output = dev.running.output();
            assert!(started.elapsed() < PATIENCE, "{shown:?} is not {wanted:?}:\n{output}");
            shown = page(port, "/");
        }
    }
}

/// The same in Perl, which every image of Debian has: `/conf` is a file of the image, and
/// `/migrations` what the migrating service has seen.
const CONTAINER: &str = r#"use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
sub text { open(my $file, "<", $_[0]) or return ""; local $/; <$file> }
system("perl", "/app/build.pl") unless -e "/built/all";
die if text("/built/all") =~ /crash/;
my $server = IO::Socket::INET->new(LocalPort => 8080, Listen => 50, ReuseAddr => 1) or die;
my $all = text("/built/all");
while (my $client = $server->accept) {
    my ($path) = <$client> =~ m{^GET /(\S*)};
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    my $body = $path eq "" ? $all : $path eq "conf" ? text("/conf")
        : $path eq "migrations" ? text("/built/migrations") : $ENV{$path};
    print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    close $client;
}
"#;

const COMPILE: &str = r#"my $all = "";
for my $path (sort </app/src/*>) {
    open(my $file, "<", $path); local $/; my $text = <$file>;
    die "$path:1: this does not compile\n" if $text =~ /error/;
    $all .= $text;
}
open(my $new, ">", "/built/new"); print $new $all; close $new;
rename("/built/new", "/built/all");
"#;

const APP: &str = "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
    command: [perl, /app/server.pl], stop_grace_period: 2s, \
    environment: {TOKEN: \"${TOKEN}\", LIVE: \"${STEVEDORE_LIVE_RELOAD:-}\", COLOR: red}, \
    ports: ['127.0.0.1:${STEVEDORE_PORT_HTTP}:8080'], volumes: ['./app:/app', 'built:/built'], \
    x-stevedore: {main: true, compile: [perl, /app/build.pl]}}";
const MIGRATE: &str = "{image: NAME/app, init: true, volumes: ['./app:/app', 'built:/built'], \
    command: [perl, -e, 'open(F, \">/built/migrations\"); print F scalar(@{[</app/migrations/*>]})'], \
    x-stevedore: {once: true, migrations: app/migrations}}";

fn in_containers() -> (Project, u16) {
    let (project, port) = (Project::with_stack(), free_port());
    project
        .compose(&[("app", APP), ("migrate", &MIGRATE.replace("NAME", &project.name))])
        .file("docker/app/Dockerfile", "FROM base\nCOPY conf /conf\n")
        .file("environments/dev/compose.yml", "volumes: {built: {}}\n")
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"))
        .file("environments/dev/.env.example", "TOKEN=first\n")
        .file(".gitignore", ".env\n.stevedore\n")
        .file("app/server.pl", CONTAINER)
        .file("app/build.pl", COMPILE)
        .file("app/conf", "one")
        .file("app/migrations/1.sql", "create")
        .file("app/src/a", "a")
        .file("app/src/b", "b");
    git(&project, &["init", "--quiet", "--initial-branch=main"]);
    (project, port)
}

#[test]
fn in_containers_each_kind_of_file_sets_off_the_least_that_is_right() {
    engine!();
    let (project, port) = in_containers();
    let mut dev = Loop::start(&project, port, "docker");
    let mut news = dev.news();
    let container = |service: &str| {
        let name = format!("{}-dev-{service}-1", project.name);
        docker(&["container", "inspect", "--format", "{{.Id}} {{.Image}}", &name])
    };
    let before = container("app");

    dev.save("app/src/a", "A").does("app: app/src/a").shows("/", "Ab");
    hears(&mut news, "event: reload");
    dev.save("app/src/a", "A").save("README.md", "x").save("environments/prod/.env", "X=1");
    dev.save("app/src/b", "error").does("app failed: app/src/b").shows("/", "Ab");
    hears(&mut news, "data: \"/app/src/b:1: this does not compile\"");
    dev.save("app/src/b", "B").does("app: app/src/b").shows("/", "AB");
    assert_eq!(container("app"), before, "neither another container nor another image");

    dev.save("app/migrations/2.sql", "alter");
    wait_until("two lines", || dev.lines().len() > dev.seen + 1);
    let new = "app/migrations/2.sql is new";
    assert_eq!(dev.lines()[dev.seen..], [format!("migrate: {new}"), format!("app: {new}")]);
    dev.seen += 2;
    dev.shows("/migrations", "2");

    // Settings: another container of the same image, though its sources are other ones by now.
    let (_, image) = before.split_once(' ').unwrap();
    dev.save("environments/dev/.env", "TOKEN=second\n");
    dev.does("stack: environments/dev/.env").shows("/TOKEN", "second");
    let compose = project.read("docker/compose.yml").replace("COLOR: red", "COLOR: blue");
    dev.save("docker/compose.yml", &compose);
    dev.does("stack: docker/compose.yml").shows("/COLOR", "blue").shows("/", "AB");
    assert!(container("app").ends_with(image) && container("app") != before);

    dev.save("app/conf", "two").does("image app: app/conf").shows("/conf", "two");
    let dockerfile = "FROM base\nCOPY conf /conf\nRUN echo three >>/conf\n";
    dev.save("docker/app/Dockerfile", dockerfile);
    dev.does("image app: docker/app/Dockerfile").shows("/conf", "twothree\n");
    dev.save("docker/app/Dockerfile", "FROM base\nCOPY nothing /conf\n");
    dev.does("image app failed: docker/app/Dockerfile").shows("/conf", "twothree\n");
    // Settings are no cure for an image that can't be built.
    dev.save("environments/dev/.env", "TOKEN=third\n");
    dev.does("stack, image app failed: environments/dev/.env").shows("/TOKEN", "second");
    dev.save("docker/app/Dockerfile", dockerfile);
    dev.does("stack, image app: docker/app/Dockerfile").shows("/TOKEN", "third");

    // What does not live after its start is not the end: the next save is compiled beside it.
    let before = dev.running.output().matches("the last good version serves").count();
    dev.save("app/src/a", "crash").does("app failed: app/src/a");
    dev.running.until("app is exited after its start; see `cargo xtask logs dev app`");
    assert_eq!(dev.running.output().matches("the last good version serves").count(), before);
    dev.save("app/src/a", "a").does("app: app/src/a").shows("/", "aB");
    // Who else starts it again tells it of live reload too.
    let live = page(port, "/LIVE");
    project.xtask(&["restart", "dev", "app"]).succeeds();
    assert_eq!(page(port, "/LIVE"), live);
    dev.save("app/src/a", "A").does("app: app/src/a").shows("/", "AB");

    // However wrong the files are at the end.
    dev.save("docker/compose.yml", "services: [").does("stack failed: docker/compose.yml");
    dev.running.signal("-INT");
    assert_eq!(dev.running.ends(), 130);
    let filter = format!("label=com.docker.compose.project={}-dev", project.name);
    assert_eq!(docker(&["container", "ls", "--all", "--quiet", "--filter", &filter]), "");
}
