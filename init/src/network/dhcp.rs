//! DHCPv4 on the wire: broadcast UDP, by one link at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

use super::lease::{Answer, Client, Grant, Message, Step, Way};
use super::seen::Link;
use super::sys;
use crate::machine::identity::random;

/// Longest answer that is read (RFC 2131 lets servers send 576; jumbo frames carry no more).
const ANSWER_BYTES_MAX: usize = 9000;

/// A server that names less than every host must take (RFC 791) is mistaken, and not obeyed.
const MTU_MIN: u32 = 576;

/// Routes that are taken from a server, the first ones: an option of 255 bytes names some fifty.
const ROUTES_MAX: usize = 64;

/// Datagrams of all links read before other things have their turn; more are still there then.
const BURST_MAX: usize = 64;

/// Port 68 of all links: one socket, which init opened, so that this process can make none.
#[derive(Debug)]
pub struct Socket(UdpSocket);

impl Socket {
    /// Takes the socket that init handed over.
    ///
    /// # Errors
    /// When it is no UDP socket.
    pub fn new(socket: OwnedFd) -> anyhow::Result<Socket> {
        let socket = UdpSocket::from(socket);
        socket.set_broadcast(true).context("cannot broadcast from UDP port 68")?;
        socket.set_nonblocking(true)?;
        sys::tell_links(socket.as_fd()).context("cannot tell links apart on UDP port 68")?;
        Ok(Socket(socket))
    }

    /// Reads what has come, and gives each datagram to the port of the link that it came by.
    ///
    /// # Errors
    /// When the socket failed.
    pub fn read(&self, ports: &mut BTreeMap<u32, Port>, now_ms: u64) -> anyhow::Result<()> {
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        for _ in 0..BURST_MAX {
            match sys::receive(self.0.as_fd(), &mut buffer) {
                Ok((length, index)) => {
                    if let Some(port) = ports.get_mut(&index) {
                        port.hear(now_ms, &buffer[..length]);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot receive on UDP port 68"),
            }
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One link's DHCP: where its client stands.
#[derive(Debug)]
pub struct Port {
    index: u32,
    client: Client,
    /// What the answers that were heard lead to, until the next turn.
    heard: Vec<Step>,
    transaction: u32,
    mac: [u8; 6],
    /// Whether there was a cable when it was last looked.
    pub carrier: bool,
}

impl Port {
    /// Begins on `link`, with a fresh transaction.
    ///
    /// # Errors
    /// When the kernel gives no random number.
    pub fn open(link: &Link) -> anyhow::Result<Port> {
        let transaction = u32::from_ne_bytes(random::<4>()?);
        let client = Client::new(crate::sys::now_ms());
        let (index, mac, carrier) = (link.index, link.mac, link.carrier);
        Ok(Port { index, client, heard: Vec::new(), transaction, mac, carrier })
    }

    /// When [`Port::turn`] is due.
    pub fn due_ms(&self) -> u64 {
        self.client.due_ms()
    }

    /// The cable is in again.
    pub fn link_up(&mut self, now_ms: u64) {
        self.client.link_up(now_ms);
    }

    /// Takes a datagram that came by this link; what is no answer to it is passed over.
    fn hear(&mut self, now_ms: u64, bytes: &[u8]) {
        if let Some(answer) = decode(bytes, self.transaction, &self.mac) {
            self.heard.extend(self.client.answer(now_ms, answer));
        }
    }

    /// Does what the answers lead to, and sends what is due. Returns what became of the lease: `Some(Some(_))` when it
    /// is new, `Some(None)` when it is lost, `None` when nothing changed.
    ///
    /// # Errors
    /// When a message cannot be encoded.
    pub fn turn(&mut self, socket: &Socket, now_ms: u64) -> anyhow::Result<Option<Option<Grant>>> {
        let mut steps = std::mem::take(&mut self.heard);
        if self.carrier {
            steps.extend(self.client.tick(now_ms));
        }
        let mut became = None;
        for step in steps {
            match step {
                Step::Send(message) => {
                    let bytes = encode(&message, self.transaction, &self.mac)?;
                    // A link that is not ready is no reason to stop: the next try comes.
                    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
                    let _ = sys::send(socket.as_fd(), &bytes, to, self.index);
                }
                Step::Use(grant) => became = Some(Some(grant)),
                Step::Drop(_) => became = Some(None),
            }
        }
        Ok(became)
    }
}

fn encode(message: &Message, transaction: u32, mac: &[u8; 6]) -> anyhow::Result<Vec<u8>> {
    let mut packet = v4::Message::default();
    packet.set_xid(transaction).set_flags(v4::Flags::default().set_broadcast()).set_chaddr(mac);
    let mut add = |option| {
        packet.opts_mut().insert(option);
    };
    add(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        // Before the router, which it replaces (RFC 3442).
        OptionCode::ClasslessStaticRoute,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::AddressLeaseTime,
        OptionCode::NtpServers,
        OptionCode::Hostname,
        OptionCode::InterfaceMtu,
    ]));
    match message {
        Message::Discover => add(DhcpOption::MessageType(MessageType::Discover)),
        Message::Request(grant) => {
            add(DhcpOption::MessageType(MessageType::Request));
            add(DhcpOption::RequestedIpAddress(grant.address));
            add(DhcpOption::ServerIdentifier(grant.server));
        }
        Message::Verify(grant) => {
            add(DhcpOption::MessageType(MessageType::Request));
            add(DhcpOption::RequestedIpAddress(grant.address));
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

/// The router, and what other networks another one leads to. With classless routes the router of old does not count, also
/// when none of them is the default (RFC 3442). A network that is on the link itself needs no way: a router there is reached
/// all the same. Of two routers of one network the first counts: the kernel holds one, and the plan would never be reached.
fn ways(options: &v4::DhcpOptions) -> (Option<Ipv4Addr>, Vec<Way>) {
    let Some(DhcpOption::ClasslessStaticRoute(routes)) = options.get(OptionCode::ClasslessStaticRoute) else {
        let router = match options.get(OptionCode::Router) {
            Some(DhcpOption::Router(routers)) => routers.first().copied(),
            _ => None,
        };
        return (router, Vec::new());
    };
    let ways = routes.iter().filter(|(_, gateway)| !gateway.is_unspecified());
    let mut seen = BTreeSet::new();
    let ways = ways.map(|(network, gateway)| Way {
        network: network.network(),
        prefix: network.prefix_len(),
        gateway: *gateway,
    });
    let ways = ways.filter(|way| seen.insert((way.network, way.prefix)));
    let (default, others): (Vec<Way>, Vec<Way>) = ways.take(ROUTES_MAX).partition(|way| way.prefix == 0);
    (default.first().map(|way| way.gateway), others)
}

/// An answer to our transaction, or `None` for anything else.
fn decode(bytes: &[u8], transaction: u32, mac: &[u8; 6]) -> Option<Answer> {
    let packet = v4::Message::decode(&mut Decoder::new(bytes)).ok()?;
    if packet.xid() != transaction || packet.opcode() != v4::Opcode::BootReply || packet.chaddr() != mac {
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
    let (router, routes) = ways(packet.opts());
    let grant = Grant {
        address: packet.yiaddr(),
        prefix: mask.leading_ones() as u8,
        server: match option(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(server)) => *server,
            _ => return None,
        },
        router,
        routes,
        dns: match option(OptionCode::DomainNameServer) {
            Some(DhcpOption::DomainNameServer(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        ntp: match option(OptionCode::NtpServers) {
            Some(DhcpOption::NtpServers(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        hostname: match option(OptionCode::Hostname) {
            Some(DhcpOption::Hostname(name)) => Some(name.clone()),
            _ => None,
        },
        mtu: match option(OptionCode::InterfaceMtu) {
            Some(DhcpOption::InterfaceMtu(bytes)) => {
                Some(u32::from(*bytes)).filter(|bytes| *bytes >= MTU_MIN)
            }
            _ => None,
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
        let mac = [2, 0, 0, 0, 0, 1];
        let mut reply = v4::Message::default();
        reply.set_opcode(v4::Opcode::BootReply).set_xid(7).set_chaddr(&mac).set_yiaddr([10, 0, 2, 15]);
        reply.opts_mut().insert(DhcpOption::MessageType(MessageType::Ack));
        reply.opts_mut().insert(DhcpOption::ServerIdentifier([10, 0, 2, 2].into()));
        reply.opts_mut().insert(DhcpOption::SubnetMask([255, 255, 255, 0].into()));
        reply.opts_mut().insert(DhcpOption::NtpServers(vec![[10, 0, 2, 3].into()]));
        reply.opts_mut().insert(DhcpOption::Hostname("box7".into()));
        reply.opts_mut().insert(DhcpOption::InterfaceMtu(1400));
        reply.opts_mut().insert(DhcpOption::Router(vec![[10, 0, 2, 2].into()]));
        let mut bytes = Vec::new();
        reply.encode(&mut Encoder::new(&mut bytes)).unwrap();
        let Some(Answer::Ack(grant)) = decode(&bytes, 7, &mac) else { panic!("no ack") };
        assert_eq!((grant.address, grant.prefix), ([10, 0, 2, 15].into(), 24));
        assert_eq!(decode(&bytes, 8, &mac), None);
        assert_eq!(decode(&bytes[..100], 7, &mac), None);
        assert_eq!(decode(&bytes, 7, &[2, 0, 0, 0, 0, 2]), None);
        assert_eq!(grant.ntp, [Ipv4Addr::new(10, 0, 2, 3)]);
        assert_eq!(grant.hostname.as_deref(), Some("box7"));
        assert_eq!(grant.mtu, Some(1400));
        assert_eq!((grant.router, grant.routes), (Some([10, 0, 2, 2].into()), Vec::new()));
        reply.opts_mut().insert(DhcpOption::InterfaceMtu(68));
        let net = |text: &str| text.parse().unwrap();
        reply.opts_mut().insert(DhcpOption::ClasslessStaticRoute(vec![
            (net("198.51.100.0/24"), [10, 0, 2, 9].into()),
            (net("198.51.100.7/24"), [10, 0, 2, 8].into()),
            (net("10.9.0.0/16"), Ipv4Addr::UNSPECIFIED),
        ]));
        let mut bytes = Vec::new();
        reply.encode(&mut Encoder::new(&mut bytes)).unwrap();
        let Some(Answer::Ack(grant)) = decode(&bytes, 7, &mac) else { panic!("no ack") };
        assert_eq!(grant.mtu, None);
        let way = Way { network: [198, 51, 100, 0].into(), prefix: 24, gateway: [10, 0, 2, 9].into() };
        assert_eq!((grant.router, grant.routes), (None, vec![way]), "the router of old does not count");
    }
}
