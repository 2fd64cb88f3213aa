//! The planner against a kernel made of values.

use super::super::lease::Way;
use super::*;
use std::net::Ipv4Addr;

/// Rounds in which every config below must be reached.
const ROUNDS_MAX: usize = 4;

fn network(text: &str) -> Network {
    vakt_wire::config::parse(&format!("version = 1\n{text}")).unwrap().network
}

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        mac: [2, 0, 0, 0, 0, index as u8],
        own_mac: [2, 0, 0, 0, 0, index as u8],
        kind: Kind::Physical,
        up: false,
        carrier: true,
        mtu: 1500,
        master: None,
        accept_ra: Some(true),
    }
}

fn machine() -> Seen {
    Seen { links: vec![link(2, "eth0"), link(3, "eth1")], ..Seen::default() }
}

fn grant(last: u8) -> Grant {
    Grant {
        address: Ipv4Addr::new(10, 0, 2, last),
        prefix: 24,
        server: Ipv4Addr::new(10, 0, 2, 2),
        router: Some(Ipv4Addr::new(10, 0, 2, 2)),
        routes: Vec::new(),
        dns: Vec::new(),
        ntp: Vec::new(),
        hostname: None,
        mtu: None,
        lease_s: Some(1000),
    }
}

/// What the kernel does with an operation; it refuses what the real one refuses.
fn carry_out(seen: &mut Seen, operation: &Operation) {
    let at = |seen: &Seen, index: u32| seen.links.iter().position(|link| link.index == index).unwrap();
    let next = seen.links.iter().map(|link| link.index).max().unwrap_or(1) + 1;
    match operation {
        Operation::AddVlan { name, parent, id } => {
            assert!(!seen.links.iter().any(|link| link.name == *name), "{name} is there");
            let mac = seen.links[at(seen, *parent)].mac;
            let kind = Kind::Vlan { parent: *parent, id: *id };
            seen.links.push(Link { kind, mac, own_mac: mac, ..link(next, name) });
        }
        Operation::AddBond { name, miimon_ms } => {
            assert!(!seen.links.iter().any(|link| link.name == *name), "{name} is there");
            let kind = Kind::Bond { active_backup: true, miimon_ms: *miimon_ms, primary: None };
            seen.links.push(Link { kind, ..link(next, name) });
        }
        Operation::SetBond { index, miimon_ms, primary } => {
            let place = at(seen, *index);
            seen.links[place].kind =
                Kind::Bond { active_backup: true, miimon_ms: *miimon_ms, primary: *primary };
        }
        Operation::RemoveLink { index } => seen.links.retain(|link| link.index != *index),
        Operation::SetMaster { index, master } => {
            let place = at(seen, *index);
            assert!(!seen.links[place].up, "a member joins while it is off");
            seen.links[place].master = Some(*master).filter(|master| *master != 0);
        }
        Operation::Switch { index, on } => {
            let place = at(seen, *index);
            seen.links[place].up = *on;
            if !on {
                seen.routes.retain(|route| route.index != *index);
                seen.addresses.retain(|held| held.index != *index || held.address.is_ipv4());
            }
        }
        Operation::SetMtu { index, mtu } => {
            let place = at(seen, *index);
            seen.links[place].mtu = *mtu;
        }
        Operation::AcceptRa { name, on } => {
            let link = seen.links.iter_mut().find(|link| link.name == *name).unwrap();
            link.accept_ra = Some(*on);
        }
        Operation::AddAddress(address) => seen.addresses.push(*address),
        Operation::RemoveAddress(address) => {
            assert!(seen.addresses.contains(address));
            seen.addresses.retain(|held| held != address);
        }
        Operation::AddRoute { route, .. } => {
            assert!(seen.links[at(seen, route.index)].up, "no route over a link that is off");
            seen.routes.push(*route);
        }
        Operation::RemoveRoute(route) => seen.routes.retain(|present| present != route),
    }
}

/// Plans and carries out until nothing is left to do; a config that never settles ends the test.
fn settle(network: &Network, leases: &Leases, seen: &mut Seen) -> usize {
    let mut done = 0;
    for _ in 0..ROUNDS_MAX {
        let operations = plan(network, leases, seen);
        if operations.is_empty() {
            return done;
        }
        done += operations.len();
        operations.iter().for_each(|operation| carry_out(seen, operation));
    }
    panic!("never settles: {:?}", plan(network, leases, seen));
}

fn told(seen: &Seen) -> String {
    let name =
        |index: u32| seen.links.iter().find(|link| link.index == index).map_or("?", |l| l.name.as_str());
    let mut lines: Vec<String> =
        seen.addresses.iter().map(|a| format!("{} {}/{}", name(a.index), a.address, a.prefix)).collect();
    lines.extend(seen.routes.iter().map(|route| {
        let to = route.network.map(|(network, prefix)| format!("to {network}/{prefix} ")).unwrap_or_default();
        format!("{} {to}via {} {}", name(route.index), route.gateway, route.metric)
    }));
    lines.join(", ")
}

fn check(text: &str, leases: &[(u32, Option<Grant>)], expected: &str) -> Seen {
    let (network, leases) = (network(text), leases.iter().cloned().collect());
    let mut seen = machine();
    settle(&network, &leases, &mut seen);
    assert_eq!(told(&seen), expected, "{text}");
    assert_eq!(settle(&network, &leases, &mut seen), 0, "done twice it does something twice: {text}");
    seen
}

#[test]
fn a_config_is_reached_and_then_nothing_is_left_to_do() {
    check("", &[], "");
    check("", &[(2, Some(grant(15)))], "eth0 10.0.2.15/24, eth0 via 10.0.2.2 102");
    let fixed = "[[network.interface]]\nname='eth1'\naddress=['192.0.2.9/24','2001:db8::9/64']\n\
                 gateway='192.0.2.1'\ngateway6='fe80::1'\nmtu=9000\naccept_ra=false\n";
    let seen = check(
        fixed,
        &[],
        "eth1 192.0.2.9/24, eth1 2001:db8::9/64, eth1 via 192.0.2.1 100, eth1 via fe80::1 100",
    );
    assert!(!seen.links[0].up && seen.links[1].up);
    assert_eq!((seen.links[1].mtu, seen.links[1].accept_ra), (9000, Some(false)));
    check(
        "[[network.interface]]\nmac='02:00:00:00:00:03'\naddress=['192.0.2.9/24']\n",
        &[],
        "eth1 192.0.2.9/24",
    );
}

#[test]
fn dhcp_says_how_large_a_packet_may_be_unless_the_config_does() {
    let granted = [(2, Some(Grant { mtu: Some(1400), ..grant(15) }))];
    let told = "eth0 10.0.2.15/24, eth0 via 10.0.2.2 100";
    let dhcp = "[[network.interface]]\nname='eth0'\ndhcp=true\n";
    assert_eq!(check(dhcp, &granted, told).links[0].mtu, 1400);
    assert_eq!(check(&format!("{dhcp}mtu=9000\n"), &granted, told).links[0].mtu, 9000);
    assert_eq!(check(dhcp, &[(2, Some(grant(15)))], told).links[0].mtu, 1500);
}

#[test]
fn dhcp_leads_to_other_networks_by_other_routers() {
    let dhcp = "[[network.interface]]\nname='eth0'\ndhcp=true\n";
    let way = |last: u8| Way {
        network: Ipv4Addr::new(198, 51, 100, 0),
        prefix: 24,
        gateway: Ipv4Addr::new(10, 0, 2, last),
    };
    let granted = |routes| [(2, Some(Grant { routes, ..grant(15) }))];
    let mut seen = check(
        dhcp,
        &granted(vec![way(9)]),
        "eth0 10.0.2.15/24, eth0 via 10.0.2.2 100, eth0 to 198.51.100.0/24 via 10.0.2.9 100",
    );
    settle(&network(dhcp), &granted(vec![way(8)]).into_iter().collect(), &mut seen);
    assert_eq!(
        told(&seen),
        "eth0 10.0.2.15/24, eth0 via 10.0.2.2 100, eth0 to 198.51.100.0/24 via 10.0.2.8 100"
    );
    settle(&network(dhcp), &granted(Vec::new()).into_iter().collect(), &mut seen);
    assert_eq!(told(&seen), "eth0 10.0.2.15/24, eth0 via 10.0.2.2 100");
}

#[test]
fn a_vlan_is_made_on_its_parent_and_made_anew_when_its_number_changes() {
    let text = |id: u16| {
        format!(
            "[[network.interface]]\nname='lan'\nvlan={{parent='eth0',id={id}}}\naddress=['192.0.2.9/24']\n"
        )
    };
    let mut seen = check(&text(20), &[], "lan 192.0.2.9/24");
    assert!(seen.links[0].up && !seen.links[1].up);
    assert_eq!(seen.links[2].kind, Kind::Vlan { parent: 2, id: 20 });
    seen.addresses.clear();
    settle(&network(&text(21)), &Leases::new(), &mut seen);
    assert_eq!(seen.links[2].kind, Kind::Vlan { parent: 2, id: 21 });
    settle(&network(""), &Leases::new(), &mut seen);
    assert_eq!(seen.links.len(), 2);
}

#[test]
fn a_bond_takes_its_members_while_they_are_off_and_knows_its_primary() {
    let text = "[[network.interface]]\nname='bond0'\naddress=['192.0.2.9/24']\n\
                bond={members=['eth0','02:00:00:00:00:03'],primary='eth1'}\n";
    // The primary is no member by that name.
    assert!(vakt_wire::config::parse(&format!("version = 1\n{text}")).is_err());
    let text = text.replace("primary='eth1'", "primary='eth0'");
    let mut seen = check(&text, &[], "bond0 192.0.2.9/24");
    assert_eq!(seen.links[2].kind, Kind::Bond { active_backup: true, miimon_ms: 100, primary: Some(2) });
    assert!(seen.links[..2].iter().all(|link| link.up && link.master == Some(4)));
    // The members take the bond's hardware address, and are still themselves.
    seen.links[1].mac = seen.links[0].mac;
    assert_eq!(plan(&network(&text), &Leases::new(), &seen), []);
    // The one that the module made by itself is of another mode.
    let mut seen = machine();
    let kind = Kind::Bond { active_backup: false, miimon_ms: 0, primary: None };
    seen.links.push(Link { kind, ..link(9, "bond0") });
    settle(&network(&text), &Leases::new(), &mut seen);
    assert!(matches!(seen.links[2].kind, Kind::Bond { active_backup: true, .. }));
}

#[test]
fn what_an_earlier_config_or_lease_gave_goes_and_what_the_kernel_made_stays() {
    let mut seen = machine();
    let held = |index, text: &str, permanent| {
        let address = text.parse().unwrap();
        Address { index, address, prefix: if text.contains(':') { 64 } else { 24 }, permanent }
    };
    seen.links[0].up = true;
    seen.addresses =
        vec![held(2, "192.0.2.7", true), held(2, "2001:db8::7", true), held(2, "2001:db8::5", false)];
    let dhcp = network("[[network.interface]]\nname='eth0'\ndhcp=true\n");
    let mut early = seen.clone();
    settle(&dhcp, &Leases::new(), &mut early);
    assert_eq!(told(&early), "eth0 192.0.2.7/24, eth0 2001:db8::5/64");
    settle(&dhcp, &Leases::from([(2, Some(grant(15)))]), &mut early);
    assert_eq!(told(&early), "eth0 2001:db8::5/64, eth0 10.0.2.15/24, eth0 via 10.0.2.2 100");
    settle(&dhcp, &Leases::from([(2, None)]), &mut early);
    assert_eq!(told(&early), "eth0 2001:db8::5/64");
}

#[test]
fn without_a_cable_an_interface_keeps_its_address_and_gives_up_its_route() {
    let both = network(
        "[[network.interface]]\nname='eth0'\naddress=['192.0.2.9/24']\ngateway='192.0.2.1'\n\
         [[network.interface]]\nname='eth1'\ndhcp=true\n",
    );
    let leases = Leases::from([(3, Some(grant(15)))]);
    let mut seen = machine();
    settle(&both, &leases, &mut seen);
    assert_eq!(
        told(&seen),
        "eth0 192.0.2.9/24, eth1 10.0.2.15/24, eth0 via 192.0.2.1 100, eth1 via 10.0.2.2 101"
    );
    seen.links[0].carrier = false;
    settle(&both, &leases, &mut seen);
    assert_eq!(told(&seen), "eth0 192.0.2.9/24, eth1 10.0.2.15/24, eth1 via 10.0.2.2 101");
    seen.links[0].carrier = true;
    settle(&both, &leases, &mut seen);
    assert!(told(&seen).contains("eth0 via 192.0.2.1 100"));
}

#[test]
fn a_gateway_outside_of_every_network_is_reached_on_the_link() {
    let on_link = |text: &str| {
        let text = format!("[[network.interface]]\nname='eth0'\n{text}\n");
        let planned = plan(&network(&text), &Leases::new(), &machine());
        planned.iter().find_map(|operation| match operation {
            Operation::AddRoute { on_link, .. } => Some(*on_link),
            _ => None,
        })
    };
    assert_eq!(on_link("address=['192.0.2.9/24']\ngateway='192.0.2.1'"), Some(false));
    assert_eq!(on_link("address=['192.0.2.9/32']\ngateway='192.0.2.1'"), Some(true));
    assert_eq!(on_link("address=['2001:db8::9/64']\ngateway='192.0.2.1'"), None);
}

#[test]
fn links_that_others_made_are_left_alone_unless_they_are_named() {
    let mut seen = machine();
    seen.links.push(Link { kind: Kind::Other, up: true, ..link(5, "veth0") });
    assert!(
        !plan(&network(""), &Leases::new(), &seen)
            .iter()
            .any(|operation| format!("{operation:?}").contains("5"))
    );
    let named = network("[[network.interface]]\nname='veth0'\naddress=['192.0.2.9/24']\n");
    assert!(matches!(duty(&named, &seen.links[2]), Duty::Serve(0, _)));
}
