//! What can go wrong between a release and its environment, one behaviour after the other: each
//! ends in the right verdict, and none in a success that is none.

use crate::dsl::{engine, wait_until};
use crate::ward::Ward;

const SHORT: &[&str] = &["--yes", "--settle", "6"];

/// What stands in the way before anything is told to the service.
#[test]
fn what_can_be_known_before_is_said_before_and_nothing_is_begun() {
    engine!();
    let mut ward = Ward::new("");
    let refused = |ward: &Ward, version: &str, code: i32, says: &[&str]| {
        let answer = ward.xtask(&[&["deploy", version], SHORT].concat()).exits(code);
        let text = answer.stderr.clone();
        says.iter().for_each(|it| assert!(text.contains(it), "{it:?} in {text}"));
    };

    // Versions that nobody can get.
    refused(&ward, "7.0.0", 2, &["there is no release 7.0.0"]);
    ward.shop.release("1.0.0").succeeds();
    refused(&ward, "1.0.0", 1, &["is not there", "`cargo xtask publish 1.0.0` brings it"]);
    ward.xtask(&["rollback", "--yes"]).exits(2).says("nothing was ever deployed to prod");
    ward.xtask(&["deploy", "--attach"]).exits(1).says("nothing is being deployed to prod");
    ward.shop.publish("1.0.0").succeeds();

    // Its images are there, and its tag is not: whoever else came could not go back to it.
    let tag = ward.shop.git_there(&["rev-parse", "refs/tags/v1.0.0"]);
    ward.shop.git_there(&["update-ref", "-d", "refs/tags/v1.0.0"]);
    refused(&ward, "1.0.0", 1, &["1.0.0 is not in origin; `cargo xtask publish 1.0.0` brings it"]);
    ward.shop.git_there(&["update-ref", "refs/tags/v1.0.0", &tag]);

    // Settings that the service could not take, or would change on their way.
    let token = |ward: &Ward, value: &str| ward.secrets("prod", value);
    token(&ward, &"x".repeat(5000));
    refused(&ward, "1.0.0", 1, &["bytes, and Elastic Beanstalk takes 4096"]);
    token(&ward, "\"a ' b\"");
    refused(&ward, "1.0.0", 1, &["environments/prod/.env:2: the value of TOKEN begins with a"]);
    token(&ward, "arn:aws:secretsmanager:eu-central-1:1:secret:token-AbCdEf");
    refused(&ward, "1.0.0", 1, &["TOKEN names a secret store"]);
    token(&ward, "first");

    // Nobody to ask, and nowhere to write the log.
    ward.stop_server();
    refused(&ward, "1.0.0", 4, &["no local Elastic Beanstalk runs", "cargo xtask beanstalk serve"]);
    ward.serve();
    let hook = ward.shop.remote().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    refused(&ward, "1.0.0", 1, &["a rule of origin refused stevedore/deployments/prod"]);
    std::fs::remove_file(&hook).unwrap();
    assert_eq!(ward.environment("prod"), serde_json::Value::Null, "nothing was begun");

    // A dirty checkout of another branch is none of a deployment's business.
    ward.shop.git(&["checkout", "--quiet", "-b", "elsewhere"]);
    ward.shop.project.file("app/source.txt", "dirty\n").file("docker/compose.yml", "name: x\n");
    ward.deploy("1.0.0").succeeds();
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    // Neither is it of who looks, or goes back.
    let facts = ward.shop.project.path("environments/prod/environment.toml");
    std::fs::remove_file(facts).unwrap();
    ward.xtask(&["status", "prod", "--drift"]).succeeds();
    ward.xtask(&["rollback", "--to", "1.0.0", "--yes"]).succeeds().prints("runs 1.0.0 already");
    ward.shop.git(&["checkout", "--quiet", "--force", "main"]);

    // The log is about another account.
    let target = ward.log("prod")[0]["target"].clone();
    let (account, region) = (&target["account"], &target["region"]);
    ward.rewrite_log("prod", |it| it["target"]["account"] = "123456789012".into());
    refused(&ward, "1.0.0", 1, &["is about", "of account 123456789012, and this would be"]);
    ward.rewrite_log("prod", |it| {
        it["target"]["account"] = account.clone();
        it["target"]["region"] = "eu-west-1".into();
        it["verdict"] = serde_json::Value::Null;
    });
    for command in [&["rollback", "--yes"][..], &["deploy", "--attach"]] {
        ward.xtask(command).exits(1).says("is about").says("in eu-west-1 of account");
    }
    assert_eq!(ward.story("prod"), ["deploy 1.0.0 open"], "nothing was ended from elsewhere");
    ward.rewrite_log("prod", |it| {
        it["target"]["region"] = region.clone();
        it["verdict"] = serde_json::json!({"result": "succeeded", "reason": null, "ended": "now"});
    });

    // Somebody else has the environment: by name, until the time is over or they are given up.
    ward.ship("1.1.0", "two");
    let theirs = |it: &mut serde_json::Value, expires: &str| {
        it["verdict"] = serde_json::Value::Null;
        it["owner"] = "another clone".into();
        it["by"]["name"] = "Grace".into();
        it["expires"] = expires.into();
    };
    ward.rewrite_log("prod", |it| theirs(it, "2999-01-01T00:00:00Z"));
    refused(&ward, "1.1.0", 1, &["prod is being deployed: deploy 1.0.0, by Grace", "--unlock"]);
    ward.xtask(&["deploy", "--unlock", "--yes"]).succeeds();
    assert_eq!(ward.story("prod"), ["deploy 1.0.0 abandoned"]);
    ward.rewrite_log("prod", |it| theirs(it, "2020-01-01T00:00:00Z"));
    ward.deploy("1.1.0").succeeds();
    assert_eq!(ward.story("prod"), ["deploy 1.0.0 abandoned", "deploy 1.1.0 succeeded"]);

    // The same name with other bytes, and an image that is gone.
    ward.ship("1.2.0", "three");
    let label = ward.bundle_label("1.2.0");
    let application = ward.shop.project.name.clone();
    let create = ["create-application-version", "--application-name", &application];
    let other = ward.aws(&["describe-application-versions", "--application-name", &application]);
    let place = &other["ApplicationVersions"][0]["SourceBundle"];
    let source = format!(
        "S3Bucket={},S3Key={}",
        place["S3Bucket"].as_str().unwrap(),
        place["S3Key"].as_str().unwrap()
    );
    ward.aws(&[&create[..], &["--version-label", &label, "--source-bundle", &source]].concat());
    refused(&ward, "1.2.0", 1, &["the service has another bundle under 1.2.0-"]);
    let delete = ["delete-application-version", "--application-name", &application];
    ward.aws(&[&delete[..], &["--version-label", &label]].concat());
    ward.registry.inside("rm -r /var/lib/docker-registry/docker/registry/v2/repositories/*/*/app");
    refused(&ward, "1.2.0", 1, &["is not there"]);
    assert_eq!(ward.page("prod"), "200 1.1.0 first two");
    assert_eq!(ward.log("prod").len(), 2, "nothing was begun");
}

/// What happens while the service works.
#[test]
fn what_happens_on_the_way_ends_in_what_is_so() {
    engine!();
    let ward = Ward::new("");
    ward.ship("1.0.0", "one");
    ward.ship("1.1.0", "two");
    ward.deploy("1.0.0").succeeds();
    let name = ward.service_name("prod");

    // Throttled and slow, and fine in the end.
    ward.drill("throttle=3&slow=50");
    ward.deploy("1.1.0").succeeds();
    ward.drill("clear=true");
    ward.xtask(&["rollback", "--yes"]).succeeds();

    // Red after ready.
    ward.drill(&format!("red={name}"));
    ward.deploy_shortly("1.1.0").exits(1).says("its health is");
    ward.drill("clear=true");
    ward.xtask(&["status", "prod"])
        .succeeds()
        .prints("deployed: 1.0.0")
        .prints("1.1.0 by Ada failed");
    ward.xtask(&["status", "prod", "--drift"])
        .exits(1)
        .prints("1.1.0-")
        .prints("runs and not 1.0.0-");
    ward.xtask(&["rollback", "--yes"]).succeeds().prints("prod runs 1.0.0");
    ward.xtask(&["status", "prod", "--drift"]).succeeds();

    // Never-ending: whoever looks away finds it again, and the service is told once.
    ward.drill(&format!("stuck={name}"));
    let before = ward.updates("prod");
    let project = &ward.shop.project;
    let mut running = project.spawn(&[&["deploy", "1.1.0"], SHORT].concat());
    running.until("Environment update is starting.");
    running.signal("-INT");
    assert_eq!(running.ends(), 130);
    assert!(running.output().contains("`cargo xtask deploy --attach --env prod`"));
    let refused = ward.xtask(&["deploy", "1.0.0", "--yes"]).exits(1);
    refused.says("prod is being deployed: deploy 1.1.0, by Ada");
    ward.drill("expired=true");
    let lost = ward.xtask(&["deploy", "--attach", "--settle", "6"]).exits(4);
    lost.says("the credentials are missing, wrong or have expired");
    ward.drill("expired=false");
    let mut again = ward.shop.project.spawn(&[&["deploy", "1.1.0"], SHORT].concat());
    again.until("Environment update is starting.");
    ward.drill("clear=true&stuck=nobody");
    assert_eq!(again.ends(), 0, "{}", again.output());
    assert_eq!(ward.updates("prod"), before + 1, "told once");
    assert_eq!(ward.story("prod").last().unwrap(), "deploy 1.1.0 succeeded");
    assert_eq!(ward.page("prod"), "200 1.1.0 first two");

    // A rollback does not wait for what never ends.
    ward.ship("1.2.0", "three");
    ward.drill(&format!("clear=true&stuck={name}"));
    let mut running = ward.shop.project.spawn(&[&["deploy", "1.2.0"], SHORT].concat());
    running.until("Environment update is starting.");
    running.signal("-INT");
    assert_eq!(running.ends(), 130);
    drop((running, again));
    let mut spawned = ward.shop.project.spawn(&["rollback", "--yes", "--settle", "6"]);
    spawned.until("1.2.0 is given up");
    ward.drill("clear=true");
    assert_eq!(spawned.ends(), 0, "{}", spawned.output());
    drop(spawned);
    assert_eq!(ward.page("prod"), "200 1.1.0 first two");
    assert_eq!(ward.story("prod")[6..], ["deploy 1.2.0 failed", "rollback 1.1.0 succeeded"]);

    // Somebody gave it up and is at it: their deployment is not ended by our verdict.
    ward.drill(&format!("stuck={name}"));
    let mut running = ward.shop.project.spawn(&[&["deploy", "1.2.0"], SHORT].concat());
    running.until("Environment update is starting.");
    ward.edit_log("prod", |log| {
        let mut theirs = log.last().unwrap().clone();
        theirs["number"] = (log.len() + 1).into();
        theirs["owner"] = "another clone".into();
        let given_up = serde_json::json!({"result": "abandoned", "reason": null, "ended": "now"});
        log.last_mut().unwrap()["verdict"] = given_up;
        log.push(theirs);
    });
    ward.drill("clear=true&stuck=nobody");
    assert_eq!(running.ends(), 0, "{}", running.output());
    drop(running);
    assert_eq!(ward.story("prod")[8..], ["deploy 1.2.0 abandoned", "deploy 1.2.0 open"]);
    // Nor by who only looks on, as long as theirs may still come.
    ward.rewrite_log("prod", |it| {
        it["label"] = "1.3.0-0123456789ab".into();
        it["after"] = "2999-01-01T00:00:00.000Z".into();
    });
    let mut looks = ward.shop.project.spawn(&["-v", "deploy", "--attach", "--settle", "1"]);
    wait_until("a few looks", || looks.output().matches("DescribeEvents").count() > 3);
    looks.signal("-INT");
    assert_eq!(looks.ends(), 130, "{}", looks.output());
    drop(looks);
    ward.rewrite_log("prod", |it| it["expires"] = "2020-01-01T00:00:00Z".into());
    let never = ward.xtask(&["deploy", "--attach", "--settle", "1"]).exits(1);
    never.says("the deployment never began");
    ward.deploy("1.1.0").succeeds();

    // Killed before the service was told of new settings: that its version runs proves nothing.
    ward.edit_log("prod", |log| {
        let mut again = log.last().unwrap().clone();
        again["number"] = (log.len() + 1).into();
        again["verdict"] = serde_json::Value::Null;
        again["settings"]["template"] = "nobody-has-made-it".into();
        log.push(again);
    });
    let attached = ward.xtask(&["deploy", "--attach", "--settle", "1"]).exits(1);
    attached.says("its settings are not in use");

    // Programs that lie: a `no` for what was done, and a `yes` for what was not.
    let real = ward.clients().join("eb").display().to_string();
    let lie = format!("#!/bin/sh\n{real} \"$@\"\nexit 4\n");
    ward.fake_client("eb", &lie);
    ward.deploy("1.2.0").succeeds().prints("prod runs 1.2.0");
    let lie = format!("#!/bin/sh\ncase \"$1\" in deploy) exit 0;; esac\nexec {real} \"$@\"\n");
    ward.fake_client("eb", &lie);
    ward.deploy_shortly("1.0.0").exits(1).says("the deployment never began");
    assert_eq!(ward.page("prod"), "200 1.2.0 first three");
    ward.honest_clients();

    // Settings of somebody else's hand, and somebody else's update.
    let set =
        "Namespace=aws:elasticbeanstalk:application:environment,OptionName=TOKEN,Value=theirs";
    ward.aws(&["update-environment", "--environment-name", &name, "--option-settings", set]);
    wait_until("their update", || ward.environment("prod")["status"] == "Ready");
    ward.xtask(&["status", "prod", "--drift"]).exits(1).prints("the setting TOKEN was changed");
    ward.deploy("1.2.0").succeeds();
    assert_eq!(ward.page("prod"), "200 1.2.0 first three");
    ward.drill(&format!("stuck={name}"));
    ward.aws(&["update-environment", "--environment-name", &name, "--option-settings", set]);
    ward.deploy_shortly("1.1.0").exits(1).says("somebody changes it past this tool");
    ward.drill("clear=true");
    wait_until("their update", || ward.environment("prod")["status"] == "Ready");
}

/// What the way back needs and may not be there any more.
#[test]
fn the_way_back_is_looked_at_piece_by_piece() {
    engine!();
    let ward = Ward::new("");
    ward.ship("1.0.0", "one");
    ward.deploy("1.0.0").succeeds();
    ward.secrets("prod", "second");
    ward.ship("1.1.0", "two");
    ward.deploy("1.1.0").succeeds();
    let application = ward.shop.project.name.clone();
    let (first, second) = (ward.log("prod")[0].clone(), ward.log("prod")[1].clone());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();

    // The bundle was deleted: made again, the same bytes.
    let delete = ["delete-application-version", "--application-name", &application];
    let label = text(&first["label"]);
    let with_bundle = ["--version-label", &label, "--delete-source-bundle"];
    ward.aws(&[&delete[..], &with_bundle].concat());
    ward.rollback().succeeds().says("making it").prints("prod runs 1.0.0");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    assert_eq!(ward.log("prod")[2]["bundle"], first["bundle"]);

    // The settings were deleted.
    let template = text(&second["settings"]["template"]);
    let delete = ["delete-configuration-template", "--application-name", &application];
    ward.aws(&[&delete[..], &["--template-name", &template]].concat());
    ward.rollback().exits(1).says("the service does not keep the settings of deployment 2");

    // An image was deleted.
    ward.registry.inside(
        "rm -r /var/lib/docker-registry/docker/registry/v2/repositories/*/*/app/_manifests",
    );
    ward.xtask(&["rollback", "--to", "1.1.0", "--yes"]).exits(1).says("@sha256:");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    assert_eq!(ward.log("prod").len(), 3, "what can't be done is not begun");
}
