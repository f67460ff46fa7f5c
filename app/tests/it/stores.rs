//! What must hold on each store alike.

use crate::database::{Database, on_every_store};
use crate::server::{Server, command, finish, migrate, run};

#[test]
fn what_was_added_is_found_and_listed() {
    on_every_store(|database| {
        let server = Server::start(database);
        let added = server.add(r#"{"kind":"  trail run ","minutes":31}"#);
        assert_eq!((&added["kind"], &added["minutes"]), (&"trail run".into(), &31.into()));
        let id = added["id"].as_str().unwrap();
        assert_eq!(server.get(&format!("/activity/{id}")).json(), added);
        assert_eq!(server.get("/activities").json(), serde_json::json!([added]));
    });
}

#[test]
fn newest_come_first_by_their_own_time_not_by_when_they_were_sent() {
    on_every_store(|database| {
        let server = Server::start(database);
        for (kind, at) in [("b", "2024-02-01"), ("c", "2025-03-01"), ("a", "2023-01-01")] {
            let at = format!("{at}T06:00:00+02:00");
            server.add(&format!(r#"{{"kind":"{kind}","minutes":1,"at":"{at}"}}"#));
        }
        assert_eq!(server.kinds(""), ["c", "b", "a"]);
        assert_eq!(server.kinds("?limit=2"), ["c", "b"]);
    });
}

#[test]
fn of_the_same_time_the_one_sent_last_comes_first() {
    on_every_store(|database| {
        let server = Server::start(database);
        for kind in ["first", "second", "third"] {
            server.add(&format!(r#"{{"kind":"{kind}","minutes":1,"at":"2025-01-01T00:00:00Z"}}"#));
        }
        assert_eq!(server.kinds(""), ["third", "second", "first"]);
    });
}

#[test]
fn a_list_without_a_limit_holds_one_hundred() {
    on_every_store(|database| {
        let server = Server::start(database);
        for _ in 0..101 {
            server.add(r#"{"kind":"run","minutes":1}"#);
        }
        assert_eq!(server.kinds("").len(), 100);
        assert_eq!(server.kinds("?limit=500").len(), 101);
    });
}

#[test]
fn activities_survive_a_restart() {
    on_every_store(|database| {
        let server = Server::start(database);
        let added =
            server.add(r#"{"kind":"swim 🏊","minutes":1440,"at":"1999-12-31T23:59:59.5Z"}"#);
        assert_eq!(added["at"], "1999-12-31T23:59:59.5Z");
        server.stop();
        let server = Server::start_with(database, &[]);
        assert_eq!(server.get("/activities").json(), serde_json::json!([added]));
    });
}

#[test]
fn the_page_sums_the_last_seven_days() {
    on_every_store(|database| {
        let server = Server::start(database);
        server.add(r#"{"kind":"run","minutes":40}"#);
        server.add(r#"{"kind":"row","minutes":45}"#);
        server.add(r#"{"kind":"ride","minutes":200,"at":"2020-01-01T00:00:00Z"}"#);
        let page = server.get("/").body;
        assert!(page.contains("<dt>Time</dt><dd>1 h 25 min</dd>"), "{page}");
        assert!(page.contains("<dt>Activities</dt><dd>2</dd>"), "{page}");
    });
}

#[test]
fn health_names_the_store() {
    on_every_store(|database| {
        let server = Server::start(database);
        assert_eq!(server.get("/health").json()["store"], database.kind);
    });
}

#[test]
fn migrate_says_what_it_applied_and_then_has_nothing_to_do() {
    on_every_store(|database| {
        assert_eq!(migrate(database), "applied 1 create activities\n");
        assert_eq!(migrate(database), "nothing to apply: 1 of 1 migrations are in place\n");
    });
}

#[test]
fn serve_refuses_a_store_that_is_not_migrated() {
    on_every_store(|database| {
        let finished = run(&["serve"], &[("DATABASE_URL", &database.url), ("PORT", "0")]);
        assert_eq!(finished.code, Some(1));
        assert!(finished.stderr.contains("run `app migrate`"), "{finished:?}");
        assert_eq!(finished.stdout, "");
    });
}

#[test]
fn of_migrations_that_run_at_once_exactly_one_applies() {
    let Some(database) = Database::postgres() else { return };
    let variables = [("DATABASE_URL", database.url.as_str())];
    let start = |_| command(&["migrate"], &variables).spawn().unwrap();
    let running: Vec<_> = (0..8).map(start).collect();
    let finished: Vec<_> = running.into_iter().map(finish).collect();
    assert!(finished.iter().all(|it| it.code == Some(0)), "{finished:?}");
    let applied = finished.iter().filter(|it| it.stdout.starts_with("applied")).count();
    assert_eq!(applied, 1, "{finished:?}");
}
