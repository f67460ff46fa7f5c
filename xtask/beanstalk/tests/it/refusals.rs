//! What goes wrong, through the real EB CLI: which exit code it has, in which words, and what is
//! served afterwards.

use crate::dsl::{Eb, REGION, Server, engine, finish, stories};
use crate::tools;
use crate::transcript::{serves, shop};

#[test]
fn what_goes_wrong_has_the_exit_code_and_the_words_of_the_service() {
    engine!();
    stories![
        what_is_not_there_is_refused_and_what_is_there_is_not_made_twice,
        an_environment_that_is_being_changed_takes_nothing_else,
        a_broken_version_fails_and_all_at_once_leaves_it_there,
        a_broken_version_under_the_immutable_policy_is_never_seen,
        keys_of_another_account_and_regions_that_are_not_here_are_refused,
    ];
}

fn what_is_not_there_is_refused_and_what_is_there_is_not_made_twice() {
    let server = Server::start();
    let eb = shop(&server);
    let missing = "Environment \"nowhere\" not Found.";
    eb.run(&["create", "blue", "--single", "--cname", "shop-blue", "--sample"]).succeeds();
    eb.run(&["status", "nowhere"]).exits(4);
    eb.run(&["use", "nowhere"]).exits(4);
    eb.run(&["deploy", "nowhere"]).exits(4).says(missing);
    let none = "No Environment found for EnvironmentName = 'nowhere'.";
    eb.run(&["setenv", "A=1", "--environment", "nowhere"]).exits(4).says(none);
    eb.run(&["terminate", "nowhere", "--force"]).exits(4).says(none);
    eb.run(&["deploy", "--version", "never"])
        .exits(4)
        .says("No Application Version named 'never' found.");

    let again = ["create", "blue", "--single", "--sample"];
    eb.run(&again).exits(4).says("Environment blue already exists.");
    let cname = ["create", "green", "--single", "--sample", "--cname", "shop-blue"];
    eb.run(&cname).exits(4).says("The CNAME prefix shop-blue is already in use.");
    eb.run(&["create", "green", "--single", "--sample", "--cname", "ab"])
        .exits(4)
        .says("Invalid length for parameter CNAMEPrefix");
    assert_eq!(eb.run(&["list"]).succeeds().output, "* blue\n");

    // An application that is there is taken over, with its first environment.
    let other = Eb::new(&server);
    other.file("version.txt", "other\n").commit("other");
    let init = ["init", "shop", "--platform", crate::dsl::DOCKER_BRANCH, "--region", REGION];
    other.run(&init).succeeds().does_not_say("has been created");
    assert!(other.read(".elasticbeanstalk/config.yml").contains("environment: blue"));

    let nowhere = Eb::new(&server);
    nowhere.run(&["status"]).exits(126).says("This directory has not been set up with the EB CLI");
}

fn an_environment_that_is_being_changed_takes_nothing_else() {
    let server = Server::start();
    let eb = shop(&server);
    eb.run(&["create", "blue", "--single"]).succeeds();
    server.drill("stuck=blue");
    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["deploy", "--nohang"]).succeeds();
    let busy = "Environment named blue is in an invalid state for this operation. Must be Ready.";
    eb.run(&["deploy"]).exits(4).says(busy);
    let pending = "The operation cannot be completed at this time due to a pending operation.";
    eb.run(&["setenv", "COLOR=red"]).exits(3).says(pending);
    eb.run(&["terminate", "blue", "--force"]).exits(4).says(busy);
    // The EB CLI itself takes this one lightly.
    let update = r#"{"OptionSettings": {"aws:autoscaling:asg": {"MaxSize": "2"}}}"#;
    let pending = "The environment update cannot be complete at this time. Try again later.";
    eb.run(&["config", "--update", update]).exits(0).says(pending);
    serves(&server, "blue", "one COLOR=");
    server.drill("clear=true");
    server.ready("blue");
    serves(&server, "blue", "two COLOR=");
}

fn a_broken_version_fails_and_all_at_once_leaves_it_there() {
    let server = Server::with(&["--patience", "4"]);
    let eb = shop(&server);
    eb.run(&["create", "blue", "--single", "--envvars", "COLOR=red"]).succeeds();
    let label = eb.run(&["status"]).succeeds().after("Deployed Version:");
    eb.file("version.txt", "broken\n").commit("broken");
    eb.run(&["deploy", "--label", "bad"])
        .exits(4)
        .says("Unsuccessful command execution on instance id(s)")
        .says("Failed to deploy application.");
    let status = eb.run(&["status"]).succeeds();
    assert_eq!(status.after("Deployed Version:"), label, "what was deployed last, and well");
    assert_eq!((status.after("Status:"), status.after("Health:")), ("Ready".into(), "Red".into()));
    eb.run(&["health"]).succeeds().says("Severe");
    assert_eq!(server.page("blue"), None, "its answer is an error");
    // Back by hand, as with the service.
    eb.run(&["deploy", "--version", &label]).succeeds();
    serves(&server, "blue", "one COLOR=red");
    assert_eq!(eb.run(&["status"]).succeeds().after("Health:"), "Green");

    eb.run(&["create", "green", "--single", "--version", "bad"])
        .exits(4)
        .says("Create environment operation is complete, but with errors.");
}

fn a_broken_version_under_the_immutable_policy_is_never_seen() {
    let server = Server::with(&["--patience", "4"]);
    let eb = shop(&server);
    let policy = "option_settings:\n  aws:elasticbeanstalk:command:\n    \
                  DeploymentPolicy: Immutable\n";
    eb.file(".ebextensions/policy.config", policy).commit("immutable");
    eb.run(&["create", "blue", "--single"]).succeeds();
    serves(&server, "blue", "one COLOR=");
    eb.file("version.txt", "broken\n").commit("broken");
    let answer = std::thread::scope(|scope| {
        let deploy = scope.spawn(|| eb.run(&["deploy"]));
        while !deploy.is_finished() {
            serves(&server, "blue", "one COLOR=");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        deploy.join().unwrap()
    });
    answer.exits(4).says("Failed to deploy application.");
    serves(&server, "blue", "one COLOR=");
    assert_eq!(eb.run(&["status"]).succeeds().after("Health:"), "Green");
    eb.file("version.txt", "two\n").commit("two");
    eb.run(&["deploy"]).succeeds().says("Test instance passed health checks.");
    serves(&server, "blue", "two COLOR=");
}

fn keys_of_another_account_and_regions_that_are_not_here_are_refused() {
    let server = Server::start();
    let eb = shop(&server);
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = eb.tool(tools::venv().join("bin/eb"));
        command.args(arguments).envs(variables.iter().copied());
        finish(command, "", &format!("{variables:?} eb {}", arguments.join(" ")))
    };
    let own = [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "mine")];
    with(&own, &["list"]).exits(4).says("whose only key pair is local / local");
    with(&[("AWS_SECRET_ACCESS_KEY", "mine")], &["list"])
        .exits(4)
        .says("the secret of a local Elastic Beanstalk is 'local'");
    with(&[], &["list", "--region", "eu-west-1"])
        .exits(4)
        .says("The local Elastic Beanstalk is us-east-1.");
    server.drill("expired=true");
    eb.run(&["list"]).exits(4).says("The security token included in the request is expired");
    server.drill("clear=true");
    eb.run(&["list"]).succeeds();
}
