//! The JSON interface: what it refuses, and how it says so.

use crate::database::Database;
use crate::http;
use crate::server::Server;

#[track_caller]
fn refused(body: &str, expected: &[&str]) {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let response = server.post_json("/activity", body);
    assert_eq!(response.error(), (422, "the activity is not valid".to_owned()), "{body}");
    assert_eq!(response.problems(), expected, "{body}");
    assert_eq!(server.get("/activities").body, "[]");
}

#[test]
fn every_problem_is_told_at_once() {
    refused(
        r#"{"kind":" ","minutes":0,"at":"soon","zone":1,"distance":5}"#,
        &[
            "kind: must not be empty",
            "minutes: must be a whole number from 1 to 1440",
            "at: must be an RFC 3339 time, such as 2026-01-31T18:30:00Z",
            "distance: is not a known field",
            "zone: is not a known field",
        ],
    );
}

#[test]
fn kind_and_minutes_are_required() {
    refused("{}", &["kind: is missing", "minutes: is missing"]);
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    refused(r#"["run",31]"#, &["body: must be a JSON object"]);
}

#[test]
fn a_kind_is_one_to_forty_characters_without_control_characters() {
    refused(r#"{"kind":7,"minutes":1}"#, &["kind: must be text"]);
    refused(r#"{"kind":"a\u0007b","minutes":1}"#, &["kind: must not hold control characters"]);
    let long = format!(r#"{{"kind":"{}","minutes":1}}"#, "é".repeat(41));
    refused(&long, &["kind: must be at most 40 characters"]);
}

#[test]
fn minutes_are_a_whole_number_of_at_most_a_day() {
    for minutes in ["0", "-1", "1441", "1.5", r#""31""#, "null", "99999999999999999999"] {
        let body = format!(r#"{{"kind":"run","minutes":{minutes}}}"#);
        refused(&body, &["minutes: must be a whole number from 1 to 1440"]);
    }
}

#[test]
fn a_time_is_rfc_3339_and_neither_ancient_nor_in_the_future() {
    for at in ["31", r#""2026-01-31""#, r#""20260131T183000Z""#, r#""2026-01-31T18:30:00""#] {
        let body = format!(r#"{{"kind":"run","minutes":1,"at":{at}}}"#);
        refused(&body, &["at: must be an RFC 3339 time, such as 2026-01-31T18:30:00Z"]);
    }
    for at in ["1969-12-31T23:59:59Z", "9998-01-01T00:00:00Z"] {
        let body = format!(r#"{{"kind":"run","minutes":1,"at":"{at}"}}"#);
        refused(&body, &["at: must lie between 1970 and tomorrow"]);
    }
}

#[test]
fn limits_are_accepted_and_the_answer_says_where_the_new_one_is() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let kind = "é".repeat(40);
    let response = server.post_json("/activity", &format!(r#"{{"kind":"{kind}","minutes":1440}}"#));
    assert_eq!(response.status, 201);
    let location = response.header("location").unwrap();
    assert_eq!(server.get(location).json()["kind"], kind);
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    for query in ["0", "501", "-1", "many", ""] {
        let response = server.get(&format!("/activities?limit={query}"));
        assert_eq!(response.status, 422);
        assert_eq!(response.problems(), ["limit: must be a whole number from 1 to 500"]);
    }
}

#[test]
fn errors_outside_the_fields_are_json_too() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let too_large = format!(r#"{{"kind":"{}"}}"#, "x".repeat(64 * 1024));
    let plain =
        http::request(server.address, "POST /activity", &[("content-type", "text/plain")], b"{}");
    let unnamed = http::request(server.address, "POST /activity", &[], b"{}");
    let absent = "/activity/01890a5d-ac96-774b-bcce-b302099a8057";
    for (response, status, message) in [
        (server.post_json("/activity", "{"), 400, "the body is not JSON: EOF"),
        (plain, 415, "send the activity as content-type: application/json"),
        (unnamed, 415, "send the activity as content-type: application/json"),
        (server.post_json("/", "{}"), 415, "this address does not take this content-type"),
        (server.post_json("/activity", &too_large), 413, "the body is larger than 64 KiB"),
        (server.get(absent), 404, "there is no such activity"),
        (server.get("/activity/7"), 404, "there is no such activity"),
        (server.get("/nowhere"), 404, "there is nothing at this address"),
        (server.get("/static/none.css"), 404, "there is nothing at this address"),
        (server.get("/static/../Cargo.toml"), 404, "there is nothing at this address"),
        (server.get("/static/%2e%2e/Cargo.toml"), 404, "there is nothing at this address"),
        (server.request("DELETE", "/activities"), 405, "this address does not take this method"),
        (server.request("PUT", "/static/app.css"), 405, "this address does not take this method"),
    ] {
        let (was, error) = response.error();
        assert!(was == status && error.starts_with(message), "{status} {message}: {response:?}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
    let response = server.request("DELETE", "/activities");
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
}

#[test]
fn health_says_what_runs() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let health = server.get("/health").json();
    assert_eq!((&health["status"], &health["version"]), (&"ok".into(), &"dev".into()));
    assert_eq!((&health["commit"], &health["process"]["type"]), (&"unknown".into(), &"web".into()));
    server.stop();
    let named =
        [("APP_VERSION", "1.2.3-rc.1"), ("APP_COMMIT", "0123abc"), ("APP_PROCESS", "web-blue")];
    let server = Server::start_with(&database, &named);
    let health = server.get("/health").json();
    assert_eq!((&health["version"], &health["commit"]), (&"1.2.3-rc.1".into(), &"0123abc".into()));
    assert_eq!(health["process"]["type"], "web-blue");
    assert!(health["process"]["pid"].is_u64() && health["process"]["uptime_seconds"].is_u64());
}
