//! `host:port` to addresses, without libc: a static program's getaddrinfo(3) would load shared libraries.
//!
//! An address is taken as it is; a name is looked up in /etc/hosts, then asked of the name servers in
//! /etc/resolv.conf over TCP (RFC 7766), which is the only way out that the sandbox leaves open. Names are
//! full names: search domains are not tried. At most 3 servers, 3 s each, 16 addresses.

mod message;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use message::{Kind, addresses, query};

/// Servers that are asked, one after the other (MAXNS in resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// How long one server may take for both questions.
const SERVER_WITHIN: Duration = Duration::from_secs(3);

/// Addresses that are tried of one name.
const ADDRESSES_MAX: usize = 16;

/// The addresses of `text`, in the order to try them.
///
/// # Errors
/// When the name is unknown or nobody could be asked; the text says which.
pub async fn resolve(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let no_port = || io::Error::new(io::ErrorKind::InvalidInput, "no port; example: db1.example.org:22");
    let (name, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    let port: u16 = port.parse().map_err(|_| no_port())?;
    let found = lookup(name).await?;
    Ok(found.into_iter().take(ADDRESSES_MAX).map(|address| SocketAddr::new(address, port)).collect())
}

async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    // A file that is not there has nothing to say.
    let hosts = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
    let listed = in_hosts(&hosts, name);
    if !listed.is_empty() {
        return Ok(listed);
    }
    let conf = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server in /etc/resolv.conf");
    for server in servers(&conf) {
        match timeout(SERVER_WITHIN, ask_both(SocketAddr::new(server, 53), name)).await {
            Ok(Ok(found)) if !found.is_empty() => return Ok(found),
            Ok(Ok(_)) => return Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("name server {server}: {error}")),
            Err(_) => {
                let said = format!("name server {server}: no answer within {SERVER_WITHIN:?}");
                last = io::Error::new(io::ErrorKind::TimedOut, said);
            }
        }
    }
    Err(last)
}

async fn ask_both(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found = ask(server, name, Kind::A).await?;
    found.extend(ask(server, name, Kind::Aaaa).await?);
    Ok(found)
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> io::Result<Vec<IpAddr>> {
    // Over TCP nobody can answer but the server, so the id need not be random.
    let question = query(kind as u16, name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no valid host name"))?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&(question.len() as u16).to_be_bytes()).await?;
    stream.write_all(&question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    addresses(&answer, kind as u16, kind).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

fn servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
    });
    lines.take(SERVERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_libc_reads_them() {
        let hosts = "127.0.0.1 localhost # lo\n# 10.0.0.1 db1\n10.0.0.2\tdb1 DB1.example.org\n::2 db1\n";
        assert_eq!(in_hosts(hosts, "db1"), ["10.0.0.2", "::2"].map(|a| a.parse::<IpAddr>().unwrap()));
        assert_eq!(in_hosts(hosts, "db1.example.ORG").len(), 1);
        assert_eq!(in_hosts(hosts, "lo"), Vec::<IpAddr>::new());
        let conf = "search a\nnameserver 192.0.2.1\n nameserver ::1\nnameserver x\nnameserver 1.1.1.1 # c\n";
        assert_eq!(servers(conf), ["192.0.2.1", "::1", "1.1.1.1"].map(|a| a.parse::<IpAddr>().unwrap()));
    }

    #[tokio::test]
    async fn addresses_need_no_lookup() {
        assert_eq!(resolve("[::1]:22").await.unwrap(), ["[::1]:22".parse().unwrap()]);
        assert!(resolve("db1").await.unwrap_err().to_string().contains("no port"));
    }

    /// A name server on loopback with one answer, as a recursing server gives it for a name behind an alias.
    #[tokio::test]
    async fn a_server_is_asked_over_tcp() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut question).await.unwrap();
            let mut answer = question.clone();
            answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 2]);
            answer.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x05\x02ns\xc0\x10");
            answer.extend(b"\x02ns\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07");
            stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        });
        let found = ask(server, "db1.example.org", Kind::A).await.unwrap();
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    }
}
