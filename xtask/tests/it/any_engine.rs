//! The life of a release in one test, for whichever engine there is and whichever image store it
//! has. `ci` runs it with the image store that the engine of all other tests does not have;
//! `cargo xtask selftest any_engine::` runs it on the engine that `DOCKER_HOST` names.

use crate::dsl::{docker, engine};
use crate::shop::configuration;
use crate::ward::Ward;

#[test]
fn a_release_lives_from_its_first_start_to_its_rollback() {
    engine!();
    let ward = Ward::new("");
    let xtask = |arguments: &[&str]| ward.xtask(arguments);

    xtask(&["env", "init", "dev"]).succeeds();
    xtask(&["dev", "--engine", "docker", "--detach"]).succeeds();
    xtask(&["status", "dev"]).succeeds().prints("app");
    xtask(&["stop", "dev"]).succeeds();
    xtask(&["image", "build", "prod", "--verify"]).succeeds().says("verified app");

    ward.ship("1.0.0", "one");
    let bundle = |name: &str| {
        let file = ward.shop.project.scratch().join(name);
        xtask(&["bundle", "1.0.0", "--out", file.to_str().unwrap()]).succeeds();
        std::fs::read(file).unwrap()
    };
    let before = bundle("before.zip");
    ward.shop.forget_images();
    xtask(&["image", "pull", "1.0.0"]).succeeds().prints("pulled  app");
    for image in ["app", "base", "store"] {
        let name = ward.shop.name("1.0.0", image);
        assert_eq!(configuration(&name), ward.shop.config("1.0.0", image), "{image}");
    }
    assert_eq!(bundle("after.zip"), before, "a bundle is the same bytes");
    ward.shop.verify("1.0.0").succeeds().prints("verified 1.0.0");
    ward.deploy_shortly("1.0.0").succeeds().prints("prod runs 1.0.0 (1.0.0-");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    ward.ship("1.1.0", "two");
    ward.deploy_shortly("1.1.0").succeeds().prints("prod runs 1.1.0 (1.1.0-");
    assert_eq!(ward.page("prod"), "200 1.1.0 first two");
    assert_eq!(ward.packages("app"), ward.recorded_packages("1.1.0", "app"));
    xtask(&["status", "prod", "--drift"]).succeeds();
    ward.rollback().succeeds().prints("prod runs 1.0.0 (1.0.0-");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");

    xtask(&["image", "prune", "--releases", "1"]).succeeds();
    let names = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let has = |version| names.lines().any(|name| name == ward.shop.name(version, "app"));
    assert!(has("1.1.0") && !has("1.0.0"), "{names}");
    ward.shop.verify("1.1.0").succeeds().prints("verified 1.1.0");
}
