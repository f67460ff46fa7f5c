//! What people do every day and what pipelines get wrong in silence.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::compilers::compilers;
use crate::dsl::{Answer, Project, program, without_hashes, write};

/// A build in any directory, of `src` there.
fn build_in(root: &std::path::Path, output: &str) -> Answer {
    let mut command = program(&["build"], ["src", output, "state"], compilers());
    command.current_dir(root);
    Answer::of(command, root)
}

#[test]
fn a_project_lies_in_a_folder_of_any_name() {
    let home = tempfile::tempdir().unwrap();
    let names = ["plain", "d é", "d%20x", "a#b", "sch'ön"].map(|name| {
        let root = home.path().join(name);
        let script = "export const u = new URL(\"./i.svg\", import.meta.url);\n";
        write(&root.join("src/é/x.js"), script.as_bytes());
        write(&root.join("src/é/i.svg"), b"<svg/>");
        write(&root.join("src/é/s.scss"), b".a{background:url(i.svg)}");
        let answer = build_in(&root, "dist").succeeds();
        assert_eq!(answer.stderr, "", "{name}");
        let dist = crate::dsl::tree(&root.join("dist"));
        let script = dist.iter().find(|(name, _)| name.ends_with(".js")).unwrap();
        let script = String::from_utf8(script.1.clone()).unwrap();
        assert!(without_hashes(&script).contains("\"./i-#.svg\""), "{name}: {script}");
        dist
    });
    for dist in &names {
        assert_eq!(dist.keys().collect::<Vec<_>>(), names[0].keys().collect::<Vec<_>>());
        assert!(*dist == names[0]);
    }
}

#[test]
fn classic_scripts_add_no_name_of_their_own_to_the_page() {
    let project = Project::new();
    project
        .file("assets.toml", "targets = [\"safari 14\"]\n")
        .file("a.js", "class A { #r = 2; m() { return this.#r } }\n")
        .file("b.js", "class B { #x = 5; static #q = 7; m() { return this.#x + B.#q } }\n")
        .build();
    for (source, start) in [("a.js", "class A{"), ("b.js", "class B{")] {
        let text = project.text(source);
        assert!(text.starts_with(start) && !text.contains("var "), "{text}");
    }
}

#[test]
fn a_script_that_imports_a_sheet_of_a_package_is_told_so() {
    let project = Project::new();
    project
        .library("thing/package.json", "{\"exports\": {\"./css\": \"./thing.css\"}}")
        .library("thing/thing.css", ".a{top:0}")
        .file("app.js", "import \"thing/css\";\nconsole.log(1);\n");
    let answer = project.run(&["build"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("thing/thing.css is a style sheet"), "{}", answer.stderr);
}

#[test]
fn what_lies_in_a_node_modules_of_the_sources_is_not_what_is_pinned() {
    let project = Project::new();
    project
        .library("thing/index.js", "export const from = \"pinned\";\n")
        .file("node_modules/thing/index.js", "export const from = \"installed\";\n")
        .file("app.js", "import { from } from \"thing\";\nconsole.log(from);\n");
    write(&project.path("node_modules/thing/index.js"), b"export const from = 1;");
    project.build();
    assert!(project.text("app.js").contains("\"pinned\""), "{}", project.text("app.js"));
    assert_eq!(project.manifest().len(), 1);
}

#[test]
fn settings_that_come_from_elsewhere_are_refused() {
    let project = Project::new();
    project
        .file("tsconfig.json", "{\n  \"extends\": \"../tsconfig.base.json\"\n}\n")
        .file("app.ts", "export const a: number = 1;\n");
    let answer = project.run(&["build"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("src/tsconfig.json:2:3: `extends`"), "{}", answer.stderr);
}

#[test]
fn a_classic_script_may_import_a_module_later() {
    let project = Project::new();
    project
        .file("b.js", "export function go() {}\n")
        .file("a.js", "onclick = () => import(\"./b.js\");\n")
        .build();
    assert_eq!(project.plain("a.js"), "onclick=()=>import(\"./b-#.js\");");
    project.references_hold();
}

#[test]
fn words_of_modules_in_comments_make_no_module() {
    let project = Project::new();
    project
        .file("old.js", "/* import notes */ with (x) { y() }\n")
        .file(
            "umd.js",
            "// export for Node\nif (typeof exports == \"object\") require(\"jquery\");\n",
        )
        .build();
    assert_eq!(project.text("old.js"), "with(x)y();");
    assert!(project.text("umd.js").contains("require(\"jquery\")"));
}

#[test]
fn each_part_of_a_sheet_gets_its_own_picture() {
    let project = Project::new();
    project
        .file("a/_a.scss", ".a{background:url(bg.png)}")
        .file("a/bg.png", "one")
        .file("b/_b.scss", ".b{background:url(\"bg.png\")}")
        .file("b/bg.png", "two")
        .file("app.scss", "@use \"a/a\";@use \"b/b\";")
        .file("i.svg", "<svg/>")
        .file("sub/i.svg", "<svg></svg>")
        .file("sub/c.css", ".c{background:url(i.svg) image-set(\"i.svg\" 1x)}")
        .file("d.css", "@import \"sub/c.css\";")
        .build();
    assert_eq!(
        project.plain("app.scss"),
        ".a{background:url(a/bg-#.png)}.b{background:url(b/bg-#.png)}"
    );
    assert_eq!(
        project.plain("d.css"),
        ".c{background:url(sub/i-#.svg) image-set(\"sub/i-#.svg\" 1x)}"
    );
    fs::remove_file(project.path("src/b/bg.png")).unwrap();
    let answer = project.run(&["build"]);
    assert!(answer.stderr.contains("src/b/_b.scss:1:"), "{}", answer.stderr);
    assert!(answer.stderr.contains("`bg.png`: there is no src/bg.png"), "{}", answer.stderr);
}

#[test]
fn a_chunk_is_found_whatever_its_source_is_called() {
    let project = Project::new();
    project
        .file("_é b.js", "export default 1;\n")
        .file("app.js", "export const go = () => import(\"./_é b.js\");\n")
        .build();
    assert!(!project.text("app.js").contains("stevedore:"), "{}", project.text("app.js"));
    project.references_hold();
}

#[test]
fn an_older_map_is_not_believed() {
    let project = Project::new();
    let map = "{\"version\":3,\"sources\":[\"../ts/app.ts\"],\"sourcesContent\":[\"SECRET\"],\
               \"mappings\":\"AAAA\"}";
    write(&project.path("private/a.js.map"), map.as_bytes());
    project
        .file("a.js", "export const a = 1;\n//# sourceMappingURL=../private/a.js.map\n")
        .file("b.css", ".b{top:0}\n/*# sourceMappingURL=../private/a.js.map */\n")
        .build();
    for (name, bytes) in project.dist() {
        assert!(!String::from_utf8_lossy(&bytes).contains("SECRET"), "{name}");
    }
    project.file("a.js", "export const a = new URL(\"./none.svg\", import.meta.url);\n//# sourceMappingURL=a.js.map\n");
    assert_eq!(project.run(&["build"]).code, 1, "the address is looked at");
}

#[test]
fn a_folder_of_somebody_else_is_left_alone_whatever_was_built_before() {
    let project = Project::with_everything();
    project.build();
    write(&project.path("public/index.html"), b"mine");
    let answer = build_in(project.root(), "public");
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.contains("public holds what was not made here"), "{}", answer.stderr);
    assert_eq!(fs::read(project.path("public/index.html")).unwrap(), b"mine");
}

#[test]
fn the_mode_of_a_compressed_file_is_mended_too() {
    let project = Project::with_everything();
    project.build();
    let path = project.path("dist").join(format!("{}.br", project.name("style.scss")));
    crate::dsl::mode(&path, 0o600);
    project.build();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(project.state(), "fresh   dist");
}

#[test]
fn words_in_texts_and_names_of_mixins_are_no_chance() {
    let project = Project::new();
    let sheet =
        "@mixin random($n) { top: $n }\n.a { @include random(1px); content: \"random()\" }\n";
    project.file("a.scss", sheet).build();
    assert_eq!(project.text("a.scss"), ".a{top:1px;content:\"random()\"}");
}

#[test]
fn many_addresses_take_no_longer_than_their_text() {
    let project = Project::new();
    let address = "a.push(new URL(\"./i.svg\", import.meta.url));\n".repeat(5_000);
    let comments = format!("{}.a {{ top: 0 }} // unique\n", "// x\n".repeat(50_000));
    project
        .file("i.svg", "<svg/>")
        .file("app.js", format!("export const a = [];\n{address}"))
        .file("a.scss", comments)
        .build();
    project.references_hold();
}
