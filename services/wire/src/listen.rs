//! Where a service listens: sockets handed over by the supervisor, or addresses from the command line.
//!
//! vakt-init (and systemd) open every listening socket and hand it over by sd_listen_fds(3) with a
//! name, so no service needs a port capability and a restart loses no connection in the backlog.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::http::Listener;
use crate::sys;

/// The sockets that the supervisor handed over, by name. Take them once, at start.
#[derive(Debug, Default)]
pub struct Inherited(VecDeque<(String, OwnedFd)>);

impl Inherited {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. Empty when they are absent or meant for
    /// another process. Call once in the life of the process: descriptors are owned from then on.
    pub fn take() -> Inherited {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Inherited::default();
        }
        let fds = sys::take_inherited(number("LISTEN_FDS").unwrap_or(0).min(64));
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        Inherited(fds.into_iter().map(|fd| (names.next().unwrap_or_default(), fd)).collect())
    }

    /// All descriptors called `name`, in the order they were handed over; the rest stays.
    pub fn named(&mut self, name: &str) -> Vec<OwnedFd> {
        let (mine, rest) = std::mem::take(&mut self.0).into_iter().partition::<Vec<_>, _>(|(n, _)| n == name);
        self.0 = rest.into();
        mine.into_iter().map(|(_, fd)| fd).collect()
    }

    /// The HTTP listeners called `name`: inherited ones, and what the command line asked for.
    ///
    /// # Errors
    /// When an inherited descriptor is no stream listener or an address cannot be bound; the message
    /// names it.
    pub fn http(&mut self, name: &str, asked: &[Address]) -> io::Result<Vec<Listener>> {
        let mut all = Vec::new();
        for fd in self.named(name) {
            all.push(Listener::from_fd(fd)?);
        }
        for address in asked {
            all.push(
                address
                    .bind()
                    .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}")))?,
            );
        }
        Ok(all)
    }
}

/// An address to serve HTTP on: `127.0.0.1:8428`, `[::1]:8428` or `unix:/run/x.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket; an old socket file in its place is removed first.
    Unix(PathBuf),
}

impl Address {
    /// Binds and listens.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn bind(&self) -> io::Result<Listener> {
        match self {
            Address::Tcp(address) => Ok(Listener::Tcp(tcp(*address)?)),
            Address::Unix(path) => Ok(Listener::Unix(unix(path)?)),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn unix(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    // Who may call is decided by SO_PEERCRED for each request, not by the file's mode.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        let with_host = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        with_host.parse().map(Address::Tcp).map_err(|_| {
            format!("{text:?} is no address; write 127.0.0.1:8428, :8428 or unix:/run/name.sock")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!("127.0.0.1:1".parse(), Ok(Address::Tcp("127.0.0.1:1".parse().unwrap())));
        assert_eq!(":80".parse(), Ok(Address::Tcp("0.0.0.0:80".parse().unwrap())));
        assert_eq!("unix:/a".parse(), Ok(Address::Unix("/a".into())));
        assert!("nonsense".parse::<Address>().unwrap_err().contains("127.0.0.1:8428"));
    }
}
