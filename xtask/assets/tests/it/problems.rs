//! What is wrong with sources: where, in words, the line itself; all of it at once; and the last
//! good output stays as it is.

use std::fs;

use expect_test::{Expect, expect};

use crate::dsl::Project;

/// Builds something good, then what `spoil` makes of it.
#[track_caller]
fn check(spoil: impl FnOnce(&Project), expected: &Expect) {
    let project = Project::with_everything();
    project.build();
    let (dist, stamps) = (project.dist(), project.stamps());
    spoil(&project);
    let answer = project.run(&["build"]).fails(expected);
    assert_eq!(project.run(&["check"]).stderr, answer.stderr);
    assert_eq!(project.dist(), dist, "the last good output stays");
    assert_eq!(project.stamps(), stamps);
}

/// One more source.
#[track_caller]
fn file(path: &str, text: &str, expected: &Expect) {
    check(|project| _ = project.file(path, text), expected);
}

/// One more source, which is built although something in it is to be mended.
#[track_caller]
fn finding(path: &str, text: &str, expected: &Expect) {
    let project = Project::with_everything();
    project.file(path, text);
    project.run(&["check"]).fails(expected);
    project.build();
}

#[test]
fn an_undefined_variable() {
    file(
        "bad.scss",
        ".a {\n  color: $ink;\n}\n",
        &expect![[r#"
        error: src/bad.scss:2:10: Undefined variable.
          2 |   color: $ink;
            |          ^
    "#]],
    );
}

#[test]
fn an_undefined_variable_in_a_partial() {
    check(
        |project| _ = project.file("_colors.scss", "$ink: red;\n.ink {\n  color: $inc;\n}\n"),
        &expect![[r#"
            error: src/_colors.scss:3:10: Undefined variable.
              3 |   color: $inc;
                |          ^
              from src/style.scss:1:1
        "#]],
    );
}

#[test]
fn a_missing_semicolon() {
    file(
        "bad.scss",
        ".a {\n  color: red\n  top: 0;\n}\n",
        &expect![[r#"
            error: src/bad.scss:3:6: expected ";".
              3 |   top: 0;
                |      ^
        "#]],
    );
}

#[test]
fn a_brace_that_is_not_closed() {
    file(
        "bad.scss",
        ".a {\n  color: red;\n",
        &expect![[r#"
            error: src/bad.scss:2:14: expected end of rule.
              2 |   color: red;
                |              ^
        "#]],
    );
    finding(
        "bad.css",
        ".a {\n  color: red;\n}\n.b & {} }\n",
        &expect![[r#"
            error: src/bad.css:4:9: Unexpected "}"
              4 | .b & {} }
                |         ^
        "#]],
    );
}

#[test]
fn a_module_that_is_not_there() {
    file(
        "bad.scss",
        "@use \"colors\";\n@use \"nowhere\";\n",
        &expect![[r#"
        error: src/bad.scss:2:1: Can't find stylesheet to import.
          2 | @use "nowhere";
            | ^
    "#]],
    );
}

#[test]
fn css_that_sass_lets_through() {
    check(
        |project| {
            project.file(
                "_part.scss",
                "// first\n.a {\n  top: 0;\n}\n\n.b {\n  left: 0\n  top: 0;\n}\n",
            );
            project.file("bad.scss", "@use \"part\";\n");
        },
        &expect![[r#"
            error: src/_part.scss:8:6: expected ";".
              8 |   top: 0;
                |      ^
              from src/bad.scss:1:1
        "#]],
    );
    finding(
        "bad.css",
        ".a {\n  top: 0;\n}\n.b::c:::d {\n  top: 0;\n}\n",
        &expect![[r#"
            error: src/bad.css:4:8: Expected identifier but found ":"
              4 | .b::c:::d {
                |        ^
        "#]],
    );
}

#[test]
fn a_reference_to_nothing() {
    file(
        "bad.scss",
        ".a {\n  top: 0;\n  background: url(img/none.svg);\n}\n",
        &expect![[r#"
        error: src/bad.scss:3:3: `img/none.svg`: there is no src/img/none.svg
          3 |   background: url(img/none.svg);
            |   ^
    "#]],
    );
    file(
        "bad.css",
        "\n.a{background:url(\"../out.svg\")}\n@import \"x\";",
        &expect![[r#"
            error: src/bad.css:2:19: `../out.svg` leaves src
              2 | .a{background:url("../out.svg")}
                |                   ^
        "#]],
    );
}

#[test]
fn a_reference_to_nothing_in_a_partial() {
    check(
        |project| {
            project.file("_part.scss", "$x: 1;\n.part {\n  background: url(img/none.svg);\n}\n");
            project.file("bad.scss", "@use \"part\";\n");
        },
        &expect![[r#"
            error: src/_part.scss:3:3: `img/none.svg`: there is no src/img/none.svg
              3 |   background: url(img/none.svg);
                |   ^
              from src/bad.scss
        "#]],
    );
}

#[test]
fn a_style_sheet_that_names_a_script() {
    file(
        "bad.css",
        ".a{background:url(app.js)}",
        &expect![[r#"
            error: src/bad.css:1:15: `app.js` is a script
              1 | .a{background:url(app.js)}
                |               ^
        "#]],
    );
}

#[test]
fn sheets_that_import_one_another_are_each_there_once() {
    let project = Project::new();
    project
        .file("one.css", "@import \"two.css\";\n.one{top:0}")
        .file("two.css", "@import \"one.css\";\n.two{top:0}")
        .build();
    assert_eq!(project.text("one.css"), ".two{top:0}.one{top:0}");
}

#[test]
fn partials_that_use_one_another() {
    check(
        |project| {
            project.file("_one.scss", "@use \"two\";\n").file("_two.scss", "@use \"one\";\n");
            project.file("bad.scss", "@use \"one\";\n");
        },
        &expect![[r#"
            error: src/_two.scss:1:1: Module loop: this module is already being loaded.
              1 | @use "one";
                | ^
              from src/_one.scss:1:1
              from src/bad.scss:1:1
        "#]],
    );
}

#[test]
fn an_import_of_nothing() {
    file(
        "bad.js",
        "import \"./app.js\";\nimport { x } from \"./none.js\";\nx(new URL(\"./none.svg\", import.meta.url));\n",
        &expect![[r#"
            error: src/bad.js:2:19: `./none.js`: there is no src/none.js
              2 | import { x } from "./none.js";
                |                   ^
        "#]],
    );
}

#[test]
fn an_import_of_a_package() {
    file(
        "bad.js",
        "import \"./app.js\";\n  import { x } from \"lodash\";\nx();\n",
        &expect![[r#"
            error: src/bad.js:2:21: `lodash` names a package that src/assets.toml does not have: add it to [packages], or to `external` of [scripts] where the page has an import map
              2 |   import { x } from "lodash";
                |                     ^
        "#]],
    );
}

#[test]
fn a_debugger_that_was_left() {
    finding(
        "bad.js",
        "function f() {\n\tdebugger;\n}\nf();\ndebugger;\n",
        &expect![[r#"
        error: src/bad.js:2:2: `debugger` is left here
          2 | 	debugger;
            | 	^
        src/bad.js:5:1: `debugger` is left here
          5 | debugger;
            | ^
    "#]],
    );
}

#[test]
fn a_syntax_error_in_a_script() {
    file(
        "bad.js",
        "const x = 1;\nconst y = x +;\n",
        &expect![[r#"
            error: src/bad.js:2:14: Unexpected ";"
              2 | const y = x +;
                |              ^
        "#]],
    );
    file(
        "bad.js",
        "const x = 1;\nconst x = 2;\n",
        &expect![[r#"
            error: src/bad.js:2:7: The symbol "x" has already been declared
              The symbol "x" was originally declared here:
              2 | const x = 2;
                |       ^
        "#]],
    );
}

#[test]
fn a_text_that_is_not_utf8() {
    for (path, expected) in [
        (
            "bad.js",
            expect![[r#"
            error: src/bad.js: is not UTF-8
        "#]],
        ),
        (
            "bad.css",
            expect![[r#"
            error: src/bad.css: is not UTF-8
        "#]],
        ),
        (
            "bad.scss",
            expect![[r#"
            error: src/bad.scss: is not UTF-8
        "#]],
        ),
    ] {
        check(|project| _ = project.file(path, b"/* \xff\xfe */"), &expected);
    }
    check(
        |project| {
            project.file("_part.scss", b"/* \xff\xfe */").file("bad.scss", "@use \"part\";");
        },
        &expect![[r#"
            error: src/_part.scss:1:1: Invalid UTF-8.
              from src/bad.scss:1:1
        "#]],
    );
}

#[test]
fn a_link_instead_of_a_file() {
    let link = |to: &'static str| {
        move |project: &Project| {
            std::os::unix::fs::symlink(to, project.path("src/link.svg")).unwrap();
        }
    };
    check(
        link("img/dot.svg"),
        &expect![[r#"
        error: src/link.svg: is a link; put the file itself here
    "#]],
    );
    check(
        link("/nowhere"),
        &expect![[r#"
        error: src/link.svg: is a link; put the file itself here
    "#]],
    );
}

#[test]
fn a_pipe_instead_of_a_file() {
    check(
        |project| {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            let kind = rustix::fs::FileType::Fifo;
            let path = project.path("src/pipe.css");
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        },
        &expect![[r#"
            error: can't read src: src/pipe.css is a pipe or a device, which no image can be built from; remove it or add it to the ignore file
        "#]],
    );
}

#[test]
fn a_name_that_no_address_should_have() {
    check(
        |project| _ = project.file("two words.svg", "x").file("Ж.svg", "x").file("a/b?c.js", "x"),
        &expect![[r#"
            error: src/a/b?c.js: has '?' in its name, which means something else in an address
        "#]],
    );
}

#[test]
fn settings_that_do_not_hold() {
    file(
        "assets.toml",
        "targets = [\"defaults\"\n",
        &expect![[r#"
            error: can't use src/assets.toml: TOML parse error at line 1, column 22
              |
            1 | targets = ["defaults"
              |                      ^
            unclosed array, expected `]`
        "#]],
    );
    file(
        "assets.toml",
        "targets = [\"netscape 4\"]\n",
        &expect![[r#"
        error: can't use src/assets.toml: targets: unknown browser: 'netscape'; see browserslist for the words it knows
    "#]],
    );
    file(
        "assets.toml",
        "target = []\n",
        &expect![[r#"
            error: can't use src/assets.toml: TOML parse error at line 1, column 1
              |
            1 | target = []
              | ^^^^^^
            unknown field `target`, expected one of `targets`, `scripts`, `root`, `packages`
        "#]],
    );
}

#[test]
fn chance_has_no_place_in_a_build() {
    file(
        "bad.scss",
        ".a {\n  width: random(10) * 1px;\n}\n",
        &expect![[r#"
        error: src/bad.scss:2:10: random() gives every build another result
          2 |   width: random(10) * 1px;
            |          ^
    "#]],
    );
    file(
        "bad.scss",
        "@use \"sass:math\";\n.a {\n  width: math.random() * 1px;\n}\n",
        &expect![[r#"
            error: src/bad.scss:3:10: random() gives every build another result
              3 |   width: math.random() * 1px;
                |          ^
        "#]],
    );
    file(
        "bad.scss",
        "@use \"sass:string\";\n.a {\n  n: string.unique-id();\n}\n",
        &expect![[r#"
        error: src/bad.scss:3:6: unique-id() gives every build another result
          3 |   n: string.unique-id();
            |      ^
    "#]],
    );
    file(
        "bad.scss",
        ".a {\n  n: unique-id();\n}\n",
        &expect![[r#"
        error: src/bad.scss:2:6: unique-id() gives every build another result
          2 |   n: unique-id();
            |      ^
    "#]],
    );
}

#[test]
fn chance_under_another_name_is_found_and_other_functions_are_not() {
    let math = "@use \"sass:math\" as m;\n.a {\n  width: m.random() * 1px;\n}\n";
    check(
        |project| _ = project.file("_part.scss", math).file("bad.scss", "@use \"part\";"),
        &expect![[r#"
            error: src/_part.scss:3:10: random() gives every build another result
              3 |   width: m.random() * 1px;
                |          ^
        "#]],
    );
    let twin =
        "@use \"sass:string\";\n/*/ string.unique-id() */\n.a {\n  n: string.unique_id();\n}\n";
    file(
        "bad.scss",
        twin,
        &expect![[r#"
        error: src/bad.scss:4:6: unique-id() gives every build another result
          4 |   n: string.unique_id();
            |      ^
    "#]],
    );
    file(
        "bad.scss",
        ".a {\n  n: unique_id();\n}\n",
        &expect![[r#"
        error: src/bad.scss:2:6: unique-id() gives every build another result
          2 |   n: unique_id();
            |      ^
    "#]],
    );
    let all = "@use \"sass:math\" as *;\n.a {\n  width: random(5) * 1px;\n}\n";
    file(
        "bad.scss",
        all,
        &expect![[r#"
        error: src/bad.scss:3:10: random() gives every build another result
          3 |   width: random(5) * 1px;
            |          ^
    "#]],
    );
    let project = Project::new();
    project
        .file("_dice.scss", "@function random($n) { @return $n; }\n")
        .file("a.scss", "@use \"sass:math\";\n@use \"dice\";\n// math.random()\n/* math.random() */\n.a { width: dice.random(2px); height: math.div(4px, 2); }\n")
        .build();
    assert_eq!(project.text("a.scss"), ".a{width:2px;height:2px}");
}

#[test]
fn an_error_of_ones_own() {
    file(
        "bad.scss",
        "@mixin m {\n  @error \"not like this\";\n}\n.a {\n  @include m;\n}\n",
        &expect![[r#"
            error: src/bad.scss:5:3: "not like this"
              5 |   @include m;
                |   ^
        "#]],
    );
}

#[test]
fn all_problems_of_all_files_at_once() {
    check(
        |project| {
            project
                .file("b1.scss", ".a { color: $no; }\n")
                .file(
                    "b2.scss",
                    ".a { background: url(no.svg); }\n.b { cursor: url(no.cur), auto; }\n",
                )
                .file("b3.css", ".a { background: url(no.svg) }\n")
                .file("b4.js", "import \"./no.js\";\nimport \"no\";\n")
                .file("b5.js", "let a = ;\n")
                .file("b6.js", b"\xff");
        },
        &expect![[r#"
            error: src/b1.scss:1:13: Undefined variable.
              1 | .a { color: $no; }
                |             ^
            src/b2.scss:1:6: `no.svg`: there is no src/no.svg
              1 | .a { background: url(no.svg); }
                |      ^
            src/b2.scss:2:6: `no.cur`: there is no src/no.cur
              2 | .b { cursor: url(no.cur), auto; }
                |      ^
            src/b3.css:1:18: `no.svg`: there is no src/no.svg
              1 | .a { background: url(no.svg) }
                |                  ^
            src/b6.js: is not UTF-8
            src/b4.js:1:8: `./no.js`: there is no src/no.js
              1 | import "./no.js";
                |        ^
            src/b4.js:2:8: `no` names a package that src/assets.toml does not have: add it to [packages], or to `external` of [scripts] where the page has an import map
              2 | import "no";
                |        ^
            src/b5.js:1:9: Unexpected ";"
              1 | let a = ;
                |         ^
        "#]],
    );
}

#[test]
fn what_breaks_a_sheet_is_said_once_and_not_of_who_imports_it() {
    check(
        |project| _ = project.file("other.css", ".a { background: url(no.svg) }\n"),
        &expect![[r#"
            error: src/other.css:1:18: `no.svg`: there is no src/no.svg
              1 | .a { background: url(no.svg) }
                |                  ^
        "#]],
    );
}

#[test]
fn a_source_directory_that_is_not_there() {
    let project = Project::new();
    fs::remove_dir(project.path("src")).unwrap();
    project.run(&["build"]).fails(&expect![[r#"
        error: can't read src: can't read src/: No such file or directory (os error 2)
    "#]]);
    assert!(!project.path("dist").exists());
}

#[test]
fn warnings_are_told_and_fail_a_check() {
    let project = Project::new();
    project.file("a.scss", ".a {\n  @warn \"look out\";\n  top: 0;\n}\n");
    let answer = project.build();
    expect![[r#"
        warning: src/a.scss:2:3: look out
          2 |   @warn "look out";
            |   ^
    "#]]
    .assert_eq(&answer.stderr);
    project.run(&["check"]).fails(&expect![[r#"
        error: src/a.scss:2:3: look out
          2 |   @warn "look out";
            |   ^
    "#]]);
}
