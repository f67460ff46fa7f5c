//! Law 7: no secret leaves. Not in argv, output, files of the checkout, image history or layers.

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
        let script = format!("echo \"{program} $*\" >> '{log}'\nexec \"$real\" \"$@\"");
        shop.project.fake(program, &script);
    }
    let remote = shop.remote().display().to_string();
    let mut said = String::new();
    let mut run = |arguments: &[&str], code: i32| {
        let answer = shop.project.xtask(&[&["--verbose"], arguments].concat()).exits(code);
        said += &format!("{}{}", answer.stdout, answer.stderr);
    };
    // The journal of a release that dies before its last step.
    shop.git(&["config", "tag.gpgSign", "true"]);
    shop.git(&["config", "user.signingKey", "nobody"]);
    run(&["release", "1.0.0"], 1);
    let journal = shop.project.read(".git/stevedore/1.0.0.journal");
    assert!(journal.contains("{\"done\":\"commit\"}"), "{journal}");
    assert_eq!(shop.git(&["tag"]), "");
    shop.git(&["config", "--unset", "tag.gpgSign"]);
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
