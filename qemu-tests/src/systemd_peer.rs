//! A real systemd machine without a VM: Debian 12's systemd as PID 1 of fresh namespaces, with its D-Bus,
//! sshd and polkit, on this kernel. It boots in about a second.
//!
//! It has its own network namespace, so that several run at once and none can be reached from outside;
//! a thread of the test carries 127.0.0.1:PORT to its sshd. The enrolment script that an operator would
//! run ([`vakt_repair::enrol`]) is what sets up its users, sshd and polkit. `vakt-repair` may restart, start
//! and reset `demo.service`, and nothing else; `other.service` is there to be out of reach.
//!
//! Processes, mounts, cgroup and directory go away when the [`SystemdPeer`] is dropped, also by a panic,
//! and also when the test is killed: a small script holds the other end of a pipe and cleans up at its end.

mod forward;
mod keys;
mod tree;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use vakt_peer::systemd::Verb;
use vakt_repair::enrol::Enrolment;

pub use forward::Forward;
pub use keys::KeyPair;
pub use tree::ready as tree;

/// Boot and set-up take about a second; a loaded builder gets this long.
const BOOT_WITHIN: Duration = Duration::from_secs(60);

/// Pause between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The unit that `vakt-repair` may repair.
pub const DEMO: &str = "demo.service";

/// The unit that nobody granted `vakt-repair`.
pub const OTHER: &str = "other.service";

/// What `vakt-repair` may do to [`DEMO`].
pub const VERBS: [Verb; 3] = [Verb::Restart, Verb::Start, Verb::ResetFailed];

/// A running peer.
#[derive(Debug)]
pub struct SystemdPeer {
    keeper: Child,
    pid: u32,
    room: PathBuf,
    forward: Option<Forward>,
    host_key: KeyPair,
    read_key: KeyPair,
    repair_key: KeyPair,
}

/// Why a peer cannot run here, or `None` when it can. Tests that need one report themselves as ignored
/// (skipped) with this reason, and never as passed.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a systemd peer needs root (namespaces, mounts, cgroups)".into());
    }
    let found = |tool: &str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(tool).exists())
    };
    let absent: Vec<_> = ["debootstrap", "unshare", "nsenter", "setpriv", "pivot_root"]
        .into_iter()
        .filter(|t| !found(t))
        .collect();
    if !absent.is_empty() {
        return Some(format!(
            "a systemd peer needs {} (apt-get install debootstrap util-linux)",
            absent.join(", ")
        ));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !crate::container::root_is_a_mount(&mounts) {
        return Some("a systemd peer needs a root that is a mount; a chroot's is none".into());
    }
    cgroup2().is_none().then(|| "a systemd peer needs a cgroup2 mount".into())
}

/// Where cgroup v2 is mounted: /sys/fs/cgroup, or below it on a host with both versions.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

impl SystemdPeer {
    /// Boots a peer, enrols it, and waits until its sshd answers.
    pub fn start() -> Result<SystemdPeer> {
        let mut peer = SystemdPeer::bare("")?;
        peer.enrol()?;
        peer.forward = Some(Forward::start(peer.pid, 22)?);
        Ok(peer)
    }

    /// Boots a peer with nothing added: no keys, no sshd. Of the capabilities that reach beyond its namespaces
    /// it keeps those in `kept`, such as `syslog,bpf`; with `syslog` it has /dev/kmsg.
    pub fn bare(kept: &str) -> Result<SystemdPeer> {
        if let Some(reason) = missing() {
            bail!("{reason}");
        }
        let tree = tree::ready()?;
        let peer = SystemdPeer::boot(&tree, kept)?;
        peer.wait_until("systemd to be up", |peer| peer.is_up())?;
        Ok(peer)
    }

    fn boot(tree: &Path, kept: &str) -> Result<SystemdPeer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vakt-peer-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let room = std::env::temp_dir().join(&name);
        let cgroup = cgroup2().context("no cgroup2 mount")?.join(&name);
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/systemd_peer");
        let mut keeper = Command::new("/bin/sh")
            .arg(scripts.join("keeper.sh"))
            .args([tree, &room, &cgroup, &scripts.join("inside.sh")])
            .arg(kept)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the keeper of the peer")?;
        let mut line = String::new();
        let said = keeper.stdout.take().context("the keeper has no output")?;
        BufReader::new(said).read_line(&mut line)?;
        let unshare: u32 = line.trim().parse().with_context(|| format!("the keeper said {line:?}"))?;
        let mut peer = SystemdPeer {
            keeper,
            pid: 0,
            room,
            forward: None,
            host_key: KeyPair::random()?,
            read_key: KeyPair::random()?,
            repair_key: KeyPair::random()?,
        };
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        let child = || fs::read_to_string(&children).ok()?.trim().parse().ok();
        let deadline = Instant::now() + BOOT_WITHIN;
        while peer.pid == 0 {
            ensure!(Instant::now() < deadline, "the peer did not start: {}", peer.boot_log());
            peer.pid = child().unwrap_or(0);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(peer)
    }

    fn is_up(&self) -> bool {
        let state = self.run("systemctl is-active multi-user.target dbus.socket");
        // PID 1 is a shell at first, and then systemd before its sockets are there.
        state.is_ok_and(|text| text.lines().collect::<Vec<_>>() == ["active", "active"])
    }

    fn enrol(&self) -> Result<()> {
        let enrolment = Enrolment {
            read_key: self.read_key.public.parse().map_err(anyhow::Error::msg)?,
            repair_key: self.repair_key.public.parse().map_err(anyhow::Error::msg)?,
            units: [DEMO.parse().map_err(anyhow::Error::msg)?].into(),
            verbs: VERBS.into(),
        };
        self.write("/etc/ssh/ssh_host_ed25519_key", &self.host_key.private)?;
        self.write("/etc/ssh/ssh_host_ed25519_key.pub", &self.host_key.public)?;
        self.run("chmod 600 /etc/ssh/ssh_host_ed25519_key && systemctl start ssh.service")?;
        self.write("/root/enrol.sh", enrolment.script())?;
        // The script's reload lets sshd close its socket for a moment; a restart is waited for.
        self.run("sh /root/enrol.sh && systemctl restart ssh.service")?;
        Ok(())
    }

    /// Where its sshd is reached from this machine.
    pub fn address(&self) -> SocketAddr {
        self.forward.as_ref().map_or_else(|| ([127, 0, 0, 1], 22).into(), Forward::address)
    }

    /// Its public host key: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> &str {
        &self.host_key.public
    }

    /// Private key of `vakt-read`, OpenSSH form.
    pub fn read_key(&self) -> &str {
        &self.read_key.private
    }

    /// Private key of `vakt-repair`, OpenSSH form.
    pub fn repair_key(&self) -> &str {
        &self.repair_key.private
    }

    /// Runs a shell command inside as root and returns what it printed; an exit status other than 0 is an
    /// error that holds standard output and error.
    pub fn run(&self, command: &str) -> Result<String> {
        self.feed(command, b"")
    }

    /// Writes a file inside.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.feed(&format!("cat >{path}"), content.as_ref()).map(drop)
    }

    /// Where a path of the peer is seen from this machine; a unix socket is connected to by it.
    pub fn seen(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// A door to a TCP port of the peer's loopback.
    pub fn door(&self, port: u16) -> Result<Forward> {
        Forward::start(self.pid, port)
    }

    fn feed(&self, command: &str, input: &[u8]) -> Result<String> {
        let mut child = Command::new("nsenter")
            .args(["--target", &self.pid.to_string()])
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--"])
            .args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run nsenter")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).with_context(|| format!("cannot feed `{command}`"))?;
        }
        let output = child.wait_with_output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "`{command}` in the peer: {}: {out}{err}", output.status);
        Ok(out.into_owned())
    }

    /// Kills the unit's processes, so that systemd calls it failed.
    pub fn fail_unit(&self, unit: &str) -> Result<()> {
        self.run(&format!("systemctl kill --signal=SIGKILL {unit}"))?;
        self.wait_until("the unit to be failed", |peer| peer.unit_state(unit).is_ok_and(|s| s == "failed"))
    }

    /// Makes every later start of the unit fail, until [`SystemdPeer::mend_unit`].
    pub fn break_unit(&self, unit: &str) -> Result<()> {
        let stem = unit.trim_end_matches(".service");
        self.run(&format!("touch /run/{stem}.broken")).map(drop)
    }

    /// Lets the unit start again.
    pub fn mend_unit(&self, unit: &str) -> Result<()> {
        let stem = unit.trim_end_matches(".service");
        self.run(&format!("rm -f /run/{stem}.broken")).map(drop)
    }

    /// The unit's ActiveState as systemctl prints it.
    pub fn unit_state(&self, unit: &str) -> Result<String> {
        Ok(self.run(&format!("systemctl show --property=ActiveState --value {unit}"))?.trim().to_owned())
    }

    /// Cuts every SSH connection, as a network would.
    pub fn cut_connections(&self) {
        if let Some(forward) = &self.forward {
            forward.cut();
        }
    }

    /// Polls until `done`, at most a minute.
    pub fn wait_until(&self, what: &str, done: impl Fn(&SystemdPeer) -> bool) -> Result<()> {
        let deadline = Instant::now() + BOOT_WITHIN;
        while !done(self) {
            ensure!(Instant::now() < deadline, "waited {BOOT_WITHIN:?} for {what}; {}", self.boot_log());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn boot_log(&self) -> String {
        fs::read_to_string(self.room.join("boot.log")).unwrap_or_default()
    }
}

impl Drop for SystemdPeer {
    fn drop(&mut self) {
        self.forward = None;
        // The keeper cleans up at the end of its input, and its exit says that it has.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
