//! A page that is published through a proxy, while what is behind it is restarted.
//!
//! The proxy looks addresses up when it starts, as nginx does with names in `proxy_pass`.

use crate::dsl::{Project, engine, free_port, get};

const SERVER: &str = "FROM base\n\
    RUN apt-get update && apt-get install --yes --no-install-recommends busybox nginx-light\n\
    COPY . /app\nWORKDIR /app\n";
const NGINX: &str = "events {}\nhttp { upstream web { server web1:8080 max_fails=0; \
    server web2:8080 max_fails=0; } server { listen 8080; proxy_connect_timeout 2s; \
    proxy_next_upstream off; location / { proxy_pass http://web; } } }\n";

/// Two web servers and a proxy in front of them, which is all that is published. `seed` has an
/// address until they run and then leaves it free, so that they get other ones when they are started
/// again.
fn proxied(depends_on: &str) -> (Project, u16) {
    let project = Project::with_stack();
    let port = free_port();
    let service = |more: &str| {
        format!(
            "{{build: {{context: app, dockerfile: ../docker/app/Dockerfile}}, init: true, \
             stop_grace_period: 1s, {more}}}"
        )
    };
    let web = "command: [busybox, httpd, -f, -p, '8080'], \
        depends_on: [seed]";
    let proxy = format!(
        "command: [nginx, -c, /app/nginx.conf, -g, 'daemon off;'], {depends_on} \
         ports: ['127.0.0.1:${{STEVEDORE_PORT_HTTP}}:8080']"
    );
    project
        .file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n"))
        .file("app/index.html", "hello\n")
        .file("app/nginx.conf", NGINX)
        .file("docker/app/Dockerfile", SERVER)
        .compose(&[
            ("proxy", &service(&proxy)),
            ("seed", &service("command: [sleep, '5'], x-stevedore: {once: true}")),
            ("web1", &service(web)),
            ("web2", &service(web)),
        ]);
    (project, port)
}

/// From now on `seed` is not started with the web servers, and they get its address.
fn free_an_address(project: &Project) {
    let compose = project.read("docker/compose.yml");
    project.file("docker/compose.yml", compose.replace(", depends_on: [seed]", ""));
}

fn assert_answers(port: u16) {
    for _ in 0..6 {
        let (status, body) = get(port, "/").unwrap();
        assert!(status == 200 && body.ends_with("hello\n"), "{status} {body}");
    }
}

#[test]
fn a_restart_of_what_is_behind_a_proxy_keeps_the_page_answering() {
    engine!();
    let (project, port) = proxied("depends_on: [web1, web2],");
    let url = format!("dev answers on http://127.0.0.1:{port}/");
    project.xtask(&["start"]).succeeds().prints(&url);
    assert_answers(port);
    free_an_address(&project);
    let answer = project.xtask(&["restart", "dev", "web1", "web2"]).succeeds();
    let says = format!("http://127.0.0.1:{port}/ answers with status 50");
    assert!(answer.stderr.contains(&says), "{}", answer.stderr);
    assert!(answer.stderr.contains("; restarting proxy"), "{}", answer.stderr);
    answer.prints(&url);
    assert_answers(port);
}

#[test]
fn a_proxy_that_names_no_dependency_is_restarted_too() {
    engine!();
    let (project, port) = proxied("");
    project.xtask(&["start"]);
    project.xtask(&["restart", "dev", "proxy"]).succeeds();
    assert_answers(port);
    free_an_address(&project);
    project.xtask(&["restart", "dev", "web1"]).succeeds();
    assert_answers(port);
}

#[test]
fn compose_s_own_word_for_it_is_obeyed_at_once() {
    engine!();
    let condition = "{condition: service_started, restart: true}";
    let (project, port) =
        proxied(&format!("depends_on: {{web1: {condition}, web2: {condition}}},"));
    project.xtask(&["start"]).succeeds();
    free_an_address(&project);
    let answer = project.xtask(&["restart", "dev", "web1", "web2"]).succeeds();
    assert!(!answer.stderr.contains("answers with"), "{}", answer.stderr);
    assert_answers(port);
}

#[test]
fn a_page_that_a_restart_breaks_is_an_error_that_names_it() {
    engine!();
    let (project, port) = proxied("depends_on: [web1, web2],");
    project.xtask(&["start"]).succeeds();
    let compose = project.read("docker/compose.yml").replace("'8080'", "'8081'");
    project.file("docker/compose.yml", compose);
    let says = format!("dev runs, but http://127.0.0.1:{port}/ answers with status 502");
    let answer = project.xtask(&["restart", "dev", "web1", "web2"]).exits(1).says(&says);
    assert_eq!(answer.stdout, answer.stdout.replace("dev answers on", ""), "{}", answer.stdout);
    answer.says("cargo xtask logs dev");
}

#[test]
fn a_start_on_which_nothing_answers_does_not_say_that_it_answers() {
    engine!();
    let project = Project::with_stack();
    let port = free_port();
    project.file("environments/dev/environment.toml", format!("[ports]\nhttp = {port}\n")).compose(
        &[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             ports: ['127.0.0.1:${STEVEDORE_PORT_HTTP}:8080']}",
        )],
    );
    let says = format!("dev runs, but http://127.0.0.1:{port}/ does not answer");
    let answer = project.xtask(&["start"]).succeeds().says(&says);
    assert!(!answer.stdout.contains("answers on"), "{}", answer.stdout);
}
