//! Debian's Chromium, driven over its DevTools pipe (`--remote-debugging-pipe`: JSON messages ended by a
//! zero byte on descriptors 3 and 4). It reports every console message of level error and every
//! exception and failed load of a page.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// An answer of the browser; emulated guests answer slowly.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Messages between the reading thread and us.
const MESSAGES_MAX: usize = 4096;

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    requests: std::fs::File,
    messages: Receiver<Value>,
    next_id: u64,
    session: String,
    loaded: bool,
    /// What went wrong on the pages so far.
    pub errors: Vec<String>,
    _profile: tempfile::TempDir,
}

/// Why no browser can run here, or `None` when one can.
pub fn missing() -> Option<String> {
    (!Path::new("/usr/bin/chromium").exists()).then(|| "no chromium (apt-get install chromium)".into())
}

impl Browser {
    /// Starts Chromium without a window, at this page width in pixels. Self-signed certificates are
    /// taken: the caller has compared the fingerprint.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(width: u32) -> Result<Browser> {
        let profile = tempfile::Builder::new().prefix("vakt-browser").tempdir()?;
        let (request_reader, requests) = rustix::pipe::pipe()?;
        let (answers, answer_writer) = rustix::pipe::pipe()?;
        // The browser wants them as 3 and 4; a shell does the renumbering without unsafe code here.
        let script = format!(
            "exec 3<&{} 4>&{}; exec /usr/bin/chromium --headless=new --no-sandbox --disable-gpu --disable-quic \
             --no-first-run --disable-background-networking --disable-component-update --disable-sync \
             --disable-dev-shm-usage --ignore-certificate-errors --remote-debugging-pipe --hide-scrollbars \
             --window-size={width},1000 --user-data-dir={} about:blank",
            request_reader.as_raw_fd(),
            answer_writer.as_raw_fd(),
            profile.path().display()
        );
        let child = Command::new("bash")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start chromium")?;
        drop((request_reader, answer_writer));
        for fd in [requests.as_raw_fd(), answers.as_raw_fd()] {
            ensure!(fd > 4, "descriptor {fd} is in the way");
        }
        let (sender, messages) = sync_channel(MESSAGES_MAX);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(std::fs::File::from(answers));
            let mut bytes = Vec::new();
            while reader.read_until(0, &mut bytes).is_ok_and(|length| length > 0) {
                bytes.pop();
                let Ok(message) = serde_json::from_slice(&bytes) else { break };
                bytes.clear();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Browser {
            child,
            requests: requests.into(),
            messages,
            next_id: 0,
            session: String::new(),
            loaded: false,
            errors: Vec::new(),
            _profile: profile,
        };
        browser.attach(width)?;
        Ok(browser)
    }

    fn attach(&mut self, width: u32) -> Result<()> {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let target = target["targetId"].as_str().context("no target")?.to_owned();
        let attached = self.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }))?;
        self.session = attached["sessionId"].as_str().context("no session")?.to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        let size = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(())
    }

    /// Opens a URL and waits until it is loaded.
    ///
    /// # Errors
    /// When it does not load.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.loaded = false;
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        self.wait_loaded().with_context(|| format!("{url} did not load"))
    }

    /// Fills in the fields (CSS selector, value) and presses `button`, then waits for the next page.
    ///
    /// # Errors
    /// When a field is not there or no page comes.
    pub fn submit(&mut self, fields: &[(&str, &str)], button: &str) -> Result<()> {
        for (selector, value) in fields {
            let script = format!(
                "(() => {{ const f = document.querySelector({}); if (!f) return 'absent'; f.value = {}; return 'set' }})()",
                json!(selector),
                json!(value)
            );
            ensure!(self.evaluate(&script)? == "set", "no field {selector} on {}", self.url()?);
        }
        self.loaded = false;
        let script = format!(
            "(() => {{ const b = document.querySelector({}); if (!b) return 'absent'; b.click(); return 'set' }})()",
            json!(button)
        );
        ensure!(self.evaluate(&script)? == "set", "no button {button} on {}", self.url()?);
        self.wait_loaded().context("no page came after the form")
    }

    /// The value of a script that gives text.
    ///
    /// # Errors
    /// When the script throws.
    pub fn evaluate(&mut self, script: &str) -> Result<String> {
        let answer =
            self.call("Runtime.evaluate", &json!({ "expression": script, "returnByValue": true }))?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{script}: {thrown}");
        }
        Ok(match &answer["result"]["value"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// The page's text.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn text(&mut self) -> Result<String> {
        self.evaluate("document.body.innerText")
    }

    /// The page's address.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn url(&mut self) -> Result<String> {
        self.evaluate("location.href")
    }

    /// Writes a picture of the whole page as PNG.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub fn screenshot(&mut self, path: &Path) -> Result<()> {
        let answer =
            self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }))?;
        let text = answer["data"].as_str().context("no picture")?;
        std::fs::write(path, decode_base64(text)?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn wait_loaded(&mut self) -> Result<()> {
        let until = Instant::now() + ANSWER_WITHIN;
        while !self.loaded {
            let message = self.messages.recv_timeout(until.saturating_duration_since(Instant::now()))?;
            self.note(&message);
        }
        Ok(())
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.requests.write_all(&bytes).context("the browser has ended")?;
        let until = Instant::now() + ANSWER_WITHIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message =
                self.messages.recv_timeout(left).with_context(|| format!("no answer to {method}"))?;
            if message["id"] == json!(id) {
                ensure!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Runtime.exceptionThrown") => self.errors.push(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.errors.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                let entry = &parameters["entry"];
                self.errors.push(format!("{} {}", entry["text"], entry["url"]));
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Ok(c - b'A'),
        b'a'..=b'z' => Ok(c - b'a' + 26),
        b'0'..=b'9' => Ok(c - b'0' + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => bail!("{:?} is no base64", c as char),
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut word = 0u32;
        for (index, c) in group.iter().enumerate() {
            word |= u32::from(digit(*c)?) << (18 - 6 * index);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Ok(bytes)
}
