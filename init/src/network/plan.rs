//! What is to be done: the config and what the kernel has in, operations out. Nothing is touched here.
//!
//! A plan may need another round: a VLAN has no number until it is there. [`plan`] on what a finished round left
//! plans nothing, which the tests hold over a kernel made of values.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use vakt_wire::config::{Bond, Interface, Network, Port};

use super::lease::Grant;
use super::seen::{Address, Kind, Link, Route, Seen};

/// The first interface's default route has this metric, each further one a worse: 1024 is what the kernel gives
/// to routes from router advertisements, so what the config says comes before them.
const METRIC_FIRST: u32 = 100;

/// One thing to ask of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Make a VLAN.
    AddVlan {
        /// Its name.
        name: String,
        /// The link that carries it.
        parent: u32,
        /// Its number.
        id: u16,
    },
    /// Make an active-backup bond.
    AddBond {
        /// Its name.
        name: String,
        /// Milliseconds between two looks at the members.
        miimon_ms: u32,
    },
    /// Change a bond.
    SetBond {
        /// The bond.
        index: u32,
        /// Milliseconds between two looks at the members.
        miimon_ms: u32,
        /// The member that is preferred.
        primary: Option<u32>,
    },
    /// Remove a VLAN or bond that is not wanted.
    RemoveLink {
        /// The link.
        index: u32,
    },
    /// Make a link a member of a bond, or of none (0).
    SetMaster {
        /// The member.
        index: u32,
        /// The bond.
        master: u32,
    },
    /// Switch a link on or off. Off takes its IPv6 addresses and its routes away.
    Switch {
        /// The link.
        index: u32,
        /// On.
        on: bool,
    },
    /// Set the largest packet.
    SetMtu {
        /// The link.
        index: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Take router advertisements or not.
    AcceptRa {
        /// The link's name.
        name: String,
        /// Take them.
        on: bool,
    },
    /// Give a link an address.
    AddAddress(Address),
    /// Take one away.
    RemoveAddress(Address),
    /// Add a route.
    AddRoute {
        /// The route.
        route: Route,
        /// The gateway is in none of the link's networks and is reached all the same.
        on_link: bool,
    },
    /// Remove one.
    RemoveRoute(Route),
}

/// What DHCP gave each link: absent while nothing is known yet, `None` when there is no lease.
pub type Leases = BTreeMap<u32, Option<Grant>>;

/// What a link is there for.
#[derive(Clone, Debug, PartialEq)]
pub enum Duty {
    /// It has addresses; the number is its place in the config.
    Serve(usize, Box<Interface>),
    /// It carries a VLAN.
    Carry,
    /// It is a member of the bond of this name.
    Belong(String),
    /// The config knows nothing of it: what an earlier config gave it goes.
    Nothing,
    /// Somebody else made it, and it stays as it is.
    Foreign,
}

/// What `link` is there for.
pub fn duty(network: &Network, link: &Link) -> Duty {
    let found = network.interfaces.iter().position(|interface| describes(interface, link));
    if let Some(place) = found {
        return Duty::Serve(place, Box::new(network.interfaces[place].clone()));
    }
    let bonds = network.interfaces.iter().filter_map(|i| Some((i.name.as_ref()?, i.bond.as_ref()?)));
    for (name, bond) in bonds {
        if bond.members.iter().any(|member| is(member, link)) {
            return Duty::Belong(name.to_string());
        }
    }
    let mut vlans = network.interfaces.iter().filter_map(|interface| interface.vlan.as_ref());
    if vlans.any(|vlan| is(&vlan.parent, link)) {
        return Duty::Carry;
    }
    match link.kind {
        Kind::Physical if network.interfaces.is_empty() => {
            Duty::Serve(link.index as usize, Box::new(Interface { dhcp: true, ..Interface::default() }))
        }
        Kind::Physical | Kind::Vlan { .. } | Kind::Bond { .. } => Duty::Nothing,
        Kind::Other => Duty::Foreign,
    }
}

fn describes(interface: &Interface, link: &Link) -> bool {
    let right_kind = match link.kind {
        Kind::Vlan { .. } => interface.vlan.is_some(),
        Kind::Bond { .. } => interface.bond.is_some(),
        Kind::Physical | Kind::Other => interface.vlan.is_none() && interface.bond.is_none(),
    };
    right_kind && interface.port().is_some_and(|port| is(&port, link))
}

/// A hardware address names a port of the machine, never the VLAN on it that has the same.
fn is(port: &Port, link: &Link) -> bool {
    match port {
        Port::Name(name) => link.name == name.as_str(),
        Port::Mac(mac) => link.own_mac == mac.0 && matches!(link.kind, Kind::Physical | Kind::Other),
    }
}

/// The operations that bring the kernel nearer to the config, in the order to do them.
pub fn plan(network: &Network, leases: &Leases, seen: &Seen) -> Vec<Operation> {
    let mut operations = Vec::new();
    make_links(network, seen, &mut operations);
    // What is made anew has another number then, and is brought to the config in the next round.
    let goes = |operation: &Operation| match operation {
        Operation::RemoveLink { index } => Some(*index),
        _ => None,
    };
    let gone: Vec<u32> = operations.iter().filter_map(goes).collect();
    for link in seen.links.iter().filter(|link| !gone.contains(&link.index)) {
        match duty(network, link) {
            Duty::Foreign => {}
            Duty::Nothing if link.kind != Kind::Physical => {
                operations.push(Operation::RemoveLink { index: link.index });
            }
            Duty::Nothing => {
                if link.master.is_some() {
                    operations.push(Operation::SetMaster { index: link.index, master: 0 });
                }
                switch(link, false, &mut operations);
                addresses(link, &[], false, seen, &mut operations);
            }
            Duty::Carry => {
                advertisements(link, false, &mut operations);
                switch(link, true, &mut operations);
                addresses(link, &[], false, seen, &mut operations);
            }
            Duty::Belong(bond) => belong(link, &bond, seen, &mut operations),
            Duty::Serve(place, interface) => {
                serve(link, place, &interface, leases.get(&link.index), seen, &mut operations);
            }
        }
    }
    operations
}

/// VLANs and bonds that are not there yet, or are there otherwise.
fn make_links(network: &Network, seen: &Seen, operations: &mut Vec<Operation>) {
    for interface in &network.interfaces {
        let Some(name) = interface.name.as_ref().map(ToString::to_string) else { continue };
        let present = seen.links.iter().find(|link| link.name == name);
        if let Some(vlan) = &interface.vlan
            && let Some(parent) = seen.links.iter().find(|link| is(&vlan.parent, link))
        {
            let id = vlan.id.get();
            match present.map(|link| (link.index, &link.kind)) {
                None => operations.push(Operation::AddVlan { name, parent: parent.index, id }),
                Some((index, kind)) if *kind != (Kind::Vlan { parent: parent.index, id }) => {
                    operations.push(Operation::RemoveLink { index });
                    operations.push(Operation::AddVlan { name, parent: parent.index, id });
                }
                Some(_) => {}
            }
        } else if let Some(bond) = &interface.bond {
            make_bond(name, bond, present, seen, operations);
        }
    }
}

fn make_bond(
    name: String,
    bond: &Bond,
    present: Option<&Link>,
    seen: &Seen,
    operations: &mut Vec<Operation>,
) {
    let wanted_ms = bond.miimon_ms.get();
    let Some(link) = present else {
        return operations.push(Operation::AddBond { name, miimon_ms: wanted_ms });
    };
    let Kind::Bond { active_backup: true, miimon_ms, primary } = link.kind else {
        // A bond that the module made by itself has another mode, which cannot be changed.
        operations.push(Operation::RemoveLink { index: link.index });
        return operations.push(Operation::AddBond { name, miimon_ms: wanted_ms });
    };
    let preferred = bond.primary.as_ref().and_then(|port| seen.links.iter().find(|link| is(port, link)));
    // The kernel knows a preferred member by its being one.
    let preferred = preferred.filter(|member| member.master == Some(link.index)).map(|member| member.index);
    if miimon_ms != wanted_ms || primary != preferred && (preferred.is_some() || bond.primary.is_none()) {
        let (index, primary) = (link.index, preferred);
        operations.push(Operation::SetBond { index, miimon_ms: wanted_ms, primary });
    }
}

/// A member has nothing of its own, and joins while it is off.
fn belong(link: &Link, bond: &str, seen: &Seen, operations: &mut Vec<Operation>) {
    let bond = seen.links.iter().find(|other| other.name == bond && matches!(other.kind, Kind::Bond { .. }));
    let Some(bond) = bond else { return };
    advertisements(link, false, operations);
    if link.master != Some(bond.index) {
        switch(link, false, operations);
        addresses(link, &[], false, seen, operations);
        operations.push(Operation::SetMaster { index: link.index, master: bond.index });
        operations.push(Operation::Switch { index: link.index, on: true });
    } else {
        switch(link, true, operations);
    }
}

fn serve(
    link: &Link,
    place: usize,
    interface: &Interface,
    lease: Option<&Option<Grant>>,
    seen: &Seen,
    operations: &mut Vec<Operation>,
) {
    let grant = lease.and_then(Option::as_ref).filter(|_| interface.dhcp);
    // What the config says comes before what DHCP says, and without either it stays as it is.
    let mtu = interface.mtu.map(|mtu| mtu.get()).or(grant.and_then(|grant| grant.mtu));
    if let Some(mtu) = mtu.filter(|mtu| *mtu != link.mtu) {
        operations.push(Operation::SetMtu { index: link.index, mtu });
    }
    advertisements(link, interface.takes_advertisements(), operations);
    switch(link, true, operations);
    let address = |address, prefix| Address { index: link.index, address, prefix, permanent: true };
    let mut wanted: Vec<Address> =
        interface.addresses.iter().map(|cidr| address(cidr.address, cidr.prefix)).collect();
    wanted.extend(grant.map(|grant| address(grant.address.into(), grant.prefix)));
    // Until DHCP has spoken, a former life's lease may be good still.
    addresses(link, &wanted, interface.dhcp && lease.is_none(), seen, operations);
    if interface.dhcp && lease.is_none() {
        return;
    }
    let named = interface.gateway.into_iter().chain(interface.gateway6.map(IpAddr::V6));
    let mut gateways: Vec<IpAddr> = named.collect();
    if !gateways.iter().any(IpAddr::is_ipv4) {
        gateways.extend(grant.and_then(|grant| grant.router).map(IpAddr::V4));
    }
    let ways = gateways.into_iter().map(|gateway| (None, gateway));
    let granted = grant.into_iter().flat_map(|grant| &grant.routes);
    let granted = granted.map(|way| (Some((way.network, way.prefix)), IpAddr::V4(way.gateway)));
    let ways: Vec<_> = ways.chain(granted).collect();
    routes(link, METRIC_FIRST + place as u32, &ways, &wanted, seen, operations);
}

/// Without a cable a route leads nowhere, and another interface's must be found instead.
fn routes(
    link: &Link,
    metric: u32,
    ways: &[(Option<(Ipv4Addr, u8)>, IpAddr)],
    addresses: &[Address],
    seen: &Seen,
    operations: &mut Vec<Operation>,
) {
    let usable = |route: &Route| {
        link.carrier && (route.gateway.is_ipv6() || addresses.iter().any(|held| held.address.is_ipv4()))
    };
    let wanted = ways.iter().map(|&(network, gateway)| Route { network, index: link.index, gateway, metric });
    let wanted: Vec<Route> = wanted.filter(usable).collect();
    for present in seen.routes.iter().filter(|present| present.index == link.index) {
        if !wanted.contains(present) {
            operations.push(Operation::RemoveRoute(*present));
        }
    }
    for route in wanted.into_iter().filter(|route| !seen.routes.contains(route)) {
        let on_link = route.gateway.is_ipv4() && !addresses.iter().any(|held| holds(held, route.gateway));
        operations.push(Operation::AddRoute { route, on_link });
    }
}

/// Whether `address` is in the network of `held`.
fn holds(held: &Address, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    // IPv4's bits stand at the top, so that its prefix counts from there as IPv6's does.
    let mask = u128::MAX.checked_shl(128 - u32::from(held.prefix)).unwrap_or(0);
    held.address.is_ipv4() == address.is_ipv4() && (bits(held.address) ^ bits(address)) & mask == 0
}

fn switch(link: &Link, on: bool, operations: &mut Vec<Operation>) {
    if link.up != on {
        operations.push(Operation::Switch { index: link.index, on });
    }
}

/// What was made from advertisements goes with them, by switching the link off and on again.
fn advertisements(link: &Link, on: bool, operations: &mut Vec<Operation>) {
    if link.accept_ra.is_none_or(|present| present == on) {
        return;
    }
    operations.push(Operation::AcceptRa { name: link.name.clone(), on });
    if link.up && !on {
        operations.push(Operation::Switch { index: link.index, on: false });
        operations.push(Operation::Switch { index: link.index, on: true });
    }
}

fn addresses(link: &Link, wanted: &[Address], keep_v4: bool, seen: &Seen, operations: &mut Vec<Operation>) {
    let present: Vec<&Address> = seen.addresses.iter().filter(|held| held.index == link.index).collect();
    for held in present.iter().filter(|held| held.permanent && !wanted.contains(held)) {
        if !(keep_v4 && held.address.is_ipv4()) {
            operations.push(Operation::RemoveAddress(**held));
        }
    }
    for address in wanted.iter().filter(|address| !present.contains(address)) {
        operations.push(Operation::AddAddress(*address));
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
