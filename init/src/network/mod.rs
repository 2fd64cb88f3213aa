//! The network service: brings the kernel's links, addresses and routes to the config, and keeps them there.
//!
//! A process of its own (uid `network`, CAP_NET_ADMIN, few paths), so that a hostile DHCP answer is not parsed by PID 1.
//! It makes no socket that reaches the network: DHCP's and ICMPv6's are init's, handed over. One loop: what the kernel tells, what DHCP answers and what time
//! brings are heard; [`plan`] compares what there is with what is wanted; [`netlink`] does the difference. So a
//! cable that is pulled, an interface that appears and a config that changed are one and the same thing.
//!
//! It is ready when every interface of the config has an address, or when [`READY_WITHIN`] has passed: a box
//! without a network still shows its console and keeps its logs.

mod dhcp;
mod firewall;
mod lease;
mod netlink;
mod news;
mod plan;
mod report;
mod seen;
mod settings;
mod solicit;
mod sys;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec};
use vakt_wire::config::{self, INTERFACES_MAX, MachineConfig};
use vakt_wire::listen::Inherited;

use crate::manifest;
use crate::sys::{now_ms, signal_fd};
use netlink::Netlink;
use news::{Advertised, News};
use plan::{Duty, Leases, duty, plan};
use report::{Report, Served, notify};
use seen::Seen;

/// An address may take this long before the service counts as ready without it.
const READY_WITHIN_MS: u64 = 20_000;

/// Rounds of planning and doing in a row: a VLAN on a bond needs three.
const ROUNDS_MAX: usize = 6;

/// What the kernel refused is tried again after this long.
const RETRY_MS: u64 = 5_000;

/// Between two looks at the kernel, however often it tells of changes: a cable that flaps costs little.
const LOOK_EVERY_MS_MIN: u64 = 50;

/// The loop turns at least this often.
const TURN_MS_MAX: u64 = 60_000;

/// The services' manifests, which say what listens.
const MANIFESTS: &str = "/usr/lib/vakt/services";

/// Sets the network up and keeps it until SIGTERM, which ends it: addresses and rules stay, the kernel drops them
/// with the machine.
///
/// # Errors
/// When the config cannot be read or rtnetlink is refused.
pub fn main() -> anyhow::Result<ExitCode> {
    // Process 1 of a pid namespace has no default action for SIGTERM.
    let signals = signal_fd(&[libc::SIGTERM, libc::SIGINT])?;
    let text =
        std::fs::read_to_string("/run/vakt/config.toml").context("cannot read /run/vakt/config.toml")?;
    let config = config::parse(&text).map_err(|error| anyhow::anyhow!("/run/vakt/config.toml: {error}"))?;
    raise_firewall(&config);
    let mut service = Service::new(config, Inherited::take())?;
    loop {
        if service.wait(&signals)? {
            return Ok(ExitCode::SUCCESS);
        }
        service.turn();
    }
}

/// Before any link is switched on. A kernel without nf_tables is told of and lived with.
fn raise_firewall(config: &MachineConfig) {
    let raised = manifest::load(Path::new(MANIFESTS)).map_err(anyhow::Error::from).and_then(|manifests| {
        let openings = firewall::openings(&manifests);
        firewall::raise(&firewall::rules(&openings, &config.network.limits))?;
        Ok(openings)
    });
    match raised {
        Ok(openings) => {
            notify(&format!("X_VAKT_CONSOLE=vakt: firewall lets in {}", report::listing(&openings)))
        }
        Err(error) => {
            let line = format!("no firewall: every port that listens can be reached: {error:#}");
            eprintln!("network: {line}");
            notify(&format!("X_VAKT_CONSOLE=vakt: {line}\nX_VAKT_NOTE={line}"));
        }
    }
}

/// All that the service holds.
struct Service {
    config: MachineConfig,
    netlink: Netlink,
    news: News,
    dhcp: dhcp::Socket,
    ports: BTreeMap<u32, dhcp::Port>,
    /// Raw ICMPv6, to ask routers; none without IPv6.
    icmp6: Option<OwnedFd>,
    leases: Leases,
    advertised: Advertised,
    report: Report,
    /// When the kernel is looked at next.
    look_ms: u64,
    /// When it was looked at last.
    looked_ms: u64,
    /// What was refused last, so that it is said once.
    refused: Vec<String>,
}

impl Service {
    fn new(config: MachineConfig, mut inherited: Inherited) -> anyhow::Result<Service> {
        let dhcp = inherited.named("dhcp").pop().context("init handed over no socket for DHCP")?;
        let now_ms = now_ms();
        // The socket first: a change after the first look is heard.
        let news = News::open()?;
        Ok(Service {
            report: Report::new(now_ms + READY_WITHIN_MS),
            config,
            netlink: Netlink::open()?,
            news,
            dhcp: dhcp::Socket::new(dhcp)?,
            ports: BTreeMap::new(),
            icmp6: inherited.named("icmp6").pop(),
            leases: Leases::new(),
            advertised: Advertised::default(),
            look_ms: now_ms,
            looked_ms: 0,
            refused: Vec::new(),
        })
    }

    /// Waits until there is something to do. Returns whether the service is to end.
    fn wait(&self, signals: &OwnedFd) -> anyhow::Result<bool> {
        let now_ms = now_ms();
        let due = self.ports.values().filter(|port| port.carrier).map(dhcp::Port::due_ms);
        let due = due.chain([self.look_ms]).chain(self.advertised.due_ms()).chain(self.report.due_ms());
        let wait_ms = due.min().unwrap_or(u64::MAX).saturating_sub(now_ms).min(TURN_MS_MAX);
        let timeout =
            Timespec { tv_sec: (wait_ms / 1000) as i64, tv_nsec: (wait_ms % 1000 * 1_000_000) as _ };
        let fds: [BorrowedFd<'_>; 3] = [signals.as_fd(), self.news.as_fd(), self.dhcp.as_fd()];
        let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!polled[0].revents().is_empty()),
            Err(error) => Err(error).context("cannot poll"),
        }
    }

    fn turn(&mut self) {
        let now_ms = now_ms();
        let (changed, servers) = self.news.read();
        let mut told = false;
        for server in servers {
            told |= self.advertised.hear(now_ms, server);
        }
        let leased = self.turn_dhcp(now_ms);
        if changed || leased {
            self.look_ms = self.look_ms.min((self.looked_ms + LOOK_EVERY_MS_MIN).max(now_ms));
        }
        if now_ms >= self.look_ms {
            (self.looked_ms, self.look_ms) = (now_ms, u64::MAX);
            if let Err(error) = self.reconcile(now_ms) {
                self.refuse(vec![format!("{error:#}")]);
            }
        } else if told || self.report.due_ms().is_some_and(|due_ms| now_ms >= due_ms) {
            self.tell(now_ms, None);
        }
    }

    /// Returns whether a lease is another one.
    fn turn_dhcp(&mut self, now_ms: u64) -> bool {
        let (mut changed, mut failed) = (false, Vec::new());
        if let Err(error) = self.dhcp.read(&mut self.ports, now_ms) {
            eprintln!("network: {error:#}");
        }
        for (index, port) in &mut self.ports {
            match port.turn(&self.dhcp, now_ms) {
                Ok(None) => {}
                Ok(Some(became)) => {
                    changed = true;
                    self.leases.insert(*index, became);
                }
                Err(error) => {
                    eprintln!("network: dhcp on interface {index}: {error:#}");
                    failed.push(*index);
                }
            }
        }
        // Opened anew at the next look, if the link is there still.
        for index in failed {
            self.ports.remove(&index);
            self.look_ms = self.look_ms.min(now_ms + RETRY_MS);
        }
        changed
    }

    /// Looks, plans and does, until there is nothing left to do.
    fn reconcile(&mut self, now_ms: u64) -> anyhow::Result<()> {
        let mut refused = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let seen = self.netlink.look()?;
            let operations = plan(&self.config.network, &self.leases, &seen);
            if operations.is_empty() {
                break;
            }
            refused.clear();
            for operation in &operations {
                if let Err(error) = self.netlink.carry_out(operation) {
                    refused.push(format!("{error:#}"));
                }
            }
            if refused.len() == operations.len() {
                break;
            }
        }
        self.refuse(refused);
        let seen = self.netlink.look()?;
        self.tend_ports(now_ms, &seen);
        let present = |index: u32| seen.links.iter().any(|link| link.index == index && link.up);
        self.advertised.forget(now_ms, present);
        self.leases.retain(|index, _| present(*index));
        self.tell(now_ms, Some(&seen));
        Ok(())
    }

    /// What the kernel does not take is said once, and tried again.
    fn refuse(&mut self, refused: Vec<String>) {
        if !refused.is_empty() {
            self.look_ms = self.look_ms.min(now_ms() + RETRY_MS);
        }
        for line in refused.iter().filter(|line| !self.refused.contains(line)) {
            eprintln!("network: {line}");
        }
        self.refused = refused;
    }

    /// Begins and ends DHCP's clients as links come and go, and tells their clients of the cable.
    fn tend_ports(&mut self, now_ms: u64, seen: &Seen) {
        let asks = |link: &seen::Link| {
            matches!(duty(&self.config.network, link), Duty::Serve(_, interface) if interface.dhcp) && link.up
        };
        let links: Vec<&seen::Link> =
            seen.links.iter().filter(|link| asks(link)).take(INTERFACES_MAX).collect();
        self.ports.retain(|index, _| links.iter().any(|link| link.index == *index));
        for link in links {
            match self.ports.get_mut(&link.index) {
                Some(port) => {
                    if link.carrier && !port.carrier {
                        port.link_up(now_ms);
                    }
                    port.carrier = link.carrier;
                }
                None => match dhcp::Port::open(link) {
                    Ok(port) => {
                        self.ports.insert(link.index, port);
                    }
                    Err(error) => {
                        eprintln!("network: dhcp on {}: {error:#}", link.name);
                        self.look_ms = self.look_ms.min(now_ms + RETRY_MS);
                    }
                },
            }
        }
    }

    /// Tells init and the rooms what there is. Without `seen` only what was learned has changed.
    fn tell(&mut self, now_ms: u64, seen: Option<&Seen>) {
        self.advertised.forget(now_ms, |_| true);
        let served = seen.map(|seen| {
            let one = |link: &seen::Link| match duty(&self.config.network, link) {
                Duty::Serve(place, interface) => {
                    Some(Served::new(place, link, seen, interface.takes_advertisements()))
                }
                _ => None,
            };
            seen.links.iter().filter_map(one).collect::<Vec<_>>()
        });
        let fresh = self.report.tell(now_ms, &self.config, served, &self.leases, &self.advertised.servers());
        // The kernel asked its routers when it switched the link on, perhaps in a former life of this service.
        for index in fresh {
            solicit::routers(self.icmp6.as_ref(), index);
        }
    }
}
