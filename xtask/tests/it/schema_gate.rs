//! The gate on a new schema: the release before runs after migrations that are marked compatible, or
//! nothing is released.

use serde_json::Value;

use crate::dsl::{Project, docker, engine};
use crate::registry::Registry;
use crate::shop::Shop;

/// A shop whose `migrate` writes the names of all migrations into the store's volume, and whose app
/// says by `app/healthy` what it can live with.
fn shop(registry: &str) -> Shop {
    let shop = Shop::new(registry);
    compose(&shop, "healthy");
    let text = "FROM base\nCOPY . /app\nWORKDIR /app\n";
    shop.project
        .file("docker/app/Dockerfile", text)
        .file("docker/store/Dockerfile", "FROM base\nRUN mkdir /data\n")
        .file(
            "app/healthy",
            "grep --quiet start /data/schema && ! grep --quiet rename /data/schema\n",
        )
        .file("app/migrations/1_start.sql", "CREATE TABLE walks (minutes int);\n");
    shop.commit("a shop with data");
    shop
}

/// The shop's stack; the app's health check is a script in its image.
fn compose(shop: &Shop, health: &str) {
    let service = "init: true, stop_grace_period: 1s, volumes: ['data:/data']";
    let build = "build: {context: app, dockerfile: ../docker/app/Dockerfile}";
    let text = format!(
        "name: {name}\nservices:\n  app: {{{build}, {service}, command: [sleep, infinity], \
         depends_on: {{migrate: {{condition: service_completed_successfully}}}}, \
         healthcheck: {{test: sh /app/{health}, interval: 200ms, retries: 3}}}}\n  \
         migrate: {{image: {name}/app, {service}, command: [sh, -c, 'ls migrations >/data/schema'], \
         depends_on: [store], x-stevedore: {{once: true, migrations: app/migrations}}}}\n  \
         store: {{build: docker/store, {service}, command: [sleep, infinity], \
         x-stevedore: {{attached: true}}}}\nvolumes: {{data: {{}}}}\n",
        name = shop.project.name
    );
    shop.project.file("docker/compose.yml", text);
}

/// The recorded gate on the schema.
fn gate(shop: &Shop, version: &str) -> Option<Value> {
    let gates = shop.record(version)["gates"].as_array().unwrap().clone();
    gates.into_iter().find(|gate| gate["name"].as_str().unwrap().starts_with("schema"))
}

/// What the gate has left in the engine.
fn left(shop: &Shop) -> String {
    let name = format!("name={}-schema", shop.project.name);
    docker(&["container", "ls", "--all", "--quiet", "--filter", &name])
        + &docker(&["volume", "ls", "--quiet", "--filter", &name])
        + &docker(&["network", "ls", "--quiet", "--filter", &name])
}

#[test]
fn the_release_before_has_to_run_after_migrations_that_are_marked_compatible() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = shop(&registry.address);
    shop.release("1.0.0").succeeds();
    shop.publish("1.0.0").succeeds();
    assert_eq!(gate(&shop, "1.0.0"), None);

    // It is tried as its own commit describes it, also where this engine has forgotten its images.
    shop.forget_image("1.0.0", "app");
    compose(&shop, "well");
    let kinds = "-- stevedore: compatible, a new table\nCREATE TABLE kinds (name text);\n";
    shop.project.file("app/migrations/2_kinds.sql", kinds).file("app/well", "true\n");
    std::fs::remove_file(shop.project.path("app/healthy")).unwrap();
    shop.commit("kinds");
    let answer = shop.release("1.1.0").succeeds().says("pulling").prints("passed  schema 1.0.0");
    assert!(!answer.stderr.contains("rollback"), "{}", answer.stderr);
    assert_eq!(left(&shop), "");
    let recorded = gate(&shop, "1.1.0").unwrap();
    assert_eq!(recorded["name"], "schema 1.0.0");
    assert!(recorded["fingerprint"].is_string(), "{recorded}");
    shop.project.xtask(&["diff", "1.0.0", "1.1.0"]).succeeds().prints("schema 1.0.0");
    shop.publish("1.1.0").succeeds();
    shop.verify("1.1.0").succeeds();

    // A mark that is not true.
    shop.project.file("app/well", "! grep --quiet rename /data/schema\n");
    shop.commit("an app that minds");
    shop.release("1.2.0").succeeds();
    assert_eq!(gate(&shop, "1.2.0"), None, "no migration is new");
    let rename = "ALTER TABLE walks RENAME TO moves;\n";
    let marked = format!("-- stevedore: compatible, surely\n{rename}");
    shop.project.file("app/migrations/3_rename.sql", marked).file("app/well", "true\n");
    shop.commit("a rename");
    shop.release("1.3.0")
        .exits(3)
        .says("3_rename.sql is marked compatible, and 1.2.0 does not run after it")
        .says("app is unhealthy")
        .says("the gate \"schema 1.2.0\" did not pass (above)");
    assert_eq!(shop.git(&["tag", "--list", "v1.3.0"]), "");
    assert_eq!(left(&shop), "");

    // Without the mark it is released, and everybody knows what that means.
    shop.project.file("app/migrations/3_rename.sql", rename);
    shop.commit("an honest rename");
    shop.release("1.3.0")
        .succeeds()
        .says("a rollback over 3_rename.sql will be refused")
        .says("`stevedore: compatible, REASON`");
    assert_eq!(gate(&shop, "1.3.0"), None);
}

#[test]
fn an_app_that_migrates_by_itself_is_tried_as_it_was_on_what_the_new_one_has_left() {
    engine!();
    let shop = shop("127.0.0.1:1");
    let text = format!(
        "name: {}\nservices:\n  app: {{build: {{context: app, dockerfile: ../docker/app/Dockerfile}}, \
         init: true, stop_grace_period: 1s, volumes: ['data:/data'], command: [sh, /app/start], \
         healthcheck: {{test: test -e /data/1_start.sql, interval: 200ms, retries: 3}}, \
         x-stevedore: {{migrations: app/migrations}}}}\nvolumes: {{data: {{}}}}\n",
        shop.project.name
    );
    // Ends where the data has a migration that it does not know.
    let start = "for it in $(ls /data); do test -e migrations/$it || exit 5; done\n\
                 cp migrations/* /data\nexec sleep infinity\n";
    shop.project.file("docker/compose.yml", text).file("app/start", start);
    shop.commit("it migrates by itself");
    shop.release("1.0.0").succeeds();
    shop.project.file("app/migrations/2_kinds.sql", "-- stevedore: compatible, a new table\n");
    shop.commit("kinds");
    let answer = shop.release("1.1.0").exits(3);
    answer.says("1.0.0 does not run after it").says("app ended with exit code 5");
    assert_eq!(left(&shop), "");

    shop.forget_image("1.0.0", "app");
    let answer = shop.release("1.1.0").exits(4);
    answer.says("the image app of 1.0.0 is not here").says("`cargo xtask publish 1.0.0`");
    assert_eq!(shop.git(&["tag"]), "v1.0.0");
}
