//! A running `vakt-store` and a small HTTP client for it.
#![allow(dead_code, clippy::unwrap_used, reason = "machinery of tests; each file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use vakt_wire::remote_write::{TimeSeries, encode};

/// The first sample's time, in milliseconds.
const START_MS: u64 = 1_700_000_000_000;

/// Milliseconds between samples.
const STEP_MS: u64 = 1000;

/// From its start until it is ready; a second on a quiet machine, also with the largest log of these tests.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A store that serves on a port of 127.0.0.1; killed when dropped.
pub struct Store {
    child: Child,
    pub port: u16,
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vakt-store"));
    command.args(["serve", "--retention", "100y", "--data"]).arg(data).args(arguments).stderr(Stdio::piped());
    command.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
    command
}

impl Store {
    /// Starts a store and waits until it says that it is ready.
    pub fn start(data: &Path, arguments: &[&str]) -> Store {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("notify");
        let notify = UnixDatagram::bind(&socket).unwrap();
        // The port is free at this moment; who takes it in between makes the test fail loudly.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(data, arguments);
        command.args(["--listen", &format!("127.0.0.1:{port}")]).env("NOTIFY_SOCKET", &socket);
        let mut child = command.spawn().unwrap();
        // Its lines go where the test's own go, so that a failure can be read.
        let lines = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let mut message = [0; 512];
        notify.set_read_timeout(Some(READY_WITHIN)).unwrap();
        let Ok(length) = notify.recv(&mut message) else {
            panic!("the store is not ready within {READY_WITHIN:?}; it ended: {:?}", child.try_wait());
        };
        let said = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(said.starts_with("READY=1"), "{said}");
        Store { child, port }
    }

    /// Starts one that must fail, and returns what it said.
    pub fn start_refused(data: &Path) -> String {
        Store::start_refused_with(data, &[])
    }

    /// As [`Store::start_refused`], with more arguments.
    pub fn start_refused_with(data: &Path, arguments: &[&str]) -> String {
        let output = command(data, &[arguments, &["--listen", "127.0.0.1:0"]].concat()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// The most memory that it ever had resident.
    pub fn peak_rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// GET, as JSON.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, serde_json::Value) {
        let pairs: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let answer = exchange(self.port, "GET", &format!("{path}?{}", pairs.join("&")), &[]).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// The values of an instant vector.
    pub fn vector(&self, query: &str) -> Vec<f64> {
        let (status, answer) = self.get("/api/v1/query", &[("query", query)]);
        assert_eq!(status, 200, "{answer}");
        let result = answer["data"]["result"].as_array().unwrap();
        result.iter().map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number that a store tells about itself.
pub fn number(store: &Store, metric: &str) -> u64 {
    let text = String::from_utf8(exchange(store.port, "GET", "/metrics", b"").unwrap().body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric}")).parse().unwrap()
}

/// The status and output of `vakt-store check`.
pub fn check(data: &Path) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_vakt-store")).args(["check", "--data"]).arg(data).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Seconds of the sample with this value.
pub fn time_of(value: u64) -> String {
    let millis = START_MS + value * STEP_MS;
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A write request: one sample with `value` for each of some series of a writer.
pub fn body(writer: u64, series: u64, value: u64) -> Vec<u8> {
    let one = |n: u64| TimeSeries {
        labels: vec![
            ("__name__".into(), "m".into()),
            ("n".into(), n.to_string()),
            ("writer".into(), writer.to_string()),
        ],
        samples: vec![(value as f64, (START_MS + value * STEP_MS) as i64)],
    };
    encode(&(0..series).map(one).collect::<Vec<_>>()).unwrap()
}

/// A write request: one native histogram of schema 0 with `value` observations in its first bucket, at the time of `value`.
pub fn histogram_body(series: &str, value: u64) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        assert!(bytes.len() < 128);
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    };
    let varint = |mut value: u64| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let number = |field: u8, value: u64| [vec![field << 3], varint(value)].concat();
    let sum = [&[3 << 3 | 1][..], &(value as f64).to_le_bytes()].concat();
    let span = field(11, &[number(1, 0), number(2, 1)].concat());
    let deltas = field(12, &varint(2 * value));
    let time = [&[15 << 3][..], &varint(START_MS + value * STEP_MS)].concat();
    let histogram = [number(1, value), sum, span, deltas, time].concat();
    let label = field(1, &[field(1, b"__name__"), field(2, series.as_bytes())].concat());
    let body = field(1, &[label, field(4, &histogram)].concat());
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

/// A write request: one sample of `e` with an exemplar, both with `value` and at its time.
pub fn exemplar_body(value: u64) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let time = |number: u8| {
        let (mut left, mut bytes) = (START_MS + value * STEP_MS, vec![number << 3]);
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    };
    let double = |number: u8| [&[number << 3 | 1][..], &(value as f64).to_le_bytes()].concat();
    let label =
        |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let sample = field(2, &[double(1), time(2)].concat());
    let exemplar = field(3, &[label("trace_id", &value.to_string()), double(2), time(3)].concat());
    let body = field(1, &[label("__name__", "e"), sample, exemplar].concat());
    snap::raw::Encoder::new().compress_vec(&body).unwrap()
}

/// An answer.
pub struct Answer {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

/// POST over a connection of its own.
pub fn post(port: u16, path: &str, body: &[u8]) -> std::io::Result<Answer> {
    exchange(port, "POST", path, body)
}

pub fn exchange(port: u16, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let broken = || std::io::Error::other("answer broke off");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
    let status = std::str::from_utf8(bytes.get(9..12).ok_or_else(broken)?).ok().and_then(|s| s.parse().ok());
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let body = bytes[end + 4..].to_vec();
    let body =
        if head.contains("transfer-encoding: chunked") { unchunked(&body).ok_or_else(broken)? } else { body };
    Ok(Answer { status: status.ok_or_else(broken)?, head, body })
}

/// The body out of its chunks (RFC 9112, 7.1).
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        body.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
        rest = rest.get(line + 2 + length + 2..)?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
