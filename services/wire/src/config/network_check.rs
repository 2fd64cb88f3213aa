//! What parts of `[network]` and `[time]` cannot stand beside each other.

use std::collections::BTreeSet;

use super::network::{Interface, Network, Port, Time};

/// Interfaces of a box; a config with more is a mistake.
pub const INTERFACES_MAX: usize = 32;

/// Bytes of an interface's name (IFNAMSIZ without its zero).
const NAME_BYTES_MAX: usize = 15;

/// Members of one bond.
const MEMBERS_MAX: usize = 8;

/// Time servers that are asked; more than RFC 5905's NTP.MAXCLOCK tell nothing new.
pub const TIME_SERVERS_MAX: usize = 10;

/// The first contradiction: the key, and what is wrong with it.
pub fn contradiction(network: &Network, time: &Time) -> Option<(String, String)> {
    if network.interfaces.len() > INTERFACES_MAX {
        let reason = format!("{} interfaces; at most {INTERFACES_MAX}", network.interfaces.len());
        return Some(("network.interface".into(), reason));
    }
    if time.servers.len() > TIME_SERVERS_MAX {
        let reason = format!("{} servers; at most {TIME_SERVERS_MAX}", time.servers.len());
        return Some(("time.server".into(), reason));
    }
    let mut seen = BTreeSet::new();
    for (index, interface) in network.interfaces.iter().enumerate() {
        let key = format!("network.interface[{index}]");
        if let Some((inner, reason)) = within(interface) {
            return Some((format!("{key}{inner}"), reason));
        }
        let port = interface.port()?;
        if !seen.insert(port.clone()) {
            return Some((key, format!("{port} is described twice; one entry has it all")));
        }
    }
    members(network)
}

/// What is wrong with one entry by itself.
fn within(interface: &Interface) -> Option<(&'static str, String)> {
    let said = |inner, text: &str| Some((inner, text.to_owned()));
    match (&interface.name, interface.mac) {
        (None, None) => return said("", "has neither name nor mac; example: name = \"eth0\""),
        (Some(_), Some(_)) => return said("", "has both name and mac; keep one of them"),
        _ => {}
    }
    let made = interface.vlan.is_some() || interface.bond.is_some();
    if let Some(name) = interface.name.as_ref().filter(|name| made && name.as_str().len() > NAME_BYTES_MAX) {
        return Some((".name", format!("{:?} is longer than {NAME_BYTES_MAX} bytes", name.as_str())));
    }
    if made && interface.name.is_none() {
        return said("", "is made here and needs a name, not a mac; example: name = \"bond0\"");
    }
    if interface.vlan.is_some() && interface.bond.is_some() {
        return said("", "is both vlan and bond; put the vlan on the bond in an entry of its own");
    }
    if interface.dhcp && interface.addresses.iter().any(|cidr| cidr.address.is_ipv4()) {
        return said("", "has dhcp = true and static addresses; keep one of them");
    }
    if !interface.dhcp && interface.addresses.is_empty() && interface.accept_ra != Some(true) {
        return said(
            "",
            "has neither dhcp = true nor accept_ra = true nor an address; example: address = [\"192.0.2.10/24\"]",
        );
    }
    if interface.gateway6.is_some() && interface.gateway.is_some_and(|gateway| gateway.is_ipv6()) {
        return said(".gateway6", "is there beside an IPv6 gateway; keep one of them");
    }
    let Some(bond) = &interface.bond else { return None };
    if bond.members.is_empty() || bond.members.len() > MEMBERS_MAX {
        return Some((".bond.members", format!("has {} members; 1 to {MEMBERS_MAX}", bond.members.len())));
    }
    match &bond.primary {
        Some(primary) if !bond.members.contains(primary) => {
            Some((".bond.primary", format!("{primary} is none of the members")))
        }
        _ => None,
    }
}

/// A member belongs to one bond and has nothing of its own.
fn members(network: &Network) -> Option<(String, String)> {
    let mut taken: BTreeSet<&Port> = BTreeSet::new();
    let described: Vec<Port> = network.interfaces.iter().filter_map(Interface::port).collect();
    for (index, interface) in network.interfaces.iter().enumerate() {
        let Some(bond) = &interface.bond else { continue };
        for (at, member) in bond.members.iter().enumerate() {
            let key = format!("network.interface[{index}].bond.members[{at}]");
            if !taken.insert(member) {
                return Some((key, format!("{member} is a member twice; a port is in one bond")));
            }
            if described.contains(member) {
                let reason =
                    format!("{member} has an entry of its own; addresses and mtu belong to the bond");
                return Some((key, reason));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn check(entries: &str, expected: &str) {
        let said =
            parse(&format!("version = 1\n{entries}")).map_or_else(|error| error.to_string(), |_| "ok".into());
        assert!(said.contains(expected), "{entries:?} gave {said:?}, expected {expected:?}");
    }

    #[test]
    fn interfaces_vlans_and_bonds_are_taken_or_refused_with_the_key() {
        let interface = |text: &str| format!("[[network.interface]]\n{text}\n");
        for (entry, expected) in [
            ("name='eth0'\ndhcp=true", "ok"),
            ("name='eth0'\ndhcp4=true\naddress=['2001:db8::2/64']\nmtu=9000", "ok"),
            ("mac='52:54:00:12:34:56'\naccept_ra=true", "ok"),
            ("name='lan.20'\ndhcp=true\nvlan={parent='eth0',id=20}", "ok"),
            ("name='bond0'\ndhcp=true\nbond={members=['eth0','52:54:00:12:34:56'],primary='eth0'}", "ok"),
            ("dhcp=true", "interface[0]: has neither name nor mac"),
            ("name='e'\nmac='52:54:00:12:34:56'\ndhcp=true", "has both name and mac"),
            (
                "mac='52:54:00:12:34'\ndhcp=true",
                "line 3, column 5: network.interface[0].mac: \"52:54:00:12:34\" is no",
            ),
            ("name='e'", "has neither dhcp = true nor accept_ra = true nor an address"),
            ("name='e'\ndhcp=true\naddress=['192.0.2.1/24']", "keep one of them"),
            ("name='e'\ndhcp=true\nmtu=500", "500 is not an mtu in bytes from 1280 to 9216"),
            ("name='v'\ndhcp=true\nvlan={parent='e',id=4095}", "4095 is not a vlan id from 1 to 4094"),
            ("mac='52:54:00:12:34:56'\ndhcp=true\nvlan={parent='e',id=1}", "needs a name, not a mac"),
            ("name='b'\ndhcp=true\nbond={members=[]}", "bond.members: has 0 members"),
            (
                "name='b'\ndhcp=true\nbond={members=['e'],primary='f'}",
                "bond.primary: f is none of the members",
            ),
            ("name='b'\ndhcp=true\nbond={members=['e','e']}", "members[1]: e is a member twice"),
            ("name='a-name-of-sixteen'\ndhcp=true\nvlan={parent='e',id=1}", "longer than 15 bytes"),
        ] {
            check(&interface(entry), expected);
        }
        let twice = interface("name='e'\ndhcp=true") + &interface("name='e'\ndhcp=true");
        check(&twice, "interface[1]: e is described twice");
        let own = interface("name='e'\ndhcp=true") + &interface("name='b'\ndhcp=true\nbond={members=['e']}");
        check(&own, "interface[1].bond.members[0]: e has an entry of its own");
    }

    #[test]
    fn time_servers_and_limits_are_taken_or_refused_with_the_key() {
        check("[[time.server]]\nhost='ntp.example.org'\nnts=true\n[[time.server]]\nhost='2001:db8::1'", "ok");
        check("[[time.server]]\nhost='a b'", "time.server[0].host: \"a b\" is no host such as");
        check(&"[[time.server]]\nhost='a'\n".repeat(11), "time.server: 11 servers; at most 10");
        check("[[network.limit]]\nport=514\nfrom=['192.0.2.0/24']", "ok");
        check("[[network.limit]]\nport=514\nfrom=['192.0.2.0']", "is not an address with a prefix");
    }
}
