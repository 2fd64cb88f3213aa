//! Runs the real `vakt-log` on a directory, for the tests beside this.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use hyper::Method;
use vakt_wire::http::{CallError, Client};

/// A running service. Killed when dropped.
pub struct Log {
    child: Child,
    dir: PathBuf,
    /// Where syslog streams are taken.
    pub tcp: SocketAddr,
    /// Where syslog datagrams are taken.
    pub udp: SocketAddr,
}

impl Log {
    /// Starts it on `dir` and returns when it serves.
    pub fn start(dir: &Path) -> Log {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vakt-log"))
            .arg("serve")
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--listen")
            .arg(format!("unix:{}", dir.join("http.sock").display()))
            .args(["--syslog-tcp", "127.0.0.1:0", "--syslog-udp", "127.0.0.1:0", "--retention", "10y"])
            .arg("--syslog-unix")
            .arg(dir.join("syslog.sock"))
            .env("VAKT_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut tcp, mut udp) = (None, None);
        for line in lines.by_ref() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let address = || line["address"].as_str().unwrap().parse::<SocketAddr>().unwrap();
            match line["message"].as_str().unwrap() {
                "receiving syslog by tcp" => tcp = Some(address()),
                "receiving syslog by udp" => udp = Some(address()),
                "serving" => break,
                _ => {}
            }
        }
        // What it says from now on is the test's output, and its pipe never fills.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Log { child, dir: dir.to_owned(), tcp: tcp.unwrap(), udp: udp.unwrap() }
    }

    /// A caller of its HTTP socket.
    pub fn client(&self) -> Client {
        Client::unix(self.dir.join("http.sock"))
    }

    /// The path of its unix syslog socket.
    pub fn syslog(&self) -> PathBuf {
        self.dir.join("syslog.sock")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Inserts lines and returns the answer.
    pub async fn insert(&self, lines: &str) -> Result<serde_json::Value, CallError> {
        insert(&self.client(), lines).await
    }

    /// The rows of a query.
    pub async fn query(&self, query: &str) -> Vec<serde_json::Value> {
        self.query_with(query, "").await
    }

    /// The rows of a query with more arguments (`&limit=5`).
    pub async fn query_with(&self, query: &str, arguments: &str) -> Vec<serde_json::Value> {
        let path = format!("/select/logsql/query?query={}{arguments}", escape(query));
        let bytes = self.client().call(Method::GET, &path, "", "").await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How many rows match.
    pub async fn count(&self, query: &str) -> u64 {
        let rows = self.query(&format!("{query} | stats count() n")).await;
        rows[0]["n"].as_str().unwrap().parse().unwrap()
    }

    /// A counter or gauge.
    pub async fn metric(&self, name: &str) -> u64 {
        let bytes = self.client().call(Method::GET, "/metrics", "", "").await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap().parse().unwrap()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Inserts lines and returns the answer.
pub async fn insert(client: &Client, lines: &str) -> Result<serde_json::Value, CallError> {
    let bytes = client.call(Method::POST, "/insert/jsonline", "application/json", lines.to_owned()).await?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

/// Percent-encodes everything but letters and digits.
pub fn escape(text: &str) -> String {
    let byte =
        |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

/// Every `.block` file under the data directory.
pub fn blocks(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for day in std::fs::read_dir(data.join("blocks")).unwrap() {
        found.extend(std::fs::read_dir(day.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    found
}
