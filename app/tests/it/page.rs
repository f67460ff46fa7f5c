//! The HTML page, as a browser without scripts uses it.

use crate::database::Database;
use crate::dist::Dist;
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
fn nothing_to_run_or_to_style_stands_in_the_page_itself() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    crate::server::migrate(&database);
    let server = Server::start_with(&database, &[("STATIC_DIR", dist.path())]);
    let page = server.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    for outside in ["http://", "https://", "<style", " style=", " onclick", "data:"] {
        assert!(!page.body.contains(outside), "{outside} is in {}", page.body);
    }
    for script in page.body.split("<script").skip(1) {
        let (tag, after) = script.split_once('>').unwrap();
        assert!(tag.contains(r#" src="/static/"#) && after.starts_with("</script>"), "{script}");
    }
}

#[test]
fn the_chart_says_its_minutes_in_words_and_marks_today() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    crate::server::migrate(&database);
    let server = Server::start_with(&database, &[("STATIC_DIR", dist.path())]);
    server.add(r#"{"kind":"run","minutes":40}"#);
    let page = server.get("/").body;
    assert_eq!(page.matches(r#"<li class="today" aria-current="date">"#).count(), 1);
    assert_eq!(page.matches(r#"<span class="visually-hidden"> minutes</span>"#).count(), 7);
    assert!(page.contains(r#">40<span class="visually-hidden"> minutes</span>"#), "{page}");
    assert!(page.contains(r#"y="0%" width="100%" height="100%""#), "{page}");
}

#[test]
fn the_latest_stand_below_their_day() {
    let database = Database::sqlite();
    let server = Server::start(&database);
    server.add(r#"{"kind":"Trail run","minutes":40}"#);
    server.add(r#"{"kind":"Run","minutes":40}"#);
    server.add(r#"{"kind":"chess","minutes":90,"at":"2020-02-03T04:05:06Z"}"#);
    let page = server.get("/").body;
    assert_eq!(page.matches("<h3>Today</h3>").count(), 1, "{page}");
    let old = page.split("<h3>3 February 2020</h3>").nth(1).unwrap();
    assert!(old.contains(r#"<bdi class="kind">chess</bdi>"#), "{page}");
    assert!(old.contains(r#"<time datetime="2020-02-03T04:05:06Z">04:05</time>"#), "{page}");
    assert_eq!(page.matches(r#"<li class="kind-run">"#).count(), 1, "{page}");
    assert_eq!(page.matches(r#"<li class="kind-other">"#).count(), 2, "{page}");
}

#[test]
fn the_footer_names_the_version() {
    let database = Database::sqlite();
    crate::server::migrate(&database);
    let server = Server::start_with(&database, &[("APP_VERSION", "2.0.1+b<1>")]);
    let page = server.get("/").body;
    assert!(page.contains("Version <b>2.0.1+b&#60;1&#62;</b>"), "{page}");
}
