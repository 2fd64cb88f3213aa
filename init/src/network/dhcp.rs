//! DHCPv4 on the wire: broadcast UDP bound to one interface.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;
use dhcproto::v4::{self, DhcpOption, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

use super::lease::{Answer, Client, Grant, Message, Step};
use super::seen::Link;
use crate::machine::identity::random;
use crate::sys;

/// Longest answer that is read (RFC 2131 lets servers send 576; jumbo frames carry no more).
const ANSWER_BYTES_MAX: usize = 9000;

/// Answers read of one link before the others have their turn.
const ANSWERS_MAX: usize = 16;

/// One link's DHCP: its socket, and where its client stands.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    client: Client,
    transaction: u32,
    mac: [u8; 6],
    /// Whether there was a cable when it was last looked.
    pub carrier: bool,
}

impl Port {
    /// Begins on `link`, with a fresh transaction.
    ///
    /// # Errors
    /// When the socket is refused.
    pub fn open(link: &Link) -> anyhow::Result<Port> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)
            .context("cannot make a UDP socket")?;
        // Before bind(2): port 68 is then taken once for each interface, not once for all.
        sys::bind_to_device(socket.as_fd(), &link.name)
            .with_context(|| format!("cannot bind to {}", link.name))?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68)).context("cannot bind UDP port 68")?;
        let socket = UdpSocket::from(socket);
        socket.set_broadcast(true)?;
        let transaction = u32::from_ne_bytes(random::<4>()?);
        let client = Client::new(sys::now_ms());
        Ok(Port { socket, client, transaction, mac: link.mac, carrier: link.carrier })
    }

    /// When [`Port::turn`] is due.
    pub fn due_ms(&self) -> u64 {
        self.client.due_ms()
    }

    /// The cable is in again.
    pub fn link_up(&mut self, now_ms: u64) {
        self.client.link_up(now_ms);
    }

    /// Reads answers and sends what is due. Returns what became of the lease: `Some(Some(_))` when it is new,
    /// `Some(None)` when it is lost, `None` when nothing changed.
    ///
    /// # Errors
    /// When a message cannot be encoded, or the socket failed for good.
    pub fn turn(&mut self, now_ms: u64) -> anyhow::Result<Option<Option<Grant>>> {
        let mut steps = Vec::new();
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        for _ in 0..ANSWERS_MAX {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(answer) = decode(&buffer[..length], self.transaction, &self.mac) {
                        steps.extend(self.client.answer(now_ms, answer));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
        if self.carrier {
            steps.extend(self.client.tick(now_ms));
        }
        let mut became = None;
        for step in steps {
            match step {
                Step::Send(message) => {
                    let bytes = encode(&message, self.transaction, &self.mac)?;
                    // A link that is not ready is no reason to stop: the next try comes.
                    let _ = self.socket.send_to(&bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
                }
                Step::Use(grant) => became = Some(Some(grant)),
                Step::Drop(_) => became = Some(None),
            }
        }
        Ok(became)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::AddressLeaseTime,
        OptionCode::NtpServers,
        OptionCode::Hostname,
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
        ntp: match option(OptionCode::NtpServers) {
            Some(DhcpOption::NtpServers(servers)) => servers.clone(),
            _ => Vec::new(),
        },
        hostname: match option(OptionCode::Hostname) {
            Some(DhcpOption::Hostname(name)) => Some(name.clone()),
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
        let mut bytes = Vec::new();
        reply.encode(&mut Encoder::new(&mut bytes)).unwrap();
        let Some(Answer::Ack(grant)) = decode(&bytes, 7, &mac) else { panic!("no ack") };
        assert_eq!((grant.address, grant.prefix), ([10, 0, 2, 15].into(), 24));
        assert_eq!(decode(&bytes, 8, &mac), None);
        assert_eq!(decode(&bytes[..100], 7, &mac), None);
        assert_eq!(decode(&bytes, 7, &[2, 0, 0, 0, 0, 2]), None);
        assert_eq!(grant.ntp, [Ipv4Addr::new(10, 0, 2, 3)]);
        assert_eq!(grant.hostname.as_deref(), Some("box7"));
    }
}
