//! DHCPv4 on the wire: broadcast UDP bound to one interface.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

use super::lease::{Answer, Client, Grant, Message, Step};
use super::netlink::{Link, Netlink};
use super::{Held, same_family};
use crate::machine::identity::random;
use crate::sys;

/// Longest answer that is read (RFC 2131 lets servers send 576; jumbo frames carry no more).
const ANSWER_BYTES_MAX: usize = 9000;

/// After a failure of the socket itself, the next try comes this much later.
const RETRY: Duration = Duration::from_secs(5);

/// Keeps a lease on `link` for ever; `tell` hears of each change of address.
pub fn run(link: &Link, tell: &dyn Fn(Option<Held>)) {
    loop {
        // It ends only with an error: the interface went away, or the socket was refused.
        if let Err(error) = keep_lease(link, tell) {
            eprintln!("network: dhcp on {}: {error:#}", link.name);
        }
        std::thread::sleep(RETRY);
    }
}

fn keep_lease(link: &Link, tell: &dyn Fn(Option<Held>)) -> anyhow::Result<()> {
    let socket = open(link)?;
    let transaction = u32::from_ne_bytes(random::<4>()?);
    let mut client = Client::new(sys::now_ms());
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let mut steps = client.tick(sys::now_ms());
        let wait = client.due_ms().saturating_sub(sys::now_ms()).clamp(1, 3_600_000);
        if steps.is_empty() {
            socket.set_read_timeout(Some(Duration::from_millis(wait)))?;
            if let Ok(length) = socket.recv(&mut buffer)
                && let Some(answer) = decode(&buffer[..length], transaction, link)
            {
                steps = client.answer(sys::now_ms(), answer);
            }
        }
        for step in steps {
            carry_out(step, link, &socket, transaction, tell)?;
        }
    }
}

fn open(link: &Link) -> anyhow::Result<UdpSocket> {
    let socket =
        UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68)).context("cannot bind UDP port 68")?;
    sys::bind_to_device(socket.as_fd(), &link.name)
        .with_context(|| format!("cannot bind to {}", link.name))?;
    socket.set_broadcast(true)?;
    Ok(socket)
}

fn carry_out(
    step: Step,
    link: &Link,
    socket: &UdpSocket,
    transaction: u32,
    tell: &dyn Fn(Option<Held>),
) -> anyhow::Result<()> {
    match step {
        Step::Send(message) => {
            let bytes = encode(&message, transaction, link)?;
            // No carrier yet is no reason to stop: the next try comes.
            let _ = socket.send_to(&bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        }
        Step::Use(grant) => {
            let mut netlink = Netlink::open()?;
            netlink.add_address(link, grant.address.into(), grant.prefix)?;
            netlink.keep_only(link, &[(grant.address.into(), grant.prefix)])?;
            if let Some(router) =
                grant.router.filter(|router| same_family((*router).into(), grant.address.into()))
            {
                netlink.add_default_route(link, router.into())?;
            }
            let address = format!("{}/{}", grant.address, grant.prefix);
            tell(Some(Held { address, dns: grant.dns.into_iter().map(Into::into).collect() }));
        }
        Step::Drop(grant) => {
            Netlink::open()?.remove_address(link, grant.address.into(), grant.prefix)?;
            tell(None);
        }
    }
    Ok(())
}

fn encode(message: &Message, transaction: u32, link: &Link) -> anyhow::Result<Vec<u8>> {
    let mut packet = v4::Message::default();
    packet.set_xid(transaction).set_flags(v4::Flags::default().set_broadcast()).set_chaddr(&link.mac);
    let mut add = |option| {
        packet.opts_mut().insert(option);
    };
    add(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::AddressLeaseTime,
    ]));
    match message {
        Message::Discover => add(DhcpOption::MessageType(MessageType::Discover)),
        Message::Request(grant) => {
            add(DhcpOption::MessageType(MessageType::Request));
            add(DhcpOption::RequestedIpAddress(grant.address));
            add(DhcpOption::ServerIdentifier(grant.server));
        }
        Message::Renew(grant) => {
            add(DhcpOption::MessageType(MessageType::Request));
            packet.set_ciaddr(grant.address);
        }
    }
    let mut bytes = Vec::new();
    packet.encode(&mut Encoder::new(&mut bytes)).context("cannot encode a DHCP message")?;
    Ok(bytes)
}

/// An answer to our transaction, or `None` for anything else.
fn decode(bytes: &[u8], transaction: u32, link: &Link) -> Option<Answer> {
    let packet = v4::Message::decode(&mut Decoder::new(bytes)).ok()?;
    if packet.xid() != transaction || packet.opcode() != v4::Opcode::BootReply || packet.chaddr() != link.mac
    {
        return None;
    }
    let option = |code| packet.opts().get(code);
    let Some(DhcpOption::MessageType(kind)) = option(OptionCode::MessageType) else { return None };
    if *kind == MessageType::Nak {
        return Some(Answer::Nak);
    }
    let mask = match option(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => u32::from(*mask),
        _ => 0xFFFF_FF00,
    };
    let grant = Grant {
        address: packet.yiaddr(),
        prefix: mask.leading_ones() as u8,
        server: match option(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(server)) => *server,
            _ => return None,
        },
        router: match option(OptionCode::Router) {
            Some(DhcpOption::Router(routers)) => routers.first().copied(),
            _ => None,
        },
        dns: match option(OptionCode::DomainNameServer) {
            Some(DhcpOption::DomainNameServer(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        lease_s: match option(OptionCode::AddressLeaseTime) {
            Some(DhcpOption::AddressLeaseTime(seconds)) => Some(*seconds),
            _ => None,
        },
    };
    match kind {
        MessageType::Offer => Some(Answer::Offer(grant)),
        MessageType::Ack => Some(Answer::Ack(grant)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_our_own_transaction_counts() {
        let link = Link { index: 2, name: "eth0".into(), mac: [2, 0, 0, 0, 0, 1] };
        let mut reply = v4::Message::default();
        reply.set_opcode(v4::Opcode::BootReply).set_xid(7).set_chaddr(&link.mac).set_yiaddr([10, 0, 2, 15]);
        reply.opts_mut().insert(DhcpOption::MessageType(MessageType::Ack));
        reply.opts_mut().insert(DhcpOption::ServerIdentifier([10, 0, 2, 2].into()));
        reply.opts_mut().insert(DhcpOption::SubnetMask([255, 255, 255, 0].into()));
        let mut bytes = Vec::new();
        reply.encode(&mut Encoder::new(&mut bytes)).unwrap();
        let Some(Answer::Ack(grant)) = decode(&bytes, 7, &link) else { panic!("no ack") };
        assert_eq!((grant.address, grant.prefix), ([10, 0, 2, 15].into(), 24));
        assert_eq!(decode(&bytes, 8, &link), None);
        assert_eq!(decode(&bytes[..100], 7, &link), None);
        let other = Link { mac: [2, 0, 0, 0, 0, 2], ..link };
        assert_eq!(decode(&bytes, 7, &other), None);
    }
}
