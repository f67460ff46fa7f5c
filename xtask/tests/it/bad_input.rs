//! Bad input and a bad world: each ends with its own exit code, what is wrong and what to type.

use std::net::TcpListener;

use crate::dsl::{Answer, Project, engine, free_port};

/// An engine that does not answer; the client and its plugins are here.
const NO_ENGINE: &str = "case \"$1\" in compose|buildx) exec \"$real\" \"$@\";; esac
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock' >&2; exit 1";

/// One service `app` with more keys; `build` adds to its build section.
fn service(project: &Project, build: &str, keys: &str) {
    let build = format!("build: {{context: app, dockerfile: ../docker/app/Dockerfile{build}}}");
    project.compose(&[("app", &format!("{{{build}, command: [sleep, infinity]{keys}}}"))]);
}

/// What a command says of a stack after a change.
#[track_caller]
fn refused(change: impl Fn(&Project), arguments: &[&str], code: i32, says: &[&str]) {
    let project = Project::with_stack();
    change(&project);
    let answer = project.xtask(arguments).exits(code);
    says.iter().fold(answer, |answer, text| answer.says(text));
}

/// Nothing on stderr can steer a terminal or turn text around.
#[track_caller]
fn harmless(answer: &Answer) {
    let evil = |c: &char| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c);
    assert_eq!(answer.stderr.chars().find(evil), None, "{:?}", answer.stderr);
}

// --- names ----------------------------------------------------------------------------------

#[test]
fn an_unknown_environment_is_a_usage_error_that_names_the_known_ones() {
    let project = Project::new();
    project.mkdir("environments/prod");
    for command in ["start", "stop", "restart", "status", "logs", "shell", "image build"] {
        let arguments: Vec<&str> = command.split(' ').chain(["dve"]).collect();
        let says = "\"dve\" is not an environment of this project; known: dev, prod";
        project.xtask(&arguments).exits(2).says(says);
    }
    for command in ["destroy", "list", "update"] {
        project.xtask(&["image", command, "dve"]).exits(2).says("known: dev, prod");
    }
    project.xtask(&["run", "dve", "--", "id"]).exits(2).says("known: dev, prod");
}

#[test]
fn an_unknown_service_or_image_is_a_usage_error_that_names_the_known_ones() {
    engine!();
    let project = Project::with_stack();
    for arguments in [
        &["logs", "dev", "db"][..],
        &["restart", "dev", "db"],
        &["shell", "dev", "db"],
        &["run", "dev", "db", "--", "id"],
    ] {
        let says = "\"db\" is not a service of this project; known: app";
        project.xtask(arguments).exits(2).says(says);
    }
    for command in ["build", "destroy"] {
        let says = "\"ap\" is not an image of this project; known: app, base";
        project.xtask(&["image", command, "dev", "ap"]).exits(2).says(says);
    }
}

#[test]
fn strange_names_are_usage_errors_and_are_never_printed_raw() {
    let mut project = Project::new();
    // Colours on: what is printed raw is not taken out on the way.
    project.variable("NO_COLOR", "").variable("CLICOLOR_FORCE", "1");
    for name in [
        "",
        " ",
        "a..b",
        "../dev",
        "dev/",
        "dev/../dev",
        "DEV",
        "$(id)",
        "`id`",
        "a b",
        "dev\nprod",
        "\u{1b}[31mred",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "\u{202e}ved",
        "d\u{e9}v",
        "%s",
        "*",
    ] {
        for arguments in [&["start", name][..], &["env", "show", name], &["run", name, "--", "id"]]
        {
            let answer = project.xtask(arguments).exits(2).says("known: dev");
            let own = answer.stderr.replace("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m", "error:");
            harmless(&Answer { stderr: own, ..answer });
        }
    }
    for flag in ["-rf", "--rm", "-", "--"] {
        let answer = project.xtask(&["env", "show", flag, "--dry-run"]);
        assert_eq!(answer.code, 2, "{flag}: {}", answer.stderr);
    }
    Project::new().xtask(&["start", "--help"]).succeeds().prints("Usage: cargo xtask start");
}

#[test]
fn a_folder_with_an_unusable_name_is_named() {
    for name in ["-rf", "Prod", "a_b", "a--b", "a.b", "\u{1b}[31mred"] {
        let project = Project::new();
        project.mkdir(&format!("environments/{name}"));
        let answer = project.xtask(&["env", "show"]).exits(2).says("is not a usable name");
        harmless(&answer);
    }
}

// --- settings -------------------------------------------------------------------------------

#[test]
fn a_missing_or_unreadable_dotenv_says_what_to_do() {
    engine!();
    let schema = |project: &Project| {
        project.file("environments/dev/.env.example", "KEY=generate:hex32\n");
    };
    let missing = "environments/dev/.env is missing; make it with `cargo xtask env init dev`";
    refused(schema, &["env", "check"], 1, &[missing]);
    let directory = |project: &Project| {
        schema(project);
        project.mkdir("environments/dev/.env");
    };
    refused(directory, &["start"], 1, &["environments/dev/.env is not a regular file"]);
}

#[test]
fn a_missing_required_variable_stops_a_start_before_anything_is_built() {
    engine!();
    let change = |project: &Project| {
        project.file("environments/dev/.env.example", "DSN=required:secret\nURL=required:\n");
    };
    let says = ["DSN is required and has no value; set it", "URL is required and has no value"];
    refused(change, &["start"], 1, &says);
}

#[test]
fn an_unknown_key_of_environment_toml_is_named_with_its_file() {
    for (text, says) in [
        ("[port]\nhttp = 1\n", "unknown field `port`"),
        ("[images]\nplatfrom = \"x\"\n", "unknown field `platfrom`"),
        ("[ports]\nhttp = 70000\n", "http = 70000"),
        ("[ports]\nhttp = 0\n", "port 0 of [ports] http"),
        ("[variables]\nA = 1\n", "A = 1"),
        ("[variables]\n\"A B\" = \"1\"\n", "\"A B\" is not a variable name"),
        ("[ports\n", "[ports"),
    ] {
        let project = Project::new();
        project.file("environments/dev/environment.toml", text);
        let answer = project.xtask(&["env", "show"]).exits(1).says(says);
        answer.says("can't use environments/dev/environment.toml");
    }
}

// --- compose files and Dockerfiles ----------------------------------------------------------

#[test]
fn an_error_of_compose_is_shown_in_its_own_words_with_the_file() {
    engine!();
    let key = |project: &Project| {
        project.compose(&[("app", "{imag: debian}")]);
    };
    for arguments in [&["image", "build"][..], &["start"]] {
        // The words between are compose's own and change with its version.
        refused(key, arguments, 1, &["docker/compose.yml: services.app ", "imag", "not allowed"]);
    }
    let no_yaml = |project: &Project| {
        project.file("environments/dev/compose.yml", "services: [\n");
    };
    refused(no_yaml, &["start"], 1, &["environments/dev/compose.yml", "yaml"]);
    let none =
        |project: &Project| std::fs::remove_file(project.path("docker/compose.yml")).unwrap();
    refused(none, &["start"], 1, &["docker/compose.yml", "no such file"]);
}

#[test]
fn unknown_and_unsupported_keys_are_named_with_their_service() {
    engine!();
    let fact = |project: &Project| service(project, "", ", x-stevedore: {mian: true}");
    refused(fact, &["start"], 1, &["service app: x-stevedore: unknown field `mian`", "`main`"]);
    for key in ["network: host", "privileged: true", "ssh: [default]"] {
        let name = key.split(':').next().unwrap();
        let says = format!("service app: build.{name} is not supported; known: context");
        refused(|project| service(project, &format!(", {key}"), ""), &["start"], 1, &[&says]);
    }
}

#[test]
fn an_undeclared_variable_is_named_with_the_places_where_it_may_stand() {
    engine!();
    let change = |project: &Project| service(project, "", ", environment: {A: \"${NOBODY}\"}");
    let says = [
        "${NOBODY}",
        "environments/dev/.env.example",
        "[variables] of environments/dev/environment.toml",
    ];
    refused(change, &["start"], 1, &says);
    refused(change, &["env", "check"], 1, &says);
    let argument = |project: &Project| service(project, ", args: {GREETING: \"$NOBODY\"}", "");
    let says = ["build argument GREETING of docker/app", "$NOBODY has no value"];
    refused(argument, &["image", "build"], 1, &says);
    let from_the_shell = |project: &Project| service(project, ", args: [GREETING]", "");
    let says = ["service app: a build argument without a value would come from the shell"];
    refused(from_the_shell, &["image", "build"], 1, &says);
}

#[test]
fn a_dockerfile_that_cannot_be_used_is_named_with_its_line() {
    engine!();
    let app = |text: &'static str| {
        move |project: &Project| {
            project.file("docker/app/Dockerfile", text);
        }
    };
    let build = ["image", "build"];
    let unset = "docker/app/Dockerfile:3: $VERSION has no value; give ARG a default";
    refused(app("# ours\nARG VERSION\nFROM base:$VERSION\n"), &build, 1, &[unset]);
    refused(app("FROM\n"), &build, 1, &["docker/app/Dockerfile:1: FROM wants"]);
    refused(app("RUN id\n"), &build, 1, &["docker/app/Dockerfile:1: there is no FROM"]);
    let circle = |project: &Project| {
        project.file("docker/base/Dockerfile", "FROM app\n");
    };
    refused(circle, &build, 1, &["in a circle: app → base → app"]);
    let target = |project: &Project| service(project, ", target: relaese", "");
    refused(target, &build, 1, &["docker/app/Dockerfile:", "there is no stage \"relaese\""]);
    let gone = |project: &Project| std::fs::remove_dir_all(project.path("docker/app")).unwrap();
    refused(gone, &build, 1, &["docker/app/Dockerfile"]);
}

// --- ports, containers, files ---------------------------------------------------------------

#[test]
fn a_port_in_use_names_the_process_or_the_container() {
    engine!();
    let port = free_port();
    let publish = |project: &Project| {
        service(project, "", ", init: true, ports: [\"127.0.0.1:$STEVEDORE_PORT_HTTP:80\"]");
        let facts = format!("[ports]\nhttp = {port}\n");
        project.file("environments/dev/environment.toml", facts);
    };
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let process = format!("(process {})", std::process::id());
    let other = format!("choose another with --port, such as --port {}", port + 1);
    refused(publish, &["start"], 1, &[&format!("port {port} is in use by"), &process, &other]);
    drop(holder);

    let project = Project::with_stack();
    publish(&project);
    project.xtask(&["start"]).succeeds();
    let container = format!("port {port} is in use by container {}-dev-app-1 of", project.name);
    // Of another checkout, so only where this very port is wanted.
    let wanted = ["start", "--port", &port.to_string()];
    refused(publish, &wanted, 1, &[&container, &other]);
}

#[test]
fn an_image_in_use_is_kept_and_the_stopping_command_named() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["start"]).succeeds();
    let reference = project.reference("app");
    let says = "<name>/app: container <name>-dev-app-1; stop it with `cargo xtask stop dev`";
    project.xtask(&["image", "destroy"]).exits(1).says(says);
    assert!(project.reference("app") == reference && !project.fingerprint("app").is_empty());
    project.xtask(&["stop"]).succeeds();
    project.xtask(&["image", "destroy"]).succeeds();
    project.xtask(&["image", "destroy"]).succeeds().says("none of these images is here");
}

#[test]
fn what_needs_a_running_environment_says_how_to_start_it() {
    engine!();
    let project = Project::with_stack();
    for arguments in [&["shell"][..], &["run", "id"], &["restart"]] {
        project.xtask(arguments).exits(4).says("start it with `cargo xtask start dev`");
    }
    project.xtask(&["stop"]).succeeds();
    project.xtask(&["stop"]).succeeds();
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    engine!();
    let project = Project::new();
    project.file(".stevedore", "").file("environments/dev/Procfile", "web: touch started\n");
    let dev = ["dev", "--engine", "host"];
    project.xtask(&dev).exits(1).says("can't create .stevedore/dev/host");
    assert!(!project.path("started").exists());
    let file = |project: &Project| {
        project.file(".stevedore", "");
    };
    refused(file, &["image", "build"], 1, &["can't create .stevedore"]);
}

#[test]
fn bytes_that_are_no_text_stop_nobody() {
    engine!();
    let project = Project::new();
    project.file("environments/dev/Procfile", "once: printf '\\377\\nlast\\n'\n");
    let answer = project.xtask(&["dev", "--engine", "host"]).exits(1);
    answer.prints("once    | \u{fffd}\nonce    | last\n");
    let project = Project::with_stack();
    project.file("docker/app/Dockerfile", "FROM base\nRUN printf '\\377\\033[31m\\n' && false\n");
    let answer = project.xtask(&["image", "build"]).exits(1).says("RUN printf");
    harmless(&answer);
}

// --- engines --------------------------------------------------------------------------------

#[test]
fn without_an_engine_each_command_says_how_to_get_one() {
    engine!();
    let mut project = Project::with_stack();
    project.fake("docker", NO_ENGINE);
    for arguments in [
        &["start"][..],
        &["stop"],
        &["restart"],
        &["shell"],
        &["run", "id"],
        &["logs"],
        &["image", "build"],
        &["image", "list"],
        &["image", "destroy"],
        &["image", "update"],
        &["dev", "--engine", "docker"],
        &["test", "--engine", "docker"],
    ] {
        let answer = project.xtask(arguments).exits(4);
        answer.says("error: no Docker engine answers; set it up with `cargo xtask setup`");
    }
    let doctor = project.xtask(&["doctor"]).exits(4);
    doctor.prints("cargo xtask setup").prints("docker says: Cannot connect to the Docker daemon");
    project.xtask(&["status"]).succeeds().prints("dev: engine none");
}

#[test]
fn without_docker_each_command_says_so() {
    let mut project = Project::new();
    let nowhere = project.mkdir("nowhere").path("nowhere").display().to_string();
    project.variable("PATH", &nowhere);
    for command in ["start", "stop", "image update"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let says = "docker is not installed; set it up with `cargo xtask setup`";
        project.xtask(&arguments).exits(4).says(says);
    }
    for command in ["build", "list", "destroy"] {
        let answer = project.xtask(&["image", command]).exits(4);
        answer.says("docker").says("not installed");
    }
}

#[test]
fn an_engine_that_hangs_is_given_up() {
    let mut project = Project::new();
    project.fake("docker", "sleep 600");
    project.xtask(&["start"]).exits(4).says("no Docker engine answers");
    let script = project.path("fake/docker").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let left = lines.filter(|line| String::from_utf8_lossy(line).contains(&script));
    assert_eq!(left.count(), 0, "the question is still asked");
}

#[test]
fn an_engine_that_stops_during_a_build_is_no_failed_build() {
    engine!();
    let mut project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let stopped = project.path("stopped").display().to_string();
    project.file("app/source.txt", "two\n");
    project.fake(
        "docker",
        &format!(
            "case \"$*\" in buildx\\ bake*) touch '{stopped}'\n  \
             echo 'ERROR: failed to receive status: rpc error: code = Unavailable' >&2; exit 1;;\n\
             version*) if test -e '{stopped}'; then echo 'Cannot connect' >&2; exit 1; fi;; esac\n\
             exec \"$real\" \"$@\""
        ),
    );
    let answer = project.xtask(&["image", "build"]).exits(4);
    answer.says("the Docker engine stopped during the build").says("run the same command again");
    std::fs::remove_file(project.path("stopped")).unwrap();
    project.fake("docker", "exec \"$real\" \"$@\"");
    let list = project.xtask(&["--json", "image", "list"]).succeeds().images();
    assert_eq!(list, ["base fresh", "app dirty: app/source.txt changed"]);
}

#[test]
fn a_question_without_a_terminal_names_the_flag_that_answers_it() {
    let mut project = Project::new();
    let installs = project.path("installs").display().to_string();
    project.fake("docker", NO_ENGINE).fake("apt-get", &format!("touch '{installs}'; exit 1"));
    let path = project.path("fake").display().to_string();
    project.variable("PATH", &path).variable("DOCKER_HOST", "");
    let answer = project.xtask(&["setup"]).exits(2).says("add --yes");
    answer
        .says("install the Docker engine with buildx and compose, curl, mmdebstrap, python3-venv");
    assert!(!project.path("installs").exists());
}

#[test]
fn tools_are_understood_in_every_language() {
    engine!();
    let mut project = Project::new();
    let german = "if test \"$LC_ALL\" = C; then word=Candidate; else word=Installationskandidat; fi
        for name in docker.io docker-buildx docker-compose; do
            printf '%s:\n  %s: 2.0\n' $name $word
        done";
    project
        .variable("LANG", "de_DE.UTF-8")
        .variable("LC_ALL", "de_DE.UTF-8")
        .variable("LANGUAGE", "de")
        .fake("docker", NO_ENGINE)
        .fake("apt-get", "exit 1")
        .fake("apt-cache", german);
    let path = project.path("fake").display().to_string();
    project.variable("PATH", &path);
    let answer = project.xtask(&["setup", "--dry-run"]).succeeds().prints("apt-get install");
    let offered = "docker.io docker-buildx docker-compose";
    assert!(answer.stdout.contains(offered), "docker-cli is not offered:\n{}", answer.stdout);
    let mut project = Project::with_stack();
    project.variable("LC_ALL", "de_DE.UTF-8").variable("LANGUAGE", "de");
    project.xtask(&["start"]).succeeds();
    project.xtask(&["stop"]).succeeds();
}
