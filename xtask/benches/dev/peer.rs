//! `docker compose watch` and cargo alone, with the sample app in the image that `dev` made for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{EDITS, get, suggest, wait};
use crate::{median, row, run, write};

const NAME: &str = "stevedore-bench-watch";
/// After this the old version is served for good.
const LONG: Duration = Duration::from_secs(20);

/// `ours` is what `dev` took for the same edits. `root` is the checkout that it ran in.
pub(super) fn measure(root: &Path, ours: f64) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let images = fs::read(root.join(".stevedore/dev/images.yml")).unwrap();
    let images: serde_json::Value = serde_json::from_slice(&images).unwrap();
    let image = images["services"]["app"]["image"].as_str().unwrap();
    let sources = root.join("app");
    // What cargo made on the other engine stays where it is.
    write(&root.join("peer/Dockerfile.dockerignore"), "target\n");
    write(&root.join("peer/Dockerfile"), &format!("FROM {image}\nCOPY . /app\n"));
    let serve = "cargo run --locked -- migrate && exec cargo run --locked -- serve";
    let compose = serde_json::json!({"name": NAME, "services": {"app": {
        "image": NAME,
        "build": {"context": sources, "dockerfile": "../peer/Dockerfile"},
        "init": true,
        "entrypoint": ["sh", "-c", serve],
        "environment": {
            "DATABASE_URL": "sqlite:/tmp/app.sqlite", "STATIC_DIR": "/app/dist",
            "LOG_FORMAT": "text", "ENV_CDN": "",
        },
        "ports": [format!("127.0.0.1:{port}:8080")],
        "develop": {"watch": [
            {"action": "sync+restart", "path": sources.join("src"), "target": "/app/src"},
        ]},
    }}});
    let file = root.join("peer/compose.json");
    write(&file, &compose.to_string());
    let file = file.to_str().unwrap();
    run(root, &["docker", "compose", "--file", file, "up", "--build", "--detach"]);
    wait(|| get(port).is_some());
    let container = format!("{NAME}-app-1");
    let exec = ["docker", "container", "exec", &container];
    let mut number = 0;
    let alone = median(EDITS, || {
        number += 1;
        let edit = format!("s/^    &\\[\".*/    \\&[\"alone-{number}\"];/");
        run(root, &[&exec[..], &["sed", "-i", &edit, "/app/src/page.rs"]].concat());
        run(root, &[&exec[..], &["cargo", "build", "--quiet", "--locked"]].concat())
    });
    row("docker: Rust source, `cargo build` alone there", ours, alone, "≤ 0.5 s more");
    let watch = Watch::start(root, file);
    // It gives a file the time of its last whole second, so cargo may take it for the one before;
    // then the old version is served until the next save.
    let mut missed = 0;
    let peer = median(EDITS, || {
        loop {
            number += 1;
            let kind = format!("watch-{number}");
            let started = Instant::now();
            let before = watch.restarts();
            suggest(root, &kind);
            wait(|| watch.restarts() > before);
            while !get(port).is_some_and(|page| page.contains(&kind)) {
                if started.elapsed() > LONG {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if started.elapsed() <= LONG {
                return started.elapsed().as_secs_f64();
            }
            missed += 1;
        }
    });
    row("docker: Rust source, `docker compose watch`", ours, peer, "");
    println!("| edits that `docker compose watch` did not serve within 20 s | 0 | {missed} | | |");
}

/// A watch that ends with us, and its containers.
struct Watch<'w> {
    root: &'w Path,
    file: &'w str,
    child: Child,
}

impl<'w> Watch<'w> {
    fn start(root: &'w Path, file: &'w str) -> Watch<'w> {
        let log = root.join("peer/log");
        let child = Command::new("docker")
            .args(["compose", "--file", file, "watch", "--no-up"])
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log).unwrap())
            .stderr(fs::File::options().append(true).open(&log).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        wait(|| fs::read_to_string(&log).unwrap().contains("Watch enabled"));
        Watch { root, file, child }
    }

    /// How often it says that it has started something again.
    fn restarts(&self) -> usize {
        fs::read_to_string(self.root.join("peer/log")).unwrap().matches(" Started").count()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // The plugin that does the work is another process than the client.
        run(self.root, &["kill", "-INT", &format!("-{}", self.child.id())]);
        let _ = self.child.wait();
        run(self.root, &["docker", "compose", "--file", self.file, "down", "--volumes"]);
    }
}
