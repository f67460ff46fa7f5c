//! One page of a headless Chromium, over the DevTools protocol. Benchmarks have it too.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Longest wait for an answer of the browser; only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

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
        wait("chromium", || {
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
    pub(crate) fn is_content(&mut self) {
        // Its answer comes after all that it had to tell before.
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        assert!(self.problems.is_empty(), "the browser says:\n{}", self.problems.join("\n"));
    }

    /// Asks the browser, and takes in what it tells meanwhile.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
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
    pub(crate) fn navigates(&mut self, act: impl FnOnce(&mut Page)) {
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
        wait(script, || {
            let answer = self.ask("Runtime.evaluate", json!({"expression": script}));
            answer.is_ok_and(|answer| answer["result"]["value"] == true)
        });
    }

    #[track_caller]
    pub(crate) fn reload(&mut self) {
        let parameters = json!({"ignoreCache": true});
        self.navigates(|page| drop(page.call("Page.reload", parameters)));
    }

    /// All answers of servers since the last navigation.
    pub(crate) fn answers(&self) -> Vec<Value> {
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
    pub(crate) fn text(&mut self, script: &str) -> String {
        let value = self.eval(script);
        value.as_str().unwrap_or_else(|| panic!("{script}: {value}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn number(&mut self, script: &str) -> f64 {
        let value = self.eval(script);
        value.as_f64().unwrap_or_else(|| panic!("{script}: {value}"))
    }

    #[track_caller]
    pub(crate) fn list(&mut self, script: &str) -> Vec<String> {
        let value = self.eval(script);
        let list = value.as_array().unwrap_or_else(|| panic!("{script}: {value}"));
        list.iter().map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A property of an element as the browser draws it.
    #[track_caller]
    pub(crate) fn style(&mut self, selector: &str, property: &str) -> String {
        self.text(&format!("getComputedStyle(document.querySelector('{selector}')).{property}"))
    }

    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": feature}));
    }

    /// A click as a mouse makes it, in the middle of an element.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
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
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.eval(&format!("document.querySelector('{selector}').select()"));
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Keeps what the page looks like, the whole of it, for people.
    pub(crate) fn picture(&mut self, name: &str) {
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

/// As often as a person could tell; a hang is a failure with a name.
#[track_caller]
fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
