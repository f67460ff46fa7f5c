//! The command line itself: help, usage, exit codes, output streams.

use expect_test::expect;

use crate::dsl::Project;

#[test]
fn no_arguments_teach_and_are_a_usage_error() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("First time:   cargo xtask dev"), "{said}");
}

#[test]
fn help_anywhere_never_acts() {
    let mut project = Project::new();
    project.log_docker();
    for words in
        ["dev", "start prod", "image build", "image destroy dev", "ci", "setup", "env init"]
    {
        let arguments: Vec<&str> = words.split(' ').chain(["--help"]).collect();
        project.xtask(&arguments).succeeds().prints("Usage: cargo xtask");
    }
    assert_eq!(project.calls(), Vec::<String>::new());
    assert!(!project.path(".stevedore").exists());
}

#[test]
fn unknown_command_and_bad_values_are_usage_errors() {
    let project = Project::new();
    for words in [
        vec!["frobnicate"],
        vec!["dev", "--port", "0"],
        vec!["dev", "--port", "70000"],
        vec!["dev", "--engine", "podman"],
        vec!["run"],
        vec!["logs", "dev", "--tail", "-1"],
    ] {
        project.xtask(&words).exits(2);
    }
}

#[test]
fn run_takes_environment_and_service_before_two_dashes_and_the_command_after_them() {
    let project = Project::new();
    project.mkdir("environments/prod");
    let spelling = "cargo xtask run [ENV] [SERVICE] -- COMMAND";
    for (words, says) in [
        // The options of earlier versions.
        (&["run", "-e", "prod", "id", "-u"][..], "`cargo xtask run prod -- id -u`"),
        (&["run", "--service", "app", "id"], "`cargo xtask run dev app -- id`"),
        (&["run", "-s", "app", "-e", "prod", "--", "id"], "`cargo xtask run prod app -- id`"),
        // A command never runs in dev because two dashes are missing.
        (&["run", "prod", "app", "migrate"], "prod is an environment"),
        (&["run", "prod", "app", "migrate"], spelling),
        (&["run", "dev", "app", "more", "--", "id"], spelling),
        (&["run", "dev", "--dry-run", "--", "id"], "options stand before ENV"),
        (&["run", "dev", "--"], spelling),
        (&["run", "app", "--", "id"], "\"app\" is not an environment of this project"),
        (&["run", "app", "--", "id"], "`cargo xtask run dev app -- id`"),
    ] {
        project.xtask(words).exits(2).says(says);
    }
}

#[test]
fn a_misspelt_name_is_refused_before_anything_is_built() {
    let project = Project::with_stack();
    project.mkdir("environments/prod").file("app/assets/app.scss", "a { color: red; }\n");
    let environment = "\"dve\" is not an environment of this project; known: dev, prod";
    let image = "\"ap\" is not an image of this project; known: app, base";
    for (words, says) in [
        (&["parity", "dev", "dve"][..], environment),
        (&["parity", "dve", "prod"], environment),
        (&["test", "dve"], environment),
        (&["image", "update", "dev", "dve"], environment),
        (&["image", "build", "dev", "ap"], image),
        (&["image", "pull", "dve"], environment),
        (&["publish", "dve"], environment),
    ] {
        project.xtask(words).exits(2).says(says);
        assert!(!project.path("app/dist").exists(), "{words:?}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        Project::new().xtask(&["completions", shell]).succeeds().prints("image");
    }
}

#[test]
fn outside_a_project_the_error_says_where_it_looked_and_what_to_type() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display().to_string();
    let answer = Project::new().xtask(&["-C", &path, "env", "show"]);
    // The last -C wins, as in git and make.
    answer.exits(2);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["-C", &path, "env", "show"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap().replace(&path, "<dir>");
    expect![[r#"
        error: no project here: <dir> and the directories above it hold no docker/ and environments/
          go to the project, or name it: cargo xtask -C DIR …
    "#]]
    .assert_eq(&said);
}

#[test]
fn the_project_is_found_from_a_directory_inside_it() {
    let project = Project::new();
    project.mkdir("app/src").file("environments/dev/environment.toml", "[variables]\nA = \"1\"\n");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["env", "show"])
        .current_dir(project.path("app/src"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "A=1  # environment.toml\n");
}

#[test]
fn a_closed_stdout_is_no_crash() {
    let project = Project::new();
    let list: String = (0..20_000).map(|n| format!("V{n} = \"x\"\n")).collect();
    project.file("environments/dev/environment.toml", format!("[variables]\n{list}"));
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["env", "show"])
        .current_dir(project.root())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn with_json_a_failed_command_ends_with_an_event_that_says_so() {
    let project = Project::new();
    let last = |arguments: &[&str], code: i32| {
        let answer = project.xtask(arguments).exits(code);
        assert!(answer.stderr.starts_with("error: "), "{}", answer.stderr);
        let events = answer.events();
        let event = events.last().unwrap();
        assert_eq!((&event["event"], &event["code"]), (&"error".into(), &code.into()));
        event["message"].as_str().unwrap().to_owned()
    };
    let unknown = "\"dve\" is not an environment of this project; known: dev";
    assert_eq!(last(&["--json", "start", "dve"], 2), unknown);
    assert_eq!(last(&["image", "build", "dve", "--json"], 2), unknown);
    assert!(last(&["--json", "dev", "--port", "0"], 2).starts_with("invalid value '0'"));
    project.file("environments/dev/environment.toml", "[port]\n");
    assert!(last(&["--json", "env", "show"], 1).contains("unknown field `port`"));
    assert_eq!(project.xtask(&["start", "dve"]).exits(2).stdout, "");
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display().to_string();
    last(&["--json", "-C", &path, "env", "show"], 2);
}

#[test]
fn the_tests_of_the_tool_are_not_those_of_another_project() {
    let answer = Project::new().xtask(&["selftest"]).exits(1);
    answer.says("this is another project; its tests run with `cargo xtask test`");
}
