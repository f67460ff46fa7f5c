//! A store that comes late, goes away and comes back. Only Postgres can.

use crate::database::Database;
use crate::proxy::Proxy;
use crate::server::{Server, migrate, run};

/// A migrated store behind a proxy that is cut, and the URL that leads through it.
fn behind_proxy() -> Option<(Database, Proxy, String)> {
    let database = Database::postgres()?;
    migrate(&database);
    let proxy = Proxy::to(database.server_address());
    let url = database.url_through(proxy.port);
    Some((database, proxy, url))
}

#[test]
fn a_store_that_starts_later_is_waited_for() {
    let Some((_database, proxy, url)) = behind_proxy() else { return };
    let mut server = Server::spawn(&[("DATABASE_URL", &url)]);
    server.wait_for_line("warn waiting store=postgres");
    proxy.mend();
    server.wait_until_listening();
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_stop_signal_ends_the_wait_for_a_store() {
    let Some((_database, _proxy, url)) = behind_proxy() else { return };
    let mut server = Server::spawn(&[("DATABASE_URL", &url)]);
    server.wait_for_line("warn waiting");
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn without_its_store_the_server_says_so_and_recovers() {
    let Some((_database, proxy, url)) = behind_proxy() else { return };
    proxy.mend();
    let mut server = Server::spawn(&[("DATABASE_URL", &url)]);
    server.wait_until_listening();
    server.add(r#"{"kind":"run","minutes":1}"#);

    proxy.cut();
    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &"unavailable".into()));
    let port = server.address.port().to_string();
    assert_eq!(run(&["health"], &[("PORT", &port)]).code, Some(1));
    let sorry = "the store did not do its part; try again later";
    assert_eq!(server.get("/activities").error(), (503, sorry.to_owned()));
    let page = server.post_form("kind=ride&minutes=5");
    assert_eq!(page.status, 503);
    assert!(page.body.contains(r#"role="alert""#) && page.body.contains(r#"value="ride""#));

    proxy.mend();
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.kinds(""), ["run"]);
    server.signal("TERM");
    server.ended();
    let failed = |it: &String| it.contains("path=/health status=503") && it.contains(" error=");
    assert!(server.log.iter().any(failed), "{:?}", server.log);
}
