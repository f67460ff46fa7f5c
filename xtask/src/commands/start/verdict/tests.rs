//! The verdict on every state that a container can have.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::tools::docker_container;

/// When the containers are looked at; each says how long before that it was started.
const NOW: &str = "2026-01-01T00:01:00Z";

/// A container as the engine describes it: `status`, seconds that it is up, restarts, exit code,
/// health.
fn container(service: &str, fields: (&str, u32, u32, i32, &str)) -> Container {
    let (status, up, restarts, code, health) = fields;
    let health = match health {
        "" => serde_json::Value::Null,
        health => serde_json::json!({"Status": health}),
    };
    let line = serde_json::json!({
        "Id": service, "Name": format!("/shop-dev-{service}-1"), "Image": "shop/app",
        "Labels": {
            "com.docker.compose.service": service, "com.docker.compose.container-number": "1",
        },
        "State": {
            "Status": status, "ExitCode": code, "Health": health,
            "StartedAt": format!("2026-01-01T00:00:{:02}.5Z", 59 - up),
        },
        "RestartCount": restarts, "Ports": {},
    });
    docker_container::parse(&line.to_string(), &[]).unwrap().remove(0)
}

fn judged(once: bool, replicas: usize, containers: &[Container]) -> String {
    let wanted = BTreeMap::from([("app".to_owned(), Wanted { once, replicas })]);
    let now = humantime::parse_rfc3339(NOW).unwrap();
    match judge(&wanted, containers, now, true) {
        Verdict::Ready => "ready".into(),
        Verdict::Waiting(waiting) => format!("waiting: {}", joined(&waiting, ", ")),
        Verdict::Failed(failed) => format!("failed: {}", joined(&failed, ", ")),
    }
}

fn check(once: bool, rows: &[(&str, u32, u32, i32, &str)], expected: Expect) {
    let mut text = String::new();
    for row in rows {
        let verdict = judged(once, 1, &[container("app", *row)]);
        let verdict = verdict.replace("; ", ";\n    ");
        let (status, up, restarts, code, health) = row;
        writeln!(text, "{status} {up}s {restarts}x code {code} {health}\n  {verdict}").unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn a_service_that_is_to_stay() {
    check(
        false,
        &[
            ("running", 2, 0, 0, ""),
            ("running", 3, 0, 0, ""),
            ("running", 0, 0, 0, "starting"),
            ("running", 0, 0, 0, "healthy"),
            ("running", 40, 0, 0, "unhealthy"),
            ("running", 9, 1, 0, "healthy"),
            ("running", 10, 2, 0, ""),
            ("running", 1, 3, 0, ""),
            ("running", 11, 3, 0, ""),
            ("running", 11, 3, 0, "starting"),
            ("running", 1, 4, 0, "starting"),
            ("running", 50, 9, 0, "healthy"),
            ("restarting", 1, 3, 1, ""),
            ("restarting", 1, 4, 1, ""),
            ("restarting", 1, 4, 0, "unhealthy"),
            ("exited", 1, 0, 0, ""),
            ("exited", 1, 0, 1, ""),
            ("exited", 1, 2, 1, ""),
            ("dead", 1, 0, 137, ""),
            ("paused", 20, 0, 0, "healthy"),
            ("created", 0, 0, 0, ""),
        ],
        expect![[r#"
            running 2s 0x code 0 
              waiting: app (running)
            running 3s 0x code 0 
              ready
            running 0s 0x code 0 starting
              waiting: app (starting)
            running 0s 0x code 0 healthy
              ready
            running 40s 0x code 0 unhealthy
              failed: app is unhealthy
            running 9s 1x code 0 healthy
              waiting: app (running, restarted once)
            running 10s 2x code 0 
              ready
            running 1s 3x code 0 
              waiting: app (running, restarted 3 times)
            running 11s 3x code 0 
              ready
            running 11s 3x code 0 starting
              failed: app does not stay up: 3 restarts
            running 1s 4x code 0 starting
              failed: app does not stay up: 4 restarts
            running 50s 9x code 0 healthy
              ready
            restarting 1s 3x code 1 
              waiting: app (restarting, restarted 3 times)
            restarting 1s 4x code 1 
              failed: app does not stay up: 4 restarts, last exit code 1
            restarting 1s 4x code 0 unhealthy
              failed: app does not stay up: 4 restarts, last exit code 0;
                if it is to end, mark it `x-stevedore: {once: true}`, with `restart: on-failure`
            exited 1s 0x code 0 
              failed: app ended with exit code 0;
                if it is to end, mark it `x-stevedore: {once: true}`
            exited 1s 0x code 1 
              failed: app ended with exit code 1
            exited 1s 2x code 1 
              failed: app ended with exit code 1 after 2 restarts
            dead 1s 0x code 137 
              failed: app ended with exit code 137
            paused 20s 0x code 0 healthy
              failed: app is paused;
                `docker container unpause shop-dev-app-1` continues it
            created 0s 0x code 0 
              waiting: app (created)
        "#]],
    );
}

#[test]
fn a_service_that_runs_once() {
    check(
        true,
        &[
            ("running", 30, 0, 0, ""),
            ("running", 30, 3, 0, ""),
            ("running", 1, 4, 0, ""),
            ("exited", 1, 0, 0, ""),
            ("exited", 1, 2, 0, ""),
            ("exited", 1, 2, 3, ""),
            ("restarting", 1, 4, 3, ""),
            ("restarting", 1, 4, 0, ""),
        ],
        expect![[r#"
            running 30s 0x code 0 
              waiting: app (running)
            running 30s 3x code 0 
              waiting: app (running, restarted 3 times)
            running 1s 4x code 0 
              failed: app does not stay up: 4 restarts
            exited 1s 0x code 0 
              ready
            exited 1s 2x code 0 
              ready
            exited 1s 2x code 3 
              failed: app ended with exit code 3 after 2 restarts
            restarting 1s 4x code 3 
              failed: app does not stay up: 4 restarts, last exit code 3
            restarting 1s 4x code 0 
              failed: app does not stay up: 4 restarts, last exit code 0;
                give it `restart: on-failure`
        "#]],
    );
}

#[test]
fn every_replica_counts() {
    let fine = || container("app", ("running", 5, 0, 0, ""));
    let ended = || container("app", ("exited", 5, 0, 2, ""));
    assert_eq!(judged(false, 0, &[]), "ready");
    assert_eq!(judged(false, 1, &[]), "failed: app has no container");
    assert_eq!(judged(false, 2, &[fine()]), "failed: app has 1 of 2 containers");
    assert_eq!(judged(false, 2, &[fine(), ended()]), "failed: app-1 ended with exit code 2");
    assert_eq!(judged(false, 2, &[fine(), fine()]), "ready");
}

#[test]
fn why_it_could_not_be_started_is_said() {
    let mut container = container("app", ("created", 0, 0, 127, ""));
    container.state.error = "exec: \"nope\": not found\nmore".into();
    assert_eq!(
        judged(false, 1, &[container]),
        "failed: app can't start: exec: \"nope\": not found"
    );
    let mut container = super::tests::container("app", ("exited", 0, 0, 137, ""));
    container.state.out_of_memory = true;
    let says = "failed: app ended with exit code 137: it ran out of memory";
    assert_eq!(judged(false, 1, &[container]), says);
}
