//! rtnetlink (RFC 3549, linux/rtnetlink.h): looks at what there is, and carries operations out.

use std::net::IpAddr;

use anyhow::Context;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    BondMode, InfoBond, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::plan::Operation;
use super::seen::{self, Address, Route, Seen};
use super::settings;

/// Answers are read in pieces of this size; the kernel's are at most 32 KiB.
const RECEIVE_BYTES: usize = 64 << 10;

/// A connection to the kernel's routing.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn open() -> anyhow::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open rtnetlink")?;
        socket.bind_auto().context("cannot bind rtnetlink")?;
        socket.connect(&SocketAddr::new(0, 0)).context("cannot connect rtnetlink")?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// What there is.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn look(&mut self) -> anyhow::Result<Seen> {
        let dump = |netlink: &mut Netlink, request, what| {
            netlink.exchange(request, NLM_F_DUMP).with_context(|| format!("cannot list {what}"))
        };
        let links = dump(self, RouteNetlinkMessage::GetLink(LinkMessage::default()), "interfaces")?;
        let mut links: Vec<seen::Link> = links.into_iter().filter_map(seen::link).collect();
        for link in &mut links {
            link.accept_ra = settings::accepts_advertisements(&link.name);
        }
        let addresses = dump(self, RouteNetlinkMessage::GetAddress(AddressMessage::default()), "addresses")?;
        let addresses = addresses.into_iter().filter_map(seen::address).collect();
        let routes = dump(self, RouteNetlinkMessage::GetRoute(RouteMessage::default()), "routes")?;
        let routes = routes.into_iter().filter_map(seen::route).collect();
        Ok(Seen { links, addresses, routes })
    }

    /// Carries one operation out.
    ///
    /// # Errors
    /// When the kernel refuses; with what was asked.
    pub fn carry_out(&mut self, operation: &Operation) -> anyhow::Result<()> {
        if let Operation::AcceptRa { name, on } = operation {
            return settings::accept_advertisements(name, *on);
        }
        let (request, flags) = request(operation);
        self.exchange(request, NLM_F_ACK | flags).with_context(|| format!("cannot do {operation:?}"))?;
        Ok(())
    }

    /// Sends a request and reads until its end: the answers of a dump, or the acknowledgement.
    fn exchange(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> anyhow::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).context("cannot send")?;
        let mut answers = Vec::new();
        loop {
            let mut received = Vec::with_capacity(RECEIVE_BYTES);
            self.socket.recv(&mut received, 0).context("cannot receive")?;
            let mut rest = &received[..];
            while rest.len() >= 16 {
                let answer =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).context("unreadable answer")?;
                let length = (answer.header.length as usize).next_multiple_of(4).clamp(16, rest.len());
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io().into()),
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
                rest = &rest[length..];
            }
        }
    }
}

/// The message for an operation, and its flags beside that of an acknowledgement.
fn request(operation: &Operation) -> (RouteNetlinkMessage, u16) {
    let link = |index: u32| {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message
    };
    let fresh = NLM_F_CREATE | NLM_F_EXCL;
    match operation {
        Operation::AddVlan { name, parent, id } => {
            let data = InfoData::Vlan(vec![InfoVlan::Id(*id)]);
            let mut message = made(name, InfoKind::Vlan, data);
            message.attributes.push(LinkAttribute::Link(*parent));
            (RouteNetlinkMessage::NewLink(message), fresh)
        }
        Operation::AddBond { name, miimon_ms } => {
            let data =
                InfoData::Bond(vec![InfoBond::Mode(BondMode::ActiveBackup), InfoBond::MiiMon(*miimon_ms)]);
            (RouteNetlinkMessage::NewLink(made(name, InfoKind::Bond, data)), fresh)
        }
        Operation::SetBond { index, miimon_ms, primary } => {
            let data =
                InfoData::Bond(vec![InfoBond::MiiMon(*miimon_ms), InfoBond::Primary(primary.unwrap_or(0))]);
            let info = vec![LinkInfo::Kind(InfoKind::Bond), LinkInfo::Data(data)];
            let mut message = link(*index);
            message.attributes = vec![LinkAttribute::LinkInfo(info)];
            (RouteNetlinkMessage::NewLink(message), 0)
        }
        Operation::RemoveLink { index } => (RouteNetlinkMessage::DelLink(link(*index)), 0),
        Operation::SetMaster { index, master } => {
            let mut message = link(*index);
            message.attributes = vec![LinkAttribute::Controller(*master)];
            (RouteNetlinkMessage::SetLink(message), 0)
        }
        Operation::Switch { index, on } => {
            let mut message = link(*index);
            message.header.flags = if *on { LinkFlags::Up } else { LinkFlags::empty() };
            message.header.change_mask = LinkFlags::Up;
            (RouteNetlinkMessage::SetLink(message), 0)
        }
        Operation::SetMtu { index, mtu } => {
            let mut message = link(*index);
            message.attributes = vec![LinkAttribute::Mtu(*mtu)];
            (RouteNetlinkMessage::SetLink(message), 0)
        }
        Operation::AddAddress(address) => {
            (RouteNetlinkMessage::NewAddress(address_message(address)), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Operation::RemoveAddress(address) => (RouteNetlinkMessage::DelAddress(address_message(address)), 0),
        Operation::AddRoute { route, on_link } => {
            let mut message = route_message(route);
            if *on_link {
                message.header.flags = RouteFlags::Onlink;
            }
            (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Operation::RemoveRoute(route) => (RouteNetlinkMessage::DelRoute(route_message(route)), 0),
        // Not a message: a file below /proc/sys.
        Operation::AcceptRa { .. } => (RouteNetlinkMessage::GetLink(LinkMessage::default()), 0),
    }
}

fn made(name: &str, kind: InfoKind, data: InfoData) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]),
    ];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address);
    message.header.prefix_len = address.prefix;
    message.header.index = address.index;
    message.attributes =
        vec![AddressAttribute::Local(address.address), AddressAttribute::Address(address.address)];
    message
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.header.destination_prefix_length = route.network.map_or(0, |(_, prefix)| prefix);
    message.attributes = vec![
        RouteAttribute::Gateway(route.gateway.into()),
        RouteAttribute::Oif(route.index),
        RouteAttribute::Priority(route.metric),
    ];
    message
        .attributes
        .extend(route.network.map(|(network, _)| RouteAttribute::Destination(RouteAddress::Inet(network))));
    message
}
