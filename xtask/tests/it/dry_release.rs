//! A dry run of a release, of publishing and of what takes them back: it prints the commands that
//! the real run then runs, in order, and touches neither repository, engine nor registry.

use std::collections::BTreeMap;

use crate::dsl::{Project, docker, engine};
use crate::faulty::Faulty;
use crate::registry::Registry;
use crate::shop::Shop;

/// Writes down every call of git and docker, one a line.
fn log_calls(shop: &mut Shop) {
    for program in ["docker", "git"] {
        let log = shop.project.path("calls").display().to_string();
        let script = format!("echo \"{program} $*\" >> '{log}'\nexec \"$real\" \"$@\"");
        shop.project.fake(program, &script);
    }
}

/// Whether a call changes something that is not the tool's own: what git does in a clone of its
/// own, and questions, do not.
fn changes(call: &str) -> bool {
    const CHANGING: [&str; 21] = [
        "docker buildx bake",
        "docker compose --project-directory . --env-file /dev/null --project-name",
        "docker container create",
        "docker container export",
        "docker container rm",
        "docker container run",
        "docker image import",
        "docker image pull",
        "docker image push",
        "docker image rm",
        "docker image tag",
        "git branch",
        "git commit",
        "git hash-object",
        "git push",
        "git read-tree",
        "git tag",
        "git update-index",
        "git update-ref",
        "git worktree",
        "git write-tree",
    ];
    let call = &without_settings(call);
    let compose_asks = [" config ", " ps ", " logs "].iter().any(|it| call.contains(it));
    CHANGING.iter().any(|start| call.starts_with(start))
        && !(call.starts_with("docker compose") && compose_asks)
}

/// A call of git without the settings that are given to it.
fn without_settings(call: &str) -> String {
    let mut words: Vec<&str> = call.split(' ').collect();
    while words.get(1) == Some(&"-c") {
        words.drain(1..3);
    }
    words.join(" ")
}

/// A command without what is only known when it runs, and without quotes: hashes, IDs, private
/// names and directories.
fn plain(shop: &Shop, command: &str) -> String {
    let root = shop.project.root().display().to_string();
    let command = without_settings(command);
    let command = command.replace(&root, "<root>").replace(&shop.project.name, "<name>");
    let mut depth = 0;
    let mut text = String::new();
    for sign in command.chars().filter(|sign| *sign != '"') {
        match sign {
            '<' => depth += 1,
            '>' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    text.push('…');
                }
            }
            _ if depth > 0 => {}
            sign => text.push(sign),
        }
    }
    let words = text.split(' ').map(|word| {
        let word = word.trim_start_matches("sha256:");
        let parts = word.split([':', ',', '@', '/', '=']);
        let parts = parts.map(|part| {
            let bare = part.strip_prefix("f-").unwrap_or(part);
            let is_hash = bare.len() >= 40 && bare.bytes().all(|it| it.is_ascii_hexdigit());
            let is_private = ["building-", "build-", "stevedore-question-", ".tmp", "tree"]
                .iter()
                .any(|start| part.starts_with(start));
            let is_trial = part.contains("-smoke-") || part.contains("-schema-");
            if is_hash || is_private || is_trial { "…" } else { part }
        });
        parts.collect::<Vec<_>>().join(":")
    });
    let words: Vec<String> = words.map(|word| word.trim_end_matches("\\n").to_owned()).collect();
    let is_path = |word: &String| {
        [":bake.json", ":seal.json", ":made.json", ":smoke.yml", ".tar"]
            .iter()
            .any(|end| word.ends_with(end))
    };
    words
        .iter()
        .map(|word| match is_path(word) {
            true => format!("…{}", word.rsplit(':').next().unwrap()),
            false => word.clone(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Everything that a dry run could touch.
fn state(shop: &Shop, registry: &Registry) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for entry in walkdir::WalkDir::new(shop.project.root()).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let name = path.strip_prefix(shop.project.root()).unwrap().display().to_string();
        if path.is_file() && name != "calls" {
            let content = fingerprint::sha256(&std::fs::read(&path).unwrap());
            state.insert(name, content);
        }
    }
    state.insert("references".into(), shop.references());
    let images =
        docker(&["image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    let own = images.lines().filter(|line| line.contains(&shop.project.name));
    let own: std::collections::BTreeSet<&str> = own.collect();
    state.insert("images".into(), format!("{own:#?}"));
    state.insert("registry".into(), registry.get("/v2/_catalog"));
    state
}

/// The dry run prints what the real run then does.
#[track_caller]
fn check(shop: &Shop, registry: &Registry, arguments: &[&str]) -> Vec<String> {
    let before = state(shop, registry);
    shop.project.calls();
    let dry = shop.project.xtask(&[arguments, &["--dry-run"]].concat()).succeeds();
    let asked = shop.project.calls();
    let changing: Vec<&String> = asked.iter().filter(|call| changes(call)).collect();
    assert_eq!(changing, Vec::<&String>::new(), "{arguments:?} changes something");
    assert_eq!(before, state(shop, registry), "{arguments:?} changed something");
    let printed = dry.stdout.lines().filter_map(|line| line.strip_prefix("$ "));
    let printed: Vec<String> = printed.map(|line| plain(shop, line)).collect();
    shop.project.xtask(&[arguments, &["--yes"]].concat()).succeeds();
    let calls = shop.project.calls().into_iter().filter(|call| changes(call));
    let real: Vec<String> = calls.map(|call| plain(shop, &call)).collect();
    assert_eq!(printed, real, "{arguments:?}");
    real
}

#[test]
fn what_a_dry_run_prints_is_what_the_real_run_does() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let faulty = Faulty::in_front_of(&registry.address);
    let mut shop = Shop::new(&faulty.address);
    log_calls(&mut shop);
    shop.git(&["fetch", "--quiet"]);

    let first = check(&shop, &registry, &["release", "1.0.0"]);
    assert!(first.iter().any(|call| call.starts_with("docker buildx bake")), "{first:#?}");
    assert!(first.last().unwrap().starts_with("git tag --annotate"), "{first:#?}");
    assert_eq!(check(&shop, &registry, &["release", "1.0.0"]), Vec::<String>::new());

    faulty.uploaded();
    shop.project.xtask(&["publish", "1.0.0", "--dry-run"]).succeeds();
    assert_eq!(faulty.uploaded(), 0, "a dry run uploads nothing");
    let published = check(&shop, &registry, &["publish", "1.0.0"]);
    assert!(published[0].starts_with("git push"), "the claim comes first: {published:#?}");
    assert!(published.last().unwrap().starts_with("git push"), "{published:#?}");
    assert_eq!(check(&shop, &registry, &["publish", "1.0.0"]), Vec::<String>::new());
    check(&shop, &registry, &["image", "pull", "1.0.0"]);

    let second = check(&shop, &registry, &["release", "1.1.0"]);
    assert!(!second.iter().any(|call| call.contains("bake")), "nothing is built: {second:#?}");
    let taken_back = check(&shop, &registry, &["release", "--abort", "1.1.0"]);
    assert!(taken_back.iter().any(|call| call.starts_with("git update-ref")), "{taken_back:#?}");

    // The release before on a new schema, its image from the registry.
    let compose = shop.project.read("docker/compose.yml");
    let migrates = compose.replace("main: true", "main: true, migrations: app/migrations");
    shop.project
        .file("docker/compose.yml", migrates)
        .file("app/migrations/1_start.sql", "-- stevedore: compatible, the first\n");
    shop.commit("a migration");
    shop.forget_image("1.0.0", "app");
    let third = check(&shop, &registry, &["release", "1.1.0"]);
    assert!(third.iter().any(|call| call.starts_with("docker image pull")), "{third:#?}");
    let stack = third.iter().filter(|call| call.contains("schema-stack.yml"));
    assert_eq!(stack.count(), 3, "it is cleared, started and removed: {third:#?}");
}

#[test]
fn publishing_an_environment_prints_what_it_then_does() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let mut shop = Shop::new(&registry.address);
    let settings = format!("[registry]\nrepository = \"{}/team\"\n", registry.address);
    shop.project.file("environments/dev/environment.toml", settings);
    shop.commit("a registry for dev");
    log_calls(&mut shop);
    let calls = check(&shop, &registry, &["publish", "dev"]);
    assert!(calls.iter().any(|call| call.starts_with("docker image push")), "{calls:#?}");
    assert_eq!(check(&shop, &registry, &["publish", "dev"]), Vec::<String>::new());
}
