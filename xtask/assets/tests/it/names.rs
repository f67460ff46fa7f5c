//! Names of outputs: the hash of what they hold in each of them.

use std::collections::BTreeSet;

use crate::dsl::{Project, without_hashes};

#[test]
fn every_output_but_the_manifest_carries_its_hash() {
    let project = Project::with_everything();
    project.build();
    let names: Vec<String> = project.dist().into_keys().collect();
    let plain: BTreeSet<String> = names.iter().map(|name| without_hashes(name)).collect();
    expect_test::expect![[r#"
        app-#.js
        app-#.js.br
        app-#.js.map
        app-#.js.map.br
        app-#.js.map.gz
        chunks/chunk-#.js
        chunks/chunk-#.js.br
        chunks/chunk-#.js.gz
        chunks/chunk-#.js.map
        chunks/chunk-#.js.map.br
        chunks/chunk-#.js.map.gz
        classic-#.js
        classic-#.js.br
        classic-#.js.map
        classic-#.js.map.br
        classic-#.js.map.gz
        img/dot-#.svg
        img/dot-#.svg.br
        img/dot-#.svg.gz
        lib/help-#.js
        lib/help-#.js.br
        lib/help-#.js.map
        lib/help-#.js.map.br
        manifest.json
        note-#.txt
        other-#.css
        other-#.css.br
        other-#.css.gz
        other-#.css.map
        other-#.css.map.br
        other-#.css.map.gz
        photo-#.jpg
        style-#.css
        style-#.css.br
        style-#.css.gz
        style-#.css.map
        style-#.css.map.br
        style-#.css.map.gz
    "#]]
    .assert_eq(&plain.into_iter().map(|name| name + "\n").collect::<String>());
    let bare = names.iter().filter(|name| without_hashes(name) == **name);
    assert_eq!(bare.collect::<Vec<_>>(), ["manifest.json"]);
}

/// The sources whose outputs are called differently after an edit.
fn renamed(project: &Project, edit: impl FnOnce(&Project)) -> Vec<String> {
    project.build();
    let before = project.manifest();
    edit(project);
    project.build();
    let now = project.manifest();
    let other = now.into_iter().filter(|(source, entry)| before.get(source) != Some(entry));
    other.map(|(source, _)| without_hashes(&source)).collect()
}

#[test]
fn a_name_changes_with_the_content_and_with_the_names_that_are_in_it() {
    let project = Project::with_everything();
    assert_eq!(renamed(&project, |it| _ = it.file("note.txt", "y")), ["note.txt"]);
    assert_eq!(renamed(&project, |it| _ = it.file("photo.jpg", "y")), ["photo.jpg"]);
    let dot = renamed(&project, |it| _ = it.file("img/dot.svg", "<svg/>\n"));
    assert_eq!(dot, ["app.js", "img/dot.svg", "other.css", "style.scss"]);
    let ink = renamed(&project, |it| _ = it.file("_colors.scss", "$ink: #654321;\n"));
    assert_eq!(ink, ["style.scss"]);
    let help = "export const help = (a) => alert(a);\n";
    let help = renamed(&project, |it| _ = it.file("lib/help.js", help));
    assert_eq!(help, ["app.js", "chunks/chunk-#.js", "lib/help.js"]);
    let other = renamed(&project, |it| _ = it.file("other.css", ".other { top: 0 }\n"));
    assert_eq!(other, ["other.css", "style.scss"], "who imports it names it");
}

#[test]
fn a_name_changes_when_only_the_map_does() {
    let project = Project::with_everything();
    let script = "function greet(){return 1}\n";
    project.file("other.css", ".other { top: 0 }\n").file("classic.js", script).build();
    let texts = (project.text("other.css"), project.text("classic.js"));
    let again = renamed(&project, |it| {
        it.file("other.css", "\n\n.other { top: 0 }\n").file("classic.js", format!("\n{script}"));
    });
    assert_eq!((project.text("other.css"), project.text("classic.js")), texts);
    assert_eq!(again, ["classic.js", "other.css", "style.scss"]);
}

#[test]
fn equal_content_keeps_its_name_whatever_else_changes() {
    let project = Project::with_everything();
    let again = renamed(&project, |it| {
        it.file("new.js", "alert(1)\n").file("new.scss", ".new { top: 0 }\n").remove("note.txt");
    });
    assert_eq!(again, ["new.js", "new.scss"]);
}

#[test]
fn sources_that_differ_in_their_extension_only_do_not_meet() {
    let project = Project::new();
    project
        .file("a.css", ".a{top:0}")
        .file("a.scss", ".a{top:0}")
        .file("b.js", "alert(1)")
        .file("b.mjs", "alert(1)")
        .file("c", "c")
        .file("c.tar.gz", "c")
        .file("manifest.json", "{}")
        .file(".hidden/x.js", "not javascript")
        .file("_partial.scss", "not a style sheet")
        .build();
    let manifest = project.manifest();
    let files: Vec<String> = manifest.values().map(|it| without_hashes(&it.file)).collect();
    let expected =
        ["a-#.css", "a-#.css", "b-#.js", "b-#.js", "c-#", "c.tar-#.gz", "manifest-#.json"];
    assert_eq!(files, expected);
    let different: BTreeSet<&String> = manifest.values().map(|entry| &entry.file).collect();
    assert_eq!(different.len(), manifest.len());
    for source in ["a.css", "a.scss"] {
        assert_eq!(project.origin(source, "top").0, format!("assets/{source}"));
    }
}

#[test]
fn any_letter_may_be_in_a_name_and_outputs_have_plain_ones() {
    let project = Project::new();
    project
        .file("img/a b (1), é.svg", "<svg/>")
        .file("two words.scss", ".a{background:url(\"img/a b (1), é.svg\")}")
        .file(
            "ü.js",
            "console.log(new URL(\"img/a%20b%20(1),%20%C3%A9.svg\", import.meta.url));export{}",
        )
        .build();
    assert_eq!(project.plain("two words.scss"), ".a{background:url(img/a_b__1____-#.svg)}");
    let script = project.plain("ü.js");
    assert!(script.contains("\"./img/a_b__1____-#.svg\""), "{script}");
    assert!(project.name("ü.js").starts_with("_-"), "{}", project.name("ü.js"));
    project.references_hold();
}

#[test]
fn what_editors_leave_is_no_source_and_no_change() {
    let project = Project::with_everything();
    project.build();
    let stamps = project.stamps();
    for name in ["app.js~", "#app.js#", "4913", ".app.js.swp", "style.scss~", "#style.scss#"] {
        project.file(name, "half a line");
    }
    std::os::unix::fs::symlink("me@host.1:2", project.path("src/.#style.scss")).unwrap();
    assert_eq!(project.state(), "fresh   dist");
    project.run(&["check"]).succeeds();
    assert_eq!(project.stamps(), stamps);
}
