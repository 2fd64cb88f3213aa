//! rtnetlink (RFC 3549, linux/rtnetlink.h): links, addresses, the default route.

use std::net::IpAddr;

use anyhow::Context;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Answers are read in pieces of this size; the kernel's are at most 32 KiB.
const RECEIVE_BYTES: usize = 64 << 10;

/// An Ethernet interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
}

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

    /// All Ethernet interfaces but the loopback.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn ethernet_links(&mut self) -> anyhow::Result<Vec<Link>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.exchange(request, NLM_F_DUMP).context("cannot list interfaces")?;
        Ok(answers.into_iter().filter_map(ethernet).collect())
    }

    /// Switches an interface on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn up(&mut self, link: &Link) -> anyhow::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link.index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.exchange(RouteNetlinkMessage::SetLink(message), NLM_F_ACK)
            .with_context(|| format!("cannot switch {} on", link.name))?;
        Ok(())
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_address(&mut self, link: &Link, address: IpAddr, prefix: u8) -> anyhow::Result<()> {
        let request = RouteNetlinkMessage::NewAddress(address_message(link, address, prefix));
        self.exchange(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
            .with_context(|| format!("cannot give {} the address {address}/{prefix}", link.name))?;
        Ok(())
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_address(&mut self, link: &Link, address: IpAddr, prefix: u8) -> anyhow::Result<()> {
        self.exchange(RouteNetlinkMessage::DelAddress(address_message(link, address, prefix)), NLM_F_ACK)
            .with_context(|| format!("cannot take {address}/{prefix} from {}", link.name))?;
        Ok(())
    }

    /// Takes every address away that is not among `wanted`, with its routes: one from a config that is no
    /// longer in force, or from a lease of another life of this service. Link-local ones and those with a
    /// lifetime (made from router advertisements) are the kernel's.
    ///
    /// # Errors
    /// When the kernel does not answer or refuses.
    pub fn keep_only(&mut self, link: &Link, wanted: &[(IpAddr, u8)]) -> anyhow::Result<()> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.exchange(request, NLM_F_DUMP).context("cannot list addresses")?;
        for (address, prefix) in answers.into_iter().filter_map(|answer| address_on(link, answer)) {
            let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            if !is_link_local && !wanted.contains(&(address, prefix)) {
                self.remove_address(link, address, prefix)?;
            }
        }
        Ok(())
    }

    /// Routes everything else over `gateway`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_default_route(&mut self, link: &Link, gateway: IpAddr) -> anyhow::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(link.index)];
        self.exchange(RouteNetlinkMessage::NewRoute(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
            .with_context(|| format!("cannot route over {gateway} on {}", link.name))?;
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

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(link: &Link, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = link.index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// The address that a dump names, when it is one of `link` that somebody set for good (IFA_F_PERMANENT).
fn address_on(link: &Link, message: RouteNetlinkMessage) -> Option<(IpAddr, u8)> {
    let RouteNetlinkMessage::NewAddress(found) = message else { return None };
    if found.header.index != link.index || !found.header.flags.contains(AddressHeaderFlags::Permanent) {
        return None;
    }
    // IPv4 tells its own as Local (Address is the other end of a point-to-point link), IPv6 as Address.
    let own = |local: bool| {
        found.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    Some((own(true).or_else(|| own(false))?, found.header.prefix_len))
}

fn ethernet(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    if link.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let (mut name, mut mac) = (None, None);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text),
            LinkAttribute::Address(bytes) => mac = bytes.try_into().ok(),
            // A bridge, a veth end or a VLAN is made by somebody; it is not the machine's own port.
            LinkAttribute::LinkInfo(_) => return None,
            _ => {}
        }
    }
    Some(Link { index: link.header.index, name: name?, mac: mac? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_without_a_lifetime_are_ours_to_take_away() {
        let link = Link { index: 2, name: "eth0".into(), mac: [2, 0, 0, 0, 0, 1] };
        let address: IpAddr = "2001:db8::5".parse().unwrap();
        for (flags, index, expected) in [
            (AddressHeaderFlags::Permanent, 2, Some((address, 64))),
            (AddressHeaderFlags::empty(), 2, None),
            (AddressHeaderFlags::Permanent, 3, None),
        ] {
            let mut message = address_message(&Link { index, ..link.clone() }, address, 64);
            message.header.flags = flags;
            assert_eq!(address_on(&link, RouteNetlinkMessage::NewAddress(message)), expected);
        }
    }
}
