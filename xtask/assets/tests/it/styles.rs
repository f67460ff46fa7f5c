//! Style sheets: what they refer to, and what browsers they are made for.

use expect_test::{Expect, expect};

use crate::dsl::{self, Project};

/// The files that the style sheets here refer to.
fn project() -> Project {
    let project = Project::new();
    project
        .file("img/a.svg", "<svg>a</svg>")
        .file("img/b.woff2", "b")
        .file("deep/er/c.png", "c")
        .file("other.css", ".other{top:0}");
    project
}

#[track_caller]
fn check(path: &str, text: &str, expected: &Expect) {
    dsl::check(&project(), path, text, expected);
}

#[test]
fn urls_of_all_kinds_of_values_are_rewritten() {
    check(
        "a.css",
        r#"
        @font-face { font-family: b; src: url("img/b.woff2") format("woff2"), local("b"); }
        .a { background: no-repeat url(img/a.svg), linear-gradient(red, blue); }
        .b { mask-image: url('./img/a.svg'); cursor: url(img/a.svg) 2 2, auto; }
        .c { background-image: image-set("deep/er/c.png" 1x, url(img/a.svg) 2x); }
        .d { list-style: url(img/a.svg); border-image: url(img/a.svg) 30; content: url(img/a.svg); }
        .e { filter: url(img/a.svg#blur); background: var(--x) url(img/a.svg); }
        @media (width > 30em) { @supports (display: grid) { .f { background: url(img/a.svg) } } }
        "#,
        &expect![[
            r#"@font-face{font-family:b;src:url(img/b-#.woff2) format("woff2"),local("b")}.a{background:no-repeat url(img/a-#.svg),linear-gradient(red,#00f)}.b{-webkit-mask-image:url(img/a-#.svg);mask-image:url(img/a-#.svg);cursor:url(img/a-#.svg) 2 2,auto}.c{background-image:image-set("deep/er/c-#.png" 1x,url(img/a-#.svg) 2x)}.d{list-style:url(img/a-#.svg);border-image:url(img/a-#.svg) 30;content:url(img/a-#.svg)}.e{filter:url(img/a-#.svg#blur);background:var(--x) url(img/a-#.svg)}@media(width>30em){@supports (display: grid){.f{background:url(img/a-#.svg)}}}"#
        ]],
    );
}

#[test]
fn an_image_set_beside_a_variable_is_looked_into() {
    check(
        "a.css",
        ":root{--x:image-set(\"img/a.svg\" 1x type(\"image/svg+xml\"))}.a{background:var(--y) image-set('img/a.svg' 1x, url(deep/er/c.png) 2x)}",
        &expect![[
            r#":root{--x:image-set("img/a-#.svg" 1x type("image/svg+xml"))}.a{background:var(--y) image-set("img/a-#.svg" 1x,url(deep/er/c-#.png) 2x)}"#
        ]],
    );
}

#[test]
fn custom_properties_are_looked_into() {
    check(
        "a.css",
        ":root{--dot: url(img/a.svg); --two: 1px url('img/a.svg#x') }",
        &expect![":root{--dot: url(img/a-#.svg);--two: 1px url(img/a-#.svg#x) }"],
    );
}

#[test]
fn a_query_and_a_fragment_stay() {
    check(
        "a.css",
        ".a{background:url(img/a.svg?v=1#top)} .b{filter:url(img/a.svg#f)}",
        &expect![".a{background:url(img/a-#.svg?v=1#top)}.b{filter:url(img/a-#.svg#f)}"],
    );
}

#[test]
fn a_path_counts_from_the_style_sheet_that_is_served() {
    check(
        "deep/a.scss",
        ".a{background:url(er/c.png)} .b{background:url(../img/a.svg)} .c{background:url(./er/../er/c.png)}",
        &expect![
            ".a{background:url(er/c-#.png)}.b{background:url(../img/a-#.svg)}.c{background:url(er/c-#.png)}"
        ],
    );
}

#[test]
fn what_is_elsewhere_is_left_alone() {
    let text = ".a{background:url(/abs.svg)}.b{background:url(//host/x.svg)}\
        .c{background:url(http://host/x.svg)}.d{background:url(data:image/svg+xml,%3Csvg/%3E)}\
        .e{filter:url(#local)}.f{background:url(about:blank)}";
    let project = project();
    project.file("a.css", format!("@import \"https://host/x.css\";@import url(/y.css);{text}"));
    project.build();
    expect![[r#"@import"https://host/x.css";@import"/y.css";.a{background:url(/abs.svg)}.b{background:url(//host/x.svg)}.c{background:url(http://host/x.svg)}.d{background:url(data:image/svg+xml,%3Csvg/%3E)}.e{filter:url(#local)}.f{background:url(about:blank)}"#]].assert_eq(&project.text("a.css"));
}

#[test]
fn an_import_of_another_sheet_names_its_output() {
    let project = project();
    project
        .file("sass.scss", ".sass { .in & { top: 1px } }")
        .file("a.css", "@import \"other.css\"; @import url(sass.css) layer(x) screen; .a{top:0}")
        .file("b.scss", "@import url(other.css);\n.b{top:0}")
        .build();
    project.references_hold();
    expect![".other{top:0}@media screen{@layer x{.in .sass{top:1px}}}.a{top:0}"]
        .assert_eq(&project.plain("a.css"));
    expect![".other{top:0}.b{top:0}"].assert_eq(&project.plain("b.scss"));
}

#[test]
fn references_of_partials_and_libraries_count_from_the_sheet_that_loads_them() {
    let project = project();
    project
        .file("_part.scss", ".part{background:url(img/a.svg)}")
        .library("pack/_thing.scss", ".thing{background:url(img/a.svg)}")
        .file("a.scss", "@use 'part'; @use 'pack/thing';")
        .build();
    project.references_hold();
    expect![".part{background:url(img/a-#.svg)}.thing{background:url(img/a-#.svg)}"]
        .assert_eq(&project.plain("a.scss"));
}

#[test]
fn sass_in_its_indented_form_and_plain_css_as_a_module_work() {
    let project = project();
    project
        .file("a.sass", "@use \"tone\"\n\n.a\n  color: tone.$ink\n")
        .file("_tone.sass", "$ink: red\n")
        .file("b.scss", "@use \"other\";")
        .build();
    assert_eq!(project.text("a.sass"), ".a{color:red}");
    assert_eq!(project.text("b.scss"), ".other{top:0}");
}

#[test]
fn files_with_a_byte_order_mark_or_windows_lines_are_read() {
    let project = project();
    project
        .file("_part.scss", "\u{feff}$ink: red;\r\n.part {\r\n  color: $ink;\r\n}\r\n")
        .file("a.scss", "\u{feff}@use 'part';\r\n.a {\r\n  color: part.$ink;\r\n}\r\n")
        .file("b.css", "\u{feff}.b {\r\n  color: red;\r\n}\r\n")
        .build();
    assert_eq!(project.text("a.scss"), ".part,.a{color:red}");
    assert_eq!(project.text("b.css"), ".b{color:red}");
    assert_eq!(project.origin("a.scss", ".part").1, 2);
}

#[test]
fn signs_of_all_languages_survive() {
    let project = project();
    project.file("a.scss", ".a::before { content: \"→ Ж 中 😀\"; }").build();
    assert_eq!(project.text("a.scss"), ".a:before{content:\"→ Ж 中 😀\"}");
}

#[test]
fn prefixes_follow_the_targets() {
    let text = ".a { user-select: none; backdrop-filter: blur(2px); color: rgb(0 0 0 / 50%); \
        .b & { inset: 0 } }";
    let project = project();
    let css = |targets: &str| {
        project.file("assets.toml", format!("targets = [{targets}]\n")).file("a.css", text).build();
        project.text("a.css")
    };
    expect![".a{-webkit-user-select:none;-moz-user-select:-moz-none;user-select:none;-webkit-backdrop-filter:blur(2px);backdrop-filter:blur(2px);color:#0000007f}.b .a{top:0;right:0;bottom:0;left:0}"].assert_eq(&css("\"safari >= 14\", \"firefox >= 60\""));
    expect![".a{user-select:none;backdrop-filter:blur(2px);color:#0000007f;.b &{inset:0}}"]
        .assert_eq(&css("\"chrome >= 130\""));
    let defaults = css("");
    std::fs::remove_file(project.path("src/assets.toml")).unwrap();
    project.build();
    assert_eq!(project.text("a.css"), defaults, "no file means the defaults");
}

#[test]
fn an_extension_reaches_through_imports_of_modules() {
    let project = Project::new();
    project
        .file("_c.scss", ".c{k:l}")
        .file("_p.scss", "@use \"c\";.p{@extend .c}")
        .file("a.scss", "@import \"p\";.x{@extend .p}")
        .build();
    assert_eq!(project.text("a.scss"), ".c,.p,.x{k:l}");
}

#[test]
fn a_variable_comes_by_forward_and_by_use_into_one_sheet() {
    let project = Project::new();
    project
        .file("_settings.scss", "$gap: 3px !default;")
        .file("_tools.scss", "@forward \"settings\";")
        .file("_part.scss", "@use \"settings\" as *;\n@use \"tools\" as *;\n.part{top:$gap}")
        .file("a.scss", "@import \"tools\";\n@import \"part\";\n.a{top:$gap}")
        .build();
    assert_eq!(project.text("a.scss"), ".part,.a{top:3px}");
}

#[test]
fn what_browsers_do_not_know_yet_and_licences_are_left_as_they_are() {
    let project = Project::new();
    project
        .file(
            "a.css",
            "/*! one */\n.a { color: light-dark(red, #00f) }\n/*! two */\n.b { top: 0 }\n",
        )
        .build();
    let text = project.text("a.css");
    assert!(text.contains("light-dark(red,#00f)"), "{text}");
    assert!(text.contains("/*! one */") && text.contains("/*! two */"), "{text}");
}

#[test]
fn old_hacks_of_packages_are_passed_on_in_silence() {
    let project = Project::new();
    project
        .library(
            "old/_old.scss",
            ".a{*zoom:1}@media screen and (min-width:0\\0){.b{top:0}}::slotted(x) ::slotted(y){top:0}",
        )
        .file("a.scss", "@use \"old/old\";")
        .build();
    let text = project.text("a.scss");
    assert!(text.contains("*zoom: 1") && text.contains("::slotted(x) ::slotted(y)"), "{text}");
    project.run(&["check"]).succeeds();
}

#[test]
fn fonts_and_pictures_of_packages_are_found_beside_their_sheets_and_by_their_names() {
    let project = Project::new();
    project
        .library(
            "icons/scss/_icons.scss",
            "@font-face{font-family:i;src:url(\"../fonts/i.woff2?v=1\")}",
        )
        .library("icons/fonts/i.woff2", "font")
        .library("icons/css/plain.css", ".p{background:url(../img/p.svg)}")
        .library("icons/img/p.svg", "<svg/>")
        .file("a.scss", "@use \"icons/scss/icons\";.a{background:url(icons/img/p.svg)}")
        .file("b.css", "@import \"icons/css/plain.css\";")
        .build();
    expect!["@font-face{font-family:i;src:url(packages/icons/fonts/i-#.woff2?v=1)}.a{background:url(packages/icons/img/p-#.svg)}"]
        .assert_eq(&project.plain("a.scss"));
    expect![".p{background:url(packages/icons/img/p-#.svg)}"].assert_eq(&project.plain("b.css"));
    project.references_hold();
    assert!(project.manifest().contains_key("packages/icons/fonts/i.woff2"));
}

#[test]
fn a_deprecation_is_told_once_with_its_count_and_packages_are_quiet() {
    let project = Project::new();
    project
        .library("old/_old.scss", "@function two($x){@return $x/2}.o{top:two(4px)}")
        .file("a.scss", "@use \"old/old\";\n.a{top:4px/2;left:(4px/2);right:(6px/2)}\n")
        .build();
    let answer = project.run(&["check"]);
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    assert_eq!(answer.stderr.matches("src/a.scss:2:").count(), 1, "{}", answer.stderr);
    assert!(answer.stderr.contains("(1 more of this kind)"), "{}", answer.stderr);
    assert!(!answer.stderr.contains("old"), "{}", answer.stderr);
}
