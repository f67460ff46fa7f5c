//! `.env`: accepted lines mean the same to every reader; all others are refused with their number
//! and what to write instead.

use expect_test::{Expect, expect};

use crate::dsl::{Project, docker, engine};

/// What `env show` says of a `.env` (the variable `A` is public).
fn check(dotenv: impl AsRef<[u8]>, expected: Expect) {
    let project = Project::new();
    project.file("environments/dev/.env.example", "A=\nB=\n").dotenv(dotenv);
    let answer = project.xtask(&["env", "show"]);
    expected.assert_eq(&format!("{}{}", answer.stdout, answer.stderr));
}

/// The problem of one line, without the lines around it.
fn refused(dotenv: impl AsRef<[u8]>, expected: Expect) {
    let project = Project::new();
    project.file("environments/dev/.env.example", "A=\n").dotenv(dotenv);
    let answer = project.xtask(&["env", "show"]).exits(1);
    let (_, problem) = answer.stderr.split_once('\n').expect(&answer.stderr);
    expected.assert_eq(problem.trim());
}

#[test]
fn plain_values_are_taken_as_they_stand() {
    check(
        "A=abc#def\nB={\"k\":\"v\"}\n",
        expect![[r#"
        A=abc#def  # .env
        B={"k":"v"}  # .env
    "#]],
    );
    check(
        "# a comment\n\nA=a b c\nB=it's=fine;&|<>()!*?~\\n\n",
        expect![[r#"
        A=a b c  # .env
        B=it's=fine;&|<>()!*?~\n  # .env
    "#]],
    );
    check(
        "A=\nB=`id`\n",
        expect![[r#"
        A=(empty)  # .env
        B=`id`  # .env
    "#]],
    );
}

#[test]
fn a_dollar_is_refused_because_compose_drops_it() {
    refused(
        "A=p$x\n",
        expect![
            "environments/dev/.env:1: the value of A holds a `$`, which compose takes for a variable; use a value without it (in a URL: %24)"
        ],
    );
    refused(
        "\n\nA=$(id)\n",
        expect![
            "environments/dev/.env:3: the value of A holds a `$`, which compose takes for a variable; use a value without it (in a URL: %24)"
        ],
    );
}

#[test]
fn quotes_are_refused_because_readers_disagree() {
    refused(
        "A=\"1\"2\n",
        expect![
            "environments/dev/.env:1: the value of A begins with a quote: compose removes quotes, docker's --env-file keeps them; write it bare (A=a b c), and what has several lines as base64"
        ],
    );
    refused(
        "A='a'\"b\"\n",
        expect![
            "environments/dev/.env:1: the value of A begins with a quote: compose removes quotes, docker's --env-file keeps them; write it bare (A=a b c), and what has several lines as base64"
        ],
    );
}

#[test]
fn every_other_ambiguity_is_refused_with_its_fix() {
    refused(
        "export A=1\n",
        expect!["environments/dev/.env:1: `export` is read by shells only; write A=…"],
    );
    refused(
        "A=1 # why\n",
        expect![
            "environments/dev/.env:1: the value of A holds ` #`, a comment for compose and a part of the value for docker; put the comment on a line of its own"
        ],
    );
    refused(
        "A= 1\n",
        expect!["environments/dev/.env:1: the value of A has white space at an end; remove it"],
    );
    refused(
        " A=1\n",
        expect![
            "environments/dev/.env:1: \" A\" is not a variable name: letters, digits and `_`, not a digit first, no white space around the `=`"
        ],
    );
    refused("A\n", expect!["environments/dev/.env:1: has no `=`; write NAME=value"]);
    refused("A=1\nA=2\n", expect!["environments/dev/.env:2: A is set on line 1 already; keep one"]);
    refused(
        "A=1\r\n",
        expect![
            "environments/dev/.env:1: ends with a carriage return; save the file with LF line ends"
        ],
    );
    refused(
        "\u{feff}A=1\n",
        expect![
            "environments/dev/.env:1: begins with a byte order mark; save the file as UTF-8 without one"
        ],
    );
    refused(
        "A=a\u{1b}[31m\n",
        expect!["environments/dev/.env:1: the value of A holds a control character; remove it"],
    );
}

#[test]
fn a_multi_line_key_is_refused_line_by_line() {
    refused(
        "A=-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
        expect![[r#"
        environments/dev/.env:2: has no `=`; write NAME=value
          environments/dev/.env:3: has no `=`; write NAME=value"#]],
    );
}

#[test]
fn names_that_steer_the_tools_are_refused() {
    for name in ["PATH", "LD_PRELOAD", "BASH_ENV", "GIT_SSH_COMMAND", "DOCKER_HOST", "AWS_PROFILE"]
    {
        let project = Project::new();
        project.dotenv(format!("{name}=x\n"));
        let says = format!("environments/dev/.env:1: {name} would change the tools themselves");
        project.xtask(&["env", "show"]).exits(1).says(&says);
    }
}

#[test]
fn all_problems_come_at_once_and_no_value_is_repeated() {
    let project = Project::new();
    project.dotenv("A=hunter2$\nB='hunter3'\nC=ok\nexport D=hunter4\n");
    let answer = project.xtask(&["env", "check"]).exits(1);
    for line in [".env:1:", ".env:2:", ".env:4:"] {
        assert!(answer.stderr.contains(line), "{}", answer.stderr);
    }
    assert!(!answer.stderr.contains("hunter"), "{}", answer.stderr);
}

#[test]
fn files_that_are_no_private_text_are_refused() {
    let refuse = |project: &Project, says: &str| {
        project.xtask(&["env", "show"]).exits(1).says(says);
    };
    let project = Project::new();
    project.dotenv("A=1\n").mode("environments/dev/.env", 0o644);
    refuse(&project, "can be read by other users: chmod 600 environments/dev/.env");
    let project = Project::new();
    project.dotenv(b"\xff\xfeA\0=\x001\0");
    refuse(&project, "is not UTF-8 text");
    let project = Project::new();
    let fifo = project.path("environments/dev/.env");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    refuse(&project, "is not a regular file");
}

#[test]
fn a_long_value_is_no_problem() {
    let project = Project::new();
    let value = "x".repeat(1 << 20);
    project.file("environments/dev/.env.example", "A=\n").dotenv(format!("A={value}\n"));
    let answer = project.xtask(&["env", "show"]).succeeds();
    assert!(answer.stdout.contains(&value));
}

#[test]
fn init_says_that_an_environment_without_variables_needs_no_env() {
    let project = Project::new();
    project
        .xtask(&["env", "init"])
        .succeeds()
        .says("environments/dev/.env.example declares no variables: dev needs no .env");
    assert!(!project.path("environments/dev/.env").exists());
}

#[test]
fn init_makes_secrets_once_for_the_owner_only_and_adds_what_is_new() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new();
    project.file("environments/dev/.env.example", "# The key.\nKEY=generate:hex32\nMODE=slow\n");
    project.xtask(&["env", "init"]).succeeds().says("created environments/dev/.env (KEY, MODE)");
    let first = project.read("environments/dev/.env");
    let key = first.lines().find_map(|line| line.strip_prefix("KEY=")).unwrap();
    assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    assert!(first.starts_with("# The key.\n") && first.contains("MODE=slow\n"), "{first}");
    let mode = project.path("environments/dev/.env").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    project.xtask(&["env", "init"]).succeeds();
    assert_eq!(project.read("environments/dev/.env"), first, "a second run changes nothing");

    project.file(
        "environments/dev/.env.example",
        "# The key.\nKEY=generate:hex32\nMODE=slow\nNEW=generate:hex8\n",
    );
    project.xtask(&["env", "init"]).succeeds().says("completed environments/dev/.env (NEW)");
    let second = project.read("environments/dev/.env");
    assert!(second.starts_with(&first), "what was there stays:\n{second}");
}

#[test]
fn a_required_value_must_be_filled_in_by_hand() {
    let project = Project::new();
    project.file("environments/dev/.env.example", "DSN=required:secret\nX=optional:\n");
    let says = "DSN is required and has no value; set it";
    project.xtask(&["env", "init"]).exits(1).says(says);
    project.dotenv("DSN=abc\n");
    let answer = project.xtask(&["env", "show"]).succeeds().prints("DSN=(secret)");
    assert!(!answer.stdout.contains("abc"));
}

#[test]
fn unknown_and_missing_variables_are_named_together() {
    let project = Project::new();
    project.file("environments/dev/.env.example", "A=generate:hex8\n").dotenv("B=1\n");
    project
        .xtask(&["env", "check"])
        .exits(1)
        .says("A is missing; `env init` adds it")
        .says("B is not in .env.example");
}

#[test]
fn compose_reads_every_accepted_value_as_we_do() {
    engine!();
    let values = [
        "abc#def",
        "{\"k\":\"v\"}",
        "a b c",
        "",
        "`id`",
        "it's",
        "a\\nb",
        "a=b;c&d|e<f>(g)!*?~",
        "#x",
        "a\tb",
        "é",
        "a\\\\b",
        "1\\",
        "%24",
        "x\"y\"",
        "-",
        "--",
        "a'b'c",
        "[1, 2]",
        "#",
        "http://h:1/p?q=1&r=2#f",
        "u:p@h:1/p?q=1&r=2#f",
        "100%",
        "~",
        "^",
        "@",
        ":",
        ",",
        "null",
        "true",
        "a\"",
    ];
    let project = Project::new();
    project.file("environments/dev/.env.example", "A=\n");
    project.file("c.yml", "services: {a: {image: x, environment: {V: \"${A-UNSET}\"}}}\n");
    for value in values {
        project.dotenv(format!("A={value}\n"));
        let ours = project.xtask(&["env", "show"]).succeeds().stdout;
        let ours = ours.strip_prefix("A=").unwrap().strip_suffix("  # .env\n").unwrap();
        let directory = project.root().display().to_string();
        let (file, dotenv) = (project.path("c.yml"), project.path("environments/dev/.env"));
        let theirs = docker(&[
            "compose",
            "--project-directory",
            &directory,
            "--file",
            file.to_str().unwrap(),
            "--env-file",
            dotenv.to_str().unwrap(),
            "config",
            "--format",
            "json",
        ]);
        let theirs: serde_json::Value = serde_json::from_str(&theirs).unwrap();
        let theirs = theirs["services"]["a"]["environment"]["V"].as_str().unwrap();
        // `config` writes each `$` twice; no accepted value holds one.
        let expected = if value.is_empty() { "(empty)" } else { theirs };
        assert_eq!(ours, expected, "value {value:?}");
        assert_eq!(theirs, value);
    }
}

/// Dockdj's `.env.example` leaves the key empty under a comment that it is required.
#[test]
fn a_key_whose_name_says_secret_is_asked_for_and_never_shown() {
    let project = Project::new();
    let variables = "ENV_SECRET_KEY: '${ENV_SECRET_KEY}', DB: '${DATABASE_URL}', T: '${API_TOKEN}'";
    let app = format!("{{image: debian, environment: {{{variables}}}}}");
    project
        .compose(&[("app", &app)])
        .file("environments/dev/.env.example", "# required\nENV_SECRET_KEY=\nDATABASE_URL=x\n")
        .file("environments/dev/environment.toml", "[variables]\nAPI_TOKEN = \"hunter2\"\n")
        .dotenv("ENV_SECRET_KEY=\nDATABASE_URL=postgres://app:hunter2@db/app\n");
    let empty = "ENV_SECRET_KEY is required and has no value; set it, or write optional:secret in \
                 .env.example";
    project.xtask(&["env", "check", "dev"]).exits(1).says(empty);
    project.dotenv("ENV_SECRET_KEY=hunter2\nDATABASE_URL=postgres://app:hunter2@db/app\n");
    project.xtask(&["env", "check", "dev"]).succeeds();
    let shown = project.xtask(&["env", "show", "dev"]).succeeds();
    expect_test::expect![[r"
        API_TOKEN=(secret)  # environment.toml
        DATABASE_URL=(secret)  # .env
        ENV_SECRET_KEY=(secret)  # .env
    "]]
    .assert_eq(&shown.stdout);
    let json = project.xtask(&["--json", "env", "show", "dev"]).succeeds();
    assert!(!json.stdout.contains("hunter2"), "{}", json.stdout);
}
