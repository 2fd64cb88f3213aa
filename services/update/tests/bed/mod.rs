//! The real service beside two files, the slots; with a real HTTP server in the place of init, and another one that
//! gives out a repository made by `vakt-image`'s own code.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod init;
pub mod repository;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use vakt_image::bundle::{Signing, Update, Validity, keys, publish};
use vakt_update::digest::Sha256;
use vakt_update::manifest::MACHINE;
use vakt_wire::http::Client;

use init::FakeInit;
use repository::Server;

/// What `vakt-image bundle` signs for unless told otherwise.
pub const VALID: Validity = Validity { targets_days: 365, online_days: 90 };

/// The slot of most tests.
pub const SLOT_BYTES: u64 = 12 << 20;

/// Longest wait for anything; what is waited for takes a second.
const WITHIN: Duration = Duration::from_secs(120);

/// A box: slots, init, service; and the world around it: keys, repository, server.
pub struct Bed {
    pub directory: TempDir,
    pub init: Arc<FakeInit>,
    pub server: Arc<Server>,
    pub config: String,
    /// More of the service's command line.
    pub flags: Vec<String>,
    service: Option<Child>,
}

impl Bed {
    /// A box on which 0.1.0 runs, and a repository of one version, if any.
    pub async fn new(version: &str) -> Bed {
        let bed = Bed::with_slot(SLOT_BYTES).await;
        if !version.is_empty() {
            bed.publish(&bed.update(version)).await;
        }
        bed
    }

    pub async fn with_slot(bytes: u64) -> Bed {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // What is not to be touched, and what is to be overwritten: both full of something.
        std::fs::write(at("slot-a"), noise(1, 1 << 20)).unwrap();
        std::fs::write(at("slot-b"), noise(2, bytes as usize)).unwrap();
        keys::generate(&at("keys")).await.unwrap();
        let init = FakeInit::start(&at("init.sock"), &at("slot-b"));
        let server = Server::start(&at("repository")).await;
        let config = format!("version = 1\n[update]\ncheck = \"off\"\nrepository = \"{}\"\n", server.url());
        Bed { directory, init, server, config, flags: Vec::new(), service: None }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An update of 5 MiB and a bit, of 1 MiB UKI and a bit. Another version is other bytes.
    pub fn update(&self, version: &str) -> Update {
        let seed = version.bytes().map(u64::from).sum();
        self.sized(version, noise(seed, (5 << 20) + 3 * 4096), noise(seed + 1, (1 << 20) + 77))
    }

    pub fn sized(&self, version: &str, root: Vec<u8>, uki: Vec<u8>) -> Update {
        let (root_path, uki_path) = (self.at("root.image"), self.at("uki.image"));
        std::fs::write(&root_path, root).unwrap();
        std::fs::write(&uki_path, uki).unwrap();
        Update {
            version: version.parse().unwrap(),
            machine: MACHINE.into(),
            made: Timestamp::from_second(Timestamp::now().as_second() - 1).unwrap(),
            root_hash: Sha256::of(b"").to_string(),
            root: root_path,
            uki: uki_path,
            sbom: b"{}".to_vec(),
        }
    }

    /// Signs `update` into the repository, by the keys that the box trusts.
    pub async fn publish(&self, update: &Update) -> Vec<PathBuf> {
        self.publish_by(update, &Signing::with(&self.at("keys")), VALID).await
    }

    pub async fn publish_by(&self, update: &Update, signing: &Signing, validity: Validity) -> Vec<PathBuf> {
        let files = self.write(update);
        publish(&self.at("repository"), &files, signing, validity).await.unwrap();
        files
    }

    /// The files of `update`, not published.
    pub fn write(&self, update: &Update) -> Vec<PathBuf> {
        let work = self.at("work");
        std::fs::create_dir_all(&work).unwrap();
        update.write(&work).unwrap().into()
    }

    /// The one file among the repository's targets whose name ends so.
    pub fn target(&self, ending: &str) -> PathBuf {
        let entries = std::fs::read_dir(self.at("repository/targets")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
    }

    /// Starts the service and waits until it answers.
    pub async fn start(&mut self) {
        std::fs::write(self.at("config.toml"), &self.config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vakt-update"));
        command.arg("serve").arg("--config").arg(self.at("config.toml"));
        command.arg("--data").arg(self.at("data")).arg("--root").arg(self.at("keys/root.json"));
        command.arg("--init").arg(format!("unix:{}", self.at("init.sock").display()));
        command.arg("--listen").arg(format!("unix:{}", self.at("update.sock").display()));
        command.args(&self.flags);
        if self.at("slot-b").exists() {
            command.arg("--slot").arg(self.at("slot-b"));
        }
        self.service = Some(command.stdin(Stdio::null()).spawn().unwrap());
        let started = Instant::now();
        while self.client().get::<Value>("/v1/update").await.is_err() {
            assert!(started.elapsed() < WITHIN, "the service does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL: what a power cut is to a process.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().unwrap();
            service.wait().unwrap();
        }
    }

    /// SIGTERM; waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut service = self.service.take().unwrap();
        let pid = rustix::process::Pid::from_child(&service);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        loop {
            if let Some(status) = service.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn client(&self) -> Client {
        Client::unix(self.at("update.sock")).within(WITHIN)
    }

    pub async fn state(&self) -> Value {
        self.client().get("/v1/update").await.unwrap()
    }

    /// The state once `done` holds.
    pub async fn until(&self, done: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let state = self.state().await;
            if done(&state) {
                return state;
            }
            assert!(started.elapsed() < WITHIN, "still not: {state:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Installs from the repository; returns the last install as the pages see it.
    pub async fn install(&self) -> Value {
        let _: Value = self.client().send(Method::POST, "/v1/update/install", &json!({})).await.unwrap();
        let state = self.until(|state| state["phase"] == "idle").await;
        assert_ne!(state["last"]["outcome"], "running");
        state["last"].clone()
    }

    /// Looks at the repository; returns the whole state.
    pub async fn check(&self) -> Value {
        let before = self.state().await["checked"].clone();
        let _: Value = self.client().send(Method::POST, "/v1/update/check", &json!({})).await.unwrap();
        self.until(|state| state["checked"] != before && state["phase"] == "idle").await
    }

    /// Uploads an archive; returns status and answer.
    pub async fn upload(&self, archive: Vec<u8>) -> (u16, Value) {
        let request = hyper::Request::put("/v1/update/archive").body(vakt_wire::http::full(archive)).unwrap();
        let answer = self.client().open(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = vakt_wire::http::read(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub fn slot(&self) -> Sha256 {
        Sha256::of(&std::fs::read(self.at("slot-b")).unwrap())
    }

    pub fn active(&self) -> Sha256 {
        Sha256::of(&std::fs::read(self.at("slot-a")).unwrap())
    }

    /// Peak of the service's memory in bytes.
    pub fn peak_memory(&self) -> u64 {
        let pid = self.service.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
    }

    /// The slot holds `update`, and init was told so after everything was there.
    pub fn assert_staged(&self, update: &Update) {
        let (root, uki) = (std::fs::read(&update.root).unwrap(), std::fs::read(&update.uki).unwrap());
        let slot = std::fs::read(self.at("slot-b")).unwrap();
        let uki_at = root.len().next_multiple_of(4096);
        assert!(slot[..root.len()] == root, "the root is not what was signed");
        assert!(slot[uki_at..uki_at + uki.len()] == uki, "the UKI is not what was signed");
        let staged = self.init.staged();
        assert_eq!(staged.version, update.version);
        assert_eq!((staged.uki_offset, staged.uki_length), (uki_at as u64, uki.len() as u64));
        assert_eq!(self.init.copied(), Sha256::of(&uki), "what init takes from the slot");
        assert_eq!(self.active(), Sha256::of(&noise(1, 1 << 20)), "the running slot is never touched");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            // It may have ended by itself, which the test has seen then.
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

/// `length` bytes that no two pieces share (splitmix64).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    });
    let mut bytes: Vec<u8> = words.take(length.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

/// All files of a directory, for putting them back.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
