//! Headless Chromium, told what to do over its DevTools protocol: JSON messages that end with a zero byte, over two pipes
//! (`--remote-debugging-pipe`), so that it takes neither a port nor a client of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::lab::netns::Namespace;
use crate::stop::Stop;

/// How long it may take to start, to load a page, or to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is asked whether something is so by now.
const LOOK: Duration = Duration::from_millis(100);
/// Events that are kept; a page has some dozens.
const MOST_EVENTS: usize = 4096;
/// Highest picture, in pixels of the page: its beginning, without what is only of the machine that it was taken on.
const MOST_HEIGHT: f64 = 1150.0;

/// It reads from descriptor 3 and writes to 4: those are made of the pipes that a child process has anyway.
const PIPES: &str = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null";

/// What it is, and that it leaves this machine alone: it needs root for namespaces, and its sandbox refuses that.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Width and height of the window, in pixels.
    pub(crate) size: (u32, u32),
    /// In the colours of the night.
    pub(crate) dark: bool,
    /// Whether its scripts run.
    pub(crate) scripts: bool,
}

/// A browser with one page; it ends with this value.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    stop: Stop,
    last: u64,
    session: Option<String>,
    events: VecDeque<Value>,
}

impl Browser {
    /// Starts it in that namespace; its files are in `folder`.
    pub(crate) fn start(namespace: &Namespace, folder: &Path, stop: &Stop) -> Result<Self> {
        let log = File::create(folder.join("chromium.log"))?;
        let profile = format!("--user-data-dir={}", folder.join("chromium").display());
        let mut command = namespace.service("sh");
        command.args(["-c", PIPES, "sh", "chromium"]).args(FLAGS).arg(profile).arg("about:blank");
        command.env("HOME", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("cannot start chromium (package chromium)")?;
        let to = child.stdin.take().context("chromium without stdin")?;
        let from = follow(child.stdout.take().context("chromium without stdout")?);
        let (last, session, events) = (0, None, VecDeque::new());
        let mut browser = Self { child, to, from, stop: stop.clone(), last, session, events };
        browser.attach().with_context(|| format!("see {}", folder.join("chromium.log").display()))?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let asked = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", asked)?;
        self.session = Some(session["sessionId"].as_str().context("no session")?.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}))?;
        }
        // Keys go to a page that thinks that somebody looks at it.
        self.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))?;
        Ok(())
    }

    /// Loads a page.
    pub(crate) fn visit(&mut self, url: &str, look: Look) -> Result<()> {
        let ((width, height), scheme) = (look.size, if look.dark { "dark" } else { "light" });
        let narrow = width < 600;
        let scale = if narrow { 2 } else { 1 };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": narrow });
        self.call("Emulation.setDeviceMetricsOverride", metrics)?;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !look.scripts }))?;
        self.events.clear();
        let gone = self.call("Page.navigate", json!({ "url": url }))?;
        ensure!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        self.wait_for_event("Page.loadEventFired").with_context(|| url.to_owned())
    }

    /// What an expression of JavaScript gives on the page, also where the page's own scripts do not run.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let mut answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        )?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// Whether an expression is true, or becomes so in time.
    pub(crate) fn becomes(&mut self, expression: &str, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
        loop {
            if self.evaluate(expression)? == true {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            self.stop.sleep_until(Instant::now() + LOOK)?;
        }
    }

    /// A key goes down and up again: one that writes itself, `Tab` or `Enter`.
    pub(crate) fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            other => (0, other),
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let mut down = json!({ "type": kind, "key": key, "text": text });
        if code != 0 {
            down["windowsVirtualKeyCode"] = code.into();
            down["code"] = key.into();
        }
        self.call("Input.dispatchKeyEvent", down)?;
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }))?;
        Ok(())
    }

    /// A picture of the page from its top on, as PNG.
    pub(crate) fn picture(&mut self, file: &Path) -> Result<()> {
        let metrics = self.call("Page.getLayoutMetrics", json!({}))?;
        let size = |side: &str| metrics["cssContentSize"][side].as_f64().context("no size");
        let (width, height) = (size("width")?, size("height")?.min(MOST_HEIGHT));
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let taken = self
            .call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }))?;
        let png = STANDARD.decode(taken["data"].as_str().context("no picture")?)?;
        std::fs::write(file, png).with_context(|| file.display().to_string())
    }

    /// What went wrong on the page since it was visited: errors of its scripts, what its policy refused, and what it asked of
    /// anybody but those whose addresses begin so.
    pub(crate) fn problems(&mut self, allowed: &[&str]) -> Result<Vec<String>> {
        // Whatever happened before has been told once this is answered.
        self.evaluate("1")?;
        Ok(self.events.iter().filter_map(|event| problem(event, allowed)).collect())
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to
            .write_all(&bytes)
            .and_then(|()| self.to.flush())
            .with_context(|| format!("{method}: chromium has ended"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let mut told = self.receive(end).with_context(|| method.to_owned())?;
            if told["id"] != self.last {
                self.keep(told);
            } else if told["error"].is_null() {
                return Ok(told["result"].take());
            } else {
                bail!("{method}: {}", told["error"]);
            }
        }
    }

    fn wait_for_event(&mut self, name: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == name) {
            let told = self.receive(end).with_context(|| name.to_owned())?;
            self.keep(told);
        }
        Ok(())
    }

    fn receive(&mut self, end: Instant) -> Result<Value> {
        loop {
            self.stop.check()?;
            match self.from.recv_timeout(LOOK) {
                Ok(told) => return Ok(told),
                Err(RecvTimeoutError::Timeout) => ensure!(Instant::now() < end, "no answer after {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("chromium has ended"),
            }
        }
    }

    fn keep(&mut self, event: Value) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended; one that does not answer is killed.
        self.session = None;
        let asked = self.call("Browser.close", json!({}));
        let patience = if asked.is_ok() { Duration::from_secs(5) } else { Duration::ZERO };
        let end = Instant::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its messages as they come, from a thread of their own that ends with it.
fn follow(from: ChildStdout) -> Receiver<Value> {
    let (told, messages) = sync_channel(MOST_EVENTS);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|length| length > 0) {
            if bytes.last() == Some(&0) {
                bytes.pop();
            }
            let Ok(message) = serde_json::from_slice(&bytes) else { return };
            if told.send(message).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    messages
}

/// Absent where the event is no problem.
fn problem(event: &Value, allowed: &[&str]) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            let text = format!("{} {}", params["entry"]["text"], params["entry"]["url"]);
            // It is the browser that asks for this one, not the page.
            (!text.contains("favicon")).then_some(text)
        }
        "Network.requestWillBeSent" => {
            let url = params["request"]["url"].as_str()?;
            let known = allowed.iter().any(|begin| url.starts_with(begin)) || url.starts_with("about:");
            (!known).then(|| format!("it asked for {url}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_questions_to_strangers_are_problems() {
        let refused =
            json!({ "method": "Log.entryAdded", "params": { "entry": { "level": "error", "text": "Refused" } } });
        let asked =
            |url: &str| json!({ "method": "Network.requestWillBeSent", "params": { "request": { "url": url } } });
        let allowed = ["http://127.0.0.1:9480/"];
        assert!(problem(&refused, &allowed).is_some_and(|text| text.contains("Refused")));
        assert!(problem(&asked("https://fonts.example/x"), &allowed).is_some());
        assert_eq!(problem(&asked("http://127.0.0.1:9480/api/v1/incidents/stream"), &allowed), None);
        assert_eq!(problem(&json!({ "method": "Page.loadEventFired", "params": {} }), &allowed), None);
        assert_eq!(problem(&json!({ "id": 4 }), &allowed), None);
    }
}
