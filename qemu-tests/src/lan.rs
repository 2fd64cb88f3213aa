//! A network for a test alone: the test process runs in a network namespace of its own, with a bridge, a DHCP and
//! DNS server that also advertises an IPv6 router (dnsmasq), and a time server (chronyd, which never touches the
//! clock: `-x`).
//!
//! The host's own network is neither seen nor changed from in here.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use vakt_image::process::{is_there, run};

/// Says that the process is in the namespace already.
const INSIDE: &str = "VAKT_TEST_LAN";

/// The bridge, and the addresses of this end.
pub const BRIDGE: &str = "lan";
/// The IPv4 address of the servers.
pub const SERVER: &str = "10.77.0.1";
/// Their IPv6 address.
pub const SERVER6: &str = "fd00:77::1";

/// What the box with [`MAC`] gets by DHCP.
pub const LEASE: &str = "10.77.0.50";
/// A network that it is told a router of.
pub const BEYOND: &str = "198.51.100.0/24";
/// The largest packet that it is told of, in bytes.
pub const MTU: u32 = 1450;
/// The name that it gets.
pub const LEASED_NAME: &str = "box7";
/// The hardware address that the lease is for.
pub const MAC: &str = "02:00:00:00:77:01";

/// Why the LAN cannot be made here, or `None` when it can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("a network namespace needs root".into());
    }
    let absent: Vec<_> =
        ["ip", "unshare", "dnsmasq"].into_iter().filter(|program| !is_there(program)).collect();
    if !absent.is_empty() {
        return Some(format!("no {} (vakt-image setup --for test installs them)", absent.join(", ")));
    }
    None
}

/// Runs the rest of the program in a fresh network namespace: `None` when it is in one, or the exit code of the
/// copy of it that was.
///
/// # Errors
/// When chronyd cannot be had, or unshare(1) cannot be started.
pub fn enter() -> Result<Option<ExitCode>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    // Nothing can be fetched from in there.
    chronyd()?;
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("cannot start unshare")?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Some(ExitCode::from(code as u8)))
}

/// `ip WORDS…`, split at spaces.
///
/// # Errors
/// With what ip said.
pub fn ip(words: &str) -> Result<String> {
    let output = run(Command::new("ip").args(words.split(' ')))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The network and its servers; dropping it ends them.
#[derive(Debug)]
pub struct Lan {
    directory: tempfile::TempDir,
    servers: Vec<Child>,
}

impl Lan {
    /// Makes the bridge and starts dnsmasq.
    ///
    /// # Errors
    /// When either fails.
    pub fn start() -> Result<Lan> {
        ip("link set lo up")?;
        ip(&format!("link add {BRIDGE} type bridge"))?;
        // Addresses are usable at once, without asking whether somebody else has them.
        fs::write(format!("/proc/sys/net/ipv6/conf/{BRIDGE}/accept_dad"), "0")?;
        ip(&format!("address add {SERVER}/24 dev {BRIDGE}"))?;
        ip(&format!("address add {SERVER6}/64 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        let directory = tempfile::Builder::new().prefix("vakt-lan").tempdir()?;
        let mut lan = Lan { directory, servers: Vec::new() };
        lan.start_dnsmasq()?;
        Ok(lan)
    }

    fn start_dnsmasq(&mut self) -> Result<()> {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args([
            format!("--interface={BRIDGE}"),
            "--bind-interfaces".into(),
            format!("--pid-file={}", at("dnsmasq.pid")),
            format!("--dhcp-leasefile={}", at("leases")),
            format!("--log-facility={}", at("dnsmasq.log")),
            "--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,2m".into(),
            format!("--dhcp-host={MAC},{LEASE},{LEASED_NAME}"),
            format!("--dhcp-option=option:ntp-server,{SERVER}"),
            format!("--dhcp-option=option:mtu,{MTU}"),
            format!("--dhcp-option=option:classless-static-route,0.0.0.0/0,{SERVER},{BEYOND},{SERVER}"),
            "--enable-ra".into(),
            "--dhcp-range=fd00:77::,ra-only".into(),
            format!("--dhcp-option=option6:dns-server,[{SERVER6}]"),
            // All of `lan` is known here: a name without an IPv6 address has none, instead of a refusal.
            "--local=/lan/".into(),
            format!("--host-record=time.lan,{SERVER}"),
        ]);
        self.run(&mut command).context("cannot start dnsmasq")
    }

    /// Starts chronyd as an NTP server that takes this host's clock for right, with `more` in its configuration.
    ///
    /// # Errors
    /// When it is not there or does not start.
    pub fn start_chronyd(&mut self, chronyd: &Path, more: &str) -> Result<()> {
        let at = |name: &str| self.directory.path().join(name);
        let text = format!(
            "local stratum 3\nallow all\ncmdport 0\nbindcmdaddress /\npidfile {}\n{more}",
            at("chronyd.pid").display()
        );
        fs::write(at("chrony.conf"), text)?;
        let mut command = Command::new(chronyd);
        // In the foreground, as root, without touching the clock.
        command.args(["-d", "-x", "-u", "root", "-f"]).arg(at("chrony.conf"));
        command.stderr(fs::File::create(at("chronyd.log"))?).stdout(Stdio::null());
        self.run(&mut command).context("cannot start chronyd")
    }

    fn run(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdin(Stdio::null()).spawn()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("it ended at once with {status}");
        }
        self.servers.push(child);
        Ok(())
    }

    /// Where the servers' files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a container's network the end `inside` of a cable, with the other end `outside` here, in the bridge
    /// when `bridged`.
    ///
    /// # Errors
    /// When ip refuses.
    pub fn plug(&self, pid: i32, outside: &str, inside: &str, mac: &str, bridged: bool) -> Result<()> {
        ip(&format!("link add {outside} type veth peer name {inside} address {mac} netns {pid}"))?;
        if bridged {
            ip(&format!("link set {outside} master {BRIDGE}"))?;
        }
        ip(&format!("link set {outside} up"))?;
        Ok(())
    }

    /// What a server wrote down.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for child in &mut self.servers {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What is left goes with the namespace; a second LAN of this process makes the bridge anew.
        let _ = ip(&format!("link delete {BRIDGE}"));
    }
}

/// Debian's chronyd, unpacked below the cache: its package would start a daemon that sets this host's clock.
///
/// # Errors
/// When it cannot be had.
pub fn chronyd() -> Result<PathBuf> {
    let directory = vakt_image::setup::unpacked("chrony")?;
    let program = directory.join("usr/sbin/chronyd");
    ensure!(program.exists(), "the package chrony has no {}", program.display());
    Ok(program)
}
