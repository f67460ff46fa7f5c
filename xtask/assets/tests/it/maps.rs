//! Source maps: they lead from what is served to the line that somebody wrote.

use crate::dsl::Project;

#[test]
fn every_style_sheet_and_script_has_a_map_of_version_3_and_names_it() {
    let project = Project::with_everything();
    project.build();
    for source in ["app.js", "classic.js", "other.css", "style.scss"] {
        let name = project.name(source);
        let text = project.output(&format!("{name}.map"));
        let map: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(map["version"], 3, "{source}");
        let list = |key: &str| map[key].as_array().unwrap().clone();
        assert_eq!(list("sources").len(), list("sourcesContent").len(), "{source}");
        assert!(list("sources").iter().all(|it| !it.as_str().unwrap().is_empty()), "{source}");
        assert!(list("sourcesContent").iter().all(serde_json::Value::is_string), "{source}");
        assert!(!map["mappings"].as_str().unwrap().is_empty(), "{source}");
        let served = String::from_utf8(project.output(&name)).unwrap();
        let file = name.rsplit('/').next().unwrap();
        let last = served.lines().last().unwrap();
        match name.ends_with(".css") {
            true => assert_eq!(last, format!("/*# sourceMappingURL={file}.map */")),
            false => assert_eq!(last, format!("//# sourceMappingURL={file}.map")),
        }
    }
}

/// Rules are what the map of a style sheet knows: a declaration leads to the rule that it is in.
#[test]
fn a_place_in_css_leads_to_the_line_of_the_partial() {
    let project = Project::new();
    project
        .file("app.scss", "@use \"parts/list\";\n@use \"lib/box\";\n\n.last {\n  bottom: 3px;\n}\n")
        .file("parts/_list.scss", "// A list.\n\n.list {\n  .item {\n    left: 1px;\n  }\n}\n")
        .library("lib/_box.scss", "@mixin box {\n  right: 2px;\n}\n\n.box { @include box; }\n")
        .build();
    let at = |text: &str| project.origin("app.scss", text);
    let place = |name: &str, line, text: &str| (name.to_owned(), line, text.to_owned());
    assert_eq!(at(".list .item"), place("assets/parts/_list.scss", 4, ".item {"));
    assert_eq!(at(".box"), place("lib/_box.scss", 5, ".box { @include box; }"));
    assert_eq!(at(".last"), place("assets/app.scss", 4, ".last {"));
}

#[test]
fn a_place_in_plain_css_leads_to_its_line() {
    let project = Project::new();
    project.file("deep/a.css", "/* first */\n.a {\n  left: 1px;\n}\n\n.b { right: 2px }\n").build();
    let (name, line, text) = project.origin("deep/a.css", ".b");
    assert_eq!((name.as_str(), line, text.as_str()), ("assets/deep/a.css", 6, ".b { right: 2px }"));
    assert_eq!(project.origin("deep/a.css", ".a").1, 2);
}

#[test]
fn a_place_in_a_script_leads_to_its_line() {
    let project = Project::new();
    project
        .file("lib/_one.js", "// First.\nexport function one(value) {\n  console.info(\"in one\", value);\n}\n")
        .file("app.js", "import { one } from \"./lib/_one.js\";\n\nconst told = \"told\";\n\none(told);\nwindow.finished = \"yes\";\n")
        .build();
    let place = |name: &str, line, text: &str| (name.to_owned(), line, text.to_owned());
    assert_eq!(
        project.origin("app.js", "console"),
        place("assets/lib/_one.js", 3, "console.info(\"in one\", value);")
    );
    assert_eq!(
        project.origin("app.js", "window"),
        place("assets/app.js", 6, "window.finished = \"yes\";")
    );
}

#[test]
fn no_output_says_where_the_project_lies() {
    let project = Project::with_everything();
    project.library("box.scss", ".box { top: 0 }").file("more.scss", "@use \"box\";").build();
    let root = project.root().to_str().unwrap();
    for (name, bytes) in project.dist() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(root), "{name}");
        assert!(!text.contains("file://"), "{name}");
    }
}
