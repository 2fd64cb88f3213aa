//! What the kernel tells by itself: links and addresses that changed, name servers in router advertisements.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::Context;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// The multicast groups (linux/rtnetlink.h): links, IPv4 addresses, IPv6 addresses, options of neighbour discovery.
const GROUPS: [u32; 4] = [1, 5, 9, 20];

/// A message of router advertisements' options that the kernel does not use itself.
const RTM_NEWNDUSEROPT: u16 = 68;

/// ICMPv6's router advertisement, and the option with name servers (RFC 8106).
const ROUTER_ADVERTISEMENT: u8 = 134;
const RDNSS: u8 = 25;

/// Name servers that one link's routers may name.
const SERVERS_MAX: usize = 8;

/// Datagrams read before something else has its turn; more are still there then.
const BURST_MAX: usize = 64;

/// A name server out of an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// The link that it came by.
    pub index: u32,
    /// Its address.
    pub address: Ipv6Addr,
    /// Seconds that it holds; 0 takes it back.
    pub lifetime_s: u32,
}

/// A socket that hears of changes.
#[derive(Debug)]
pub struct News(Socket);

impl News {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the kernel refuses the socket or a group.
    pub fn open() -> anyhow::Result<News> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open rtnetlink")?;
        socket.bind(&SocketAddr::new(0, 0)).context("cannot bind rtnetlink")?;
        for group in GROUPS {
            socket.add_membership(group).with_context(|| format!("cannot hear rtnetlink's group {group}"))?;
        }
        socket.set_non_blocking(true)?;
        Ok(News(socket))
    }

    /// Reads what has come: whether links or addresses changed, and name servers.
    pub fn read(&self) -> (bool, Vec<NameServer>) {
        let (mut changed, mut servers) = (false, Vec::new());
        for _ in 0..BURST_MAX {
            match self.0.recv_from_full() {
                // Only the kernel sends from port 0.
                Ok((bytes, sender)) if sender.port_number() == 0 => {
                    let (other, named) = parse(&bytes);
                    changed |= other;
                    servers.extend(named);
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // Some were lost: what there is now is looked at anyway.
                Err(_) => changed = true,
            }
        }
        (changed, servers)
    }
}

impl AsFd for News {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for News {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// The messages of one datagram: whether one was of a link or an address, and the name servers.
fn parse(bytes: &[u8]) -> (bool, Vec<NameServer>) {
    let (mut changed, mut servers, mut rest) = (false, Vec::new(), bytes);
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let kind = u16::from_ne_bytes([rest[4], rest[5]]);
        let length = length.clamp(16, rest.len());
        match kind {
            RTM_NEWNDUSEROPT => servers.extend(name_servers(&rest[16..length])),
            _ => changed = true,
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    (changed, servers)
}

/// `struct nduseroptmsg` (linux/rtnetlink.h) and the options behind it.
fn name_servers(bytes: &[u8]) -> Vec<NameServer> {
    let Some((head, options)) = bytes.split_at_checked(16) else { return Vec::new() };
    if head[8] != ROUTER_ADVERTISEMENT {
        return Vec::new();
    }
    let index = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
    let bound = usize::from(u16::from_ne_bytes([head[2], head[3]])).min(options.len());
    let (mut found, mut rest) = (Vec::new(), &options[..bound]);
    // Each option: its type, its length in units of eight bytes.
    while let [kind, units, ..] = *rest {
        let Some((option, next)) = rest.split_at_checked(usize::from(units) * 8).filter(|_| units > 0) else {
            break;
        };
        if kind == RDNSS && option.len() >= 24 {
            let lifetime_s = u32::from_be_bytes([option[4], option[5], option[6], option[7]]);
            for address in option[8..].chunks_exact(16) {
                let address: [u8; 16] = address.try_into().unwrap_or_default();
                found.push(NameServer { index, address: address.into(), lifetime_s });
            }
        }
        rest = next;
    }
    found.truncate(SERVERS_MAX);
    found
}

/// The name servers that hold, with when they end.
#[derive(Debug, Default)]
pub struct Advertised(Vec<(u32, Ipv6Addr, u64)>);

impl Advertised {
    /// Takes what an advertisement said. Returns whether the list is another one.
    pub fn hear(&mut self, now_ms: u64, server: NameServer) -> bool {
        let before = self.servers();
        self.0.retain(|(index, address, _)| (*index, *address) != (server.index, server.address));
        let of_link = self.0.iter().filter(|(index, ..)| *index == server.index).count();
        if server.lifetime_s > 0 && of_link < SERVERS_MAX {
            let end_ms = now_ms.saturating_add(u64::from(server.lifetime_s) * 1000);
            self.0.push((server.index, server.address, end_ms));
            self.0.sort();
        }
        self.servers() != before
    }

    /// Forgets what has run out, and what came by links for which `keep` is false. Returns whether the list is
    /// another one.
    pub fn forget(&mut self, now_ms: u64, keep: impl Fn(u32) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(index, _, end_ms)| *end_ms > now_ms && keep(*index));
        self.0.len() != before
    }

    /// When the first runs out.
    pub fn due_ms(&self) -> Option<u64> {
        self.0.iter().map(|(_, _, end_ms)| *end_ms).min()
    }

    /// Their addresses, without those of link scope: resolv.conf is read in rooms that cannot name the link.
    pub fn servers(&self) -> Vec<IpAddr> {
        self.0
            .iter()
            .filter(|(_, address, _)| !address.is_unicast_link_local())
            .map(|(_, a, _)| (*a).into())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as the kernel sends it: header, nduseroptmsg, one RDNSS option with two servers.
    fn message(lifetime_s: u32) -> Vec<u8> {
        let mut option = vec![RDNSS, 5, 0, 0];
        option.extend(lifetime_s.to_be_bytes());
        for address in ["2001:db8::53", "2001:db8::54"] {
            option.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        let mut body = vec![10, 0];
        body.extend((option.len() as u16).to_ne_bytes());
        body.extend(3u32.to_ne_bytes());
        body.extend([ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(option);
        let mut bytes = Vec::new();
        bytes.extend((16 + body.len() as u32).to_ne_bytes());
        bytes.extend(RTM_NEWNDUSEROPT.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn name_servers_are_read_out_of_advertisements_and_garbage_is_passed_over() {
        let (changed, servers) = parse(&message(600));
        assert!(!changed);
        assert_eq!(servers.len(), 2);
        let first = NameServer { index: 3, address: "2001:db8::53".parse().unwrap(), lifetime_s: 600 };
        assert_eq!(servers[0], first);
        let whole = message(600);
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
        let mut endless = message(600);
        endless[33] = 0;
        assert_eq!(parse(&endless).1, []);
        let mut link = message(600);
        link[4..6].copy_from_slice(&16u16.to_ne_bytes());
        assert_eq!(parse(&link), (true, vec![]));
    }

    #[test]
    fn a_name_server_holds_for_its_lifetime_and_is_taken_back_by_zero() {
        let mut advertised = Advertised::default();
        for server in parse(&message(600)).1 {
            advertised.hear(0, server);
        }
        assert_eq!(advertised.servers().len(), 2);
        assert_eq!(advertised.due_ms(), Some(600_000));
        assert!(!advertised.hear(1000, parse(&message(600)).1[0]));
        assert!(advertised.hear(1000, parse(&message(0)).1[0]));
        assert!(!advertised.forget(599_999, |_| true));
        assert!(advertised.forget(600_000, |_| true));
        assert!(advertised.servers().is_empty());
    }
}
