//! Who a service is there for, as addresses, from the machine config alone.
//!
//! | service | may talk to |
//! |---|---|
//! | collector | the peers and the targets of scrape jobs; any [`unicast`] address when one of them has a name |
//! | repair | the peers; any [`unicast`] address when one of them has a name |
//! | update | the repository; any [`unicast`] address when it has a name; nobody without one |
//! | egress | the places that samples are sent to or read from; any [`unicast`] address when one has a name; nobody without one |
//! | network | nobody: DHCP's socket and ICMPv6's are init's |
//! | another | any [`unicast`] address |
//!
//! A name can mean any address tomorrow, and somebody must be asked for it: what is allowed then is
//! what a machine elsewhere can have. This box itself is never among it, nor a link's own addresses (where a
//! cloud keeps its credentials), multicast or broadcast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vakt_wire::config::MachineConfig;
use vakt_wire::role::Role;

use super::Prefix;
use super::program::PREFIXES_MAX;

/// IPv4 addresses that are no other machine's: "this network", loopback, link-local, and from multicast on
/// upwards (RFC 6890).
const NOT_UNICAST_V4: [Prefix; 4] = [
    Prefix::v4(Ipv4Addr::new(0, 0, 0, 0), 8),
    Prefix::v4(Ipv4Addr::new(127, 0, 0, 0), 8),
    Prefix::v4(Ipv4Addr::new(169, 254, 0, 0), 16),
    Prefix::v4(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// IPv6 addresses of other machines: global, unique local, and IPv4 through a translator (RFC 4291, 4193, 6052).
const UNICAST_V6: [Prefix; 3] = [
    Prefix::v6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    Prefix::v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
    Prefix::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// Whom `role` may talk to under `config`, in order and without doubles. A list that would be longer than
/// [`PREFIXES_MAX`] is that of names instead: a box with more peers watches them all the same.
pub fn of(role: Role, config: &MachineConfig) -> Vec<Prefix> {
    let peers = config.peers.iter().map(|peer| peer.address.as_str());
    let targets = config.scrape_jobs.iter().flat_map(|job| &job.targets).map(|target| target.as_str());
    let mut list = match role {
        Role::Collector => hosts(peers.chain(targets)),
        Role::Repair => hosts(peers),
        Role::Update => hosts(config.update.repository.iter().map(|url| authority(url.as_str()))),
        Role::Egress => {
            let sent_to = config.forwards.iter().map(|forward| forward.url.as_str());
            let read_from = config.read_from.iter().map(|read_from| read_from.url.as_str());
            hosts(sent_to.chain(read_from).map(authority))
        }
        Role::Network => Vec::new(),
        _ => unicast(),
    };
    list.sort_unstable();
    list.dedup();
    if list.len() > PREFIXES_MAX { unicast() } else { list }
}

/// The most that a config can open to `role`: any [`unicast`] address, or nobody to a role that makes no socket itself.
pub fn most(role: Role) -> Vec<Prefix> {
    if role == Role::Network { Vec::new() } else { unicast() }
}

/// Every address that another machine can have.
pub fn unicast() -> Vec<Prefix> {
    let mut list = Prefix::v4(Ipv4Addr::UNSPECIFIED, 0).without(&NOT_UNICAST_V4);
    list.extend(UNICAST_V6);
    list
}

/// The hosts of `host:port` texts; one that is a name makes it every address.
fn hosts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Prefix> {
    let addresses: Option<Vec<Prefix>> = texts.map(|text| Some(Prefix::host(address(text)?))).collect();
    addresses.unwrap_or_else(unicast)
}

/// The address before the port (which may be missing), or `None` for a name.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    text.split(':').next()?.parse().ok()
}

/// The host and port of a URL that was checked when the config was read.
fn authority(url: &str) -> &str {
    url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(role: Role, more: &str) -> Vec<String> {
        let config = vakt_wire::config::parse(&format!("version = 1\n{more}")).unwrap();
        of(role, &config).iter().map(Prefix::to_string).collect()
    }

    fn peer(name: &str, address: &str) -> String {
        format!("[[peer]]\nname = '{name}'\naddress = '{address}'\nhost_key = 'ssh-ed25519 AAAA'\n")
    }

    fn holds(list: &[Prefix], address: &str) -> bool {
        list.iter().any(|prefix| prefix.covers(Prefix::host(address.parse().unwrap())))
    }

    #[test]
    fn peers_by_address_are_the_whole_list() {
        let peers = [peer("a", "192.0.2.7:22"), peer("b", "[2001:db8::7]:2222"), peer("c", "192.0.2.7:23")];
        let job = "[[scrape_job]]\njob_name = 'n'\ntargets = ['192.0.2.9:9100']\n";
        assert_eq!(list(Role::Collector, job), ["192.0.2.9/32"]);
        assert_eq!(list(Role::Repair, job), Vec::<String>::new());
        for role in [Role::Collector, Role::Repair] {
            assert_eq!(list(role, &peers.concat()), ["192.0.2.7/32", "2001:db8::7/128"]);
            assert_eq!(list(role, ""), Vec::<String>::new());
        }
    }

    #[test]
    fn the_repository_is_all_that_update_reaches() {
        let of_url = |url: &str| list(Role::Update, &format!("[update]\nrepository = '{url}'"));
        assert_eq!(of_url("http://127.0.0.1:8080/vakt"), ["127.0.0.1/32"]);
        assert_eq!(of_url("https://[2001:db8::1]/"), ["2001:db8::1/128"]);
        assert_eq!(of_url("https://u.example.org").len(), unicast().len());
        assert_eq!(list(Role::Update, ""), Vec::<String>::new());
    }

    #[test]
    fn a_name_may_be_any_other_machine_and_never_this_one() {
        let config = vakt_wire::config::parse(&format!("version = 1\n{}", peer("a", "db1.example.org:22")));
        let list = of(Role::Collector, &config.unwrap());
        for address in ["1.1.1.1", "10.0.0.1", "126.255.255.255", "192.168.1.1", "2001:db8::1", "fd00::1"] {
            assert!(holds(&list, address), "{address}");
        }
        let others = ["0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "::1"];
        for address in others.into_iter().chain(["fe80::1", "ff02::1"]) {
            assert!(!holds(&list, address), "{address}");
        }
    }

    #[test]
    fn the_network_service_reaches_nobody_by_itself() {
        let asks = "[[network.interface]]\nname = 'eth0'\ndhcp = true\naccept_ra = true\n";
        assert_eq!(list(Role::Network, asks), Vec::<String>::new());
        assert!(most(Role::Network).is_empty() && !most(Role::Update).is_empty());
    }

    #[test]
    fn more_peers_than_the_bound_are_watched_all_the_same() {
        let peers: String = (0..=PREFIXES_MAX)
            .map(|n| peer(&format!("p{n}"), &format!("10.0.{}.{}:22", n / 256, n % 256)))
            .collect();
        assert_eq!(list(Role::Collector, &peers).len(), unicast().len());
    }
}
