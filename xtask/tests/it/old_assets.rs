//! The static files of the release before in the images of the next, and when there are none.

use std::collections::BTreeSet;

use crate::dsl::{Project, docker, engine, file_in_image};
use crate::registry::Registry;
use crate::shop::Shop;

/// A shop whose image holds what becomes of a style sheet and a script.
fn shop(registry: &str) -> Shop {
    let shop = Shop::new(registry);
    shop.project
        .file("docker/app/Dockerfile", "FROM base\nCOPY dist /srv/static\nCOPY source.txt /\n")
        .file("app/.dockerignore", "assets\n")
        .file("app/assets/app.js", "console.log(\"hello\");\n")
        .file(".gitignore", "/.stevedore\n/app/dist\n/environments/*/.env\n");
    paint(&shop, "red");
    shop
}

fn paint(shop: &Shop, color: &str) {
    let text = format!("a {{ color: {color}; }}\n").repeat(20);
    shop.project.file("app/assets/app.scss", text);
    shop.commit(color);
}

/// The files of a released image whose names end like that.
fn files(shop: &Shop, version: &str, end: &str) -> BTreeSet<String> {
    let name = format!("{}/app:{version}", shop.project.name);
    let list =
        docker(&["container", "run", "--rm", "--network", "none", &name, "ls", "/srv/static"]);
    list.lines().filter(|name| name.ends_with(end)).map(str::to_owned).collect()
}

/// What a released source is called.
fn asset(shop: &Shop, version: &str, source: &str) -> String {
    shop.record(version)["assets"][source]["file"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_holds_the_assets_of_the_release_before_and_no_older_ones() {
    engine!();
    let registry = Registry::start(&Project::with_stack());
    let shop = shop(&registry.address);
    shop.release("1.0.0").succeeds();
    let css = |version: &str| asset(&shop, version, "app.scss");
    let set = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(files(&shop, "1.0.0", ".css"), set(&[&css("1.0.0")]));

    // Whatever ends it, the same command finishes it; a dry run leaves everything as it is.
    paint(&shop, "blue");
    let mut release = shop.project.spawn(&["release", "1.1.0"]);
    release.until("the assets of 1.0.0").signal("-KILL");
    assert_eq!(release.ends(), 128 + 9);
    shop.project.xtask(&["release", "1.1.0", "--dry-run"]).succeeds().prints("assets build");
    shop.release("1.1.0").succeeds();
    let (red, blue) = (css("1.0.0"), css("1.1.0"));
    assert_eq!(files(&shop, "1.1.0", ".css"), set(&[&red, &blue]));
    let (old, new) = (files(&shop, "1.0.0", ""), files(&shop, "1.1.0", ""));
    assert!(old.is_subset(&new), "compressed ones and maps too: {old:?} {new:?}");
    let image = |version: &str| format!("{}/app:{version}", shop.project.name);
    let read =
        |version: &str, name: &str| file_in_image(&image(version), &format!("/srv/static/{name}"));
    assert_eq!(read("1.0.0", &red), read("1.1.0", &red));
    let manifest: serde_json::Value =
        serde_json::from_str(&read("1.1.0", "manifest.json")).unwrap();
    assert_eq!(manifest, shop.record("1.1.0")["assets"], "only its own are named");
    assert_eq!(manifest["app.scss"]["file"], blue);
    assert!(!shop.project.path(".stevedore/release/kept").exists());

    // The same assets: the same images, so nothing is built.
    shop.commit("nothing of the stack");
    let answer = shop.project.xtask(&["--json", "release", "1.2.0"]).succeeds();
    let built = answer.events().into_iter().filter(|it| it["status"] == "built").count();
    assert_eq!(built, 0, "{}", answer.stdout);
    assert_eq!(shop.config("1.1.0", "app"), shop.config("1.2.0", "app"));
    shop.publish("1.2.0").succeeds();
    shop.verify("1.2.0").succeeds();

    // What was kept once goes.
    paint(&shop, "green");
    shop.release("1.3.0").succeeds();
    assert_eq!(files(&shop, "1.3.0", ".css"), set(&[&blue, &css("1.3.0")]));
    shop.project.xtask(&["image", "build", "prod"]).succeeds();
    assert!(!shop.project.path("app/dist").join(&blue).exists(), "a checkout keeps nothing");
}

#[test]
fn assets_that_cannot_be_made_again_are_named_and_left_out() {
    engine!();
    let shop = shop("127.0.0.1:1");
    shop.release("1.0.0").succeeds();
    // As if another pipeline had made them.
    shop.git(&["checkout", "--quiet", "v1.0.0"]);
    let record = shop.project.read("releases/1.0.0.json");
    shop.project.file("releases/1.0.0.json", record.replace("sha384-", "sha384-A"));
    shop.git(&["commit", "--quiet", "--all", "--amend", "--no-edit"]);
    shop.git(&["tag", "--force", "--annotate", "--message", "x", "v1.0.0"]);
    shop.git(&["checkout", "--quiet", "main"]);
    paint(&shop, "blue");
    shop.release("1.1.0").succeeds().says("the assets of 1.0.0 can't be made again as they were");
    assert_eq!(files(&shop, "1.1.0", ".css").len(), 1);
}
