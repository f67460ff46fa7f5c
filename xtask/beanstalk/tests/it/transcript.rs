//! The real EB CLI, unmodified, from `init` to `terminate`: every command that it has for an
//! environment, with its exit code, its words, and what the app's page says afterwards.
//!
//! `eb` waits five seconds in each operation; so these are several stories, side by side.

use crate::app;
use crate::dsl::{DOCKER_BRANCH, ECS_BRANCH, Eb, REGION, Server, engine, stories, wait_until};

/// A project whose page says `one`, made known to `eb`.
pub(crate) fn shop(server: &Server) -> Eb<'_> {
    let eb = Eb::new(server);
    eb.file("docker-compose.yml", app::compose()).file("version.txt", "one\n").commit("one");
    let init = ["init", "shop", "--platform", DOCKER_BRANCH, "--region", REGION];
    eb.run(&init).succeeds().says("Application shop has been created.");
    eb
}

/// The page of an environment says this.
#[track_caller]
pub(crate) fn serves(server: &Server, environment: &str, text: &str) {
    assert_eq!(server.page(environment).as_deref(), Some(&*format!("{text}\n")));
}

#[test]
fn the_real_eb_cli_does_everything_that_it_can() {
    engine!();
    stories![
        a_version_is_deployed_in_every_way_that_eb_has,
        a_version_is_a_zip_of_ones_own_and_nobody_waits_or_it_is_processed_first,
        everything_about_an_environment_can_be_seen,
        environments_are_swapped_cloned_scaled_terminated_and_restored,
        settings_are_changed_and_saved_and_tags_too,
        an_update_is_aborted_and_the_earlier_version_answers_again,
        the_ecs_branch_serves_a_dockerrun_file_of_version_2,
    ];
}

fn a_version_is_deployed_in_every_way_that_eb_has() {
    let server = Server::start();
    let eb = shop(&server);
    let config = eb.read(".elasticbeanstalk/config.yml");
    assert!(config.contains("application_name: shop"), "{config}");
    assert!(config.contains(&format!("default_platform: {DOCKER_BRANCH}")), "{config}");
    eb.run(&["create", "blue", "--single", "--cname", "shop-blue", "--envvars", "COLOR=red"])
        .succeeds()
        .says("Uploading shop/app-")
        .says("createEnvironment is starting.")
        .says("Successfully launched environment: blue");
    serves(&server, "blue", "one COLOR=red");
    assert!(server.address("blue").starts_with("shop-blue.localhost:"));

    // The commit, not what lies in the directory.
    eb.file("version.txt", "two\n").commit("two");
    eb.file("version.txt", "dirty\n");
    eb.run(&["deploy"])
        .succeeds()
        .says("Environment update is starting.")
        .says("New application version was deployed to running EC2 instances.")
        .says("Environment update completed successfully.");
    serves(&server, "blue", "two COLOR=red");

    // The index.
    eb.file("version.txt", "three\n").git(&["add", "version.txt"]).file("version.txt", "dirty\n");
    let staged = ["deploy", "blue", "--staged", "--label", "v3", "--message", "the third"];
    eb.run(&staged).succeeds().says("Creating application version archive \"v3\".");
    serves(&server, "blue", "three COLOR=red");

    eb.file("version.txt", "four\n").commit("four");
    eb.run(&["deploy", "--label", "v4", "--timeout", "5"]).succeeds();
    serves(&server, "blue", "four COLOR=red");
    let status = eb.run(&["status"]).succeeds();
    assert_eq!(status.after("Deployed Version:"), "v4");

    // An earlier one; nothing is uploaded.
    eb.run(&["deploy", "--version", "v3"]).succeeds().does_not_say("Uploading");
    serves(&server, "blue", "three COLOR=red");

    // A label that is there is taken as it is, whatever the directory has by now.
    eb.file("version.txt", "never\n").commit("never");
    eb.run(&["deploy", "--label", "v4"]).succeeds().does_not_say("Uploading");
    serves(&server, "blue", "four COLOR=red");
}

fn a_version_is_a_zip_of_ones_own_and_nobody_waits_or_it_is_processed_first() {
    let server = Server::start();
    let eb = shop(&server);
    eb.run(&["create", "blue", "--single", "--envvars", "COLOR=red"]).succeeds();
    eb.file("five.zip", app::bundle("five\n"));
    let config = eb.read(".elasticbeanstalk/config.yml");
    let with_artifact = format!("{config}deploy:\n  artifact: five.zip\n");
    eb.file(".elasticbeanstalk/config.yml", with_artifact);
    eb.run(&["deploy", "--label", "v5"]).succeeds().says("Uploading shop/v5.zip");
    serves(&server, "blue", "five COLOR=red");
    eb.file(".elasticbeanstalk/config.yml", config);

    eb.file("version.txt", "six\n").commit("six");
    eb.run(&["deploy", "--nohang", "--label", "v6"])
        .succeeds()
        .does_not_say("Environment update completed successfully.");
    server.ready("blue");
    serves(&server, "blue", "six COLOR=red");

    eb.run(&["deploy", "--process", "--label", "v7"]).succeeds();
    serves(&server, "blue", "six COLOR=red");
    assert_eq!(eb.run(&["status"]).succeeds().after("Deployed Version:"), "v7");
}

fn everything_about_an_environment_can_be_seen() {
    let server = Server::start();
    let eb = shop(&server);
    eb.run(&["create", "blue", "--single", "--envvars", "COLOR=red,SIZE=xl"]).succeeds();
    let nohang = ["create", "green", "--single", "--nohang"];
    eb.run(&nohang).succeeds().does_not_say("Successfully launched");
    server.ready("green");
    serves(&server, "blue", "one COLOR=red");
    serves(&server, "green", "one COLOR=");

    let list = eb.run(&["list"]).succeeds();
    assert_eq!(list.output, "* blue\ngreen\n");
    let instance = server.environment("blue")["instances"][0]["id"].as_str().unwrap().to_owned();
    eb.run(&["list", "--verbose"]).succeeds().says(&instance).says("Application: shop");
    eb.run(&["list", "--all"]).succeeds().says("blue").says("green");
    eb.run(&["use", "green"]).succeeds();
    assert_eq!(eb.run(&["list"]).succeeds().output, "blue\n* green\n");
    eb.run(&["use", "blue"]).succeeds();

    let status = eb.run(&["status", "--verbose"]).succeeds().says("Running instances: 1");
    assert_eq!(status.after("Application name:"), "shop");
    assert_eq!(status.after("Region:"), REGION);
    assert!(status.after("Platform:").ends_with(&format!("{DOCKER_BRANCH}/4.3.0")));
    assert_eq!(status.after("Tier:"), "WebServer-Standard-1.0");
    assert_eq!(status.after("CNAME:"), server.address("blue"));
    assert_eq!(status.after("Status:"), "Ready");
    assert_eq!(status.after("Health:"), "Green");

    let events = eb.run(&["events"]).succeeds();
    let at = |text: &str| events.output.find(text).unwrap_or_else(|| panic!("no {text:?}"));
    assert!(at("createEnvironment is starting.") < at("Successfully launched environment: blue"));
    eb.run(&["health"]).succeeds().says("blue").says("Ok").says(&instance);

    eb.run(&["logs"]).succeeds().says(&instance).says("eb-engine.log").says("serving one");
    eb.run(&["logs", "--all"]).succeeds().says("Logs were saved to");
    let logs = eb.path(".elasticbeanstalk/logs/latest").join(&instance).join("var/log");
    let log = std::fs::read_to_string(logs.join("eb-docker/containers/web-stdouterr.log"));
    assert!(log.unwrap().contains("serving one"));
    eb.run(&["logs", "--zip"]).succeeds().says("Logs were saved to").says(".zip");

    eb.run(&["printenv"]).succeeds().says("COLOR = red").says("SIZE = xl");
    assert_eq!(eb.run(&["platform", "list"]).succeeds().output, "docker\necs\n");
    let stacks = "64bit Amazon Linux 2023 v4.1.0 running ECS\n\
                  64bit Amazon Linux 2023 v4.3.0 running Docker\n";
    assert_eq!(eb.run(&["platform", "list", "--verbose"]).succeeds().output, stacks);

    let display = eb.run(&["config", "--display", "--format", "json"]).succeeds();
    let json = display.output.find('{').map(|at| &display.output[at..]).unwrap();
    let shown: serde_json::Value = serde_json::from_str(json).unwrap();
    // Properties are not shown there: `eb printenv` is for these.
    let settings = &shown["settings"];
    assert_eq!(settings["aws:elasticbeanstalk:environment"]["EnvironmentType"], "SingleInstance");
    assert_eq!(settings["aws:elasticbeanstalk:command"]["BatchSize"], "30");
    eb.run(&["config", "--display"]).succeeds().says("EnvironmentType: SingleInstance");

    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["appversion", "--create", "--label", "v2"]).succeeds().says("Uploading shop/v2.zip");
    let versions = || server.call("DescribeApplicationVersions", &[]).texts("VersionLabel");
    assert!(versions().contains(&"v2".to_owned()));
    serves(&server, "blue", "one COLOR=red");
    eb.run_with(&["appversion", "--delete", "v2"], "y\n").succeeds().says("deleted successfully");
    assert!(!versions().contains(&"v2".to_owned()));
    let label = eb.run(&["status"]).after("Deployed Version:");
    eb.run_with(&["appversion", "--delete", &label], "y\n").exits(4).says("is deployed to");
    assert!(versions().contains(&label));
}

fn environments_are_swapped_cloned_scaled_terminated_and_restored() {
    let server = Server::start();
    let eb = shop(&server);
    eb.run(&["create", "blue", "--envvars", "COLOR=blue"]).succeeds();
    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["create", "green", "--single", "--envvars", "COLOR=green"]).succeeds();
    serves(&server, "blue", "one COLOR=blue");
    serves(&server, "green", "two COLOR=green");

    let (blue, green) = (server.address("blue"), server.address("green"));
    let done = "Completed swapping CNAMEs for environments 'blue' and 'green'.";
    eb.run(&["swap", "blue", "--destination_name", "green"]).succeeds().says(done);
    assert_eq!((server.address("blue"), server.address("green")), (green, blue));
    serves(&server, "blue", "one COLOR=blue");
    serves(&server, "green", "two COLOR=green");

    let clone = ["clone", "green", "--clone_name", "copy", "--exact", "--envvars", "SIZE=xl"];
    eb.run(&clone).succeeds().says("Successfully launched environment: copy");
    serves(&server, "copy", "two COLOR=green");
    eb.run(&["printenv", "copy"]).succeeds().says("COLOR = green").says("SIZE = xl");

    let scaled = "Successfully deployed new configuration to environment.";
    eb.run(&["scale", "3", "blue"]).succeeds().says(scaled);
    let count = |name: &str| server.environment(name)["instances"].as_array().unwrap().len();
    assert_eq!(count("blue"), 3);
    for _ in 0..6 {
        serves(&server, "blue", "one COLOR=blue");
    }
    eb.run(&["scale", "1", "blue"]).succeeds();
    assert_eq!(count("blue"), 1);
    serves(&server, "blue", "one COLOR=blue");

    let id = eb.run(&["status", "copy"]).succeeds().after("Environment ID:");
    let address = server.address("copy");
    let terminated = "terminateEnvironment completed successfully.";
    eb.run(&["terminate", "copy", "--force"]).succeeds().says(terminated);
    assert_eq!(crate::dsl::get(&address, "/"), None, "nobody listens there any more");
    assert_eq!(eb.run(&["list"]).succeeds().output, "* blue\ngreen\n");
    eb.run(&["restore", &id]).succeeds().says("Successfully launched environment: copy");
    serves(&server, "copy", "two COLOR=green");

    let deleted = "The application has been deleted successfully.";
    eb.run(&["terminate", "--all", "--force"]).succeeds().says(deleted);
    assert!(server.environments().iter().all(|it| it["status"] == "Terminated"));
    let filter = format!("label=stevedore.beanstalk={}", server.owner());
    let left = crate::dsl::docker(&["container", "ls", "--all", "--quiet", "--filter", &filter]);
    assert_eq!(left, "", "no container is left");
    let bucket = server.bucket();
    let objects = server.s3("GET", &format!("/{bucket}"), b"").succeeds().texts("Key");
    assert_eq!(objects, [""; 0], "no bundle is left");
    assert!(!eb.path(".elasticbeanstalk").exists());
}

fn settings_are_changed_and_saved_and_tags_too() {
    let server = Server::start();
    let eb = shop(&server);
    let create = ["create", "blue", "--single", "--envvars", "COLOR=red", "--tags", "team=a"];
    eb.run(&create).succeeds();
    // `eb` stops listening there, so it must be true by then.
    let done = "Successfully deployed new configuration to environment.";
    eb.run(&["setenv", "COLOR=green", "SIZE=xl"]).succeeds().says(done);
    serves(&server, "blue", "one COLOR=green");
    eb.run(&["setenv", "SIZE="]).succeeds();
    eb.run(&["printenv"]).succeeds().says("COLOR = green").does_not_say("SIZE");

    eb.run(&["config", "save", "--cfg", "saved"]).succeeds().says("saved.cfg.yml");
    let saved = eb.read(".elasticbeanstalk/saved_configs/saved.cfg.yml");
    assert!(saved.contains("green"), "{saved}");
    eb.run(&["config", "list"]).succeeds().says("saved");
    let properties = "aws:elasticbeanstalk:application:environment";
    let update = format!(r#"{{"OptionSettings": {{"{properties}": {{"COLOR": "blue"}}}}}}"#);
    eb.run(&["config", "--update", &update]).succeeds().says(done);
    serves(&server, "blue", "one COLOR=blue");
    // The saved one again, by its name.
    eb.run(&["config", "--cfg", "saved"]).succeeds().says(done);
    serves(&server, "blue", "one COLOR=green");

    // Changed here, put there, got back, used.
    let file = ".elasticbeanstalk/saved_configs/saved.cfg.yml";
    eb.file(file, saved.replace("green", "violet"));
    eb.run(&["config", "put", "saved"]).succeeds();
    std::fs::remove_file(eb.path(file)).unwrap();
    eb.run(&["config", "get", "saved"]).succeeds();
    let saved = eb.read(file);
    assert!(saved.contains("violet"), "{saved}");
    std::fs::remove_file(eb.path(file)).unwrap();
    eb.run(&["config", "--cfg", "saved"]).succeeds();
    serves(&server, "blue", "one COLOR=violet");
    // On stdin.
    eb.run_with(&["config"], &saved.replace("violet", "brown")).succeeds().says(done);
    serves(&server, "blue", "one COLOR=brown");
    eb.run(&["config", "delete", "saved"]).succeeds();
    eb.run(&["config", "list"]).succeeds().does_not_say("saved");

    eb.run(&["tags", "--list"]).succeeds().says("team").says("a");
    eb.run(&["tags", "--add", "cost=1"]).succeeds();
    eb.run(&["tags", "--list"]).succeeds().says("cost");
    eb.run(&["tags", "--update", "cost=2"]).succeeds();
    eb.run(&["tags", "--delete", "team"]).succeeds();
    let tags = eb.run(&["tags", "--list"]).succeeds().does_not_say("team");
    assert!(tags.output.lines().any(|line| line.contains("cost") && line.contains('2')));
}

fn an_update_is_aborted_and_the_earlier_version_answers_again() {
    let server = Server::start();
    let eb = shop(&server);
    eb.run(&["create", "blue", "--single"]).succeeds();
    server.drill("stuck=blue");
    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["deploy", "--nohang"]).succeeds();
    assert_eq!(eb.run(&["status"]).succeeds().after("Status:"), "Updating");
    eb.run(&["abort", "blue"]).succeeds();
    server.drill("clear=true");
    server.ready("blue");
    serves(&server, "blue", "one COLOR=");
    eb.run(&["events"]).succeeds().says("Environment update is aborting.");
    eb.run(&["deploy"]).succeeds();
    serves(&server, "blue", "two COLOR=");
}

fn the_ecs_branch_serves_a_dockerrun_file_of_version_2() {
    let server = Server::start();
    let eb = Eb::new(&server);
    eb.file("Dockerrun.aws.json", app::dockerrun()).file("version.txt", "one\n").commit("one");
    eb.run(&["init", "shop", "--platform", ECS_BRANCH, "--region", REGION]).succeeds();
    eb.run(&["create", "blue", "--single", "--envvars", "COLOR=red"]).succeeds();
    serves(&server, "blue", "one COLOR=red");
    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["deploy"]).succeeds();
    serves(&server, "blue", "two COLOR=red");
    eb.run(&["setenv", "COLOR=green"]).succeeds();
    serves(&server, "blue", "two COLOR=green");
    eb.run(&["terminate", "blue", "--force"]).succeeds();
    wait_until("all to be gone", || {
        let filter = format!("label=stevedore.beanstalk={}", server.owner());
        crate::dsl::docker(&["container", "ls", "--all", "--quiet", "--filter", &filter]).is_empty()
    });
}
