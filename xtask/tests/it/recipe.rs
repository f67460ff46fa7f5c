//! This repository itself, from a fresh clone: the whole first day, in real containers.
//!
//! One test, because it is one story and its builds are the long part of the suite.

use std::process::Command;

use crate::beanstalk;
use crate::browser;
use crate::dsl::{Project, docker, engine, free_port, get, post, repository};
use crate::live;

/// A copy of this checkout under a name of its own, committed to a git of its own.
fn clone() -> Project {
    let project = Project::for_containers();
    let list = git(&repository(), &["ls-files", "--cached", "--others", "--exclude-standard"]);
    for path in list.lines().filter(|path| repository().join(path).is_file()) {
        let to = project.path(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(repository().join(path), to).unwrap();
    }
    let mut compose = project.read("docker/compose.yml");
    for key in ["name: ", "image: "] {
        compose = compose.replace(&format!("{key}stevedore"), &format!("{key}{}", project.name));
    }
    project.file("docker/compose.yml", compose);
    for arguments in [
        vec!["init", "--quiet"],
        vec!["add", "--all"],
        vec!["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "t"],
    ] {
        git(project.root(), &arguments);
    }
    project
}

fn git(directory: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_day_with_a_fresh_clone() {
    engine!();
    let project = clone();
    dev_in_the_foreground(&project);
    one_source_makes_one_image_dirty(&project);
    prod_builds_without_its_env(&project);
    an_older_source_is_compiled_all_the_same(&project);
    prod_behind_its_edge(&project);
    beanstalk::both_branches(&project);
    for path in ["attached.yml", "bundle", "ecs"] {
        remove(&project, path);
    }
    assert_eq!(git(project.root(), &["status", "--porcelain"]), " M docker/stack.lock\n");
}

/// A posted activity survives Ctrl-C and a second start.
fn dev_in_the_foreground(project: &Project) {
    let port = free_port();
    let argument = port.to_string();
    let answers = format!("dev answers on http://127.0.0.1:{port}/");
    let mut dev = project.spawn(&["dev", "--port", &argument]);
    dev.until(&answers);
    let (status, health) = get(port, "/health").unwrap();
    assert!(status == 200 && health.contains(r#""store":"postgres""#), "{health}");
    assert_eq!(post(port, "/activity", r#"{"kind":"run","minutes":31}"#).unwrap().0, 201);
    live::follows_saves(project, port);
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
    assert!(get(port, "/").is_none());
    assert_eq!(containers(project, "dev"), "");
    assert_eq!(git(project.root(), &["status", "--porcelain"]), "", "the checkout stays clean");

    project.xtask(&["dev", "--detach", "--port", &argument]).succeeds().prints(&answers);
    let (_, list) = get(port, "/activities").unwrap();
    assert!(list.contains(r#""kind":"run","minutes":31"#), "{list}");
    let migrated = project.xtask(&["run", "app", "migrate"]).succeeds();
    migrated.prints("nothing to apply");
    let user = project.xtask(&["run", "id", "-u"]).succeeds().stdout;
    assert_eq!(user.trim(), rustix::process::getuid().as_raw().to_string(), "the caller's user");
    project.xtask(&["stop"]).succeeds();
}

fn one_source_makes_one_image_dirty(project: &Project) {
    let images = project.xtask(&["--json", "image", "build", "dev"]).succeeds().images();
    assert_eq!(images.len(), 3);
    assert!(images.iter().all(|image| image.ends_with(" fresh")), "{images:?}");
    let source = project.read("app/src/health.rs");
    project.file("app/src/health.rs", format!("{source}\n// edited\n"));
    let images = project.xtask(&["--json", "image", "list", "dev"]).succeeds().images();
    project.file("app/src/health.rs", source);
    let dirty: Vec<&String> = images.iter().filter(|image| !image.ends_with(" fresh")).collect();
    assert_eq!(dirty, ["app dirty: app/src/health.rs changed"]);
}

fn prod_builds_without_its_env(project: &Project) {
    assert!(!project.path("environments/prod/.env").exists());
    project.xtask(&["image", "build", "prod"]).succeeds();
    assert!(!project.path("environments/prod/.env").exists());
}

/// Cargo judges by times, and its cache in the engine is newer than this edit claims to be.
fn an_older_source_is_compiled_all_the_same(project: &Project) {
    let source = project.read("app/src/cli.rs");
    project.file("app/src/cli.rs", source.replace("this text", "THIS TEXT"));
    let long_ago =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = std::fs::File::open(project.path("app/src/cli.rs")).unwrap();
    file.set_modified(long_ago).unwrap();
    project.xtask(&["image", "build", "prod", "app"]).succeeds();
    let list = project.xtask(&["--json", "image", "list", "prod"]).succeeds().events();
    let app = list.iter().find(|event| event["image"] == "app").unwrap();
    let image = app["id"].as_str().unwrap();
    let help = docker(&["container", "run", "--rm", image, "--help"]);
    assert!(help.contains("THIS TEXT"), "the old binary under a new fingerprint:\n{help}");
    project.file("app/src/cli.rs", source);
}

/// nginx in front, static files from it, the app unreachable and without root, data that stays.
fn prod_behind_its_edge(project: &Project) {
    let port = free_port();
    let argument = port.to_string();
    let start = || project.xtask(&["start", "prod", "--port", &argument]).succeeds();
    start();
    let (status, page) = get(port, "/").unwrap();
    assert!(status == 200 && page.contains("Server: nginx"), "{page}");
    let published = docker(&[
        "container",
        "ls",
        "--format",
        "{{.Label \"com.docker.compose.service\"}} {{.Ports}}",
        "--filter",
        &format!("label=com.docker.compose.project={}-prod", project.name),
    ]);
    let published: Vec<&str> = published.lines().filter(|line| line.contains("->")).collect();
    assert_eq!(published, [format!("nginx 127.0.0.1:{port}->8080/tcp")]);
    let app = format!("{}-prod-app-1", project.name);
    assert_eq!(docker(&["container", "exec", &app, "id", "-un"]).trim(), "app");
    let image = docker(&["container", "inspect", "--format", "{{.Config.Image}}", &app]);
    let cargo =
        ["container", "run", "--rm", "--entrypoint", "find", image.trim(), "/", "-name", "cargo"];
    assert_eq!(docker(&cargo), "", "prod holds no toolchain");

    // The static file is the edge's own: it comes when the app is gone.
    let manifest: serde_json::Value =
        serde_json::from_str(&project.read("app/dist/manifest.json")).unwrap();
    let style = manifest["app.scss"]["file"].as_str().unwrap();
    docker(&["container", "pause", &app]);
    let (status, css) = get(port, &format!("/static/{style}")).unwrap();
    docker(&["container", "unpause", &app]);
    let built = project.read(&format!("app/dist/{style}"));
    assert!(status == 200 && css.ends_with(&built));

    browser::visit(port, &project.path("app/dist"));

    assert_eq!(post(port, "/activity", r#"{"kind":"swim","minutes":20}"#).unwrap().0, 201);
    let kept = || get(port, "/activities").unwrap().1.contains(r#""kind":"swim","minutes":20"#);
    project.xtask(&["stop", "prod"]).succeeds();
    start();
    assert!(kept(), "after stop and start");
    let before = project.read("docker/stack.lock");
    project.xtask(&["image", "update", "prod"]).succeeds().says("packages");
    assert_ne!(project.read("docker/stack.lock"), before);
    start();
    assert!(kept(), "after image update");
    let base = project.xtask(&["--json", "image", "list", "prod"]).succeeds();
    assert!(base.images().iter().all(|image| image.ends_with(" fresh")), "{:?}", base.images());
    project.xtask(&["stop", "prod"]).succeeds();
}

fn remove(project: &Project, path: &str) {
    let path = project.path(path);
    let removed =
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.unwrap();
}

fn containers(project: &Project, environment: &str) -> String {
    let filter = format!("label=com.docker.compose.project={}-{environment}", project.name);
    docker(&["container", "ls", "--all", "--quiet", "--filter", &filter])
}
