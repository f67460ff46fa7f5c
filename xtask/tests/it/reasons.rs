//! What is told about a build without doing it: `plan`, `image why`, `image inputs`.

use std::process::Command;

use crate::dsl::{Project, engine};

/// A project that was built and then changed in four ways at once.
fn changed() -> Project {
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    project
        .file("docker/app/Dockerfile", "FROM base\nARG GREETING\nCOPY . /app\n")
        .file("app/source.txt", "two\n")
        .file("app/new.txt", "new\n")
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile, \
             args: {GREETING: hello}}, x-stevedore: {main: true}}",
        )]);
    project
}

const REASONS: [&str; 4] = [
    "build argument GREETING is new",
    "docker/app/Dockerfile changed",
    "app/new.txt is new",
    "app/source.txt changed",
];

#[test]
fn why_lists_every_reason_and_changes_nothing() {
    engine!();
    let project = changed();
    for _ in 0..2 {
        let answer = project.xtask(&["--json", "image", "why", "app"]).succeeds();
        let event = answer.events().remove(0);
        assert_eq!(event["status"], "dirty");
        assert_eq!(event["reasons"], serde_json::json!(REASONS));
        let text = project.xtask(&["image", "why", "app"]).succeeds().stdout;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(lines[0].starts_with("dirty ") && lines[0].contains(", last built as "), "{text}");
        assert_eq!(lines[1..], REASONS);
    }
    project.xtask(&["image", "build"]).succeeds();
    project.xtask(&["image", "why", "app"]).succeeds().prints("fresh ").prints(": sha256:");
    project.xtask(&["image", "why", "ap"]).exits(2).says("known: app, base");
}

#[test]
fn plan_says_of_each_image_what_would_happen_and_why() {
    engine!();
    let project = changed();
    let answer = project.xtask(&["--json", "plan"]).succeeds();
    let plan: Vec<String> = answer
        .events()
        .into_iter()
        .map(|event| {
            assert_eq!(event["event"], "plan");
            assert_eq!(event["fingerprint"].as_str().unwrap().len(), 64);
            format!("{} {} {}", event["action"], event["image"], event["reasons"])
        })
        .collect();
    let reasons = serde_json::json!(REASONS);
    assert_eq!(plan, ["\"reuse\" \"base\" []", &format!("\"build\" \"app\" {reasons}")]);
    project.xtask(&["plan"]).succeeds().prints("and 1 more").says("1 to reuse, 0 to pull, 1 to");
    // A base's own change travels up, under its name.
    project.file("docker/base/Dockerfile", "FROM debian:trixie-slim\nRUN echo other > /base\n");
    let plan = project.xtask(&["plan"]).succeeds();
    plan.prints(": docker/base/Dockerfile changed").prints(": base image base changed, ");
}

#[test]
fn inputs_are_listed_each_with_its_hash() {
    engine!();
    let project = Project::with_stack();
    std::os::unix::fs::symlink("source.txt", project.path("app/link")).unwrap();
    project.xtask(&["image", "build", "dev", "base"]).succeeds();
    let answer = project.xtask(&["--json", "image", "inputs", "app"]).succeeds();
    let mut events = answer.events();
    let head = events.remove(0);
    assert_eq!(head["event"], "fingerprint");
    assert_eq!(head["fingerprint"], project.fingerprint("app"));
    let find = |key: &str, value: &str| {
        let found = events.iter().find(|event| event[key] == value);
        found.unwrap_or_else(|| panic!("no {key} {value} in {events:?}")).clone()
    };
    let sum = |path: &str| {
        let output = Command::new("sha256sum").arg(project.path(path)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    assert_eq!(find("kind", "dockerfile")["content"], sum("docker/app/Dockerfile"));
    assert_eq!(find("path", "source.txt")["content"], sum("app/source.txt"));
    assert_eq!(find("path", "lib/other.txt")["mode"], "0644");
    assert_eq!(find("path", "link")["content"], "source.txt");
    assert_eq!(find("path", "lib")["kind"], "directory");
    assert_eq!(find("name", "base")["content"], project.fingerprint("base"));
    assert_eq!(find("kind", "platform")["content"].as_str().unwrap().split('/').count(), 2);
    assert_eq!(events.len(), 8, "{events:?}");
    // The same, line by line.
    let text = project.xtask(&["image", "inputs", "app"]).succeeds().stdout;
    let file = format!("file\t0644\t{}\tsource.txt", sum("app/source.txt"));
    assert!(text.lines().any(|line| line == file), "{text}");
}

/// What compose makes of its files is remembered; no edit of them may be missed.
#[test]
fn an_edit_of_any_compose_file_is_seen() {
    engine!();
    let project = changed();
    let service = |greeting: &str| {
        format!(
            "services:\n  app:\n    build:\n      context: app\n      \
             dockerfile: ../docker/app/Dockerfile\n      args: {{GREETING: {greeting}}}\n"
        )
    };
    let mut seen = std::collections::BTreeSet::from([project.inputs("app")]);
    let mut is_new = || seen.insert(project.inputs("app"));
    let base = project.read("docker/compose.yml");
    project.file("docker/compose.yml", base.replace("hello", "there"));
    assert!(is_new(), "the base was missed");
    project.file("environments/dev/compose.yml", service("overlay"));
    assert!(is_new(), "a new overlay was missed");
    project.file("environments/dev/compose.yml", service("overlaid"));
    assert!(is_new(), "an edit of the overlay was missed");
    std::fs::remove_file(project.path("environments/dev/compose.yml")).unwrap();
    // What is in a file that only another file names.
    let common = service("common").replace("app:", "common:");
    let extends = "{extends: {file: common.yml, service: common}, x-stevedore: {main: true}}";
    project.file("common.yml", &common).compose(&[("app", extends)]);
    assert!(is_new(), "a file that is extended was missed");
    project.file("common.yml", common.replace("common}", "other}"));
    assert!(is_new(), "an edit of a file that is extended was missed");
    project.file("docker/compose.yml", base.replace("hello", "there"));
    assert!(!is_new(), "the same files gave another fingerprint");
    // A damaged memory is asked anew.
    let directory = project.path(".stevedore/compose");
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        std::fs::write(entry.path(), text.replace("there", "their")).unwrap();
    }
    let before = project.inputs("app");
    std::fs::remove_dir_all(project.path(".stevedore")).unwrap();
    assert_eq!(project.inputs("app"), before, "a damaged memory was believed");
}
