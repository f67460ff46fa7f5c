//! Deployments to the local Elastic Beanstalk by the real `eb` and `aws`, with a real registry and
//! a bare remote repository: what runs afterwards is what is on record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dsl::engine;
use crate::ward::{Ward, page_at};

/// 1.0.0, 1.1.0, a broken 1.2.0, and the way back.
fn story(ward: &Ward) {
    ward.ship("1.0.0", "one");
    ward.deploy("1.0.0").succeeds().prints("prod runs 1.0.0 (1.0.0-");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    ward.log_clients();
    ward.deploy("1.0.0").succeeds().prints("prod runs 1.0.0 already");
    assert_eq!(ward.client_calls(), "", "nothing is asked by what takes long to start");
    assert_eq!(ward.story("prod"), ["deploy 1.0.0 succeeded"]);

    // Whoever uses the app meanwhile gets one of the versions, always.
    let traffic = Traffic::begin(ward.port("prod"));

    // With another secret, which is no part of any release.
    ward.ship("1.1.0", "two");
    ward.secrets("prod", "second");
    let before = ward.shop.references();
    let dry = ward.xtask(&["--dry-run", "deploy", "1.1.0"]).succeeds().stdout;
    assert_eq!(ward.shop.references(), before, "a dry run changes nothing");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    ward.log_clients();
    ward.deploy("1.1.0").succeeds().prints("prod runs 1.1.0 (1.1.0-");
    let label = ward.log("prod")[1]["label"].as_str().unwrap().to_owned();
    let calls = ward.client_calls().replace(&label, "1.1.0-<sha256>");
    assert_eq!(changes(&dry), changes(&calls), "a dry run prints what the real one runs");
    assert!(changes(&calls).len() >= 3, "{calls}");
    assert_eq!(ward.page("prod"), "200 1.1.0 second two");

    // Its health check fails.
    ward.ship("1.2.0", "broken");
    let failed = ward.deploy("1.2.0").exits(1);
    failed.says("prod did not get 1.2.0").says("`cargo xtask rollback --env prod` brings 1.1.0");
    assert_eq!(ward.story("prod").last().unwrap(), "deploy 1.2.0 failed");
    ward.rollback().succeeds().prints("prod runs 1.1.0 (1.1.0-");
    assert_eq!(ward.page("prod"), "200 1.1.0 second two");
    assert_eq!(ward.packages("app"), ward.recorded_packages("1.1.0", "app"));
    assert_eq!(ward.story("prod").last().unwrap(), "rollback 1.1.0 succeeded");

    // Further back, with the secret of that time; and a rollback can be rolled back.
    ward.rollback().succeeds().prints("prod runs 1.0.0 (1.0.0-");
    assert_eq!(ward.page("prod"), "200 1.0.0 first one");
    ward.rollback().succeeds().prints("prod runs 1.1.0 (1.1.0-");
    assert_eq!(ward.page("prod"), "200 1.1.0 second two");
    let seen = traffic.end();
    let pages = ["200 1.0.0 first one", "200 1.1.0 second two"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(pages), "nothing else was ever served");
}

/// One request after the other, in the background: every answer that there ever was.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Traffic {
    fn begin(port: u16) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.insert(page_at(port));
                std::thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        Traffic { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The calls that change something in the service, without where the programs lie.
fn changes(lines: &str) -> Vec<String> {
    let changing = ["appversion", "deploy", "create-configuration-template", "update-environment"];
    let changes = |line: &&str| changing.iter().any(|it| line.contains(&format!(" {it} ")));
    let plain = |line: &str| {
        let (program, arguments) = line.trim_start_matches("$ ").split_once(' ').unwrap();
        let arguments = arguments.replace(['"', '\''], "");
        format!("{} {arguments}", program.rsplit('/').next().unwrap())
    };
    lines.lines().filter(changes).map(plain).collect()
}

#[test]
fn a_broken_release_is_called_broken_and_the_one_before_comes_back_on_the_docker_branch() {
    engine!();
    story(&Ward::new(""));
}

#[test]
fn a_broken_release_is_called_broken_and_the_one_before_comes_back_on_the_ecs_branch() {
    engine!();
    story(&Ward::new("platform_branch = \"ECS running on 64bit Amazon Linux 2023\""));
}

#[test]
fn what_succeeded_in_qa_goes_to_prod_and_comes_back_only_as_far_as_the_data_allows() {
    engine!();
    let ward = Ward::new("");
    let to_qa =
        |version: &str| ward.xtask(&["deploy", version, "--env", "qa", "--yes", "--settle", "6"]);
    let promote = || ward.xtask(&["deploy", "--from", "qa", "--yes", "--settle", "6"]);
    promote().exits(1).says("nothing succeeded in qa yet");
    ward.ship("1.0.0", "one");
    to_qa("1.0.0").succeeds();
    ward.secrets("prod", "of prod");
    promote().succeeds().says("1.0.0 runs in qa since").says("smoke prod");
    let images = |environment: &str| ward.log(environment).last().unwrap()["images"].clone();
    assert_eq!(images("prod"), images("qa"));
    assert_eq!(ward.page("prod"), "200 1.0.0 of prod one");
    assert_eq!(ward.page("qa"), "200 1.0.0 first one");

    // A migration that is marked, and shown to be as it is marked: there and back.
    let marked = "-- stevedore: compatible, a new table\nCREATE TABLE runs (minutes int);\n";
    ward.shop.project.file("app/migrations/2_runs.sql", marked);
    ward.ship("1.1.0", "two");
    to_qa("1.1.0").succeeds();
    promote().succeeds();
    ward.rollback().succeeds().prints("prod runs 1.0.0");
    ward.xtask(&["releases"]).succeeds().prints("runs in prod").prints("runs in qa");

    // What was shown of the release before was not shown of those before it.
    promote().succeeds();
    let marked = "-- stevedore: compatible, one more\nCREATE TABLE rides (minutes int);\n";
    ward.shop.project.file("app/migrations/3_rides.sql", marked);
    ward.ship("1.2.0", "three");
    ward.deploy("1.2.0").succeeds();
    let words = "no gate of 1.2.0 has shown that 1.0.0 runs on it";
    ward.xtask(&["rollback", "--to", "1.0.0", "--yes"]).exits(1).says("3_rides.sql").says(words);
    ward.rollback().succeeds().prints("prod runs 1.1.0");

    // One that nobody marked: no way back, by neither command.
    ward.shop.project.file("app/migrations/4_drop.sql", "DROP TABLE walks;\n");
    // It was tried in qa under a name that prod refuses.
    ward.ship("1.3.0-rc.1", "four");
    to_qa("1.3.0-rc.1").succeeds();
    assert_eq!(ward.page("qa"), "200 1.3.0-rc.1 first four");
    promote().exits(1).says("1.3.0-rc.1 is a prerelease, and prod takes none");
    ward.ship("1.3.0", "four");
    assert_eq!(ward.shop.config("1.3.0", "app"), ward.shop.config("1.3.0-rc.1", "app"));
    ward.deploy("1.3.0").succeeds();
    let words = "the migration 4_drop.sql came with 1.3.0, and 1.2.0 does not know it; it is not";
    ward.rollback().exits(1).says("prod can't go back to 1.1.0");
    ward.deploy("1.2.0").exits(1).says("1.2.0 can't be deployed to prod").says(words);
    assert_eq!(ward.page("prod"), "200 1.3.0 of prod four");

    // What is not a success there does not come here.
    ward.ship("1.4.0", "broken");
    to_qa("1.4.0").exits(1);
    promote().exits(1).says("the last deployment to qa is not a success");
}
