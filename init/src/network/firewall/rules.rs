//! What is let in, decided from what the machine listens for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use vakt_wire::config::{Cidr, Limit};

use crate::manifest::Manifest;

/// IP protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// ICMP types that come in: errors that path MTU discovery and traceroute live on, and echo requests (RFC 792).
const ICMP_TYPES: [u8; 4] = [3, 8, 11, 12];

/// ICMPv6 types that come in (RFC 4890, section 4.4): errors, echo requests, multicast listeners, neighbour
/// discovery with router advertisements.
const ICMP6_TYPES: [u8; 12] = [1, 2, 3, 4, 128, 130, 131, 132, 134, 135, 136, 143];

/// A port that the machine listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// UDP instead of TCP.
    pub udp: bool,
    /// The port.
    pub port: u16,
}

/// What a packet must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Part of a connection that is known, or an error about one.
    Known,
    /// Come by the link with this number.
    From(u32),
    /// Of this family.
    Ipv4(bool),
    /// Of this protocol above IP.
    Protocol(u8),
    /// The first byte of ICMP and ICMPv6.
    IcmpType(u8),
    /// From this port.
    SourcePort(u16),
    /// To this port.
    Port(u16),
    /// From an address of this network.
    Source(Cidr),
}

/// A packet that is like all of these comes in.
pub type Rule = Vec<Match>;

/// The ports of all sockets that `manifests` have init open to the network, those of the loopback and those that are not
/// to be open left out.
pub fn openings(manifests: &BTreeMap<String, Manifest>) -> BTreeSet<Opening> {
    let listens = manifests.values().flat_map(|manifest| &manifest.listen).filter(|listen| listen.open);
    let outside = |address: &Option<SocketAddr>| address.filter(|address| !address.ip().is_loopback());
    listens
        .flat_map(|listen| {
            let tcp = outside(&listen.tcp).map(|address| Opening { udp: false, port: address.port() });
            let udp = outside(&listen.udp).map(|address| Opening { udp: true, port: address.port() });
            tcp.into_iter().chain(udp)
        })
        .collect()
}

/// The rules, in order; what no rule lets in is dropped.
pub fn rules(openings: &BTreeSet<Opening>, limits: &[Limit]) -> Vec<Rule> {
    // The loopback is the first link of every network namespace.
    let mut rules = vec![vec![Match::Known], vec![Match::From(1)]];
    let icmp = |ipv4, protocol, kind: &u8| {
        vec![Match::Ipv4(ipv4), Match::Protocol(protocol), Match::IcmpType(*kind)]
    };
    rules.extend(ICMP_TYPES.iter().map(|kind| icmp(true, ICMP, kind)));
    rules.extend(ICMP6_TYPES.iter().map(|kind| icmp(false, ICMP6, kind)));
    // DHCP's answers are no part of a connection: the question went to everybody.
    rules.push(vec![Match::Ipv4(true), Match::Protocol(UDP), Match::SourcePort(67), Match::Port(68)]);
    for opening in openings {
        let port = [Match::Protocol(if opening.udp { UDP } else { TCP }), Match::Port(opening.port)];
        let mut limited = limits.iter().filter(|limit| limit.port == opening.port).peekable();
        if limited.peek().is_none() {
            rules.push(port.to_vec());
        }
        for from in limited.flat_map(|limit| &limit.from) {
            let ipv4 = from.address.is_ipv4();
            rules.push([&[Match::Ipv4(ipv4), Match::Source(*from)], &port[..]].concat());
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests() -> BTreeMap<String, Manifest> {
        let listen = |text: &str| {
            crate::manifest::parse("web", &format!("description='x'\nexec=['/b']\n{text}")).unwrap()
        };
        let text = "[[listen]]\nname='a'\ntcp='[::]:443'\n[[listen]]\nname='b'\nudp='0.0.0.0:514'\n\
                    [[listen]]\nname='c'\ntcp='127.0.0.1:9000'\n[[listen]]\nname='d'\nunix='/run/x'\n\
                    [[listen]]\nname='e'\nudp='0.0.0.0:68'\nopen=false";
        BTreeMap::from([("web".to_owned(), listen(text))])
    }

    #[test]
    fn what_listens_outside_is_open_and_nothing_else() {
        let found: Vec<_> = openings(&manifests()).into_iter().collect();
        assert_eq!(found, [Opening { udp: false, port: 443 }, Opening { udp: true, port: 514 }]);
        let closed = rules(&BTreeSet::new(), &[]);
        assert!(closed.iter().all(|rule| !rule.contains(&Match::Protocol(TCP))));
        let open = rules(&openings(&manifests()), &[]);
        assert_eq!(
            open[closed.len()..],
            [vec![Match::Protocol(TCP), Match::Port(443)], vec![Match::Protocol(UDP), Match::Port(514)],]
        );
    }

    #[test]
    fn a_limit_leaves_a_port_to_those_it_names_and_no_other_port() {
        let network: Cidr = "192.0.2.0/24".to_owned().try_into().unwrap();
        let limit = |from: Vec<Cidr>| [Limit { port: 443, from }];
        let some = rules(&openings(&manifests()), &limit(vec![network]));
        let to_443 = |rules: &[Rule]| -> Vec<Rule> {
            rules.iter().filter(|rule| rule.contains(&Match::Port(443))).cloned().collect()
        };
        let only = vec![Match::Ipv4(true), Match::Source(network), Match::Protocol(TCP), Match::Port(443)];
        assert_eq!(to_443(&some), [only]);
        assert!(some.contains(&vec![Match::Protocol(UDP), Match::Port(514)]));
        assert!(to_443(&rules(&openings(&manifests()), &limit(Vec::new()))).is_empty());
    }
}
