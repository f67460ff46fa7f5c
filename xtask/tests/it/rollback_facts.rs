//! What the way back from a release needs to know: four pairs of releases, a secret changed in each,
//! and the record asked. (The pair with one Debian package is in `life`.)

use serde_json::Value;

use crate::dsl::engine;
use crate::shop::Shop;

/// A shop with a store that is attached, migrations, and two secrets.
fn shop() -> Shop {
    let shop = Shop::new("127.0.0.1:1");
    shop.project.compose(&[
        (
            "app",
            "{build: {context: app, dockerfile: ../docker/app/Dockerfile}, init: true, \
             command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {PASSWORD: \"${PASSWORD}\", SIGNING_KEY: \"${SIGNING_KEY}\"}, \
             x-stevedore: {main: true, migrations: app/migrations}}",
        ),
        (
            "store",
            "{build: docker/store, init: true, command: [sleep, infinity], stop_grace_period: 1s, \
             environment: {PASSWORD: \"${PASSWORD}\"}, \
             x-stevedore: {attached: true, version: [store, --version]}}",
        ),
    ]);
    for environment in ["dev", "prod"] {
        let schema = "PASSWORD=generate:hex32\nSIGNING_KEY=generate:hex32\n";
        shop.project.file(&format!("environments/{environment}/.env.example"), schema);
    }
    shop.project.file("app/migrations/1_start.sql", "CREATE TABLE walks (minutes int);\n");
    store(&shop, "store 16.9 (Debian 16.9-1)");
    shop
}

fn store(shop: &Shop, version: &str) {
    let program = format!("FROM base\nRUN printf '#!/bin/sh\\necho \"{version}\"\\n' \\\n");
    let program = format!("{program}    >/usr/bin/store && chmod +x /usr/bin/store\n");
    shop.project.file("docker/store/Dockerfile", program);
}

/// A secret changes, as it does between two releases: git and the record see nothing of it.
fn change_secrets(shop: &Shop, password: &str) {
    shop.project.file("environments/prod/.env", format!("PASSWORD={password}\nSIGNING_KEY=x\n"));
    shop.project.mode("environments/prod/.env", 0o600);
}

fn changes(shop: &Shop, old: &str, new: &str) -> Vec<Value> {
    shop.project.xtask(&["--json", "diff", old, new]).succeeds().events()
}

#[test]
fn the_record_knows_what_the_way_back_over_an_app_a_migration_and_a_store_needs() {
    engine!();
    let shop = shop();
    change_secrets(&shop, "correct-horse-1");
    shop.commit("the beginning");
    shop.release("1.0.0").succeeds();
    let keys = &shop.record("1.0.0")["configuration"]["prod"];
    for (key, attached) in [("PASSWORD", true), ("SIGNING_KEY", false)] {
        assert_eq!(keys[key]["secret"], true, "{key}");
        assert_eq!(keys[key]["attached"], attached, "{key}: whose value is it?");
    }

    // The app alone: other images of the app, the same store, the same schema, the same keys.
    change_secrets(&shop, "correct-horse-2");
    shop.project.file("app/source.txt", "another app\n");
    shop.commit("the app");
    shop.release("1.1.0").succeeds();
    assert_ne!(shop.config("1.0.0", "app"), shop.config("1.1.0", "app"));
    assert_eq!(shop.config("1.0.0", "store"), shop.config("1.1.0", "store"));
    let (old, new) = (shop.record("1.0.0"), shop.record("1.1.0"));
    for same in ["migrations", "services", "configuration"] {
        assert_eq!(old[same], new[same], "{same}");
    }

    // Two migrations: the app of before can live with one of them.
    change_secrets(&shop, "correct-horse-3");
    shop.project
        .file("app/migrations/2_kinds.sql", "-- stevedore: compatible, a new table\nSELECT 1;\n")
        .file("app/migrations/10_rename.sql", "ALTER TABLE walks RENAME TO moves;\n");
    shop.commit("migrations");
    shop.release("1.2.0").succeeds();
    let migrations = shop.record("1.2.0")["migrations"]["app"].clone();
    let told: Vec<(&str, &Value)> = migrations
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), &it["compatible"]))
        .collect();
    let expected = [
        ("1_start.sql", &Value::Null),
        ("2_kinds.sql", &"a new table".into()),
        ("10_rename.sql", &Value::Null),
    ];
    assert_eq!(told, expected);

    // A major version of the store.
    change_secrets(&shop, "correct-horse-4");
    store(&shop, "store 17.2 (Debian 17.2-1)");
    shop.commit("a new store");
    shop.release("1.3.0").succeeds();
    let services = shop.record("1.3.0")["services"].clone();
    assert_eq!(services["store"]["store"]["major"], 17);
    assert_eq!(services["app"]["store"], Value::Null);
    let store = changes(&shop, "1.2.0", "1.3.0").into_iter().find(|it| it["event"] == "store");
    assert!(store.unwrap().to_string().contains("16.9"));

    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
        let text = shop.git(&["show", &format!("v{version}")]);
        assert!(!text.contains("correct-horse"), "no value of a secret is in {version}");
    }
}
