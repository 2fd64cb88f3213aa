//! The services' listening sockets: opened once, kept across restarts, handed over at each spawn.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use anyhow::Context;

use crate::manifest::Listen;
use crate::sys;

/// Where a container listens instead: machine port to host address. A machine has none.
#[derive(Clone, Debug, Default)]
pub struct PortMap(pub BTreeMap<u16, SocketAddr>);

impl PortMap {
    /// Reads `443=127.0.0.1:8443`.
    ///
    /// # Errors
    /// A text that shows the form.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let parsed = text.split_once('=').and_then(|(port, to)| Some((port.parse().ok()?, to.parse().ok()?)));
        let (port, to) =
            parsed.ok_or_else(|| format!("{text:?} is no port mapping such as 443=127.0.0.1:8443"))?;
        self.0.insert(port, to);
        Ok(())
    }

    fn of(&self, address: SocketAddr) -> SocketAddr {
        self.0.get(&address.port()).copied().unwrap_or(address)
    }
}

/// The open sockets of one service, in the order of its manifest; one that this kernel cannot have is `None`.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(String, Option<OwnedFd>)>);

impl Sockets {
    /// Opens all that are not open yet.
    ///
    /// # Errors
    /// At the first that cannot be opened, naming it; the others stay for the next try.
    pub fn open(&mut self, listens: &[Listen], ports: &PortMap) -> anyhow::Result<()> {
        for listen in &listens[self.0.len()..] {
            self.0.push((listen.name.clone(), open(listen, ports)?));
        }
        Ok(())
    }

    /// Names and descriptors.
    pub fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().filter_map(|(name, fd)| Some((name.as_str(), fd.as_ref()?.as_fd())))
    }
}

fn open(listen: &Listen, ports: &PortMap) -> anyhow::Result<Option<OwnedFd>> {
    if listen.icmp6 {
        return raw_icmp6().context("cannot make a raw ICMPv6 socket");
    }
    open_address(listen, ports).map(Some)
}

fn open_address(listen: &Listen, ports: &PortMap) -> anyhow::Result<OwnedFd> {
    if let Some(path) = &listen.unix {
        prepare(path)?;
        let socket =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        return open_to_all(path).map(|()| socket.into());
    }
    if let Some(path) = &listen.unix_datagram {
        prepare(path)?;
        let socket = UnixDatagram::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
        return open_to_all(path).map(|()| socket.into());
    }
    if let Some(address) = listen.tcp {
        let address = ports.of(address);
        let opened = or_ipv4(address, TcpListener::bind);
        return Ok(opened.with_context(|| format!("cannot listen on tcp {address}"))?.into());
    }
    if let Some(address) = listen.udp {
        let address = ports.of(address);
        let opened = or_ipv4(address, UdpSocket::bind);
        return Ok(opened.with_context(|| format!("cannot bind udp {address}"))?.into());
    }
    anyhow::bail!("socket {:?} has no address", listen.name)
}

/// `None` where the kernel has no IPv6.
fn raw_icmp6() -> anyhow::Result<Option<OwnedFd>> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6)) {
        Err(rustix::io::Errno::AFNOSUPPORT) => Ok(None),
        socket => {
            let socket = socket?;
            sys::deafen_icmp6(socket.as_fd())?;
            Ok(Some(socket))
        }
    }
}

/// `[::]` takes both families; where the kernel has no IPv6, `0.0.0.0` is the same wish.
fn or_ipv4<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> std::io::Result<T>) -> std::io::Result<T> {
    let opened = open(address);
    let no_ipv6 = |error: &std::io::Error| error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    if address.is_ipv6() && address.ip().is_unspecified() && opened.as_ref().err().is_some_and(no_ipv6) {
        return open((Ipv4Addr::UNSPECIFIED, address.port()).into());
    }
    opened
}

fn prepare(path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the old {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Who may call is judged by the server from SO_PEERCRED, and by whose room shows the directory.
fn open_to_all(path: &Path) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
