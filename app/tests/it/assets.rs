//! Styles, scripts and pictures: what the page links, and how the files are served.

use std::fs;

use crate::database::Database;
use crate::dist::{Dist, HASH, integrity, manifest, sources};
use crate::http::{self, Response};
use crate::server::{Server, Variables, migrate, run};

const OTHER_HASH: &str = "fedcba9876543210";

fn start(database: &Database, dist: &Dist, variables: Variables<'_>) -> Server {
    migrate(database);
    let own = [("STATIC_DIR", dist.path())];
    Server::start_with(database, &[&own, variables].concat())
}

#[track_caller]
fn has(page: &str, parts: &[String]) {
    for part in parts {
        assert!(page.contains(part.as_str()), "{part} is not in {page}");
    }
}

#[test]
fn the_page_links_the_files_of_the_manifest_with_their_digests() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    let server = start(&database, &dist, &[]);
    let of = |source| format!(r#"integrity="{}" crossorigin="anonymous""#, integrity(source));
    let page = server.get("/").body;
    let [style, script] = [of("app.scss"), of("app.js")];
    let first = of("stored-theme.js");
    has(
        &page,
        &[
            format!(r#"<link rel="stylesheet" href="/static/app-{HASH}.css" {style}>"#),
            format!(r#"<script type="module" src="/static/app-{HASH}.js" {script}></script>"#),
            format!(r#"<script src="/static/stored-theme-{HASH}.js" {first}></script>"#),
            format!(r#"href="/static/icons/favicon-{HASH}.svg""#),
        ],
    );
}

#[test]
fn what_the_page_asks_for_is_there() {
    let template = fs::read_to_string("templates/page.html").unwrap();
    let asked = template.split("assets.get(\"").skip(1).map(|it| it.split('"').next().unwrap());
    for source in asked {
        assert!(sources().iter().any(|it| it == source), "no assets/{source}");
    }
}

#[test]
fn without_a_manifest_the_page_is_plain_and_the_log_says_what_to_type() {
    let (database, dist) = (Database::sqlite(), Dist::empty());
    let mut server = start(&database, &dist, &[]);
    for page in [server.get("/"), server.get("/"), server.post_form("kind=&minutes=1")] {
        assert!(page.body.contains("<h1>Activity tracker</h1>"), "{page:?}");
        for absent in ["<script", "<img", "stylesheet", "preload", "static"] {
            assert!(!page.body.contains(absent), "{absent} is in {page:?}");
        }
    }
    server.signal("TERM");
    server.ended();
    let warnings: Vec<&String> = server.log.iter().filter(|it| it.contains(" warn ")).collect();
    let missing = dist.directory.join("manifest.json");
    let told = format!("no assets missing={} run=\"cargo xtask assets build\"", missing.display());
    assert!(warnings.len() == 1 && warnings[0].ends_with(&told), "{warnings:?}");
}

#[test]
fn a_broken_manifest_is_refused_by_its_name() {
    let dist = Dist::empty();
    let without_file = r#"{"app.js":{"integrity":"sha384-x","size":1}}"#;
    for text in ["", "{", "[]", r#"{"app.js":"app.js"}"#, without_file] {
        dist.manifest(text);
        let variables = [("STATIC_DIR", dist.path()), ("PORT", "none"), ("ENV_CDN", "none")];
        let finished = run(&["serve"], &variables);
        assert_eq!(finished.code, Some(2), "{text}");
        let manifest = dist.directory.join("manifest.json");
        let told = format!("  STATIC_DIR: cannot use {}: ", manifest.display());
        assert!(finished.stderr.contains(&told), "{text}: {finished:?}");
        assert!(finished.stderr.contains("cargo xtask assets build"), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 5, "every problem at once: {finished:?}");
    }
}

#[test]
fn in_development_a_rebuilt_manifest_is_read_again() {
    let (database, dist) = (Database::sqlite(), Dist::empty());
    let mut server = start(&database, &dist, &[]);
    let style = |server: &Server| {
        let page = server.get("/").body;
        let hash = |hash: &&&str| page.contains(&format!("/static/app-{hash}.css"));
        [HASH, OTHER_HASH].iter().find(hash).map(|hash| (*hash).to_owned())
    };
    assert_eq!(style(&server), None);
    dist.manifest(&manifest(HASH));
    assert_eq!(style(&server).as_deref(), Some(HASH));
    dist.manifest(&manifest(OTHER_HASH));
    assert_eq!(style(&server).as_deref(), Some(OTHER_HASH), "of the same size");
    dist.manifest("{");
    assert_eq!(style(&server).as_deref(), Some(OTHER_HASH), "the last good one");
    server.wait_for_line("warn old assets error=");
    fs::remove_file(dist.directory.join("manifest.json")).unwrap();
    assert_eq!(style(&server), None);
}

#[test]
fn a_release_reads_the_manifest_once() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    let server = start(&database, &dist, &[("APP_VERSION", "1.0.0")]);
    dist.manifest(&manifest(OTHER_HASH));
    assert!(server.get("/").body.contains(&format!("/static/app-{HASH}.css")));
}

#[test]
fn a_cdn_stands_before_every_asset_and_nothing_else() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    let server = start(&database, &dist, &[("ENV_CDN", "https://cdn.example.org/a/")]);
    let page = server.get("/").body;
    assert!(page.contains(&format!(r#"href="https://cdn.example.org/a/static/app-{HASH}.css""#)));
    assert!(page.contains(&format!(r#"src="https://cdn.example.org/a/static/app-{HASH}.js""#)));
    assert!(!page.contains("\"/static/"), "{page}");
    for own in [r#"action="/""#, r#"href="/activities""#] {
        assert!(page.contains(own), "{own} is not in {page}");
    }
    // It is where the CDN gets the file from.
    assert_eq!(server.get(&format!("/static/app-{HASH}.css")).status, 200);
}

#[test]
fn the_policy_allows_this_server_and_the_origin_of_the_cdn() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    for (cdn, sources) in [
        ("", "'self'"),
        ("https://cdn.example.org/a", "'self' https://cdn.example.org"),
        ("http://127.0.0.1:8081", "'self' http://127.0.0.1:8081"),
    ] {
        let server = start(&database, &dist, &[("ENV_CDN", cdn)]);
        let policy = format!(
            "default-src 'none'; style-src {sources}; script-src {sources}; img-src {sources}; \
             font-src {sources}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        for page in [server.get("/"), server.post_form("kind=&minutes=")] {
            assert_eq!(page.header("content-security-policy"), Some(policy.as_str()));
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
    }
}

#[test]
fn a_file_at_the_root_has_its_own_name_and_is_asked_for_again() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    dist.file("root/robots.txt", "User-agent: *\n");
    dist.file("root/deep/site.webmanifest", "{}");
    let server = start(&database, &dist, &[]);
    let robots = server.get("/robots.txt");
    assert_eq!((robots.status, robots.body.as_str()), (200, "User-agent: *\n"));
    assert_eq!(robots.header("cache-control"), Some("no-cache"));
    assert_eq!(robots.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.get("/deep/site.webmanifest").status, 200);
    for other in ["/humans.txt", "/deep", "/deep/", "/../manifest.json", "/root/robots.txt"] {
        let other = server.get(other);
        assert_eq!((other.status, other.header("cache-control")), (404, Some("no-store")));
    }
}

#[test]
fn a_name_with_a_hash_is_kept_for_ever_and_any_other_asked_for_again() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    let for_ever = "public, max-age=31536000, immutable";
    let css = format!("app-{HASH}.css");
    let files = [
        (css.clone(), for_ever, "text/css"),
        (format!("app-{HASH}.css.map"), for_ever, "application/json"),
        (format!("app-{HASH}.js"), for_ever, "text/javascript"),
        (format!("icons/run-{HASH}.svg"), for_ever, "image/svg+xml"),
        (format!("fonts/a-{HASH}.woff2"), for_ever, "font/woff2"),
        ("manifest.json".to_owned(), "no-cache", "application/json"),
        ("app.css".to_owned(), "no-cache", "text/css"),
        (format!("{HASH}.css"), "no-cache", "text/css"),
    ];
    let absent = |name: &&(String, &str, &str)| !dist.directory.join(&name.0).exists();
    files.iter().filter(absent).for_each(|(name, _, _)| dist.file(name, "x"));
    for version in ["dev", "1.0.0"] {
        let server = start(&database, &dist, &[("APP_VERSION", version)]);
        for (name, cache, kind) in &files {
            let file = server.get(&format!("/static/{name}"));
            assert_eq!((file.status, file.header("cache-control")), (200, Some(*cache)), "{name}");
            assert_eq!(file.header("content-type"), Some(*kind), "{name}");
            assert_eq!(file.header("access-control-allow-origin"), Some("*"), "{name}");
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{name}");
        }
        let gone = server.get("/static/gone-0123456789abcdef.css");
        assert_eq!((gone.status, gone.header("cache-control")), (404, Some("no-store")));
    }
}

#[test]
fn a_browser_gets_the_smallest_form_it_takes() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    dist.file("alone.css", "alone");
    let server = start(&database, &dist, &[]);
    let get = |name: &str, accept: &str| -> Response {
        let headers = [("accept-encoding", accept)];
        http::request(server.address, &format!("GET /static/{name}"), &headers, b"")
    };
    let css = format!("app-{HASH}.css");
    for (accept, encoding, body) in [
        ("gzip, deflate, br", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("br;q=0.5, gzip;q=1.0", Some("gzip"), "gzip"),
        ("br;q=0, gzip;q=0", None, "plain"),
        ("identity", None, "plain"),
        ("", None, "plain"),
    ] {
        let file = get(&css, accept);
        assert_eq!((file.header("content-encoding"), file.body.as_str()), (encoding, body));
        assert_eq!(file.header("vary"), Some("accept-encoding"), "{accept}");
        assert_eq!(file.header("content-type"), Some("text/css"), "{accept}");
    }
    let alone = get("alone.css", "gzip, br");
    assert_eq!((alone.header("content-encoding"), alone.body.as_str()), (None, "alone"));
}

#[test]
fn nothing_outside_of_the_directory_is_served() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    fs::write(dist.directory.with_file_name("secret"), "secret").unwrap();
    let server = start(&database, &dist, &[]);
    for path in
        ["../secret", "%2e%2e/secret", "..%2fsecret", "%2e%2e%2fsecret", "icons/../../secret"]
    {
        let response = server.get(&format!("/static/{path}"));
        let nothing = (404, "there is nothing at this address".to_owned());
        assert_eq!(response.error(), nothing, "{path}");
    }
    for directory in ["", "icons", "icons/"] {
        assert_ne!(server.get(&format!("/static/{directory}")).status, 200, "{directory}");
    }
}

#[test]
fn live_reload_is_there_when_it_is_named_and_may_be_asked_for_news() {
    let (database, dist) = (Database::sqlite(), Dist::built());
    let live = "http://127.0.0.1:18080";
    let server = start(&database, &dist, &[("LIVE_RELOAD", live)]);
    let page = server.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("script-src 'self' {live}; connect-src {live};")), "{policy}");
    let script = format!("<script src=\"{live}/live.js\"></script>");
    assert!(page.body.contains(&script), "{}", page.body);
    let server = start(&database, &dist, &[("LIVE_RELOAD", "")]);
    assert!(!server.get("/").body.contains("live.js"));
}
