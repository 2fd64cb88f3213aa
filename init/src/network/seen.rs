//! What the kernel has at present: links, addresses, default routes, as values that the planner takes.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    BondMode, InfoBond, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol};

/// Everything that is planned upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Ethernet links.
    pub links: Vec<Link>,
    /// Addresses of global scope, and those that somebody set.
    pub addresses: Vec<Address>,
    /// Routes that were set by this service (of protocol static).
    pub routes: Vec<Route>,
}

/// An Ethernet link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address at present; a bond's members have the bond's.
    pub mac: [u8; 6],
    /// The one that it was made with.
    pub own_mac: [u8; 6],
    /// What it is.
    pub kind: Kind,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is a cable with somebody at its end.
    pub carrier: bool,
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// The bond or bridge that it is part of.
    pub master: Option<u32>,
    /// Whether router advertisements are taken; `None` without IPv6.
    pub accept_ra: Option<bool>,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A port of the machine.
    Physical,
    /// A VLAN.
    Vlan {
        /// The link that carries it.
        parent: u32,
        /// Its number.
        id: u16,
    },
    /// A bond.
    Bond {
        /// Whether one member carries the traffic and the others wait.
        active_backup: bool,
        /// Milliseconds between two looks at the members.
        miimon_ms: u32,
        /// The member that is preferred.
        primary: Option<u32>,
    },
    /// Made by somebody else: a bridge, a veth end.
    Other,
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link that has it.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Set by somebody, without a lifetime (IFA_F_PERMANENT): ours to take away.
    pub permanent: bool,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network that it leads to, and its bits; none for a default route.
    pub network: Option<(Ipv4Addr, u8)>,
    /// The link that it leads out by.
    pub index: u32,
    /// The next hop.
    pub gateway: IpAddr,
    /// The less the better.
    pub metric: u32,
}

/// Reads a link; `None` for what is no Ethernet. [`Link::accept_ra`] is not in the message.
pub fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(found) = message else { return None };
    if found.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let flags = found.header.flags;
    let mut link = Link {
        index: found.header.index,
        name: String::new(),
        mac: [0; 6],
        own_mac: [0; 6],
        kind: kind(&found),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        master: None,
        accept_ra: None,
    };
    let mut own_mac = None;
    for attribute in found.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok()?,
            LinkAttribute::PermAddress(bytes) => own_mac = <[u8; 6]>::try_from(bytes).ok(),
            LinkAttribute::Mtu(bytes) => link.mtu = bytes,
            LinkAttribute::Controller(index) => link.master = Some(index).filter(|index| *index != 0),
            _ => {}
        }
    }
    link.own_mac = own_mac.unwrap_or(link.mac);
    (!link.name.is_empty()).then_some(link)
}

fn kind(message: &LinkMessage) -> Kind {
    let info = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    });
    let kind = info.and_then(|info| {
        info.iter().find_map(|part| match part {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        })
    });
    // A bond's member has link info too, of its master only.
    let (Some(info), Some(kind)) = (info, kind) else { return Kind::Physical };
    let data = info.iter().find_map(|part| match part {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match (kind, data) {
        (InfoKind::Vlan, Some(InfoData::Vlan(data))) => {
            let parent = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Link(index) => Some(*index),
                _ => None,
            });
            let id = data.iter().find_map(|part| match part {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            });
            Kind::Vlan { parent: parent.unwrap_or(0), id: id.unwrap_or(0) }
        }
        (InfoKind::Bond, Some(InfoData::Bond(data))) => {
            let (mut active_backup, mut miimon_ms, mut primary) = (false, 0, None);
            for part in data {
                match part {
                    InfoBond::Mode(mode) => active_backup = *mode == BondMode::ActiveBackup,
                    InfoBond::MiiMon(every) => miimon_ms = *every,
                    InfoBond::Primary(index) => primary = Some(*index).filter(|index| *index != 0),
                    _ => {}
                }
            }
            Kind::Bond { active_backup, miimon_ms, primary }
        }
        _ => Kind::Other,
    }
}

/// Reads an address; `None` for one of link scope that the kernel made.
pub fn address(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(found) = message else { return None };
    let permanent = found.header.flags.contains(AddressHeaderFlags::Permanent);
    let address = own(&found)?;
    // IPv6 link-local ones are the kernel's, though without a lifetime.
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let wanted = !is_link_local && found.header.scope != AddressScope::Host;
    wanted.then_some(Address {
        index: found.header.index,
        address,
        prefix: found.header.prefix_len,
        permanent,
    })
}

/// IPv4 tells its own as Local (Address is the other end of a point-to-point link), IPv6 as Address.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    find(true).or_else(|| find(false))
}

/// Reads a route of the main table that was set by this service.
pub fn route(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(found) = message else { return None };
    let ours = is_ours(&found);
    let prefix = found.header.destination_prefix_length;
    let (mut network, mut index, mut gateway, mut metric) = (None, None, None, 0);
    for attribute in found.attributes {
        match attribute {
            RouteAttribute::Oif(link) => index = Some(link),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(IpAddr::V4(address)),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => gateway = Some(IpAddr::V6(address)),
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = Some((address, prefix)),
            RouteAttribute::Priority(priority) => metric = priority,
            _ => {}
        }
    }
    // IPv6's are default routes alone.
    (ours && network.is_some() == (prefix != 0)).then_some(Route {
        network,
        index: index?,
        gateway: gateway?,
        metric,
    })
}

fn is_ours(message: &RouteMessage) -> bool {
    let header = &message.header;
    header.table == RouteHeader::RT_TABLE_MAIN && header.protocol == RouteProtocol::Static
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_lifetime_is_seen_and_is_not_ours() {
        let message = |text: &str, flags| {
            let mut message = AddressMessage::default();
            message.header.index = 2;
            message.header.prefix_len = 64;
            message.header.flags = flags;
            message.attributes = vec![AddressAttribute::Address(text.parse().unwrap())];
            RouteNetlinkMessage::NewAddress(message)
        };
        let slaac = address(message("2001:db8::5", AddressHeaderFlags::empty())).unwrap();
        assert!(!slaac.permanent);
        let set = address(message("2001:db8::5", AddressHeaderFlags::Permanent)).unwrap();
        assert!(set.permanent);
        assert_eq!(address(message("fe80::5", AddressHeaderFlags::Permanent)), None);
    }

    #[test]
    fn a_link_is_what_its_info_says() {
        let message = |info: Option<Vec<LinkInfo>>| {
            let mut message = LinkMessage::default();
            message.header.link_layer_type = LinkLayerType::Ether;
            message.attributes = vec![
                LinkAttribute::IfName("x".into()),
                LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
                LinkAttribute::PermAddress(vec![2, 0, 0, 0, 0, 9]),
                LinkAttribute::Link(7),
            ];
            message.attributes.extend(info.map(LinkAttribute::LinkInfo));
            link(RouteNetlinkMessage::NewLink(message)).unwrap()
        };
        let plain = message(None);
        assert_eq!((plain.kind, plain.mac[5], plain.own_mac[5]), (Kind::Physical, 1, 9));
        assert_eq!(message(Some(vec![LinkInfo::Kind(InfoKind::Veth)])).kind, Kind::Other);
        let data = InfoData::Vlan(vec![InfoVlan::Id(20)]);
        let vlan = message(Some(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]));
        assert_eq!(vlan.kind, Kind::Vlan { parent: 7, id: 20 });
        let member = message(Some(vec![LinkInfo::PortKind(netlink_packet_route::link::InfoPortKind::Bond)]));
        assert_eq!(member.kind, Kind::Physical);
    }
}
