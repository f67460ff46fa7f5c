//! The HTML page and its files, as a browser without scripts uses them.

use crate::database::Database;
use crate::server::Server;

#[test]
fn the_form_adds_an_activity_and_leads_back_to_the_page() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    assert!(server.get("/").body.contains("Nothing yet"));
    let response = server.post_form("kind=evening+ride&minutes=+95+");
    assert_eq!((response.status, response.header("location")), (303, Some("/")));
    let page = server.get("/").body;
    assert!(page.contains(r#"<bdi class="kind">evening ride</bdi>"#), "{page}");
    assert!(page.contains(r#"<span class="duration">1 h 35 min</span>"#), "{page}");
}

#[test]
fn a_wrong_form_comes_back_with_what_was_typed_and_what_is_wrong() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let response = server.post_form("kind=&minutes=a%22b");
    assert_eq!(response.status, 422);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    for part in [
        r#"<p class="problem" id="kind-problem">The activity must not be empty.</p>"#,
        "The minutes must be a whole number from 1 to 1440.",
        r#"value="a&#34;b""#,
        r#"aria-invalid="true""#,
    ] {
        assert!(response.body.contains(part), "{part} is not in {}", response.body);
    }
    assert_eq!(server.get("/activities").body, "[]");
}

#[test]
fn a_script_in_a_kind_stays_text() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let typed = "kind=%3Cscript%3Ealert(1)%3C/script%3E&minutes=";
    assert_eq!(server.post_form(&format!("{typed}1")).status, 303);
    for page in [server.get("/").body, server.post_form(&format!("{typed}0")).body] {
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
    }
}

#[test]
fn the_page_forbids_everything_that_is_not_its_own() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let page = server.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; "), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    for outside in ["http://", "https://", "<script", "style=", "onclick"] {
        assert!(!page.body.contains(outside), "{outside} is in {}", page.body);
    }
}

#[test]
fn the_footer_names_the_version() {
    let database = Database::sqlite();
    crate::server::migrate(&database);
    let server = Server::start_with(&database, &[("APP_VERSION", "2.0.1+b<1>")]);
    let page = server.get("/").body;
    assert!(page.contains("Version <b>2.0.1+b&#60;1&#62;</b>"), "{page}");
}

#[test]
fn static_files_are_cached_once_they_have_a_version() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    let style = server.get("/static/app.css");
    assert_eq!((style.status, style.header("cache-control")), (200, Some("no-cache")));
    assert_eq!(style.header("content-type"), Some("text/css"));
    server.stop();
    let server = Server::start_with(&database, &[("APP_VERSION", "1.0.0")]);
    let icon = server.get("/static/favicon.svg?v=1.0.0");
    assert_eq!(icon.header("cache-control"), Some("public, max-age=3600"));
    assert_eq!(icon.header("content-type"), Some("image/svg+xml"));
}
