//! The network service: addresses from the config, or by DHCP, over rtnetlink.
//!
//! A process of its own (uid `network`, CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, no paths), so
//! that a hostile DHCP answer is not parsed by PID 1. It is ready when every interface of the config
//! has an address, or when [`READY_WITHIN`] has passed: a box without a network still shows its
//! console and keeps its logs.

mod dhcp;
mod lease;
mod netlink;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use vakt_wire::config::{self, Interface, MachineConfig};

use netlink::{Link, Netlink};

/// An address may take this long before the service counts as ready without it.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Interfaces that are served; a thread each.
const INTERFACES_MAX: usize = 16;

/// While no Ethernet interface is there, one is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Name servers that resolvers look at (resolv.conf(5), MAXNS).
const NAME_SERVERS_MAX: usize = 3;

/// What an interface has at present.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Its addresses with their prefixes.
    address: String,
    /// The name servers that came with them.
    dns: Vec<IpAddr>,
}

/// What an interface's thread reports: its name and what it has.
type Report = (String, Option<Held>);

/// Sets the network up and keeps its leases until SIGTERM, whose default action ends it: addresses
/// stay, the kernel drops them with the machine.
///
/// # Errors
/// When the config cannot be read or rtnetlink is refused.
pub fn main() -> anyhow::Result<ExitCode> {
    exit_on_sigterm()?;
    let text =
        std::fs::read_to_string("/run/vakt/config.toml").context("cannot read /run/vakt/config.toml")?;
    let config = config::parse(&text).map_err(|error| anyhow::anyhow!("/run/vakt/config.toml: {error}"))?;
    let (report, reports) = mpsc::sync_channel(64);
    let interfaces = wanted(&config)?;
    silence_others(&interfaces)?;
    for (link, interface) in interfaces.iter().cloned() {
        let report = report.clone();
        std::thread::Builder::new()
            .name(link.name.clone())
            .stack_size(256 << 10)
            .spawn(move || serve(&link, &interface, &report))
            .context("cannot start an interface's thread")?;
    }
    report_for_ever(&config, interfaces.len(), &reports)
}

/// Process 1 of a pid namespace has no default action for SIGTERM, so one thread waits for it.
fn exit_on_sigterm() -> anyhow::Result<()> {
    let signals = crate::sys::signal_fd(&[libc::SIGTERM, libc::SIGINT])?;
    rustix::fs::fcntl_setfl(&signals, rustix::fs::OFlags::empty())?;
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        let mut info = [0u8; 128];
        loop {
            if rustix::io::read(&signals, &mut info).is_ok() {
                crate::sys::exit_now(0);
            }
        }
    })?;
    Ok(())
}

/// The interfaces to serve with what the config says of each; without a word, DHCP on all Ethernet.
fn wanted(config: &MachineConfig) -> anyhow::Result<Vec<(Link, Interface)>> {
    let started = Instant::now();
    loop {
        let links = Netlink::open()?.ethernet_links()?;
        let mut found = Vec::new();
        if config.network.interfaces.is_empty() {
            for link in links {
                if let Ok(name) = link.name.clone().try_into() {
                    let interface = Interface { name, dhcp: true, addresses: Vec::new(), gateway: None };
                    found.push((link, interface));
                }
            }
        } else {
            for interface in &config.network.interfaces {
                let link = links.iter().find(|link| link.name == interface.name.as_str());
                found.extend(link.map(|link| (link.clone(), interface.clone())));
            }
        }
        let all = found.len() >= config.network.interfaces.len().max(1);
        if all || started.elapsed() > READY_WITHIN {
            found.truncate(INTERFACES_MAX);
            return Ok(found);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Interfaces that the config does not name lose what an earlier config gave them.
fn silence_others(interfaces: &[(Link, Interface)]) -> anyhow::Result<()> {
    let mut netlink = Netlink::open()?;
    for link in netlink.ethernet_links()? {
        if !interfaces.iter().any(|(served, _)| served.index == link.index) {
            netlink.keep_only(&link, &[])?;
        }
    }
    Ok(())
}

/// One interface for the life of the service.
fn serve(link: &Link, interface: &Interface, report: &mpsc::SyncSender<Report>) {
    let tell = |held: Option<Held>| {
        // The receiver lives as long as the process.
        let _ = report.send((link.name.clone(), held));
    };
    let set_up = || -> anyhow::Result<()> {
        let mut netlink = Netlink::open()?;
        netlink.up(link)?;
        for address in &interface.addresses {
            netlink.add_address(link, address.address, address.prefix)?;
        }
        if !interface.dhcp {
            let wanted: Vec<_> = interface.addresses.iter().map(|a| (a.address, a.prefix)).collect();
            netlink.keep_only(link, &wanted)?;
        }
        if let Some(gateway) = interface.gateway {
            netlink.add_default_route(link, gateway)?;
        }
        Ok(())
    };
    if let Err(error) = set_up() {
        eprintln!("network: {}: {error:#}", link.name);
    }
    if interface.dhcp {
        dhcp::run(link, &tell);
    } else {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        tell(Some(Held { address: addresses.join(" "), dns: Vec::new() }));
    }
}

/// Turns the threads' reports into readiness and a status line.
fn report_for_ever(
    config: &MachineConfig,
    interfaces: usize,
    reports: &mpsc::Receiver<Report>,
) -> anyhow::Result<ExitCode> {
    let until = Instant::now() + READY_WITHIN;
    let mut interfaces_up = BTreeMap::new();
    let mut ready = false;
    loop {
        let wait =
            if ready { Duration::from_secs(3600) } else { until.saturating_duration_since(Instant::now()) };
        match reports.recv_timeout(wait) {
            Ok((name, Some(held))) => interfaces_up.insert(name, held),
            Ok((name, None)) => interfaces_up.remove(&name),
            // Static interfaces' threads end; then there is nothing to hear and the timeout stays.
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                std::thread::sleep(wait.max(Duration::from_millis(10)));
                None
            }
            Err(mpsc::RecvTimeoutError::Timeout) => None,
        };
        write_resolv_conf(config, &interfaces_up);
        let status = describe(&interfaces_up);
        if !ready && (interfaces_up.len() >= interfaces.max(1) || Instant::now() >= until) {
            ready = true;
            notify(&format!("READY=1\nSTATUS={status}\nX_VAKT_CONSOLE=vakt: network {status}"));
        } else {
            notify(&format!("STATUS={status}"));
        }
    }
}

fn describe(interfaces: &BTreeMap<String, Held>) -> String {
    if interfaces.is_empty() {
        return "no address".into();
    }
    let each: Vec<String> =
        interfaces.iter().map(|(name, held)| format!("{name} {}", held.address)).collect();
    each.join(", ")
}

/// The config's name servers, or those that DHCP named. Rooms see the file as /etc/resolv.conf.
fn write_resolv_conf(config: &MachineConfig, interfaces: &BTreeMap<String, Held>) {
    let learned = interfaces.values().flat_map(|held| held.dns.iter());
    let servers: Vec<&IpAddr> =
        if config.network.dns.is_empty() { learned.collect() } else { config.network.dns.iter().collect() };
    let text: String =
        servers.iter().take(NAME_SERVERS_MAX).map(|server| format!("nameserver {server}\n")).collect();
    if let Err(error) = std::fs::write("/run/vakt/etc/resolv.conf", text) {
        eprintln!("network: cannot write resolv.conf: {error}");
    }
}

fn notify(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.send_to(message.as_bytes(), path)) {
        eprintln!("network: cannot notify: {error}");
    }
}

/// Whether two addresses are of one family.
fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
