//! Bootstrap, complete, through our Sass and through the reference implementation: rule by rule the
//! same.
//!
//! What dart-sass makes goes through the same second half of the pipeline as a `.css` source, so
//! that only the two compilers are compared.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightningcss::printer::PrinterOptions;
use lightningcss::rules::{CssRule, CssRuleList};
use lightningcss::stylesheet::{ParserOptions, StyleSheet};
use lightningcss::traits::ToCss;

use crate::dsl::{Project, tree};

/// The version that the sample app uses.
const BOOTSTRAP: &str = "bootstrap@5.3.9";
const SASS: &str = "sass@1.108.2";

/// `node_modules` with both, installed once; nothing where npm is missing, which in CI is a failure.
fn node_modules() -> Option<PathBuf> {
    let missing = ["npm", "node"].into_iter().find(|it| which::which(it).is_err());
    if let Some(program) = missing {
        assert!(
            std::env::var_os("STEVEDORE_REQUIRE_DOCKER").is_none(),
            "no {program} here, and this run requires it: apt-get install npm"
        );
        // Past the capture of the test harness: nobody may take this for a pass.
        let line = format!("not run, no {program}: Bootstrap compared with dart-sass\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{BOOTSTRAP}-{SASS}"));
    let done = place.join("installed");
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("package.json"), "{\"private\": true}").unwrap();
        let output = Command::new("npm")
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", BOOTSTRAP, SASS])
            .current_dir(&place)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(done, "").unwrap();
    }
    Some(place.join("node_modules"))
}

/// Plain CSS by dart-sass.
fn dart_sass(modules: &Path, project: &Project, source: &str) -> String {
    let output = Command::new("node")
        .arg(modules.join("sass/sass.js"))
        .args(["--no-source-map", "--quiet", "--load-path"])
        .arg(modules)
        .arg(project.path("src").join(source))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every rule of a style sheet on a line of its own: what it is in, selector, declarations.
fn rules(css: &str) -> Vec<String> {
    let sheet = StyleSheet::parse(css, ParserOptions::default()).unwrap();
    let mut lines = Vec::new();
    collect(&sheet.rules, "", &mut lines);
    lines
}

fn collect(rules: &CssRuleList<'_>, inside: &str, lines: &mut Vec<String>) {
    let print = || PrinterOptions { minify: true, ..PrinterOptions::default() };
    for rule in &rules.0 {
        match rule {
            CssRule::Media(rule) => {
                let query = rule.query.to_css_string(print()).unwrap();
                collect(&rule.rules, &format!("{inside}@media {query} "), lines);
            }
            CssRule::Supports(rule) => {
                let condition = rule.condition.to_css_string(print()).unwrap();
                collect(&rule.rules, &format!("{inside}@supports {condition} "), lines);
            }
            CssRule::Style(rule) => {
                let selectors = rule.selectors.to_css_string(print()).unwrap();
                let declarations = rule.declarations.to_css_string(print()).unwrap();
                lines.push(format!("{inside}{selectors}{{{declarations}}}"));
                collect(&rule.rules, &format!("{inside}{selectors} "), lines);
            }
            rule => lines.push(format!("{inside}{}", rule.to_css_string(print()).unwrap())),
        }
    }
}

/// The rules of which the two do not have equally many, and the first that is at another place.
fn differences(ours: &str, theirs: &str) -> Vec<String> {
    let (ours, theirs) = (rules(ours), rules(theirs));
    let count = |all: &[String], rule: &String| all.iter().filter(|it| *it == rule).count();
    let mut found = Vec::new();
    for (sign, some, others) in [("+", &ours, &theirs), ("-", &theirs, &ours)] {
        let only = some.iter().filter(|rule| count(some, rule) > count(others, rule));
        found.extend(only.map(|rule| format!("{sign} {rule}")));
    }
    if found.is_empty() {
        let moved = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        found.extend(moved.map(|(ours, theirs)| format!("{ours} where they have {theirs}")));
    }
    found
}

#[test]
fn a_difference_is_seen() {
    let css = "@media print{.a{color:red}.b{top:0}}.c{top:0}";
    assert!(differences(css, css).is_empty());
    let other = "@media print{.a{color:red}}.c{top:0}.b{top:0}";
    assert_eq!(differences(css, other), ["+ @media print .b{top:0}", "- .b{top:0}"]);
    let order = "@media print{.b{top:0}.a{color:red}}.c{top:0}";
    assert_eq!(
        differences(css, order),
        ["@media print .a{color:red} where they have @media print .b{top:0}"]
    );
    assert_eq!(
        differences(".a{color:red;top:0}", ".a{top:0;color:red}"),
        ["+ .a{color:red;top:0}", "- .a{top:0;color:red}"],
        "the order of declarations counts"
    );
}

#[test]
fn bootstrap_and_the_sample_app_are_what_dart_sass_makes_of_them() {
    let Some(modules) = node_modules() else { return };
    let project = Project::new();
    for (path, text) in tree(&modules.join("bootstrap/scss")) {
        project.library(&format!("bootstrap/scss/{path}"), text);
    }
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../app/assets");
    for (path, text) in tree(&app) {
        project.file(&path, text);
    }
    let parts = ["bootstrap", "bootstrap-grid", "bootstrap-reboot", "bootstrap-utilities"];
    let mut sources = vec!["app.scss".to_owned()];
    for part in parts {
        let source = format!("all-{part}.scss");
        project.file(&source, format!("@import \"bootstrap/scss/{part}\";\n"));
        sources.push(source);
    }
    for source in &sources {
        project.file(&format!("dart-{source}.css"), dart_sass(&modules, &project, source));
    }
    project.build();
    let mut found = Vec::new();
    let mut seen = 0;
    for source in &sources {
        let (ours, theirs) = (project.text(source), project.text(&format!("dart-{source}.css")));
        seen += rules(&theirs).len();
        let differences = differences(&ours, &theirs);
        found.extend(differences.iter().map(|line| format!("{source}: {line}")));
    }
    assert!(seen > 5000, "only {seen} rules were compared");
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}
