//! `cargo bench -p xtask`: our figures and the peers', measured in one run on one tree, as ratios.
//!
//! It measures the program that `cargo xtask` runs, so the dev build, not an optimised one. Each
//! figure is the median of several runs, the page cache warm. Pass names of groups to run only
//! those: `cargo bench -p xtask -- idle hash edit many huge assets bundle dev`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use fingerprint::ignore::Ignore;
use fingerprint::{Inputs, StatCache, Walk};

mod assets;
mod bundle;
mod dev;

/// Files and bytes of the tree that the goals name.
const FILES: usize = 50_000;
const BYTES: usize = 560_000_000;
/// Files of the tree that shows whether memory stays bounded.
const HUGE: usize = 500_000;
const IMAGES: usize = 1_000;
/// Files in one directory.
const FAN: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [command, root, cache] = &arguments[..]
        && command == "--walk"
    {
        return walk_once(Path::new(root), Path::new(cache));
    }
    if let [command, root, out] = &arguments[..]
        && command == "--zip"
    {
        return bundle::zip_once(Path::new(root), Path::new(out));
    }
    let wanted = |group: &str| arguments.is_empty() || arguments.iter().any(|name| name == group);
    let bench = Bench::new();
    println!("| what | ours | peer | ratio | goal |");
    println!("|---|---|---|---|---|");
    if ["idle", "hash", "edit"].into_iter().any(wanted) {
        let project = bench.project("tree", FILES, BYTES);
        if wanted("hash") {
            bench.hash(&project);
        }
        if wanted("idle") {
            bench.idle(&project);
        }
        if wanted("edit") {
            bench.edit(&project);
        }
    }
    if wanted("huge") {
        bench.huge();
    }
    if wanted("many") {
        bench.many();
    }
    if wanted("assets") {
        assets::measure(&bench);
    }
    if wanted("bundle") {
        bundle::measure(&bench);
    }
    if wanted("dev") {
        dev::measure(&bench);
    }
    bench.clean();
}

struct Bench {
    directory: tempfile::TempDir,
    xtask: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let built = Command::new("cargo")
            .args(["build", "--quiet", "--package", "xtask", "--bin", "xtask"])
            .current_dir(root)
            .status();
        assert!(built.unwrap().success());
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&target).unwrap();
        Bench { directory, xtask: target.join("debug/xtask") }
    }

    /// A project of one image that copies a tree of random files; committed, and nothing built yet.
    fn project(&self, name: &str, files: usize, bytes: usize) -> PathBuf {
        let root = self.directory.path().join(name);
        let size = bytes / files;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut content = vec![0; size];
        for number in 0..files {
            let directory = number / FAN;
            let path =
                root.join(format!("app/src{}/dir{directory}/file{number}.txt", directory / 40));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            for chunk in content.chunks_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                chunk.copy_from_slice(&random.to_le_bytes()[..chunk.len()]);
            }
            fs::write(path, &content).unwrap();
        }
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/stack.lock");
        fs::create_dir_all(root.join("environments/dev")).unwrap();
        write(&root.join("docker/stack.lock"), &fs::read_to_string(lock).unwrap());
        write(&root.join("docker/app/Dockerfile"), "FROM scratch\nCOPY . /app\n");
        write(
            &root.join("docker/compose.yml"),
            "name: stevedore-bench\nservices:\n  app:\n    image: stevedore-bench-peer\n    \
             build: {context: app, dockerfile: ../docker/app/Dockerfile}\n",
        );
        write(&root.join(".gitignore"), ".stevedore\n");
        run(&root, &["git", "init", "--quiet"]);
        run(&root, &["git", "add", "--all"]);
        let commit = ["commit", "--quiet", "--message", "all"];
        // No housekeeping that would go on behind what is measured.
        let who = ["git", "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"];
        run(&root, &[&who[..], &commit].concat());
        run(&root, &["git", "status"]);
        root
    }

    fn xtask(&self, root: &Path, arguments: &[&str]) -> f64 {
        let program = self.xtask.to_str().unwrap();
        let place = ["-C", root.to_str().unwrap()];
        run(root, &[&[program][..], &place, arguments].concat())
    }

    /// The fingerprint alone, as a process: seconds, and kilobytes that it held at most.
    fn walk(&self, root: &Path) -> (f64, u64) {
        let me = std::env::current_exe().unwrap();
        let cache = self.directory.path().join("cache");
        let started = Instant::now();
        let output =
            Command::new(me).arg("--walk").arg(root.join("app")).arg(&cache).output().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        (seconds, String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    }

    fn idle(&self, project: &Path) {
        self.xtask(project, &["image", "build"]);
        run(project, &COMPOSE_BUILD);
        // What was built is still being written to the disk.
        run(project, &["sync"]);
        let ours = median(9, || self.xtask(project, &["--quiet", "image", "build"]));
        let compose = median(5, || run(project, &COMPOSE_BUILD));
        row(
            "nothing to do: `image build`, `docker compose build -q`",
            ours,
            compose,
            "≤ 0.12 s, ≤ 0.125",
        );
        let docker = median(3, || run(project, &DOCKER_BUILD));
        row("nothing to do: `image build`, `docker build -q`", ours, docker, "");
        self.walk(project);
        let ours = median(9, || self.walk(project).0);
        let git = median(9, || run(project, &["git", "status"]));
        row("fingerprint of 50,000 files, `git status`", ours, git, "≤ 1.0");
        let ours = median(9, || self.xtask(project, &["image", "inputs", "app", "--fingerprint"]));
        row("`image inputs app --fingerprint`, `git status`", ours, git, "");
    }

    fn hash(&self, project: &Path) {
        let cache = self.directory.path().join("cache");
        let ours = median(3, || {
            let _ = fs::remove_file(&cache);
            self.walk(project).0
        });
        let processors = std::thread::available_parallelism().unwrap().to_string();
        let list = project.join("list");
        let find = Command::new("find")
            .args(["app", "-type", "f", "-print0"])
            .current_dir(project)
            .output();
        fs::write(&list, find.unwrap().stdout).unwrap();
        let list = list.to_str().unwrap().to_owned();
        let sum =
            ["xargs", "--null", "--arg-file", &list, "-n", "500", "-P", &processors, "sha256sum"];
        let peer = median(3, || run(project, &sum));
        row("first hash of 560 MB, `sha256sum` on all processors", ours, peer, "≤ 1.0");
    }

    fn edit(&self, project: &Path) {
        self.xtask(project, &["image", "build"]);
        run(project, &DOCKER_BUILD);
        let file = project.join("app/src0/dir0/file0.txt");
        // A content that no builder has in its cache.
        let edit = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            fs::write(&file, format!("edit {:?}\n", now.unwrap())).unwrap();
        };
        // Taken in turns, since the disk gets slower as layers pile up, and each from a quiet disk.
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            edit();
            run(project, &["sync"]);
            peer.push(run(project, &DOCKER_BUILD));
            edit();
            run(project, &["sync"]);
            ours.push(self.xtask(project, &["image", "build"]));
            self.xtask(project, &["image", "prune"]);
        }
        let middle = |mut runs: Vec<f64>| median(runs.len(), || runs.pop().unwrap());
        row("one file edited: `image build`, `docker build`", middle(ours), middle(peer), "≤ 1.0");
    }

    fn huge(&self) {
        let project = self.project("huge", HUGE, HUGE * 100);
        let _ = fs::remove_file(self.directory.path().join("cache"));
        let first = self.walk(&project).1;
        self.walk(&project);
        let mut most = 0;
        let ours = median(5, || {
            let (seconds, kilobytes) = self.walk(&project);
            most = most.max(kilobytes);
            seconds
        });
        let git = median(5, || run(&project, &["git", "status"]));
        row("fingerprint of 500,000 files, `git status`", ours, git, "≤ 1.2");
        println!(
            "| memory for that; for the first hash | {} MB; {} MB | | | ≤ 150 MB |",
            most / 1000,
            first / 1000
        );
        fs::remove_dir_all(project).unwrap();
    }

    fn many(&self) {
        let project = self.project("many", 1, 10);
        let mut compose = String::from("name: stevedore-bench\nservices:\n");
        for number in 0..IMAGES {
            let image = format!("docker/i{number}");
            write(&project.join(format!("{image}/Dockerfile")), "FROM scratch\nCOPY file /\n");
            write(&project.join(format!("{image}/file")), &number.to_string());
            compose.push_str(&format!("  i{number}: {{build: {{context: {image}}}}}\n"));
        }
        write(&project.join("docker/compose.yml"), &compose);
        self.xtask(&project, &["--quiet", "image", "build"]);
        let ours = median(5, || self.xtask(&project, &["--quiet", "plan"]));
        println!("| 1,000 images, none dirty: `plan` | {ours:.3} s | | | ≤ 0.5 s |");
    }

    fn clean(&self) {
        let listed = Command::new("docker")
            .args(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
            .args([
                "--filter",
                "reference=stevedore-bench*",
                "--filter",
                "reference=stevedore-bench/*",
            ])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let names: Vec<&str> = listed.lines().collect();
        for names in names.chunks(100) {
            let remove = Command::new("docker").args(["image", "rm"]).args(names).output();
            assert!(remove.unwrap().status.success());
        }
    }
}

const COMPOSE_BUILD: [&str; 8] = [
    "docker",
    "compose",
    "--project-directory",
    ".",
    "--file",
    "docker/compose.yml",
    "build",
    "-q",
];
const DOCKER_BUILD: [&str; 8] =
    ["docker", "build", "-q", "-t", "stevedore-bench-docker", "-f", "docker/app/Dockerfile", "app"];

/// The fingerprint of a tree with its stat cache; prints the kilobytes that this process held.
fn walk_once(root: &Path, cache_path: &Path) {
    let cache = StatCache::load(cache_path, root);
    let ignore = Ignore::default();
    let walk = Walk { root, ignore: &ignore, leave_out: None, exact_modes: false };
    let walked = walk.read(&cache, cache_path.parent()).unwrap();
    if let Some(bytes) = walked.cache {
        fs::write(cache_path, bytes).unwrap();
    }
    let inputs = Inputs {
        image: "app".into(),
        dockerfile: String::new(),
        target: None,
        platform: "linux/amd64".into(),
        args: BTreeMap::new(),
        epoch: String::new(),
        bases: BTreeMap::new(),
        externals: BTreeMap::new(),
        tree: walked.tree.into(),
    };
    assert_eq!(inputs.fingerprint().len(), 64);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", most.trim().trim_end_matches(" kB"));
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Runs a program, which has to succeed: seconds.
fn run(directory: &Path, command: &[&str]) -> f64 {
    let started = Instant::now();
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {words}");
    started.elapsed().as_secs_f64()
}

fn median(runs: usize, mut once: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..runs).map(|_| once()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[runs / 2]
}

fn row(what: &str, ours: f64, peer: f64, goal: &str) {
    println!("| {what} | {ours:.3} s | {peer:.3} s | {:.2} | {goal} |", ours / peer);
}
