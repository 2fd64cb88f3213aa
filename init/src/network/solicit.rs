//! Asks a link's routers to advertise themselves now (RFC 4861, section 4.1): the kernel keeps no name server of
//! an advertisement, so a service that begins must hear one.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::{SendFlags, sendto, sockopt};

/// Type, code, checksum (the kernel's to fill), reserved.
const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

/// All routers of the link.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Routers drop what came over another one.
const HOPS: u32 = 255;

/// Asks once, on one link, by the raw socket that init opened (none without IPv6). That it cannot be sent (no address
/// yet) is no harm: the kernel asks by itself when the link's address is settled.
pub fn routers(socket: Option<&OwnedFd>, index: u32) {
    let Some(socket) = socket else { return };
    let to = SocketAddrV6::new(ALL_ROUTERS, 0, 0, index);
    let _ = sockopt::set_ipv6_multicast_hops(socket, HOPS)
        .and_then(|()| sendto(socket, &SOLICITATION, SendFlags::empty(), &to));
}
