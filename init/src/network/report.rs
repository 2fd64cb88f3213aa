//! What is told of the network: readiness, a status line, name servers, time servers, the host name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;

use vakt_wire::config::{Hostname, MachineConfig};

use super::firewall::Opening;
use super::lease::Grant;
use super::plan::Leases;
use super::seen::{Link, Seen};

/// Name servers that resolvers look at (resolv.conf(5), MAXNS).
const NAME_SERVERS_MAX: usize = 3;

/// Time servers that are told of.
const TIME_SERVERS_MAX: usize = vakt_wire::config::TIME_SERVERS_MAX;

/// Rooms see these as /etc/resolv.conf and /etc/ntp-servers; init made them and gave them to this service.
const RESOLV_CONF: &str = "/run/vakt/etc/resolv.conf";
const NTP_SERVERS: &str = "/run/vakt/etc/ntp-servers";

/// An interface that has addresses, or should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its place in the config: what comes first there is told of first.
    place: usize,
    index: u32,
    name: String,
    carrier: bool,
    /// Global ones with their prefixes.
    addresses: Vec<String>,
    takes_advertisements: bool,
}

impl Served {
    /// As `link` was seen.
    pub fn new(place: usize, link: &Link, seen: &Seen, takes_advertisements: bool) -> Served {
        let held = seen.addresses.iter().filter(|held| held.index == link.index);
        Served {
            place,
            index: link.index,
            name: link.name.clone(),
            carrier: link.carrier,
            addresses: held.map(|held| format!("{}/{}", held.address, held.prefix)).collect(),
            takes_advertisements,
        }
    }
}

/// What was told last.
#[derive(Debug)]
pub struct Report {
    served: Vec<Served>,
    /// When the service counts as ready whatever there is; `None` once it is.
    ready_by_ms: Option<u64>,
    told: BTreeMap<&'static str, String>,
}

impl Report {
    /// Nothing was told yet.
    pub fn new(ready_by_ms: u64) -> Report {
        Report { served: Vec::new(), ready_by_ms: Some(ready_by_ms), told: BTreeMap::new() }
    }

    /// When readiness is due.
    pub fn due_ms(&self) -> Option<u64> {
        self.ready_by_ms
    }

    /// Tells what is new. Returns the links whose routers are to be asked for advertisements: those that are served
    /// or have their cable since the last time.
    pub fn tell(
        &mut self,
        now_ms: u64,
        config: &MachineConfig,
        served: Option<Vec<Served>>,
        leases: &Leases,
        advertised: &[IpAddr],
    ) -> Vec<u32> {
        let mut fresh = Vec::new();
        if let Some(mut served) = served {
            served.sort_by(|one, other| (one.place, &one.name).cmp(&(other.place, &other.name)));
            let had = |index| self.served.iter().any(|before| before.index == index && before.carrier);
            let asks = |one: &&Served| one.takes_advertisements && one.carrier && !had(one.index);
            fresh = served.iter().filter(asks).map(|one| one.index).collect();
            self.served = served;
        }
        let grants: Vec<&Grant> =
            self.served.iter().filter_map(|one| leases.get(&one.index)?.as_ref()).collect();
        self.write(RESOLV_CONF, resolv_conf(&config.network.dns, &grants, advertised));
        self.write(NTP_SERVERS, ntp_servers(&grants));
        if config.network.hostname_from_dhcp
            && let Some(name) = hostname(&grants)
        {
            self.say("hostname", format!("X_VAKT_HOSTNAME={name}"));
        }
        let status = describe(&self.served);
        if self.ready_by_ms.is_some_and(|by_ms| now_ms >= by_ms || is_complete(config, &self.served)) {
            self.ready_by_ms = None;
            notify(&format!("READY=1\nX_VAKT_CONSOLE=vakt: network {status}"));
        }
        self.say("status", format!("STATUS={status}"));
        fresh
    }

    fn say(&mut self, what: &'static str, message: String) {
        if self.told.get(what) != Some(&message) {
            notify(&message);
            self.told.insert(what, message);
        }
    }

    fn write(&mut self, path: &'static str, text: String) {
        if self.told.get(path) == Some(&text) {
            return;
        }
        match std::fs::write(path, &text) {
            Ok(()) => {
                self.told.insert(path, text);
            }
            Err(error) => eprintln!("network: cannot write {path}: {error}"),
        }
    }
}

/// Whether every interface that the config names has an address; without names, every one with a cable, and at
/// least one.
fn is_complete(config: &MachineConfig, served: &[Served]) -> bool {
    let named = config.network.interfaces.len();
    let has = |one: &&Served| !one.addresses.is_empty();
    let with_address = served.iter().filter(has).count();
    let with_cable = served.iter().filter(|one| one.carrier).count();
    if named > 0 { with_address >= named } else { with_address >= with_cable.max(1) }
}

fn describe(served: &[Served]) -> String {
    let one = |one: &Served| match (one.carrier, one.addresses.is_empty()) {
        (false, _) => format!("{} no cable", one.name),
        (true, true) => format!("{} no address", one.name),
        (true, false) => format!("{} {}", one.name, one.addresses.join(" ")),
    };
    if served.is_empty() {
        "no interface".into()
    } else {
        served.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The config's name servers, or those that were learned: DHCP's first, then the routers'.
fn resolv_conf(fixed: &[IpAddr], grants: &[&Grant], advertised: &[IpAddr]) -> String {
    let leased = grants.iter().flat_map(|grant| grant.dns.iter().copied().map(IpAddr::V4));
    let mut servers: Vec<IpAddr> = Vec::new();
    // One of each kind first, so that three do not all hang on the same family.
    let learned: Vec<IpAddr> = leased.collect();
    let all: Vec<IpAddr> = if fixed.is_empty() { mixed(&learned, advertised) } else { fixed.to_vec() };
    for server in all {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.iter().take(NAME_SERVERS_MAX).map(|server| format!("nameserver {server}\n")).collect()
}

/// The first of each, then the second of each, and so on.
fn mixed(one: &[IpAddr], other: &[IpAddr]) -> Vec<IpAddr> {
    let longest = one.len().max(other.len());
    (0..longest).flat_map(|at| one.get(at).into_iter().chain(other.get(at))).copied().collect()
}

fn ntp_servers(grants: &[&Grant]) -> String {
    let servers: BTreeSet<_> = grants.iter().flat_map(|grant| &grant.ntp).collect();
    servers.iter().take(TIME_SERVERS_MAX).map(|server| format!("{server}\n")).collect()
}

/// The first name that is one; a hostile one is passed over.
fn hostname(grants: &[&Grant]) -> Option<Hostname> {
    grants.iter().find_map(|grant| Hostname::try_from(grant.hostname.clone()?).ok())
}

/// Ports as a person reads them.
pub fn listing(openings: &BTreeSet<Opening>) -> String {
    let one = |opening: &Opening| format!("{} {}", if opening.udp { "udp" } else { "tcp" }, opening.port);
    let all: Vec<String> = openings.iter().map(one).collect();
    if all.is_empty() { "nothing".into() } else { all.join(", ") }
}

/// Sends one sd_notify(3) datagram to init.
pub fn notify(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.send_to(message.as_bytes(), path)) {
        eprintln!("network: cannot notify: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(dns: &[[u8; 4]], hostname: Option<&str>) -> Grant {
        Grant {
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            server: [10, 0, 2, 2].into(),
            router: None,
            routes: Vec::new(),
            dns: dns.iter().map(|bytes| (*bytes).into()).collect(),
            ntp: vec![[10, 0, 2, 3].into()],
            hostname: hostname.map(str::to_owned),
            mtu: None,
            lease_s: None,
        }
    }

    #[test]
    fn name_servers_are_the_configs_or_else_the_learned_ones_of_both_families() {
        let lease = grant(&[[10, 0, 2, 3], [10, 0, 2, 4], [10, 0, 2, 5]], None);
        let advertised: IpAddr = "2001:db8::53".parse().unwrap();
        let learned = resolv_conf(&[], &[&lease], &[advertised]);
        assert_eq!(learned, "nameserver 10.0.2.3\nnameserver 2001:db8::53\nnameserver 10.0.2.4\n");
        assert_eq!(resolv_conf(&[advertised], &[&lease], &[]), "nameserver 2001:db8::53\n");
        assert_eq!(ntp_servers(&[&lease, &lease]), "10.0.2.3\n");
    }

    #[test]
    fn a_name_from_dhcp_that_is_none_is_passed_over() {
        let (bad, good) = (grant(&[], Some("a b\nREADY=1")), grant(&[], Some("box7")));
        assert_eq!(hostname(&[&bad]), None);
        assert_eq!(hostname(&[&bad, &good]).unwrap().as_str(), "box7");
    }

    #[test]
    fn a_status_line_says_what_each_interface_lacks() {
        let served = |name: &str, carrier, address: &[&str]| Served {
            place: 0,
            index: 2,
            name: name.into(),
            carrier,
            addresses: address.iter().map(|a| (*a).to_owned()).collect(),
            takes_advertisements: true,
        };
        let all =
            [served("eth0", true, &["10.0.2.15/24"]), served("eth1", true, &[]), served("eth2", false, &[])];
        assert_eq!(describe(&all), "eth0 10.0.2.15/24, eth1 no address, eth2 no cable");
        let config = MachineConfig::default();
        assert!(!is_complete(&config, &all));
        assert!(is_complete(&config, &[all[0].clone(), all[2].clone()]));
        assert!(!is_complete(&config, &[]));
    }
}
