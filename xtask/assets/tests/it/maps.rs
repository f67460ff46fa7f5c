//! Source maps: they lead from what is served to the line that somebody wrote.

use crate::compilers::{compilers, package};
use crate::dsl::{Answer, Project};
use crate::read_map::SourceMap;

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

#[test]
fn columns_are_units_of_utf16_as_browsers_count_them() {
    let project = Project::new();
    project
        .file(
            "a.scss",
            ".😀é { content: \"😀😀😀\" }\n.b { top: 0 }\n.c { content: \"é\" }\n.d { left: 0 }\n",
        )
        .build();
    for (rule, line) in [(".b{", 2), (".c{", 3), (".d{", 4)] {
        assert_eq!(project.origin("a.scss", rule).1, line, "{rule} of {}", project.text("a.scss"));
    }
}

#[test]
fn every_rule_of_bootstrap_leads_to_the_line_that_sass_names() {
    let pins: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/packages.json")).unwrap();
    let pin = |key: &str| pins["bootstrap"][key].as_str().unwrap();
    let packages = package("bootstrap", pin("version"), pin("integrity"));
    let project = Project::new();
    project.file("app.scss", "@import \"bootstrap/scss/bootstrap\";\n");
    let mut command = project.command(&["build"]);
    command.arg("--load-path").arg(&packages);
    Answer::of(command, project.root()).succeeds();
    let (sass, _) = compilers();
    let output = std::process::Command::new(sass.join("dart-sass/src/dart"))
        .arg(sass.join("dart-sass/src/sass.snapshot"))
        .args(["--quiet", "--embed-sources", "--load-path"])
        .arg(&packages)
        .arg(project.path("src/app.scss"))
        .arg(project.path("theirs.css"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read(project.path(name)).unwrap();
    let theirs = (String::from_utf8(read("theirs.css")).unwrap(), read("theirs.css.map"));
    let ours = (project.text("app.scss"), project.map("app.scss"));
    let theirs = origins(&theirs.0, &SourceMap::read(&theirs.1));
    let ours = origins(&ours.0, &ours.1);
    assert!(theirs.len() > 2_000, "{}", theirs.len());
    // esbuild joins neighbours that say the same, and drops rules that say nothing.
    let mut left = &theirs[..];
    let mut unknown = Vec::new();
    for (selector, file, line) in &ours {
        let same = left.iter().position(|(other, other_file, other_line)| {
            selector.starts_with(other) && (other_file, other_line) == (file, line)
        });
        match same {
            Some(at) => left = &left[at + 1..],
            None => unknown.push((selector, file, line)),
        }
    }
    assert!(unknown.is_empty(), "{} of {}: {:?}", unknown.len(), ours.len(), unknown.first());
    assert!(ours.len() * 10 > theirs.len() * 9, "{} of {}", ours.len(), theirs.len());
}

/// Each rule of a sheet: its selector without blanks, the file and the line where it was written.
fn origins(css: &str, map: &SourceMap) -> Vec<(String, String, u32)> {
    let mut found = Vec::new();
    let (mut line, mut column, mut start) = (0u32, 0u32, None);
    let mut selector = String::new();
    let mut signs = css.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '{' => {
                let name = std::mem::take(&mut selector);
                if let (Some((line, column)), false) = (start.take(), name.starts_with('@')) {
                    let origin = map.origin(line, column).unwrap();
                    let file = origin.source.rsplit('/').next().unwrap().to_owned();
                    let name = name.replace('"', "").replace("::", ":").replace("(even)", "(2n)");
                    let name = if name == "100%" { "to".to_owned() } else { name };
                    found.push((name, file, origin.line));
                }
            }
            '}' | ';' => {
                selector.clear();
                start = None;
            }
            '/' if signs.peek() == Some(&'*') && selector.is_empty() => {
                // A comment, to its end.
                column += 1;
                let mut last = ' ';
                for inner in signs.by_ref() {
                    column += inner.len_utf16() as u32;
                    if inner == '\n' {
                        (line, column) = (line + 1, 0);
                    }
                    if last == '*' && inner == '/' {
                        break;
                    }
                    last = inner;
                }
                continue;
            }
            sign if sign.is_whitespace() => {}
            sign => {
                start.get_or_insert((line, column));
                selector.push(sign);
            }
        }
        column += sign.len_utf16() as u32;
        if sign == '\n' {
            (line, column) = (line + 1, 0);
        }
    }
    found
}

/// A script made of packages: their names, versions and integrities, and what imports them.
#[test]
fn places_of_a_bundle_lead_to_the_words_that_somebody_wrote() {
    let pins: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/packages.json")).unwrap();
    let is_full = std::env::var_os("STEVEDORE_FULL").is_some();
    let bundles: &[(&str, &str)] = match is_full {
        true => &[("lit", "lit"), ("d3", "d3"), ("three", "three")],
        false => &[("lit", "lit")],
    };
    for (name, prefix) in bundles {
        let project = Project::new();
        let script = format!("import * as all from \"{name}\";\nwindow.all = all;\n");
        project.file("app.js", script);
        let mut command = project.command(&["build"]);
        for (package_name, pin) in pins.as_object().unwrap() {
            let family = ["@lit", "lit", "d3", "internmap", "robust", "delaunator"];
            let wanted = match *name {
                "three" => package_name == prefix,
                "d3" => family[2..].iter().any(|it| package_name.starts_with(it)),
                _ => family[..2].iter().any(|it| package_name.starts_with(it)),
            };
            if wanted {
                let pin = |key: &str| pin[key].as_str().unwrap();
                let place = package(package_name, pin("version"), pin("integrity"));
                command.arg("--load-path").arg(place);
            }
        }
        Answer::of(command, project.root()).succeeds();
        let (text, map) = (project.text("app.js"), project.map("app.js"));
        let places = words(&text);
        assert!(places.len() > 200, "{name}: only {} words", places.len());
        // Some hundreds of them, as far apart as they can be.
        let step = (places.len() / 1000).max(1);
        let mut seen = 0;
        for (line, column, word) in places.iter().step_by(step) {
            // The few lines of esbuild itself come from nowhere.
            let Some(origin) = map.origin(*line, *column) else { continue };
            let original = origin.content.lines().nth(origin.line as usize).unwrap_or_default();
            assert!(original.contains(word), "{name}: {word:?} is not in {original:?}");
            seen += 1;
        }
        assert!(seen > 200, "{name}: {seen}");
    }
}

/// Names of properties in a script that is minified: each with its line and column.
fn words(text: &str) -> Vec<(u32, u32, &str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Licences have no code.
        let code = match line.rfind("*/") {
            Some(end) => end + 2,
            None if line.starts_with("/*") || line.starts_with(" *") => continue,
            None => 0,
        };
        let mut column = line[..code].encode_utf16().count();
        let mut rest = &line[code..];
        while let Some(at) = rest.find('.') {
            column += rest[..=at].encode_utf16().count();
            rest = &rest[at + 1..];
            let is_part = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
            let length = rest.find(|sign| !is_part(sign)).unwrap_or(rest.len());
            let word = &rest[..length];
            let is_name = word.len() > 5 && word.starts_with(|it: char| it.is_ascii_alphabetic());
            if is_name && !line[..line.len() - rest.len() - 1].ends_with(['"', '\'', '`', ' ', '.'])
            {
                found.push((number as u32, column as u32, word));
            }
        }
    }
    found
}
