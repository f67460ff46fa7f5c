//! Images shared through a registry: what is there is pulled instead of built, and nothing that is
//! forged or damaged, there or here, counts as fresh.

use std::process::Command;

use crate::dsl::{Project, docker, engine, file_in_image};
use crate::registry::Registry;
use crate::shop::configuration;

/// A project that shares through a registry of its own, on a base of its own.
fn shared() -> (Project, Registry) {
    let helper = Project::with_stack();
    let registry = Registry::start(&helper);
    let project = Project::with_own_base();
    let settings = format!("[registry]\nrepository = \"{}/cache\"\n", registry.address);
    project.file("environments/dev/environment.toml", settings);
    (project, registry)
}

/// Forgets all images of a project, its base and what it remembers: as if on another machine.
fn forget(project: &Project) {
    for image in ["app", "base"] {
        docker(&["image", "rm", "--force", &project.reference(image)]);
    }
    docker(&["image", "rm", "--force", &project.own_base()]);
    std::fs::remove_dir_all(project.path(".stevedore")).unwrap();
}

#[test]
fn a_machine_without_images_pulls_all_and_builds_nothing() {
    engine!();
    let (mut project, registry) = shared();
    let built = project.xtask(&["--json", "image", "build", "--cache=write"]).succeeds();
    assert_eq!(built.images(), ["base built: never built here", "app built: never built here"]);
    forget(&project);
    project.xtask(&["plan"]).succeeds().prints("build  app ");
    project.xtask(&["plan", "--cache=read"]).succeeds().prints("pull   app ");

    let dry = project.xtask(&["--dry-run", "image", "build", "--cache=read"]).succeeds();
    assert!(!dry.stderr.contains("bake"), "a dry run pulls what a real one pulls: {dry:?}");
    project.log_docker();
    let pulled = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
    assert_eq!(pulled.images(), ["base pulled: never built here", "app pulled: never built here"]);
    let calls = project.calls();
    assert!(!calls.iter().any(|call| call.contains("bake")), "{calls:?}");
    assert_eq!(file_in_image(&project.reference("app"), "/app/source.txt"), "one\n");
    let again = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
    assert_eq!(again.images(), ["base fresh", "app fresh"]);
    let list = docker(&["image", "ls", "--format", "{{.Repository}}"]);
    assert!(!list.contains(&registry.address), "no name of the registry stays here: {list}");

    // What the registry lacks is built, and `image pull` says so instead.
    project.file("app/source.txt", "two\n");
    project.xtask(&["image", "pull"]).exits(4).prints("missing app").says("image build dev");
    let images = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds().images();
    assert_eq!(images[1], "app built: app/source.txt changed");

    // A registry that does not answer costs the speed only.
    docker(&["container", "stop", "--time", "1", &registry.container]);
    project.file("app/source.txt", "three\n");
    let answer = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
    assert_eq!(answer.images()[1], "app built: app/source.txt changed");
    answer.says("going on without the registry");
}

/// Another machine on another day: what docker/stack.lock says of the base fits no base that can
/// be had, so which image a colleague has shared is known only once the base is here.
#[test]
fn a_base_that_is_not_the_locks_is_fetched_before_anything_is_pulled() {
    engine!();
    let (mut project, _registry) = shared();
    // The same mirror for both machines, whatever the real one does meanwhile.
    let archive = project.scratch().join("base.tar").display().to_string();
    let container = docker(&["container", "create", &project.own_base(), "true"]);
    docker(&["container", "export", "--output", &archive, container.trim()]);
    docker(&["container", "rm", container.trim()]);
    let copy =
        format!("for it in \"$@\"; do case $it in *.tar) cp '{archive}' \"$it\"; esac; done");
    project.fake("mmdebstrap", &copy);
    forget(&project);
    project.remove_images();
    let lock = project.read("docker/stack.lock");
    let content = lock.split("content = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let nothing = format!("sha256:{}", "0".repeat(64));
    project.file("docker/stack.lock", lock.replace(&content, &nothing));

    // Nothing was ever built here and nothing is shared: that is known.
    let plan = project.xtask(&["plan"]).succeeds();
    assert!(plan.stdout.starts_with("build  base "), "{}", plan.stdout);
    let built = project.xtask(&["--json", "image", "build", "--cache=write"]).succeeds();
    assert_eq!(built.images(), ["base built: never built here", "app built: never built here"]);
    let reference = project.reference("app");

    forget(&project);
    let unknown = "base: unknown until debian:trixie-slim is here\n\
                   app: unknown until debian:trixie-slim is here\n";
    let plan = project.xtask(&["plan", "--cache=read"]).succeeds();
    assert_eq!(plan.stdout, unknown);
    plan.says("0 to reuse, 0 to pull, 0 to build, 2 unknown until the base images are here");
    let dry = project.xtask(&["--dry-run", "image", "build", "--cache=read"]).succeeds();
    dry.says("app: unknown until debian:trixie-slim is here; a build is shown, it may be a pull");

    project.log_docker();
    let pulled = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
    assert_eq!(pulled.images(), ["base pulled: never built here", "app pulled: never built here"]);
    let calls = project.calls();
    assert!(!calls.iter().any(|call| call.contains("bake")), "{calls:?}");
    assert_eq!(project.reference("app"), reference);

    // The base goes, its images stay: whether they are still the right ones is not known either.
    docker(&["image", "rm", "--force", &project.own_base()]);
    std::fs::remove_dir_all(project.path(".stevedore")).unwrap();
    assert_eq!(project.xtask(&["plan"]).succeeds().stdout, unknown);
    let why = project.xtask(&["image", "why", "app"]).succeeds();
    why.prints("the fingerprint is unknown until debian:trixie-slim is here");
    let again = project.xtask(&["--json", "image", "build"]).succeeds();
    assert_eq!(again.images(), ["base fresh", "app fresh"]);
}

#[test]
fn forged_and_damaged_entries_of_the_registry_are_refused() {
    engine!();
    let (project, registry) = shared();
    project.xtask(&["image", "build", "--cache=write"]).succeeds();
    let app = project.reference("app");
    let old = project.reference("app");
    project.file("app/source.txt", "two\n");
    project.xtask(&["image", "build", "--cache=write"]).succeeds();
    let new = project.reference("app");
    let forgeries = forgeries(&project, &new, &old);
    for (what, forgery, words) in &forgeries {
        registry.replace(&new, forgery);
        let base = project.reference("base");
        docker(&["image", "rm", "--force", &new]);
        let answer = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
        assert_eq!(answer.images(), ["base fresh", "app built: the image is gone"], "{what}");
        answer.says("refused the registry's").says(words);
        assert_eq!(file_in_image(&new, "/app/source.txt"), "two\n", "{what}");
        assert!(!docker(&["image", "inspect", "--format", "{{.Id}}", &base]).is_empty());
    }
    assert_eq!(forgeries.len(), 9);

    // What was refused is pushed over, and the next one pulls it.
    registry.replace(&new, &forgeries[0].1);
    for (cache, status) in [("write", "built"), ("read", "pulled")] {
        docker(&["image", "rm", "--force", &new]);
        let cache = format!("--cache={cache}");
        let answer = project.xtask(&["--json", "image", "build", "dev", &cache]).succeeds();
        assert_eq!(answer.images()[1], format!("app {status}: the image is gone"));
    }

    // Its bytes damaged where they lie.
    let config = configuration(&new);
    let config = config.trim_start_matches("sha256:");
    let tag = new.rsplit(':').next().unwrap();
    let find = format!(
        "cd /var/lib/docker-registry/docker/registry/v2 && f=$(ls blobs/sha256/*/{config}/data) \
         && m=$(sed s/sha256:// repositories/cache/*/app/_manifests/tags/{tag}/current/link) \
         && m=$(ls blobs/sha256/*/$m/data) && cp $f /tmp/f && cp $m /tmp/m &&"
    );
    for (what, damage) in [
        ("settings cut short", "truncate -s 100 $f"),
        ("settings with other bytes", "sed -i s/dev.stevedore.image/dev.stevedore.imagf/ $f"),
        ("settings that are gone", "rm $f"),
        ("a manifest that is none", "echo {} > $m"),
        ("a manifest of other bytes", "sed -i s/schemaVersion/schemaVersiom/ $m"),
    ] {
        registry.inside(&format!("{find} {damage} && echo $f $m > /tmp/names"));
        docker(&["image", "rm", "--force", &new]);
        let answer = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds();
        assert_eq!(answer.images()[1], "app built: the image is gone", "{what}");
        assert_eq!(file_in_image(&new, "/app/source.txt"), "two\n", "{what}");
        registry.inside(
            "cd /var/lib/docker-registry/docker/registry/v2 && read f m < /tmp/names && \
             cp /tmp/f $f && cp /tmp/m $m",
        );
    }
    // Whole again, it is what everybody else gets.
    docker(&["image", "rm", "--force", &new]);
    let images = project.xtask(&["--json", "image", "build", "--cache=read"]).succeeds().images();
    assert_eq!(images, ["base fresh", "app pulled: the image is gone"]);
    docker(&["image", "rm", "--force", &app]);
}

#[test]
fn forged_local_entries_are_refused() {
    engine!();
    let project = Project::with_stack();
    project.xtask(&["image", "build"]).succeeds();
    let old = project.reference("app");
    project.file("app/source.txt", "two\n");
    project.xtask(&["image", "build"]).succeeds();
    let new = project.reference("app");
    for (what, forgery, words) in forgeries(&project, &new, &old) {
        docker(&["image", "tag", &forgery, &new]);
        let images = project.xtask(&["--json", "image", "build"]).succeeds().images();
        assert_eq!(
            images,
            ["base fresh", &format!("app built: its tag holds an {words}")],
            "{what}"
        );
        assert_eq!(file_in_image(&new, "/app/source.txt"), "two\n", "{what}");
    }
}

/// Images that claim to be `new`: what each is, its name, and why it is refused.
fn forgeries(project: &Project, new: &str, old: &str) -> Vec<(&'static str, String, &'static str)> {
    let name = |kind: &str| format!("{}/forged:{kind}", project.name);
    let make = |kind: &str, dockerfile: &str, platform: &str| {
        project.file("forge/Dockerfile", dockerfile).file("forge/extra", "extra\n");
        let output = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name(kind), "--platform", platform, "forge"])
            .current_dir(project.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        name(kind)
    };
    let here = docker(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
    let here = here.trim();
    let container = docker(&["container", "create", new, "true"]);
    project.file("forge/changed", "changed\n");
    let changed = project.path("forge/changed");
    let inside = format!("{}:/app/source.txt", container.trim());
    docker(&["container", "cp", changed.to_str().unwrap(), &inside]);
    docker(&["container", "commit", container.trim(), &name("commit")]);
    docker(&["container", "rm", container.trim()]);
    let labels = "{{range $k, $v := .Config.Labels}}LABEL {{$k}}={{$v}}\n{{end}}";
    let labels = docker(&["image", "inspect", "--format", labels, new]);
    let not_from = "image that was not built from these inputs";
    let changed = "image that was changed after it was built";
    let other = if here.ends_with("arm64") { "linux/amd64" } else { "linux/arm64" };
    vec![
        ("an image of nobody", make("bare", "FROM scratch\nCOPY extra /\n", here), not_from),
        ("an earlier build of the same image", old.to_owned(), not_from),
        ("a child of it", make("child", &format!("FROM {new}\nCOPY extra /app/\n"), here), changed),
        ("a container of it, committed", name("commit"), changed),
        ("it with another setting", make("env", &format!("FROM {new}\nENV A=1\n"), here), changed),
        (
            "it with another health check",
            make("health", &format!("FROM {new}\nHEALTHCHECK CMD [\"false\"]\n"), here),
            changed,
        ),
        (
            "it with another label",
            make("label", &format!("FROM {new}\nLABEL a=1\n"), here),
            changed,
        ),
        (
            "an image of nobody, elsewhere",
            make("arm", "FROM scratch\nCOPY extra /\n", other),
            not_from,
        ),
        (
            "another image with its labels",
            make("labels", &format!("FROM {old}\n{labels}"), here),
            changed,
        ),
    ]
}
