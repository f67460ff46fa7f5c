//! The page in a real browser: headless Chromium against the production stack, over the DevTools
//! protocol.
//!
//! What no other test can see: that styles and scripts do not only arrive but are taken (their
//! integrity, their types, the content security policy), and what they do then. The stack belongs
//! to the test of the recipe, which calls [`visit`] while it runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::dsl::wait_until;

/// Longest wait for an answer of the browser; only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(60);
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
    assert!(count >= 4.0, "{count} with integrity");
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

// --- the browser --------------------------------------------------------------------------------

/// One page of a browser that ends with it.
pub(crate) struct Page {
    browser: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
    /// What came without being asked for, since the last navigation.
    events: Vec<Value>,
    /// Failed requests, exceptions, violations of the policy, and whatever else the console shows.
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Page {
    pub(crate) fn open(chromium: &Path, url: &str) -> Page {
        let profile = tempfile::Builder::new().prefix("xtask-test-").tempdir().unwrap();
        let browser = Command::new(chromium)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--remote-debugging-port=0", "--window-size=1280,900", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let file = profile.path().join("DevToolsActivePort");
        let mut address = String::new();
        wait_until("chromium", || {
            address = std::fs::read_to_string(&file).unwrap_or_default();
            address.lines().count() == 2
        });
        let (port, path) = address.trim().split_once('\n').unwrap();
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) =
            tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).unwrap();
        let mut page = Page {
            browser,
            socket,
            session: String::new(),
            calls: 0,
            events: Vec::new(),
            problems: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", attach)["sessionId"].clone();
        page.session = session.as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log", "Audits"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        page.prefer("light");
        page.navigates(|page| drop(page.call("Page.navigate", json!({"url": url}))));
        page
    }

    /// The browser had nothing to complain about up to now.
    #[track_caller]
    fn is_content(&mut self) {
        // Its answer comes after all that it had to tell before.
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        assert!(self.problems.is_empty(), "the browser says:\n{}", self.problems.join("\n"));
    }

    /// Asks the browser, and takes in what it tells meanwhile.
    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let answer = self.next();
            if answer["id"] == id {
                let error = &answer["error"];
                return if error.is_null() {
                    Ok(answer["result"].clone())
                } else {
                    Err(error.clone())
                };
            }
        }
    }

    /// The next message; an event is kept, and is a problem if it tells of one.
    fn next(&mut self) -> Value {
        let message = self.socket.read().expect("an answer of chromium");
        let value: Value = serde_json::from_str(message.to_text().unwrap()).unwrap_or_default();
        let event = &value["params"];
        let is_problem = match value["method"].as_str().unwrap_or_default() {
            "Log.entryAdded" => event["entry"]["level"] != "info",
            "Runtime.consoleAPICalled" => event["type"] != "log" && event["type"] != "info",
            "Network.responseReceived" => {
                event["response"]["status"].as_u64().is_none_or(|status| status >= 400)
            }
            "Runtime.exceptionThrown" | "Network.loadingFailed" | "Audits.issueAdded" => true,
            _ => false,
        };
        if is_problem {
            self.problems.push(value.to_string());
        }
        if value["method"].is_string() {
            self.events.push(value.clone());
        }
        value
    }

    /// Does what makes a new page, and waits until it has loaded and nothing is under way.
    #[track_caller]
    fn navigates(&mut self, act: impl FnOnce(&mut Page)) {
        self.events.clear();
        act(self);
        let started = Instant::now();
        loop {
            let frame = self.events.iter().rev().find(|it| it["method"] == "Page.frameNavigated");
            let loader = frame.map(|it| it["params"]["frame"]["loaderId"].clone());
            let is_idle = |event: &Value| {
                let event = &event["params"];
                event["name"] == "networkIdle" && Some(&event["loaderId"]) == loader.as_ref()
            };
            if self.events.iter().any(is_idle) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "waited too long for a page");
            self.next();
        }
    }

    /// Goes somewhere where the network is never idle.
    pub(crate) fn visit(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until(&format!("location.href === '{url}' && document.readyState === 'complete'"));
    }

    /// Waits until a script says yes, whatever page it runs in by then.
    #[track_caller]
    pub(crate) fn until(&mut self, script: &str) {
        wait_until(script, || {
            let answer = self.ask("Runtime.evaluate", json!({"expression": script}));
            answer.is_ok_and(|answer| answer["result"]["value"] == true)
        });
    }

    #[track_caller]
    fn reload(&mut self) {
        let parameters = json!({"ignoreCache": true});
        self.navigates(|page| drop(page.call("Page.reload", parameters)));
    }

    /// All answers of servers since the last navigation.
    fn answers(&self) -> Vec<Value> {
        let events = self.events.iter().filter(|it| it["method"] == "Network.responseReceived");
        events.map(|event| event["params"]["response"].clone()).collect()
    }

    #[track_caller]
    pub(crate) fn eval(&mut self, script: &str) -> Value {
        let parameters = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", parameters);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{script}: {thrown}");
        answer["result"]["value"].clone()
    }

    #[track_caller]
    fn text(&mut self, script: &str) -> String {
        let value = self.eval(script);
        value.as_str().unwrap_or_else(|| panic!("{script}: {value}")).to_owned()
    }

    #[track_caller]
    fn number(&mut self, script: &str) -> f64 {
        let value = self.eval(script);
        value.as_f64().unwrap_or_else(|| panic!("{script}: {value}"))
    }

    #[track_caller]
    fn list(&mut self, script: &str) -> Vec<String> {
        let value = self.eval(script);
        let list = value.as_array().unwrap_or_else(|| panic!("{script}: {value}"));
        list.iter().map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A property of an element as the browser draws it.
    #[track_caller]
    pub(crate) fn style(&mut self, selector: &str, property: &str) -> String {
        self.text(&format!("getComputedStyle(document.querySelector('{selector}')).{property}"))
    }

    fn prefer(&mut self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": feature}));
    }

    /// A click as a mouse makes it, in the middle of an element.
    #[track_caller]
    fn click(&mut self, selector: &str) {
        let place = self.eval(&format!(
            "(() => {{
                const element = document.querySelector('{selector}');
                element.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": place[0], "y": place[1], "button": button,
                    "clickCount": 1}),
            );
        }
    }

    /// Types a text into a field, in the place of what it holds.
    #[track_caller]
    fn fill(&mut self, selector: &str, text: &str) {
        self.eval(&format!("document.querySelector('{selector}').select()"));
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Keeps what the page looks like, the whole of it, for people.
    fn picture(&mut self, name: &str) {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.call("Page.captureScreenshot", parameters);
        let data = answer["data"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        assert!(png.len() > 10_000, "{name} shows nothing");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Its processes are one group; nothing of them is left.
        if let Some(group) = rustix::process::Pid::from_raw(self.browser.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.browser.wait();
    }
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
