//! Chromium without a window, driven over its own pipe: one JSON message after the other, each ended by a
//! zero byte (`--remote-debugging-pipe`). So there is no port, no WebSocket and no other program between.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{WATCHDOG, eventually, skip};

/// A browser with one page, ended when it is dropped.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    profile: PathBuf,
    session: Option<String>,
    commands: u64,
    /// What the page said on its console, threw, or was refused.
    complaints: Vec<String>,
}

impl Browser {
    /// One that shows nothing yet; none where there is no Chromium, which is said aloud.
    pub(crate) fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("chromium").exists()) {
            skip("chromium (Debian: chromium)");
            return None;
        }
        let profile = own_profile();
        // The browser reads commands from its descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"])
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.expect("piped"), output.expect("piped"));
        let (told, messages) = channel();
        std::thread::spawn(move || {
            let messages = BufReader::new(output).split(0).map_while(Result::ok);
            for message in messages.filter_map(|text| serde_json::from_slice(&text).ok()) {
                let _ = told.send(message);
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            profile,
            session: None,
            commands: 0,
            complaints: Vec::new(),
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.command("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", attach);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "DOM", "Accessibility"] {
            self.command(&format!("{domain}.enable"), json!({}));
        }
        self.command(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": "addEventListener('securitypolicyviolation', (event) =>
                console.error('policy', event.violatedDirective, event.blockedURI, event.sample))" }),
        );
        self.size(1280, 900);
    }

    /// One command of the protocol, and its answer.
    pub(crate) fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut text = command.to_string().into_bytes();
        text.push(0);
        self.input.write_all(&text).expect("the browser runs");
        loop {
            let answer = self.messages.recv_timeout(WATCHDOG).expect("the browser answers");
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let said = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") => said["args"].to_string(),
            Some("Runtime.exceptionThrown") => said["exceptionDetails"].to_string(),
            Some("Log.entryAdded") => format!("{} {}", said["entry"]["text"], said["entry"]["url"]),
            _ => return,
        };
        self.complaints.push(complaint);
    }

    /// What the page complained about; an answer with one of these statuses is no complaint.
    pub(crate) fn assert_content(&mut self, but: &[&str]) {
        // What it said until now has come when this is answered.
        self.evaluate("1");
        let complaints = self.complaints.iter();
        let expected = |text: &&String| {
            but.iter().any(|status| text.contains(&format!("responded with a status of {status}")))
        };
        let complaints: Vec<_> = complaints.filter(|text| !expected(text)).collect();
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
    }

    /// What an expression is, promises waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let evaluate = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let answer = self.command("Runtime.evaluate", evaluate);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; its page may not be there yet.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let tried =
            format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        let started = Instant::now();
        while self.evaluate(&tried) != json!(true) {
            if started.elapsed() > WATCHDOG {
                let shown = self.evaluate("document.body.innerText");
                panic!("never true: {expression}; the page shows {shown}; {:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The dashboard of a server, with an answer of it.
    pub(crate) fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({ "url": url }));
        self.wait_for("document.documentElement.dataset.contact === 'kept'");
    }

    /// The size of its window; narrow ones are a phone's.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the person prefers: `prefers-color-scheme`, `prefers-reduced-motion`.
    pub(crate) fn prefer(&mut self, name: &str, value: &str) {
        let features = json!({ "features": [{ "name": name, "value": value }] });
        self.command("Emulation.setEmulatedMedia", features);
    }

    /// Presses the button with this name, by the mouse and where it is seen.
    pub(crate) fn press(&mut self, name: &str) {
        let place = format!(
            "(() => {{
                const named = (one) => (one.ariaLabel ?? one.textContent) === {name};
                const host = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
                const button = [...host.querySelectorAll('button')].find((one) => named(one) && one.checkVisibility());
                button.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = button.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                return button.contains(document.elementFromPoint(x, y)) && {{ x, y }};
            }})()",
            name = json!(name)
        );
        self.wait_for(&format!("{place} !== false"));
        let place = self.evaluate(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1,
            });
            self.command("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key: `Tab`, `Enter` or `Escape`.
    pub(crate) fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            other => panic!("no key {other} here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.command("Input.dispatchKeyEvent", event);
        }
    }

    /// Types where the focus is.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// What has the focus, by its name.
    pub(crate) fn focused(&mut self) -> String {
        let name =
            "(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()";
        self.evaluate(name).as_str().unwrap_or_default().to_owned()
    }

    /// The tree that a screen reader is told: `(role, name)` of all that is not ignored.
    pub(crate) fn told_to_screen_readers(&mut self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a list of nodes").iter();
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let told = nodes.filter(|node| node["ignored"] != json!(true));
        told.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // By its process id; the shell has become the browser.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its helpers end when it has, and write until then.
        eventually(
            || std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists(),
            || format!("{} cannot be removed", self.profile.display()),
        );
    }
}

fn own_profile() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dashboard-{}-{number}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];
