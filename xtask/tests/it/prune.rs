//! `image prune`: what is needed stays, what is ours and not needed goes, the rest is not ours.

use crate::dsl::{Project, docker, engine};

fn tags(project: &Project) -> Vec<String> {
    let reference = format!("reference={}/app", project.name);
    let list = docker(&["image", "ls", "--format", "{{.Tag}}", "--filter", &reference]);
    let mut tags: Vec<String> = list.lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

/// Builds `app` with another content, and gives it more tags.
fn version(project: &Project, content: &str, tags: &[&str]) -> String {
    project.file("app/source.txt", content);
    project.xtask(&["image", "build"]).succeeds();
    let reference = project.reference("app");
    for tag in tags {
        docker(&["image", "tag", &reference, &format!("{}/app:{tag}", project.name)]);
    }
    reference.rsplit(':').next().unwrap().to_owned()
}

#[test]
fn prune_keeps_what_environments_and_the_last_releases_use() {
    engine!();
    let project = Project::with_stack();
    let first = version(&project, "1\n", &["1.0.0"]);
    let second = version(&project, "2\n", &["1.0.1", "mine"]);
    version(&project, "no release\n", &[]);
    let third = version(&project, "3\n", &["1.0.10"]);
    // Another environment stands elsewhere.
    let now = version(&project, "now\n", &[]);
    project.mkdir("environments/qa").file(
        "environments/qa/compose.yml",
        "services:\n  app:\n    build: {context: app, dockerfile: ../docker/app/Dockerfile, \
         args: {GREETING: qa}}\n",
    );
    project.file("docker/app/Dockerfile", "FROM base\nARG GREETING\nCOPY . /app\nWORKDIR /app\n");
    project.xtask(&["image", "build", "qa"]).succeeds();
    let all = tags(&project).len();

    let dry = project.xtask(&["image", "prune", "--releases", "2", "--dry-run"]).succeeds();
    assert_eq!(tags(&project).len(), all, "a dry run removes nothing: {dry:?}");
    project.xtask(&["image", "prune", "--releases", "2"]).succeeds();
    let left = tags(&project);
    assert_eq!(left.len(), 7, "{left:?}");
    for kept in [&second, &third, &now, "1.0.1", "1.0.10", "mine"] {
        assert!(left.iter().any(|tag| tag == kept), "{kept} is gone: {left:?}");
    }
    assert!(!left.contains(&first) && !left.contains(&"1.0.0".to_owned()), "{left:?}");
    for environment in ["dev", "qa"] {
        let images = project.xtask(&["--json", "image", "list", environment]).succeeds().images();
        assert_eq!(images, ["base fresh", "app fresh"], "{environment}");
    }
    project.xtask(&["image", "prune", "--releases", "2"]).succeeds().says("every image is in use");
}

#[test]
fn prune_removes_private_copies_that_no_image_has_any_more() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let copies = || std::fs::read_dir(project.path(".stevedore/contexts")).unwrap().count();
    assert_eq!(copies(), 2);
    project.compose(&[("app", "{image: alpine, x-stevedore: {main: true}}")]);
    project.xtask(&["image", "prune"]).succeeds();
    assert_eq!(copies(), 0);
    let base = docker(&["image", "inspect", "--format", "{{.Id}}", &project.own_base()]);
    assert!(!base.is_empty(), "every other project of today's lock needs this base");
}
