//! `dev`: from the instant a file is saved to the instant its effect is seen, for each kind of file
//! and on both engines; and what it takes to watch while nothing happens.
//!
//! The project is a clone of this repository, so what is compiled is the sample app, and a browser
//! shows its page. Peers are cargo alone, which tells what a compilation costs anyhow, and
//! `docker compose watch` with the same edits in the same container image.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Bench, FILES, median, run, write};

#[allow(dead_code)]
#[path = "../../tests/it/browser/page.rs"]
mod page;
mod peer;
use page::Page;

/// Of what the goals name; other kinds of file are edited [`FEW`] times.
const EDITS: usize = 20;
const FEW: usize = 3;
/// Longest wait for an effect: a first start compiles every dependency.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// After this, nothing happens any more.
const QUIET: Duration = Duration::from_secs(3);
/// For so long an idle loop is looked at.
const IDLE: Duration = Duration::from_secs(30);
/// The branch that has 10,000 sources more.
const MANY: &str = "many";

/// `dev` on one engine, with a browser that shows the page.
struct Loop {
    engine: &'static str,
    root: PathBuf,
    log: PathBuf,
    port: u16,
    child: Child,
    page: Page,
    /// Lines of the log about work that were seen.
    seen: usize,
    number: usize,
}

pub(super) fn measure(bench: &Bench) {
    let containers = kinds(bench, "docker");
    peer::measure(&bench.directory.path().join("dev-docker"), containers);
    let host = kinds(bench, "host");
    let cargo = ["cargo", "build", "--quiet", "--manifest-path", "app/Cargo.toml", "--locked"];
    let root = bench.directory.path().join("dev-host");
    let mut number = 0;
    let alone = median(EDITS, || {
        number += 1;
        suggest(&root, &format!("alone-{number}"));
        run(&root, &cargo)
    });
    super::row("host: Rust source, `cargo build` alone", host, alone, "≤ 0.5 s more");
    idle(bench);
}

/// Every kind of edit on one engine: the median of those of a Rust source.
fn kinds(bench: &Bench, engine: &'static str) -> f64 {
    let mut dev = Loop::start(bench, engine);
    let color = "getComputedStyle(document.documentElement).getPropertyValue('--line').trim()";
    dev.kind("style sheet, in the browser", EDITS, "≤ 0.30 s", |dev| {
        let value = format!("#{:06x}", 0x10_0000 + dev.number);
        dev.replace("app/assets/_page.scss", "  --line: ", &format!("  --line: {value};"));
        dev.sees(&format!("{color} === '{value}'"));
    });
    dev.kind("script, in the browser", FEW, "", |dev| {
        let line = format!("window.saved = {};", dev.number);
        dev.replace("app/assets/app.js", "window.saved", &line);
        dev.sees(&line.replace(" = ", " === ").replace(';', ""));
    });
    dev.kind("template, in the browser", FEW, "", |dev| {
        let text = format!("All {} you did", dev.number);
        dev.replace("app/templates/page.html", "      <p>", &format!("      <p>{text}</p>"));
        dev.sees(&format!("document.body?.textContent.includes('{text}') === true"));
    });
    let rust = dev.kind("Rust source, answered", EDITS, "see below", |dev| {
        let kind = format!("kind-{}", dev.number);
        suggest(&dev.root, &kind);
        // Who asks a container that is just being made keeps the kernel waiting for a second.
        wait(|| dev.lines().len() > dev.seen);
        wait(|| get(dev.port).is_some_and(|page| page.contains(&kind)));
    });
    does_not_compile(&mut dev);
    let mut list = String::from("1_create_activities");
    dev.kind("migration", FEW, "", |dev| {
        let name = format!("{}_bench", 1 + dev.number);
        let path = dev.root.join(format!("app/migrations/{name}.sql"));
        write(&path, &format!("CREATE TABLE bench_{} (a INTEGER);\n", dev.number));
        list = format!("{list} {name}");
        let entry = |name| format!("(\"{name}\", include_str!(\"../migrations/{name}.sql\"))");
        let all: Vec<String> = list.split(' ').map(entry).collect();
        dev.replace("app/src/migrate.rs", "    &[(", &format!("    &[{}];", all.join(", ")));
        // Where the service that migrates is one of its own, the app comes after it.
        dev.works(if dev.engine == "docker" { 2 } else { 1 });
    });
    dev.kind("a directory of sources renamed", FEW, "", |dev| {
        let [one, other] = ["app/templates/one", "app/templates/other"].map(|it| dev.root.join(it));
        if !one.exists() && !other.exists() {
            write(&one.join("a.html"), "a");
            dev.works(1);
            dev.next();
        }
        let (from, to) = if one.exists() { (&one, &other) } else { (&other, &one) };
        fs::rename(from, to).unwrap();
        dev.works(1);
    });
    dev.kind("settings in `.env`", FEW, "", |dev| {
        let text = format!("POSTGRES_PASSWORD=password{}\n", dev.number);
        write(&dev.root.join("environments/dev/.env"), &text);
        dev.works(1);
    });
    dev.kind("settings in `environment.toml`", FEW, "", |dev| {
        let format = ["text", "json"][dev.number % 2];
        let line = format!("LOG_FORMAT = \"{format}\"");
        dev.replace("environments/dev/environment.toml", "LOG_FORMAT = ", &line);
        dev.works(1);
    });
    if engine == "docker" {
        in_containers(&mut dev);
    } else {
        dev.kind("`Procfile`", FEW, "", |dev| {
            let line = ["", " --color never"][dev.number % 2];
            let line = format!("web: cargo run{line} --manifest-path app/Cargo.toml -- serve");
            dev.replace("environments/dev/Procfile", "web: ", &line);
            dev.works(1);
        });
    }
    dev.kind("`git checkout` of 10,000 files", 1, "one change", |dev| {
        run(&dev.root, &["git", "checkout", "--quiet", MANY]);
        dev.works(1);
    });
    dev.nothing();
    dev.end();
    rust
}

/// A mistake in a source, until the page tells of it; and each time it is mended again.
fn does_not_compile(dev: &mut Loop) {
    let overlay = "document.getElementById('stevedore-problem')";
    let mut what = String::new();
    let seconds = median(FEW, || {
        dev.number += 1;
        let wrong = format!("\"{}\"", dev.number);
        let started = Instant::now();
        dev.replace("app/src/page.rs", "const DAYS", &format!("const DAYS: i64 = {wrong};"));
        dev.sees(&format!("{overlay}?.textContent.includes('{wrong}') === true"));
        let seconds = started.elapsed().as_secs_f64();
        what = dev.next();
        dev.replace("app/src/page.rs", "const DAYS", "const DAYS: i64 = 7;");
        dev.sees(&format!("{overlay} === null && document.readyState === 'complete'"));
        dev.next();
        seconds
    });
    dev.tell("Rust source that does not compile, in the browser", &what, seconds, "");
}

/// What only the Docker engine has.
fn in_containers(dev: &mut Loop) {
    dev.kind("compose file", FEW, "", |dev| {
        let line = format!("      APP_VERSION: dev{}", dev.number);
        dev.replace("docker/compose.yml", "      APP_VERSION: ", &line);
        dev.works(1);
    });
    dev.kind("a file that an image copies", FEW, "", |dev| {
        let line = format!("# {}\n", dev.number);
        append(&dev.root.join("docker/postgres/pg_hba.conf"), &line);
        dev.works(1);
    });
    dev.kind("Dockerfile", FEW, "", |dev| {
        let line = format!("WORKDIR /\nENV BENCH={}\n", dev.number);
        append(&dev.root.join("docker/postgres/Dockerfile"), &line);
        dev.works(1);
    });
    dev.kind("dependency in `Cargo.toml`", 1, "", |dev| {
        append(&dev.root.join("app/Cargo.toml"), "# edited\n");
        dev.works(1);
    });
}

impl Loop {
    fn start(bench: &Bench, engine: &'static str) -> Loop {
        let root = bench.directory.path().join(format!("dev-{engine}"));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let [from, to] = [repository, &root].map(|it| it.to_str().unwrap());
        run(repository, &["git", "clone", "--quiet", "--no-hardlinks", from, to]);
        branch(&root);
        // So that later edits have a line of their own to replace.
        append(&root.join("app/assets/app.js"), "window.saved = 0;\n");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = root.with_extension("log");
        let child = Command::new(&bench.xtask)
            .args(["-C", to, "dev", "--engine", engine, "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        wait(|| get(port).is_some() && fs::read_to_string(&log).unwrap().contains("watching "));
        let chromium = which::which("chromium").expect("a browser: apt-get install chromium");
        let mut page = Page::open(&chromium, "about:blank");
        page.visit(&format!("http://127.0.0.1:{port}/"));
        Loop { engine, root, log, port, child, page, seen: 0, number: 0 }
    }

    /// The edits of one kind, each from the save until it is seen; then the line of the loop about
    /// the last one is known as well.
    fn kind(
        &mut self,
        kind: &str,
        edits: usize,
        goal: &str,
        mut edit: impl FnMut(&mut Loop),
    ) -> f64 {
        let mut what = String::new();
        let seconds = median(edits, || {
            self.number += 1;
            let started = Instant::now();
            edit(self);
            let seconds = started.elapsed().as_secs_f64();
            what = self.next();
            seconds
        });
        self.tell(kind, &what, seconds, goal);
        seconds
    }

    fn tell(&self, kind: &str, what: &str, seconds: f64, goal: &str) {
        println!("| {}: {kind} → {what} | {seconds:.3} s | | | {goal} |", self.engine);
    }

    /// What the loop has said of its work since, once it has said something and is done.
    fn next(&mut self) -> String {
        wait(|| self.lines().len() > self.seen);
        let mut lines = self.lines();
        // A second line may follow; that is part of what is told.
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let more = self.lines();
            if more.len() == lines.len() {
                break;
            }
            lines = more;
        }
        let new = lines[self.seen..].join(", ");
        self.seen = lines.len();
        new
    }

    /// Of each piece of work, what was done.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        let work = text.lines().filter_map(|line| {
            if let Some((what, _)) = line.split_once(" failed: ") {
                return Some(format!("{} failed", what.trim_start_matches("error: ")));
            }
            let (what, rest) = line.split_once(" in ")?;
            rest.split_once(" s: ")?.0.parse::<f64>().ok()?;
            Some(what.to_owned())
        });
        work.collect()
    }

    fn sees(&mut self, script: &str) {
        self.page.until(script);
    }

    /// The loop has done its work, and the app answers.
    fn works(&self, pieces: usize) {
        wait(|| self.lines().len() >= self.seen + pieces);
        wait(|| get(self.port).is_some());
    }

    fn replace(&self, path: &str, beginning: &str, line: &str) {
        replace(&self.root.join(path), beginning, line);
    }

    /// A save that changes nothing sets nothing off.
    fn nothing(&mut self) {
        for path in ["app/src/page.rs", "app/assets/_page.scss", "docker/compose.yml"] {
            let path = self.root.join(path);
            let text = fs::read(&path).unwrap();
            fs::write(path, text).unwrap();
        }
        std::thread::sleep(QUIET);
        let done = self.lines().len() - self.seen;
        println!("| {}: saved without a change | {done} lines of work | | | 0 |", self.engine);
    }

    fn end(mut self) {
        run(Path::new("/"), &["kill", "-INT", &self.child.id().to_string()]);
        self.child.wait().unwrap();
    }
}

/// Names a kind of activity, in a Rust source, that the page offers.
fn suggest(root: &Path, kind: &str) {
    replace(&root.join("app/src/page.rs"), "    &[\"", &format!("    &[\"{kind}\"];"));
}

/// Writes a line in the place of the first that begins so.
fn replace(path: &Path, beginning: &str, line: &str) {
    let text = fs::read_to_string(path).unwrap();
    let old = text.lines().find(|line| line.starts_with(beginning));
    let old = old.unwrap_or_else(|| panic!("{beginning:?} is not in {}", path.display()));
    fs::write(path, text.replacen(old, line, 1)).unwrap();
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, before + text).unwrap();
}

/// A branch with 10,000 sources more.
fn branch(root: &Path) {
    let git = |arguments: &[&str]| {
        let who = ["git", "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"];
        run(root, &[&who[..], arguments].concat());
    };
    let before = ["rev-parse", "HEAD"];
    let output = Command::new("git").args(before).current_dir(root).output().unwrap();
    let before = String::from_utf8(output.stdout).unwrap();
    git(&["checkout", "--quiet", "-b", MANY]);
    for number in 0..10_000 {
        write(&root.join(format!("app/templates/{}/{number}.html", number % 100)), "x");
    }
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", MANY]);
    git(&["checkout", "--quiet", before.trim()]);
}

/// What it takes to watch while nothing happens: a share of one processor.
fn idle(bench: &Bench) {
    let root = bench.project("dev-idle", FILES, FILES * 100);
    write(&root.join("environments/dev/Procfile"), "web: sleep 1000000\n");
    let log = root.with_extension("log");
    let mut child = Command::new(&bench.xtask)
        .args(["-C", root.to_str().unwrap(), "dev", "--engine", "host"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait(|| fs::read_to_string(&log).unwrap().contains("watching "));
    std::thread::sleep(QUIET);
    let (before, started) = (processor_seconds(child.id()), Instant::now());
    std::thread::sleep(IDLE);
    let share = (processor_seconds(child.id()) - before) / started.elapsed().as_secs_f64();
    println!(
        "| 50,000 files watched, nothing saved | {:.2} % of a core | | | < 1 % |",
        share * 100.0
    );
    run(Path::new("/"), &["kill", "-INT", &child.id().to_string()]);
    child.wait().unwrap();
}

fn processor_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    // What Linux counts in here, on every machine.
    ticks as f64 / 100.0
}

/// The page, where there is one.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

fn wait(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
