//! The rules of this repository that a machine can check. All findings at once.

use std::path::{Path, PathBuf};

use crate::dsl::repository;

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for directory in [
        "xtask/src",
        "xtask/assets",
        "xtask/beanstalk",
        "xtask/benches",
        "xtask/fingerprint",
        "xtask/tests",
        "app/src",
        "app/tests",
    ] {
        for entry in walkdir::WalkDir::new(repository().join(directory)).sort_by_file_name() {
            let path = entry.unwrap().into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(repository()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(files.len() > 40, "the sources were found");
    files
}

fn check(rule: impl Fn(&Path, &str) -> Vec<String>) {
    let findings: Vec<String> =
        sources().iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_why() {
    check(|path, text| {
        let missing = !text.starts_with("//! ");
        missing.then(|| format!("{} does not begin with //!", path.display())).into_iter().collect()
    });
}

#[test]
fn files_fit_in_a_head_and_lines_on_a_screen() {
    check(|path, text| {
        let mut findings = Vec::new();
        let lines = text.lines().count();
        let tests = path.components().any(|part| part.as_os_str() == "tests");
        if lines > 400 && !tests || lines > 600 {
            findings.push(format!("{}: {lines} lines", path.display()));
        }
        // A long text is one line in the code as it is on the screen; expected ones in tests too.
        let is_text = |line: &str| tests || line.contains('"') || line.starts_with("//! |");
        for (number, line) in (1..).zip(text.lines()) {
            if line.chars().count() > 100 && !is_text(line) {
                findings.push(format!("{}:{number}: over 100 characters", path.display()));
            }
        }
        findings
    });
}

/// ARCHITECTURE's table of imports: which modules of this crate a layer may use.
#[test]
fn layers_are_kept() {
    check(|path, text| {
        let Ok(inside) = path.strip_prefix("xtask/src") else { return Vec::new() };
        let layer = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let allowed: &[&str] = match layer.trim_end_matches(".rs") {
            "main" | "commands" => return Vec::new(),
            "ctx" => &["ctx", "cli", "exit", "secret", "supervise"],
            "supervise" => &["supervise", "exit"],
            "watch" => &["watch"],
            "tools" | "project" | "release" => &["tools", "project", "release", "exit", "secret"],
            "cli" => &["release"],
            "exit" | "secret" => &[],
            layer => {
                return vec![format!("{layer} is in no layer: add it to ARCHITECTURE and here")];
            }
        };
        let uses = used_modules(text);
        let wrong = uses.iter().filter(|module| !allowed.contains(&module.as_str()));
        let mut findings: Vec<String> =
            wrong.map(|module| format!("{} uses {module}", path.display())).collect();
        if layer.starts_with("tools") && text.contains("std::process::Command") {
            findings.push(format!("{} runs programs", path.display()));
        }
        findings
    });
}

/// The first part of every path that begins with `crate::`, grouped imports included.
fn used_modules(text: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().last();
        let rest = &text[at + "crate::".len()..];
        if before.is_some_and(|c| c.is_alphanumeric() || c == '$') {
            continue;
        }
        match rest.strip_prefix('{') {
            None => modules.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let end = group.find(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth < 0
                });
                let group = &group[..end.unwrap_or(group.len())];
                let mut depth = 0;
                let parts = group.split(|c| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    c == ',' && depth == 0
                });
                modules.extend(parts.map(word).filter(|name| !name.is_empty()));
            }
        }
    }
    modules
}

#[test]
fn grouped_imports_are_seen() {
    let found = used_modules("use crate::{ctx, exit::{a, b}, cli};\nlet x = crate::project::y();");
    assert_eq!(found, ["ctx", "exit", "cli", "project"]);
}

#[test]
fn the_sample_app_is_formatted() {
    let manifest = repository().join("app/Cargo.toml");
    let status = std::process::Command::new("cargo")
        .args(["fmt", "--check", "--manifest-path"])
        .arg(manifest)
        .status();
    assert!(status.unwrap().success(), "run cargo fmt --manifest-path app/Cargo.toml");
}

#[test]
fn the_tool_knows_nothing_of_the_sample_app() {
    check(|path, text| {
        if !path.starts_with("xtask/src") {
            return Vec::new();
        }
        let words = ["activity", "nginx", "postgres", "sqlite", "8080", "8000"];
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: Vec<&str> = code.collect();
        let found = words.iter().filter(|word| {
            // The help may show an example; the code may not know it.
            let help = path.ends_with("cli.rs");
            !help && code.iter().any(|line| line.to_lowercase().contains(**word))
        });
        found.map(|word| format!("{} knows {word}", path.display())).collect()
    });
}

#[test]
fn nothing_is_left_for_later_and_no_shell_stands_in_the_middle() {
    let later = ["TO", "DO"].concat();
    let fix = ["FIX", "ME"].concat();
    check(|path, text| {
        let mut findings = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let at = format!("{}:{number}", path.display());
            for word in [later.as_str(), fix.as_str(), "unimplemented!", "#[ignore"] {
                // This file has to name what it forbids.
                if line.contains(word) && !path.ends_with("tidy.rs") {
                    findings.push(format!("{at}: {word}"));
                }
            }
            let shell = line.contains("\"sh\", \"-c\"") || line.contains("cmd!(sh, \"sh -c");
            if shell && path.starts_with("xtask/src") {
                findings.push(format!("{at}: a shell"));
            }
        }
        findings
    });
}

/// Every subcommand, as it is typed.
pub(crate) fn subcommands() -> Vec<String> {
    let cli = std::fs::read_to_string(repository().join("xtask/src/cli.rs")).unwrap();
    let commands = cli.split("pub(crate) enum Command {").nth(1).unwrap();
    let commands = commands.split("\n}").next().unwrap();
    let names: Vec<String> = commands
        .lines()
        .filter_map(|line| line.trim().split('(').next())
        .filter(|name| name.chars().next().is_some_and(char::is_uppercase))
        .map(str::to_lowercase)
        .collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn every_subcommand_has_a_file_named_like_it() {
    let names = subcommands();
    let directory = repository().join("xtask/src/commands");
    for name in names.iter().filter(|name| *name != "completions") {
        assert!(directory.join(format!("{name}.rs")).exists(), "commands/{name}.rs is missing");
    }
}

#[test]
fn the_repository_holds_no_secret_file() {
    let output = std::process::Command::new("git")
        .args(["ls-files"])
        .current_dir(repository())
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    for file in files.lines() {
        assert!(!file.ends_with("/.env") && !file.starts_with(".stevedore"), "{file}");
    }
}
