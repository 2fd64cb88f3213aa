//! The whole appliance in a container on this host: the image's tree, init as its PID 1, every service
//! in its room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use vakt_image::build::stage;
use vakt_image::bundle::keys::trusted_root;
use vakt_image::qemu::{Serial, ready};
use vakt_image::sbom;
use vakt_wire::role::Role;

use crate::{programs, refusals};

/// All services in their rooms take about a second; a loaded builder gets this long.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// The services' drain bound and init's own grace, for all of them one after the other.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Pause between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ports that are asked for until one is new: the kernel seldom gives the same one twice in thousands.
const PORT_TRIES: usize = 100;

/// The bearer token that [`config`] lets do everything.
pub const TOKEN: &str = "a token for tests";

/// The variable that names a directory to which containers add the system calls of their services.
pub const RECORD: &str = "VAKT_RECORD";

/// A machine config with [`TOKEN`] and `more` behind it.
pub fn config(more: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version = 2\nhostname = \"guard\"\n[scrape]\ninterval = \"1s\"\n[[token]]\nname = \"tests\"\nsha256 = \"{hash}\"\n\
         scopes = [\"metrics:read\", \"metrics:write\", \"logs:read\", \"logs:write\", \"config:read\", \"config:write\", \"update:read\", \"update:write\", \"reset\", \"backup:read\", \"backup:write\"]\n{more}"
    )
}

/// A running container. Dropping it ends it and removes what it left.
#[derive(Debug)]
pub struct Container {
    command: Command,
    child: Child,
    /// Its console.
    pub console: Serial,
    /// Its init's pid on this host.
    pub pid: i32,
    /// Where its pages answer.
    pub https: SocketAddr,
    /// Where it takes syslog over TCP and UDP.
    pub syslog: SocketAddr,
    /// The certificate's fingerprint, as the console said.
    pub fingerprint: String,
    /// Its state directory on this host.
    pub state: PathBuf,
    directory: tempfile::TempDir,
}

/// What a container is started with.
struct Started {
    directory: tempfile::TempDir,
    tree: PathBuf,
    state: PathBuf,
    https: SocketAddr,
    syslog: SocketAddr,
}

/// Why a container cannot run here, or `None` when it can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a container needs root (namespaces, mounts, cgroups)".into());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !root_is_a_mount(&mounts) {
        return Some("a container needs a root that is a mount; a chroot's is none".into());
    }
    (!mounts.contains(" cgroup2 ")).then(|| "a container needs a cgroup2 mount".into())
}

/// Whether `/` can be left by pivot_root(2): in a plain chroot it is only a directory.
pub fn root_is_a_mount(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some("/"))
}

impl Container {
    /// Starts one with a machine config, and waits until its pages answer.
    ///
    /// # Errors
    /// When it does not get ready; with its console.
    pub fn start(machine_config: &str) -> Result<Container> {
        Container::start_with(machine_config, |_| Ok(Vec::new()))
    }

    /// The same with a tree that `change` worked on, and the further flags that it returns.
    ///
    /// # Errors
    /// When it does not get ready, or `change` fails.
    pub fn start_with(
        machine_config: &str,
        change: impl FnOnce(&Path) -> Result<Vec<String>>,
    ) -> Result<Container> {
        let directory = tempfile::Builder::new().prefix("vakt-container").tempdir()?;
        let tree = directory.path().join("tree");
        stage(&workspace(), &programs::directory()?, &trusted_root(None, &workspace())?, &tree)?;
        sbom::stage(&sbom::make(&workspace(), vakt_image::VERSION, &[])?, &tree)?;
        let flags = change(&tree)?;
        let state = directory.path().join("state");
        fs::create_dir(&state)?;
        let (https, syslog) = (free_port()?, free_port()?);
        let maps = [(443, https), (514, syslog)];
        let maps = maps.iter().flat_map(|(port, to)| ["--map".to_owned(), format!("{port}={to}")]);
        let flags: Vec<String> = maps.chain(flags).collect();
        let started = Started { directory, tree, state, https, syslog };
        Container::start_in(started, machine_config, &flags, |_| Ok(()))
    }

    /// Starts one with a network of its own, whose interfaces `plug` puts into the namespace of the pid that it is
    /// given, and waits until the pages answer at `address`.
    ///
    /// # Errors
    /// When it does not get ready, or `plug` fails.
    pub fn start_on_network(
        machine_config: &str,
        address: IpAddr,
        plug: impl FnOnce(i32) -> Result<()>,
    ) -> Result<Container> {
        let directory = tempfile::Builder::new().prefix("vakt-container").tempdir()?;
        let (tree, state) = (directory.path().join("tree"), directory.path().join("state"));
        stage(&workspace(), &programs::directory()?, &trusted_root(None, &workspace())?, &tree)?;
        fs::create_dir(&state)?;
        let (https, syslog) = ((address, 443).into(), (address, 514).into());
        let started = Started { directory, tree, state, https, syslog };
        Container::start_in(started, machine_config, &["--own-network".to_owned()], plug)
    }

    fn start_in(
        started: Started,
        machine_config: &str,
        flags: &[String],
        plug: impl FnOnce(i32) -> Result<()>,
    ) -> Result<Container> {
        let Started { directory, tree, state, https, syslog } = started;
        let config = directory.path().join("vakt.toml");
        fs::write(&config, machine_config)?;
        let mut command = Command::new(tree.join("usr/bin/vakt-init"));
        command.arg("container").arg("--root").arg(&tree).arg("--state").arg(&state);
        command.arg("--config").arg(&config).args(flags);
        // The lists beside the manifests are made by running the tests with this.
        if let Some(directory) = std::env::var_os(RECORD) {
            command.arg("--record").arg(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (child, console, pid) = launch(&mut command)?;
        let plugged = plug(pid);
        let mut container = Container {
            command,
            child,
            console,
            pid,
            https,
            syslog,
            fingerprint: String::new(),
            state,
            directory,
        };
        plugged?;
        container.wait_until_ready()?;
        Ok(container)
    }

    /// Ends it in order and starts it again with the same state, config and addresses.
    ///
    /// # Errors
    /// When it does not end or not get ready.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.stop()?.success(), "the container did not end well:\n{}", self.console.text());
        (self.child, self.console, self.pid) = launch(&mut self.command)?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        self.fingerprint = self.console.wait_for("vakt: fingerprint ", READY_WITHIN)?;
        self.console.wait_for("vakt: all services ready", READY_WITHIN)?;
        ready::wait(self.https, &self.fingerprint, READY_WITHIN)
    }

    /// GET with the test token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Result<ready::Answer> {
        ready::get(self.https, path, &authorization())
    }

    /// POST with the test token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> Result<ready::Answer> {
        ready::post(self.https, path, &format!("{}{headers}", authorization()), body)
    }

    /// Asks GET `path` until `found` takes the answer's text, for at most 60 s.
    ///
    /// # Errors
    /// When it never does; with the last answer.
    pub fn eventually<T>(&self, path: &str, mut found: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get(path)?;
            if let Some(value) = found(&answer.text()) {
                return Ok(value);
            }
            ensure!(
                Instant::now() < until,
                "{path} never said it; last: {} {}",
                answer.status,
                answer.text()
            );
            std::thread::sleep(LOOK_EVERY * 5);
        }
    }

    /// GET on a process' unix socket inside, as root: the JSON of the answer.
    ///
    /// # Errors
    /// When nobody answers, or not with 200 and JSON.
    pub fn ask(&self, service: &str, path: &str) -> Result<serde_json::Value> {
        let (status, value) = self.call(service, "GET", path, "")?;
        ensure!(status == 200, "{service} {path}: {status} {value}");
        Ok(value)
    }

    /// A request on a process' unix socket inside, as root: the status and the JSON of the answer.
    ///
    /// # Errors
    /// When nobody answers, or not with JSON.
    pub fn call(
        &self,
        service: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, serde_json::Value)> {
        use std::io::{Read, Write};
        let socket = format!("/proc/{}/root/run/vakt/{service}/http.sock", self.pid);
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).with_context(|| socket.clone())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: vakt\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("{socket}{path}: {answer}"))?;
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        let value = serde_json::from_str(body).with_context(|| format!("{socket}{path}: {body}"))?;
        Ok((status, value))
    }

    /// Polls `look` until it gives something, for at most 60 s.
    ///
    /// # Errors
    /// When it never does, or fails.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "{what} was not seen; console:\n{}", self.console.text());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The pids on this host of the services' processes, by the services' names.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn services(&self) -> Result<BTreeMap<String, i32>> {
        let mut all = BTreeMap::new();
        for child in fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))?.split_whitespace()
        {
            // A process may end between the list and this look.
            let Ok(status) = fs::read_to_string(format!("/proc/{child}/status")) else { continue };
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
            if let Some(role) = uid.and_then(|uid| Role::of_uid(uid.parse().ok()?))
                && role != Role::Init
            {
                all.insert(role.name().to_owned(), child.parse()?);
            }
        }
        Ok(all)
    }

    /// Fails when seccomp refused a service a call that it wanted to make.
    ///
    /// # Errors
    /// With the log's lines of them.
    pub fn none_was_refused(&self) -> Result<()> {
        refusals::none(&self.get(refusals::QUERY)?.text())
    }

    /// Runs a program of this host inside a service's room.
    ///
    /// # Errors
    /// When vakt-init cannot be started.
    pub fn exec(&self, service: &str, program: &Path, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(programs::path("vakt-init")?)
            .args(["exec", "--service", service, "--pid", &self.pid.to_string(), "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        Ok(output)
    }

    /// Asks init to power off and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let until = Instant::now() + STOP_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < until, "the container did not stop:\n{}", self.console.text());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Where this container's own files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        if self.stop().is_err() {
            // The container's init first: everything inside goes with it, and the outer one cleans up.
            if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// The process, its console, and the pid of the container's init.
fn launch(command: &mut Command) -> Result<(Child, Serial, i32)> {
    let mut child = command.spawn().context("cannot start vakt-init")?;
    let pid = Serial::follow(child.stdout.take().context("no output")?, false);
    let console = Serial::follow(child.stderr.take().context("no console")?, false);
    let pid = pid.wait_for("vakt: container pid ", READY_WITHIN)?.parse()?;
    Ok((child, console, pid))
}

fn authorization() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

/// The workspace's root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A port of 127.0.0.1 that nobody listens on, and that no other test of this process was given.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..PORT_TRIES {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address.port()) {
            return Ok(address);
        }
    }
    bail!("{PORT_TRIES} ports in a row were given to others");
}
