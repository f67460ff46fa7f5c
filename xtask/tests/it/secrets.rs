//! Law 7: no secret leaves. Not in argv, output, files of the checkout, image history or layers.

use std::process::Command;

use base64::Engine;

use crate::dsl::{Project, docker, engine};
use crate::faulty::{Fault, Faulty};
use crate::registry::Registry;
use crate::shop::Shop;

const SECRET: &str = "5ecre7-5ecre7-5ecre7";

#[test]
fn a_secret_reaches_its_container_and_nothing_else() {
    engine!();
    let mut project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {TOKEN: '${TOKEN}'}, x-stevedore: {main: true}}",
        )])
        .file("environments/dev/.env.example", "TOKEN=required:secret\n")
        .dotenv(format!("TOKEN={SECRET}\n"));
    project.log_docker();
    let mut said = String::new();
    for arguments in [
        vec!["--verbose", "start"],
        vec!["--dry-run", "start"],
        vec!["--json", "status"],
        vec!["env", "show"],
        vec!["--json", "env", "show"],
        vec!["env", "check"],
        vec!["doctor"],
        vec!["logs", "--no-follow"],
    ] {
        let answer = project.xtask(&arguments);
        said.push_str(&answer.stdout);
        said.push_str(&answer.stderr);
    }
    assert!(said.contains("docker compose"), "verbose shows commands:\n{said}");
    assert!(!said.contains(SECRET), "{said}");
    let calls = project.calls().join("\n");
    assert!(calls.contains("up --no-build"), "{calls}");
    assert!(!calls.contains(SECRET), "{calls}");

    project.xtask(&["run", "printenv", "TOKEN"]).succeeds().prints(SECRET);

    let image = project.reference("app");
    let history = docker(&["image", "history", "--no-trunc", &image]);
    let inspect = docker(&["image", "inspect", &image]);
    assert!(!history.contains(SECRET) && !inspect.contains(SECRET));

    for entry in walkdir::WalkDir::new(project.root()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && !entry.path().ends_with("environments/dev/.env") {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(SECRET), "{}", entry.path().display());
        }
    }
}

#[test]
fn a_secret_cannot_become_a_build_argument() {
    engine!();
    let project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile, \
             args: {TOKEN: '${TOKEN}'}}}",
        )])
        .file("environments/dev/.env.example", "TOKEN=required:secret\n")
        .dotenv(format!("TOKEN={SECRET}\n"));
    let answer = project.xtask(&["image", "build"]).exits(1);
    let says = "build argument TOKEN of docker/app: $TOKEN has no value in [variables]";
    assert!(!answer.says(says).stderr.contains(SECRET));
}

#[test]
fn what_is_set_in_the_callers_shell_does_not_win_over_the_file() {
    engine!();
    let mut project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {MODE: '${MODE}', \
             VERSION: '${STEVEDORE_VERSION:-none}', MAYBE: '${MAYBE:-none}'}, x-stevedore: {main: true}}",
        )])
        .file("environments/dev/.env.example", "MODE=from-the-file\nMAYBE=optional:\n")
        .dotenv("MODE=from-the-file\n");
    project
        .variable("MODE", "from-the-shell")
        .variable("STEVEDORE_VERSION", "from-the-shell")
        .variable("MAYBE", "from-the-shell")
        .variable("COMPOSE_PROJECT_NAME", "something-else");
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "printenv", "MODE"]).succeeds().prints("from-the-file");
    project.xtask(&["run", "printenv", "VERSION", "MAYBE"]).succeeds().prints("none\nnone\n");
}

/// Every way in which compose takes a value from its own environment: a name without a value, a
/// variable in an `env_file`, the content of a secret or of a config.
#[test]
fn a_name_without_a_value_is_undeclared_and_never_taken_from_the_callers_shell() {
    let mut project = Project::new();
    project.variable("STRIPE_KEY", "sk_live_of_the_caller");
    let undeclared = "the compose files use ${STRIPE_KEY}, which is neither in \
                      environments/dev/.env.example nor in [variables]";
    let image = "image: debian";
    for (service, more, file) in [
        ("environment: [STRIPE_KEY]", "", ""),
        ("environment: {STRIPE_KEY: }", "", ""),
        ("env_file: public.env", "", "STRIPE_KEY\n"),
        ("env_file: [{path: public.env}]", "", "API=pre${STRIPE_KEY}post\n"),
        ("secrets: [key]", "secrets: {key: {environment: STRIPE_KEY}}", ""),
        ("configs: [key]", "configs: {key: {environment: STRIPE_KEY}}", ""),
    ] {
        let name = &project.name;
        let text = format!("name: {name}\nservices:\n  app: {{{image}, {service}}}\n{more}\n");
        project.file("docker/compose.yml", text).file("public.env", file);
        project.xtask(&["env", "check", "dev"]).exits(1).says(undeclared);
    }
    project.compose(&[("app", "{image: debian, env_file: gone.env}")]);
    let answer = project.xtask(&["env", "check", "dev"]).exits(1);
    answer.says("service app: the env_file gone.env does not exist");
}

#[test]
fn a_declared_name_has_the_value_of_the_projects_files_in_the_container() {
    engine!();
    let mut project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, environment: [KEY, OPTIONAL], \
             env_file: [app/public.env], x-stevedore: {main: true}}",
        )])
        .file("app/public.env", "MADE=pre$KEY-post\n")
        .file("environments/dev/.env.example", "KEY=required:\nOPTIONAL=optional:\n")
        .dotenv("KEY=of-the-file\n");
    for name in ["KEY", "OPTIONAL", "COMPOSE_COMPATIBILITY", "DOCKER_DEFAULT_PLATFORM"] {
        project.variable(name, "1");
    }
    project.xtask(&["start"]).succeeds();
    project.xtask(&["run", "printenv", "KEY"]).succeeds().prints("of-the-file\n");
    project.xtask(&["run", "printenv", "MADE"]).succeeds().prints("preof-the-file-post\n");
    project.xtask(&["run", "printenv", "OPTIONAL"]).exits(1);
}

/// A trial start has made-up secrets, by whatever way the service gets the real ones.
#[test]
fn a_trial_start_gets_no_secret_of_an_env_file() {
    engine!();
    let project = Project::with_stack();
    project
        .compose(&[(
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             entrypoint: [sh, -c, 'echo key $$KEY; sleep 99'], stop_grace_period: 1s, \
             healthcheck: {test: 'false', interval: 200ms, retries: 2}, \
             env_file: environments/prod/.env}",
        )])
        .file("environments/prod/.env.example", "KEY=required:secret\n")
        .file("environments/prod/.env", "KEY=the-real-one\n")
        .mode("environments/prod/.env", 0o600);
    let answer = project.xtask(&["test", "--only", "smoke"]).exits(3).says("| key ");
    assert!(!answer.stderr.contains("the-real-one"), "{}", answer.stderr);
    project.file("more.env", "A=1\n");
    let text = project.read("docker/compose.yml");
    let both = text.replace(
        "env_file: environments/prod/.env",
        "env_file: [environments/prod/.env, more.env]",
    );
    project.file("docker/compose.yml", both);
    let answer = project.xtask(&["test", "--only", "smoke"]).exits(3);
    answer.says("service app gets the secrets of environments/prod/.env; list the variables");
}

/// A project without ignore files: neither git nor an image gets a secret.
#[test]
fn an_env_file_that_git_or_a_build_would_take_is_named() {
    engine!();
    let project = Project::with_stack();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        let output = git.args(arguments).current_dir(project.root()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    project
        .compose(&[(
            "app",
            "{build: {context: ., dockerfile: docker/app/Dockerfile}, init: true, command: [sleep, \
             infinity], stop_grace_period: 1s, environment: {KEY: '${KEY}'}}",
        )])
        .file("environments/dev/.env.example", "KEY=generate:hex32\n");
    let to_git = "git would add environments/dev/.env, which holds secrets; add the line \
                  `/environments/*/.env` to .gitignore";
    let to_build = "the build context of docker/app contains environments/dev/.env, which holds \
                    secrets; add the line `environments/*/.env` to .dockerignore";
    project.xtask(&["check"]).exits(3).says(to_git).says(to_build);
    project.xtask(&["dev", "--detach"]).exits(1).says(to_git).says(to_build);
    project.xtask(&["env", "check", "dev"]).exits(1).says(to_git).says(to_build);
    project.xtask(&["doctor"]).exits(4).prints(to_git).prints(to_build);
    project.file(".dockerignore", "environments/*/.env\n");
    project.xtask(&["dev", "--detach"]).succeeds().says(to_git);
    let image = project.reference("app");
    let files =
        docker(&["run", "--rm", "--network", "none", &image, "find", "/app", "-name", ".env"]);
    assert_eq!(files, "");
    git(&["add", "--all"]);
    let staged = git(&["diff", "--cached", "--name-only"]);
    assert!(!staged.contains(".stevedore"), "{staged}");
    let tracked = project.xtask(&["env", "check", "dev"]).exits(1);
    tracked
        .says("git tracks environments/dev/.env")
        .says("`git rm --cached environments/dev/.env`");
    git(&["rm", "--quiet", "--cached", "environments/dev/.env"]);
    project.file(".gitignore", "/environments/*/.env\n");
    project.xtask(&["env", "check", "dev"]).succeeds();
}

#[test]
fn a_release_on_its_way_to_everybody_tells_no_secret_to_anybody() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let faulty = Faulty::in_front_of(&registry.address);
    faulty.always("* /v2/", Fault::Bearer("me", SECRET));
    let mut shop = Shop::new(&faulty.address);
    let login = base64::engine::general_purpose::STANDARD.encode(format!("me:{SECRET}"));
    for environment in ["dev", "prod"] {
        let file = format!("environments/{environment}/.env");
        shop.project
            .file(&format!("{file}.example"), "TOKEN=required:secret\n")
            .file(&file, format!("TOKEN={SECRET}\n"))
            .mode(&file, 0o600);
    }
    shop.project.compose(&[(
        "app",
        "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
         command: [sleep, infinity], stop_grace_period: 1s, \
         environment: {TOKEN: '${TOKEN}'}, x-stevedore: {main: true}}",
    )]);
    shop.commit("a secret for the app");
    let config = shop.project.scratch().join("config.json");
    let auths = serde_json::json!({"auths": {&faulty.address: {"auth": login}}});
    std::fs::write(config, auths.to_string()).unwrap();
    let directory = shop.project.scratch().display().to_string();
    shop.project.variable("DOCKER_CONFIG", &directory);
    let log = shop.project.path("calls").display().to_string();
    for program in ["docker", "curl", "git"] {
        // git cannot make a tag as long as this file is there.
        let script = format!(
            "echo \"{program} $*\" >> '{log}'\n\
             case \"{program} $*\" in 'git tag --annotate '*) test ! -e '{log}-no-tag' || exit 1\nesac\n\
             exec \"$real\" \"$@\""
        );
        shop.project.fake(program, &script);
    }
    let remote = shop.remote().display().to_string();
    let mut said = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let answer = shop.project.xtask(&[&["--verbose"], arguments].concat()).exits(code);
        said += &format!("{}{}", answer.stdout, answer.stderr);
    };
    // The journal of a release that dies before its last step.
    shop.project.file("calls-no-tag", "");
    run(&["release", "1.0.0"], 1);
    let journal = shop.project.read(".git/stevedore/1.0.0.journal");
    assert!(journal.contains("{\"done\":\"commit\"}"), "{journal}");
    assert_eq!(shop.git(&["tag"]), "");
    std::fs::remove_file(shop.project.path("calls-no-tag")).unwrap();
    run(&["--dry-run", "release", "1.0.0"], 0);
    run(&["release", "1.0.0"], 0);
    shop.git(&["remote", "set-url", "origin", &format!("http://me:{SECRET}@127.0.0.1:1/shop")]);
    run(&["publish", "1.0.0", "--yes"], 1);
    shop.git(&["remote", "set-url", "origin", &remote]);
    run(&["--dry-run", "publish", "1.0.0"], 0);
    run(&["publish", "1.0.0", "--yes"], 0);
    run(&["release", "verify", "1.0.0"], 0);
    run(&["--json", "releases"], 0);

    let calls = shop.project.calls().join("\n");
    let objects = shop.git(&["cat-file", "--batch-all-objects", "--batch"]);
    let name = format!("{}/app:1.0.0", shop.project.name);
    let inspect =
        docker(&["image", "inspect", &name]) + &docker(&["image", "history", "--no-trunc", &name]);
    let layers = docker(&["image", "save", &name]);
    for (what, text, sign) in [
        ("output", &said, "1.0.0 is published"),
        ("argv", &calls, "image push"),
        ("journal", &journal, "decided"),
        ("objects", &objects, "\"configuration\""),
        ("image", &inspect, "dev.stevedore.fingerprint"),
        ("layers", &layers, "debian"),
    ] {
        assert!(text.contains(sign), "{what} was looked at");
        for secret in [SECRET, &login, &login[..20]] {
            assert!(!text.contains(secret), "{what} tells {secret}");
        }
    }
    for entry in walkdir::WalkDir::new(shop.project.root()) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() && entry.file_name() != ".env" {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(SECRET) && !text.contains(&login), "{}", entry.path().display());
        }
    }
}
