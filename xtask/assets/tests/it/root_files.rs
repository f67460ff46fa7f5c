//! Files at the root of the site, under their own names.

use expect_test::expect;

use crate::dsl::Project;

fn project() -> Project {
    let project = Project::new();
    project
        .file("assets.toml", "[root]\nfiles = [\"robots.txt\", \"sw.js\", \"site.webmanifest\"]\n")
        .file("robots.txt", "User-agent: *\n")
        .file("icon.svg", "<svg/>")
        .file("_cache.js", "export const name = \"shop\";\n")
        .file("app.css", ".a{top:0}")
        .file(
            "sw.js",
            "import { name } from \"./_cache.js\";\n\
             const icon = new URL(\"./icon.svg\", import.meta.url);\n\
             self.addEventListener(\"install\", () => caches.open(name).then(it => it.add(icon)));\n",
        )
        .file("site.webmanifest", "{\"name\": \"Shop\", \"icons\": [{\"src\": \"icon.svg\"}]}");
    project
}

#[test]
fn they_keep_their_names_and_name_others_by_where_these_are_served() {
    let project = project();
    project.build();
    let read = |path: &str| String::from_utf8(project.output(path)).unwrap();
    assert_eq!(read("root/robots.txt"), "User-agent: *\n");
    let icon = project.name("icon.svg");
    let worker = read("root/sw.js");
    assert!(worker.contains(&format!("new URL(\"/static/{icon}\",location.href)")), "{worker}");
    assert!(!worker.contains("import") && worker.contains("shop"), "it stands alone: {worker}");
    let manifest: serde_json::Value = serde_json::from_str(&read("root/site.webmanifest")).unwrap();
    assert_eq!(manifest["icons"][0]["src"], format!("/static/{icon}"));
    assert_eq!(project.name("/robots.txt"), "root/robots.txt");
    // Pages may link the manifest by its hashed name, too.
    let manifest = read(&project.name("site.webmanifest"));
    assert!(manifest.contains(&format!("\"src\": \"{icon}\"")), "{manifest}");
    assert_eq!(project.state(), "fresh   dist");
}

#[test]
fn an_edit_of_what_they_name_changes_them() {
    let project = project();
    project.build();
    let before = project.output("root/sw.js");
    project.file("icon.svg", "<svg></svg>").build();
    assert_ne!(project.output("root/sw.js"), before);
}

#[test]
fn a_list_that_does_not_hold_is_a_problem() {
    let project = project();
    project.file("assets.toml", "[root]\nfiles = [\"humans.txt\", \"app.css\"]\n");
    project.run(&["build"]).fails(&expect![[r#"
        error: src/assets.toml: [root] files: humans.txt is not among the sources
        src/assets.toml: [root] files: app.css is a style sheet, which pages load by its hashed name
    "#]]);
    project.file("assets.toml", "[root]\nassets = \"/static\"\n");
    assert!(project.run(&["build"]).stderr.contains("must end with a slash"));
}

#[test]
fn addresses_that_nothing_follows_are_findings() {
    let project = Project::new();
    project
        .file("part.js", "self.x = 1;\n")
        .file(
            "app.js",
            "importScripts(\"./part.js\");\nnew Worker('part.js');\nnew Worker('/x.js');\n",
        )
        .file("dot.png", "x")
        .file("a.svg", "<svg><image href=\"dot.png\"/><a href=\"#x\"/></svg>")
        .file("page.html", "<img src=\"dot.png\"><a href=\"about.html\">x</a>");
    project.build();
    project.run(&["check"]).fails(&expect![[r##"
        error: src/a.svg:1:19: `dot.png` is served under a name with a hash, which is not put in here; put it into a template, or its content into this file
          1 | <svg><image href="dot.png"/><a href="#x"/></svg>
            |                   ^
        src/app.js:1:16: `./part.js` is served under a name with a hash, which is not put in here; write `new URL("./part.js", import.meta.url)` in a module
          1 | importScripts("./part.js");
            |                ^
        src/app.js:2:13: `part.js` is served under a name with a hash, which is not put in here; write `new URL("part.js", import.meta.url)` in a module
          2 | new Worker('part.js');
            |             ^
        src/page.html:1:11: `dot.png` is served under a name with a hash, which is not put in here; put it into a template, or its content into this file
          1 | <img src="dot.png"><a href="about.html">x</a>
            |           ^
    "##]]);
}
