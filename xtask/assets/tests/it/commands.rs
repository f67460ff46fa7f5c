//! The commands: what each writes, prints and watches.

use rustix::process::Signal;

use crate::dsl::{Project, Running, tree};

#[test]
fn a_dry_run_writes_nothing_and_names_the_reason() {
    let project = Project::with_everything();
    assert_eq!(project.state(), "stale   dist: never built here");
    assert!(!project.path("dist").exists() && !project.path("state").exists());
    project.build();
    project.file("note.txt", "edited");
    let everything = || (tree(&project.path("dist")), tree(&project.path("state")));
    let before = everything();
    assert_eq!(project.state(), "stale   dist: src/note.txt changed");
    assert!(everything() == before);
    let answer = project.run(&["build", "--dry-run", "--json"]).succeeds();
    let event: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(event["status"], "stale");
    assert_eq!(event["reason"], "src/note.txt changed");
}

#[test]
fn json_is_one_object_with_what_was_done() {
    let project = Project::with_everything();
    let event = |action: &[&str]| -> serde_json::Value {
        let answer = project.run(action).succeeds();
        assert_eq!(answer.stdout.lines().count(), 1);
        let mut event: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        if let Some(seconds) = event.get_mut("seconds") {
            assert!(seconds.as_f64().unwrap() < 60.0);
            seconds.take();
        }
        event
    };
    expect_test::expect![[r#"{"event":"assets","files":9,"reason":"never built here","removed":0,"seconds":null,"status":"built","written":38}"#]].assert_eq(&event(&["build", "--json"]).to_string());
    expect_test::expect![[r#"{"event":"assets","files":0,"reason":"","removed":0,"seconds":null,"status":"fresh","written":0}"#]].assert_eq(&event(&["build", "--json"]).to_string());
    expect_test::expect![[r#"{"event":"assets","files":9,"status":"passed"}"#]]
        .assert_eq(&event(&["check", "--json"]).to_string());
}

#[test]
fn a_check_writes_no_output() {
    let project = Project::with_everything();
    let answer = project.run(&["check"]).succeeds();
    assert_eq!(answer.stdout, "9 assets are sound\n");
    assert!(!project.path("dist").exists());
}

#[test]
fn a_line_says_how_much_was_written() {
    let project = Project::with_everything();
    let (written, removed) = project.build().counts();
    assert_eq!((written, removed), (project.dist().len(), 0));
    project.file("note.txt", "other");
    assert_eq!(project.build().counts(), (2, 1), "the note and the manifest; the old note");
}

#[test]
fn an_output_that_holds_the_sources_is_refused() {
    let project = Project::with_everything();
    let before = tree(project.root());
    for (source, output, state) in [
        ("src", "src", "state"),
        ("src", ".", "state"),
        ("src", "src/dist", "state"),
        ("src", "dist", "dist/state"),
        ("src", "dist", "src/state"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_assets"));
        command.args(["build", "--source", source, "--output", output, "--state", state]);
        command.args(["--sass", "sass", "--esbuild", "esbuild"]);
        command.current_dir(project.root());
        let answer = crate::dsl::Answer::of(command, project.root());
        assert_eq!(answer.code, 1, "{source} {output} {state}");
        assert!(answer.stderr.contains("must not lie in"), "{}", answer.stderr);
        assert!(tree(project.root()) == before, "{source} {output} {state}");
    }
}

#[test]
fn watching_builds_after_edits_survives_errors_and_ends_with_ctrl_c() {
    let project = Project::with_everything();
    let mut watch = Running::start(project.command(&["watch"]));
    watch.until("the first build", |output| output.contains("never built here"));
    let style = || project.text("style.scss");
    let count = |output: &str| output.matches("built   dist").count();
    project.file("_colors.scss", "$ink: #0f0;\n");
    watch.until("an edit", |output| count(output) == 2);
    assert!(style().contains("#0f0"), "{}", style());
    let good = project.dist();
    project.file("_colors.scss", "$ink: ;\n");
    watch.until("an error", |output| output.contains("_colors.scss"));
    watch.until("an error", |output| output.contains("error: "));
    assert!(project.dist() == good, "the last good output stays");
    project.file("_colors.scss", "$ink: #00f;\n");
    watch.until("the mended file", |output| count(output) == 3);
    assert!(style().contains("#00f"), "{}", style());
    project.file("new/deep/more.css", ".more{top:0}");
    watch.until("a new directory", |_| project.manifest().contains_key("new/deep/more.css"));
    project.file("new/deep/more.css", ".more{top:1px}");
    watch.until("a file of a new directory", |_| project.text("new/deep/more.css").contains("1px"));
    project.remove("new/deep/more.css");
    watch.until("a removed file", |_| !project.manifest().contains_key("new/deep/more.css"));
    watch.signal(Signal::INT);
    assert_eq!(watch.ends(), Some(Signal::INT.as_raw()));
}
