//! The page in a real browser: headless Chromium against the production stack, over the DevTools
//! protocol.
//!
//! What no other test can see: that styles and scripts do not only arrive but are taken (their
//! integrity, their types, the content security policy), and what they do then. The stack belongs
//! to the test of the recipe, which calls [`visit`] while it runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dsl::PATIENCE;

mod page;
pub(crate) use page::Page;

/// What nothing that is named after its content is ever asked for again means.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Everything that a visitor sees and does. `dist` is what was built of the assets.
pub(crate) fn visit(port: u16, dist: &Path) {
    edge_sends_what_was_packed(port, dist);
    let Some(chromium) = chromium() else { return };
    let mut page = Page::open(&chromium, &format!("http://127.0.0.1:{port}/"));
    for step in [
        everything_arrives,
        styles_and_scripts_are_taken,
        a_form_can_be_posted,
        dark_and_light_follow_the_system,
        the_toggle_is_remembered,
        a_phone_needs_no_sideways_scrolling,
    ] {
        // First, since what the browser has to say explains what goes wrong then.
        page.is_content();
        step(&mut page);
    }
    page.is_content();
}

/// Where Chromium is; where one must be (CI), a missing one is a failure.
pub(crate) fn chromium() -> Option<PathBuf> {
    let found = which::which("chromium").ok();
    if found.is_none() {
        assert!(
            std::env::var_os("STEVEDORE_REQUIRE_DOCKER").is_none(),
            "no chromium here, and this run requires one: apt-get install chromium"
        );
        // Past the capture of the test harness: nobody may take this for a pass.
        let line = b"not run, no chromium: what a browser makes of the page\n";
        let _ = std::io::stderr().write_all(line);
    }
    found
}

// --- what it has to be --------------------------------------------------------------------------

/// Without a browser: each encoding, byte by byte.
fn edge_sends_what_was_packed(port: u16, dist: &Path) {
    let manifest = std::fs::read(dist.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for source in ["app.scss", "app.js"] {
        let name = manifest[source]["file"].as_str().unwrap();
        for (accepted, encoding, suffix) in [
            ("br", Some("br"), ".br"),
            ("gzip, deflate, br", Some("br"), ".br"),
            ("gzip", Some("gzip"), ".gz"),
            ("identity", None, ""),
        ] {
            let answer = fetch(port, &format!("/static/{name}"), accepted);
            assert_eq!(answer.header("content-encoding"), encoding, "{source} for {accepted:?}");
            assert_eq!(answer.header("cache-control"), Some(FOR_EVER));
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{source} {accepted}");
            let built = std::fs::read(dist.join(format!("{name}{suffix}"))).unwrap();
            assert!(answer.body == built, "{source} for {accepted:?} is not {suffix:?} of dist");
        }
    }
    let robots = fetch(port, "/robots.txt", "identity");
    assert!(robots.body == std::fs::read(dist.join("root/robots.txt")).unwrap());
    assert_eq!(robots.header("cache-control"), Some("no-cache"));
    assert_eq!(robots.header("x-content-type-options"), Some("nosniff"));
    let page = fetch(port, "/", "identity");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
}

fn everything_arrives(page: &mut Page) {
    page.reload();
    let answers = page.answers();
    let statics: Vec<&Value> =
        answers.iter().filter(|it| it["url"].as_str().unwrap().contains("/static/")).collect();
    let mut kinds: Vec<&str> =
        statics.iter().map(|it| it["url"].as_str().unwrap().rsplit_once('.').unwrap().1).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["css", "js", "svg"]);
    for answer in &answers {
        assert_eq!(answer["status"], 200, "{answer}");
        let header = |wanted: &str| {
            let headers = answer["headers"].as_object().unwrap().iter();
            let mut found = headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.next().and_then(|(_, value)| value.as_str())
        };
        if !answer["url"].as_str().unwrap().contains("/static/") {
            assert_eq!(header("cache-control"), Some("no-store"), "{answer}");
            continue;
        }
        assert_eq!(header("cache-control"), Some(FOR_EVER), "{answer}");
        let size = answer["encodedDataLength"].as_f64().unwrap();
        let name = answer["url"].as_str().unwrap();
        if name.ends_with(".css") || size > 2000.0 {
            assert_eq!(header("content-encoding"), Some("br"), "{answer}");
        }
    }
}

fn styles_and_scripts_are_taken(page: &mut Page) {
    let unprotected = page.list(
        "[...document.querySelectorAll('script[src], link[rel=stylesheet], link[rel=modulepreload]')]
            .filter(it => !it.integrity.startsWith('sha384-')).map(it => it.outerHTML)",
    );
    assert_eq!(unprotected, [""; 0], "without integrity");
    let count = page.number("document.querySelectorAll('[integrity]').length");
    assert!(count >= 3.0, "{count} with integrity");
    assert!(page.number("document.styleSheets[0].cssRules.length") > 50.0);
    // Browsers give a card no border and a button no such colour.
    assert_eq!(page.style(".card", "borderTopLeftRadius"), "17.6px");
    assert_eq!(page.style(".btn-primary", "backgroundColor"), "rgb(15, 118, 110)");
    // Only where scripts run, by the style sheet; and their state only from the script.
    assert_eq!(page.style("#theme-toggle", "display"), "flex");
    page.eval("document.querySelector('.pick').click()");
    assert_eq!(page.text("document.querySelector('.pick').getAttribute('aria-pressed')"), "true");
    let picked = page.text("document.getElementById('kind').value");
    assert_eq!(picked, page.text("document.querySelector('.pick').value"));
    page.eval("document.getElementById('kind').value = ''");
}

fn a_form_can_be_posted(page: &mut Page) {
    let count = "document.querySelectorAll('.activities li').length";
    let before = page.number(count);
    page.fill("#kind", "row");
    page.fill("#minutes", "75");
    assert_eq!(page.text("document.getElementById('minutes-hint').textContent"), "= 1 h 15 min");
    page.navigates(|page| page.click(".entry button[type=submit]"));
    assert_eq!(page.text("document.querySelector('.activities .kind').textContent"), "row");
    let time = "document.querySelector('.activities time')";
    assert_eq!(page.text(&format!("{time}.textContent")), "just now", "the script relates times");
    assert_eq!(page.text("document.getElementById('kind').value"), "");
    // What is not valid is refused by the page itself.
    page.fill("#kind", "row");
    page.fill("#minutes", "0");
    page.click(".entry button[type=submit]");
    assert_eq!(page.text("String(document.getElementById('minutes').checkValidity())"), "false");
    assert_eq!(page.number(count), before + 1.0);
    page.reload();
}

fn dark_and_light_follow_the_system(page: &mut Page) {
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        page.prefer(scheme);
        page.reload();
        backgrounds.push(page.style("body", "backgroundColor"));
        let pressed = page.text("document.getElementById('theme-toggle').ariaPressed");
        assert_eq!(pressed, (scheme == "dark").to_string());
        page.picture(scheme);
    }
    assert_eq!(backgrounds, ["rgb(244, 247, 246)", "rgb(13, 20, 18)"]);
}

fn the_toggle_is_remembered(page: &mut Page) {
    page.prefer("light");
    page.reload();
    let light = page.style("body", "backgroundColor");
    page.click("#theme-toggle");
    let dark = page.style("body", "backgroundColor");
    assert_ne!(light, dark);
    page.reload();
    assert_eq!(page.style("body", "backgroundColor"), dark, "after a reload");
    assert_eq!(page.text("document.getElementById('theme-toggle').ariaPressed"), "true");
    page.click("#theme-toggle");
    page.reload();
    assert_eq!(page.style("body", "backgroundColor"), light, "and back");
    assert_eq!(page.text("String(localStorage.getItem('theme'))"), "null");
}

fn a_phone_needs_no_sideways_scrolling(page: &mut Page) {
    page.call(
        "Emulation.setDeviceMetricsOverride",
        json!({"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true}),
    );
    page.reload();
    assert_eq!(page.number("innerWidth"), 360.0);
    let wide = page.list(
        "[...document.body.querySelectorAll('*:not(.visually-hidden):not(.visually-hidden *)')]
            .filter(it => it.getBoundingClientRect().right > 360.5).map(it => it.outerHTML)",
    );
    assert_eq!(wide, [""; 0], "wider than the screen");
    assert_eq!(page.number("document.documentElement.scrollWidth"), 360.0);
    page.picture("phone");
}

// --- without a browser --------------------------------------------------------------------------

struct Fetched {
    head: String,
    body: Vec<u8>,
}

impl Fetched {
    fn header(&self, wanted: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value)
    }
}

/// A GET with what encodings are accepted, nothing decoded.
#[track_caller]
fn fetch(port: u16, path: &str, accepted: &str) -> Fetched {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Accept-Encoding: {accepted}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    Fetched { head, body: bytes[end + 4..].to_vec() }
}
