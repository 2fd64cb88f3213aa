//! A real peer, the real store and the real repair service, wired together in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use vakt_qemu_tests::systemd_peer::SystemdPeer;
use vakt_wire::http::Client;

/// How long anything may take on a loaded builder.
const WITHIN: Duration = Duration::from_secs(60);

/// Pause between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The services and the peer. Dropping it ends them all.
pub struct Bed {
    pub peer: SystemdPeer,
    directory: tempfile::TempDir,
    store: Option<Child>,
    repair: Option<Child>,
    runtime: tokio::runtime::Runtime,
}

/// A policy as it stands in the config: its name and its YAML.
pub struct Policy(pub &'static str, pub String);

/// `verb` for a failed `unit`; right again after 1 s.
pub fn policy(name: &'static str, unit: &str, guards: &str) -> Policy {
    let yaml = format!(
        "version: 1\nname: {name}\nmatch: {{unit: {unit}, peers: [db1]}}\nguards: {{{guards}}}\n\
         action: {{verb: restart, timeout: 20s}}\nverify: {{active_for: 1s}}\n"
    );
    Policy(name, yaml)
}

impl Bed {
    /// Starts a peer and the store, and repair with these policies.
    pub fn start(policies: &[Policy]) -> Result<Bed> {
        let peer = SystemdPeer::start()?;
        let host_key = peer.host_key().to_owned();
        let mut bed = Bed::without_repair(peer)?;
        bed.start_store()?;
        bed.start_repair(&host_key, policies)?;
        bed.wait_for("the peer to be connected", |bed| {
            Ok(bed.get("/v1/peers")?.pointer("/peers/0/state") == Some(&"connected".into()))
        })?;
        Ok(bed)
    }

    pub fn without_repair(peer: SystemdPeer) -> Result<Bed> {
        Ok(Bed {
            peer,
            directory: tempfile::tempdir()?,
            store: None,
            repair: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn start_store(&mut self) -> Result<()> {
        let listen = format!("unix:{}", self.path("store.sock").display());
        let data = self.path("store");
        std::fs::create_dir_all(&data)?;
        let args = ["serve", "--data", &data.display().to_string(), "--listen", &listen].map(str::to_owned);
        self.store = Some(self.spawn("vakt-store", &args)?);
        let socket = self.path("store.sock");
        self.wait_for("the store to answer", |bed| Ok(bed.call(&socket, "/catalog/v1/evidence").is_ok()))
    }

    pub fn kill_store(&mut self) -> Result<()> {
        let mut store = self.store.take().context("no store runs")?;
        store.kill()?;
        store.wait()?;
        Ok(())
    }

    pub fn start_repair(&mut self, host_key: &str, policies: &[Policy]) -> Result<()> {
        std::fs::write(self.path("config.toml"), self.config(host_key, policies))?;
        let at = |name: &str| self.path(name).display().to_string();
        let listen = format!("unix:{}", at("repair.sock"));
        let (config, store, key) = (at("config.toml"), at("store.sock"), at("evidence.key"));
        let args = ["serve", "--config", &config, "--listen", &listen, "--store", &store, "--key", &key];
        self.repair = Some(self.spawn("vakt-repair", &args.map(str::to_owned))?);
        self.wait_for("repair to answer", |bed| Ok(bed.get("/v1/policies").is_ok()))
    }

    /// Asks repair to stop, and waits for it.
    pub fn stop_repair(&mut self) -> Result<ExitStatus> {
        let mut repair = self.repair.take().context("repair does not run")?;
        let pid = rustix::process::Pid::from_child(&repair);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(status) = repair.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                repair.kill()?;
                repair.wait()?;
                bail!("vakt-repair did not stop within {WITHIN:?}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn config(&self, host_key: &str, policies: &[Policy]) -> String {
        let mut text = format!(
            "version = 1\n[ssh]\nrepair_key = \"\"\"\n{}\"\"\"\n\
             [[peer]]\nname = \"db1\"\naddress = \"{}\"\nhost_key = \"{host_key}\"\n",
            self.peer.repair_key(),
            self.peer.address()
        );
        for Policy(name, yaml) in policies {
            text += &format!("[[policy]]\nname = \"{name}\"\nyaml = '''\n{yaml}'''\n");
        }
        text
    }

    fn spawn(&self, name: &str, args: &[String]) -> Result<Child> {
        let log =
            std::fs::File::options().create(true).append(true).open(self.path(&format!("{name}.log")))?;
        Command::new(program(name)?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))
    }

    /// Runs `vakt-repair` with `args` and returns its exit status and what it printed.
    pub fn run_repair(&self, args: &[&str]) -> Result<(bool, String)> {
        let output = Command::new(program("vakt-repair")?).args(args).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// GET from repair's API.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call(&self.path("repair.sock"), path)
    }

    fn call(&self, socket: &Path, path: &str) -> Result<Value> {
        Ok(self.runtime.block_on(Client::unix(socket).get(path))?)
    }

    /// The newest repair, once it is over.
    pub fn repair_that_ended(&self, outcome: &str) -> Result<Value> {
        let mut found = Value::Null;
        self.wait_for(&format!("a repair that is {outcome}"), |bed| {
            let newest =
                bed.get("/v1/repairs?limit=1")?.pointer_mut("/repairs/0").map_or(Value::Null, Value::take);
            let ended = newest["outcome"] == outcome;
            if ended {
                found = newest;
            }
            Ok(ended)
        })?;
        Ok(found)
    }

    /// Polls until `done`; what repair logged is in the error.
    pub fn wait_for(&self, what: &str, mut done: impl FnMut(&Bed) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let last = done(self);
            if let Ok(true) = last {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "waited {WITHIN:?} for {what}: {last:?}; {}", self.logs());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn logs(&self) -> String {
        let log = |name: &str| std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        format!("repair said:\n{}\nstore said:\n{}", log("vakt-repair"), log("vakt-store"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in [self.repair.take(), self.store.take()].into_iter().flatten() {
            let mut child = child;
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The steps of a repair, with what each came to, such as `answered done`.
pub fn steps(repair: &Value) -> Vec<String> {
    let records = repair["records"].as_array().cloned().unwrap_or_default();
    let word = |record: &Value| {
        let detail = &record["detail"];
        let came_to = ["outcome", "act", "held"].iter().find_map(|name| match &detail[*name] {
            Value::String(text) => Some(text.clone()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        });
        let step = record["step"].as_str().unwrap_or("?").to_owned();
        came_to.map_or(step.clone(), |came_to| format!("{step} {came_to}"))
    };
    records.iter().map(word).collect()
}

/// A program of the workspace, built beside this test.
fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let path = test.parent().and_then(Path::parent).context("the test has no directory")?.join(name);
    ensure!(path.exists(), "{} is missing; build it first: cargo build -p {name}", path.display());
    Ok(path)
}
