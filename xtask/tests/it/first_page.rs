//! The page of a development stack does not wait for its assets, where a package has to be
//! downloaded or the pipeline to be compiled for them; whatever ships does.

use crate::assets::package;
use crate::dsl::{Project, engine, free_port, get, wait_until};

const FIRST: &str = "the page comes first, and its style follows";

/// Adds assets with a package that npm gets only once there is a file `go`.
fn slow_assets(project: &mut Project) {
    let go = project.path("go").display().to_string();
    project.file("app/assets/app.scss", "a { color: red; }\n");
    project.file("app/assets/assets.toml", package());
    let wait = format!("until [ -e '{go}' ]; do sleep 0.05; done");
    project.fake("npm", &format!("{wait}\nexec \"$real\" \"$@\""));
}

/// A project of the host engine whose `web` serves its files, and its port.
fn on_the_host() -> (Project, u16) {
    let (mut project, port) = (Project::new(), free_port());
    project
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"))
        .file("environments/dev/Procfile", "web: python3 -m http.server $PORT\n");
    slow_assets(&mut project);
    (project, port)
}

fn is_there(project: &Project) -> bool {
    project.path("app/dist/manifest.json").exists()
}

#[test]
fn on_the_host_engine_the_page_answers_before_its_assets_are_made() {
    let (project, port) = on_the_host();
    let mut dev = project.spawn(&["dev", "--engine", "host"]);
    dev.until("answers on");
    assert_eq!(get(port, "/").unwrap().0, 200);
    assert!(!is_there(&project), "they are made");
    assert_eq!(dev.output().matches(FIRST).count(), 1, "{}", dev.output());
    project.file("go", "");
    dev.until("assets built: never built here");
    wait_until("the assets", || is_there(&project));
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
}

#[test]
fn what_is_saved_meanwhile_is_obeyed_and_an_interrupt_too() {
    let (project, port) = on_the_host();
    let mut dev = project.spawn(&["dev", "--engine", "host"]);
    dev.until("answers on").until("watching");
    project.file("app/assets/app.scss", "b { color: red; }\n");
    assert_eq!(get(port, "/").unwrap().0, 200);
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
    assert!(!is_there(&project));
    project.file("go", "");
    let mut dev = project.spawn(&["dev", "--engine", "host"]);
    dev.until("assets built: never built here");
    dev.signal("-INT");
    dev.ends();
}

#[test]
fn a_detached_one_comes_back_with_all_of_it() {
    let (project, port) = on_the_host();
    let mut dev = project.spawn(&["dev", "--engine", "host", "--detach"]);
    dev.until("answers on");
    assert!(get(port, "/").is_some() && !is_there(&project));
    project.file("go", "");
    assert_eq!(dev.ends(), 0);
    assert!(is_there(&project), "{}", dev.output());
    project.xtask(&["stop", "dev"]).succeeds();
}

#[test]
fn on_the_docker_engine_too_unless_an_image_holds_them() {
    engine!();
    let mut project = Project::with_stack();
    slow_assets(&mut project);
    project
        .file("docker/app/Dockerfile", "FROM base\nCOPY source.txt /\n")
        .file("environments/prod/environment.toml", "");
    let mut start = project.spawn(&["start", "dev"]);
    start.until("dev runs");
    assert!(start.output().contains(FIRST) && !is_there(&project), "{}", start.output());
    project.file("go", "");
    assert_eq!(start.ends(), 0);
    assert!(is_there(&project), "{}", start.output());

    for environment in ["dev", "prod"] {
        std::fs::remove_dir_all(project.path(".stevedore/packages")).unwrap();
        std::fs::remove_dir_all(project.path("app/dist")).unwrap();
        project.file("docker/app/Dockerfile", "FROM base\nCOPY dist /srv/static\n");
        let start = project.xtask(&["start", environment]).succeeds();
        assert!(!start.stderr.contains(FIRST) && is_there(&project), "{}", start.stderr);
        project.xtask(&["stop", environment]).succeeds();
    }
}

#[test]
fn where_they_cannot_be_made_the_page_stays() {
    let (mut project, port) = on_the_host();
    project.fake("npm", "echo 'npm error code E404' >&2; exit 1");
    let mut dev = project.spawn(&["dev", "--engine", "host"]);
    dev.until("answers on").until("the page will have no style");
    assert_eq!(get(port, "/").unwrap().0, 200);
    dev.signal("-INT");
    assert_eq!(dev.ends(), 130);
}
