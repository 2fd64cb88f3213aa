//! The console's raw system calls: terminal modes, and the machine's addresses.
#![expect(unsafe_code, reason = "termios and getifaddrs have no safe wrapper in the crates that PID 1 has")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts a terminal into raw mode: every byte as it is typed, no echo, no signals, no waiting for a carrier.
///
/// # Errors
/// As tcgetattr(3) and tcsetattr(3); `EIO` for a port without hardware.
pub fn make_raw(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: termios is plain data and valid as zeroes.
    let mut mode: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct outlives both calls, which read or fill one.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut mode) })?;
    // SAFETY: changes the struct alone.
    unsafe { libc::cfmakeraw(&raw mut mode) };
    // Lines of others on the same terminal (the kernel's) still need their returns.
    mode.c_oflag |= libc::OPOST | libc::ONLCR;
    mode.c_cflag |= libc::CLOCAL | libc::CREAD;
    // SAFETY: as above.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const mode) })?;
    Ok(())
}

/// The addresses of this machine's interfaces that are up, without the loopback's and link-local ones.
pub fn addresses() -> Vec<IpAddr> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs fills the pointer with a list that freeifaddrs takes back below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let (mut found, mut next) = (Vec::new(), first);
    while !next.is_null() {
        // SAFETY: a node of the list, which lives until freeifaddrs.
        let node = unsafe { &*next };
        next = node.ifa_next;
        let is_up = node.ifa_flags & libc::IFF_UP as u32 != 0;
        if node.ifa_addr.is_null() || !is_up {
            continue;
        }
        // SAFETY: a non-null address is a sockaddr of the family that it names; sockaddr_in and _in6 are read unaligned.
        let address: IpAddr = unsafe {
            match i32::from((*node.ifa_addr).sa_family) {
                libc::AF_INET => {
                    let raw = std::ptr::read_unaligned(node.ifa_addr.cast::<libc::sockaddr_in>());
                    Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr)).into()
                }
                libc::AF_INET6 => {
                    let raw = std::ptr::read_unaligned(node.ifa_addr.cast::<libc::sockaddr_in6>());
                    Ipv6Addr::from(raw.sin6_addr.s6_addr).into()
                }
                _ => continue,
            }
        };
        let is_local = match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        if !is_local {
            found.push(address);
        }
    }
    // SAFETY: the list that getifaddrs made, given back once.
    unsafe { libc::freeifaddrs(first) };
    found
}
