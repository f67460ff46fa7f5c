//! Input at its worst: settings that mean something else tomorrow, addresses that nobody can
//! follow, one line of a megabyte, nesting without end, a directory that is replaced.

use rustix::process::Signal;

use crate::dsl::{Project, Running};

#[test]
fn targets_that_ask_the_clock_the_environment_or_a_program_are_refused() {
    for target in [
        "last 2 years",
        "since 2024, unreleased versions",
        "current node",
        "maintained node versions",
        "browserslist config",
        "extends browserslist-config-mine",
    ] {
        let project = Project::new();
        project.file("a.css", "a { color: red }");
        project.file("assets.toml", format!("targets = [\"{target}\"]\n"));
        for action in [&["build"][..], &["build", "--dry-run"], &["check"]] {
            let answer = project.run(action);
            assert_eq!(answer.code, 1, "{target}");
            assert!(answer.stderr.contains("another machine or another day"), "{}", answer.stderr);
        }
    }
}

#[test]
fn libraries_in_another_order_are_another_build() {
    let project = Project::new();
    project.library("one/x.scss", ".x { a: one }").library("two/x.scss", ".x { a: two }");
    project.file("a.scss", "@use \"x\";");
    let build = |first: &str, second: &str| {
        let mut command = project.command(&["build"]);
        command.args([
            "--load-path",
            &format!("lib/{first}"),
            "--load-path",
            &format!("lib/{second}"),
        ]);
        crate::dsl::Answer::of(command, project.root()).succeeds();
        project.text("a.scss")
    };
    assert_eq!(build("one", "two"), ".x{a:one}");
    assert_eq!(build("two", "one"), ".x{a:two}");
    assert_eq!(build("one", "two"), ".x{a:one}");
}

#[test]
fn an_address_of_pieces_is_a_problem_and_one_from_elsewhere_is_not() {
    for address in ["new URL(`./${a}`, import.meta.url)", "new URL(\"./\" + a, import.meta.url)"] {
        let project = Project::new();
        project.file("a.js", format!("export const f = (a) => {address};\n"));
        let answer = project.run(&["build"]);
        assert_eq!(answer.code, 1, "{address}");
        assert!(answer.stderr.contains("src/a.js:1:"), "{}", answer.stderr);
        assert!(answer.stderr.contains("is an address of pieces"), "{address}");
    }
    let project = Project::new();
    project.file("a.js", "export const f = (a) => [import(a), new URL(a, import.meta.url)];\n");
    project.build();
}

#[test]
fn what_import_meta_resolves_is_rewritten() {
    let project = Project::new();
    project.file("b.js", "export default 1;\n");
    project.file("a.js", "export const b = import.meta.resolve(\"./b.js\");\n");
    project.build();
    assert!(
        project.plain("a.js").contains("import.meta.resolve(\"./b-#.js\")"),
        "{}",
        project.plain("a.js")
    );
    project.references_hold();
}

#[test]
fn licences_stay_in_scripts_and_other_comments_do_not() {
    let project = Project::new();
    project.file("a.js", "/*! (c) somebody */\n/* not this */\nwindow.a = 1; // nor this\n");
    project.build();
    let text = project.text("a.js");
    assert!(text.contains("(c) somebody") && !text.contains("this"), "{text}");
}

#[test]
fn of_an_endless_line_only_the_place_is_shown() {
    let project = Project::new();
    project.file("a.js", format!("{}let x = ;{}", "a();".repeat(50_000), "b();".repeat(50_000)));
    let answer = project.run(&["build"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.len() < 1000, "{} bytes", answer.stderr.len());
    assert!(answer.stderr.contains("let x = ;") && answer.stderr.contains("src/a.js:1:2000"));
}

#[test]
fn deep_nesting_ends_no_build_without_a_word() {
    let project = Project::new();
    let depth = 5_000;
    project.file("a.js", format!("window.a = {}1{};\n", "(".repeat(depth), ")".repeat(depth)));
    project.file("a.scss", format!("{}b: c{}", "a{".repeat(500), "}".repeat(500)));
    let answer = project.run(&["build"]);
    assert!(answer.code >= 0, "ended by a signal: {}", answer.stderr);
}

#[test]
fn a_watch_goes_on_when_the_directory_is_replaced() {
    let project = Project::new();
    project.file("a.css", "a { color: red }");
    let mut watch = Running::start(project.command(&["watch"]));
    watch.until("the first build", |output| output.contains("never built here"));
    std::fs::rename(project.path("src"), project.path("old")).unwrap();
    project.file("a.css", "a { color: lime }");
    watch.until("the build of the new directory", |output| output.matches("built").count() > 2);
    project.file("a.css", "a { color: blue }");
    watch.until("the build after an edit in it", |_| project.text("a.css").contains("#00f"));
    watch.signal(Signal::INT);
    watch.ends();
}

#[test]
fn an_output_directory_of_somebody_else_is_not_emptied() {
    let project = Project::new();
    project.file("a.css", "a { color: red }");
    std::fs::create_dir_all(project.path("dist")).unwrap();
    crate::dsl::write(&project.path("dist/precious.txt"), b"mine");
    for manifest in [None, Some(&b"{\"app.js\": \"app.123.js\"}"[..])] {
        if let Some(text) = manifest {
            crate::dsl::write(&project.path("dist/manifest.json"), text);
        }
        let answer = project.run(&["build"]);
        assert_eq!(answer.code, 1);
        assert!(answer.stderr.contains("dist holds what was not made here"), "{}", answer.stderr);
        assert_eq!(project.output("precious.txt"), b"mine");
    }
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    project.build();
    std::fs::remove_dir_all(project.path("state")).unwrap();
    project.file("a.css", "a { color: blue }");
    project.build();
}
