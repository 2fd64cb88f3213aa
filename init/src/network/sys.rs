//! Datagrams that say by which link they come and go (IP_PKTINFO, ip(7)), behind safe functions.
#![expect(unsafe_code, reason = "rustix has no IP_PKTINFO")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::check;

/// Room for one control message with a `struct in_pktinfo`, aligned as `struct cmsghdr` wants it.
type Control = [u64; 8];

/// Has a socket tell by which link each datagram came.
///
/// # Errors
/// As setsockopt(2).
pub fn tell_links(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: pointer and length are of one integer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result.into()).map(drop)
}

/// Receives a datagram: its length, and the number of the link that it came by; 0 when the kernel does not say.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid msghdr: no address, no parts, no control.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the message points to buffers of the lengths that it says, which outlive the call.
    let length = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) } as _)? as usize;
    let mut index = 0;
    // SAFETY: the kernel wrote msg_controllen bytes of whole control messages; the macros stay within them.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
                let about: libc::in_pktinfo =
                    libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned();
                index = about.ipi_ifindex as u32;
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((length, index))
}

/// Sends a datagram by the link with this number, from the address that it has, or from none.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], to: SocketAddrV4, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    };
    let nowhere = libc::in_addr { s_addr: 0 };
    let about = libc::in_pktinfo { ipi_ifindex: index as _, ipi_spec_dst: nowhere, ipi_addr: nowhere };
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw const address).cast_mut().cast();
    message.msg_namelen = size_of::<libc::sockaddr_in>() as _;
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes; `control` is longer, so there is a first header with room for its data.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::IPPROTO_IP;
        (*header).cmsg_type = libc::IP_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as _;
        libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(about);
    }
    // SAFETY: the kernel only reads what the message points to, which outlives the call.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) } as _).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_datagram_goes_by_the_link_that_it_was_given_to_and_says_so() {
        let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        tell_links(other.as_fd()).unwrap();
        let std::net::SocketAddr::V4(to) = other.local_addr().unwrap() else { panic!("not IPv4") };
        // The loopback is the first link of every network namespace.
        send(one.as_fd(), b"who is there", to, 1).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(receive(other.as_fd(), &mut buffer).unwrap(), (12, 1));
        assert_eq!(&buffer[..12], b"who is there");
        assert!(send(one.as_fd(), b"nowhere", to, 1 << 30).is_err());
    }
}
