//! A door into the peer's network namespace: what connects to 127.0.0.1 here is connected there.
//!
//! A socket stays in the namespace that its thread was in when it was made, so one thread that moved into
//! the peer's namespace makes every outgoing connection.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// Connections that are kept at a time; a test needs a handful.
const CONNECTIONS_MAX: usize = 64;

/// The door. Dropping it closes it and cuts every connection.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    closed: Arc<AtomicBool>,
}

impl Forward {
    /// Opens a port of 127.0.0.1 that leads to `port` on the loopback of the namespace of `pid`.
    pub fn start(pid: u32, port: u16) -> Result<Forward> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let namespace = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&namespace).with_context(|| format!("cannot open {namespace}"))?;
        let open = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(AtomicBool::new(false));
        let (kept, stop) = (open.clone(), closed.clone());
        thread::Builder::new().name("peer-forward".into()).spawn(move || {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            if let Err(error) = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            {
                eprintln!("systemd peer: cannot enter its network namespace: {error}");
                return;
            }
            for client in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                // A client that went away is no reason to close the door.
                let _ = client.and_then(|client| connect(client, port, &kept));
            }
        })?;
        Ok(Forward { address, open, closed })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open now, as a network would.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // Wakes the listening thread, which looks at the flag; refused means that it is gone already.
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

fn connect(client: TcpStream, port: u16, kept: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let peer = TcpStream::connect(("127.0.0.1", port))?;
    client.set_nodelay(true)?;
    peer.set_nodelay(true)?;
    {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|stream| stream.peer_addr().is_ok());
        if kept.len() >= 2 * CONNECTIONS_MAX {
            return Err(io::Error::other("too many connections to one peer"));
        }
        kept.push(client.try_clone()?);
        kept.push(peer.try_clone()?);
    }
    pump(client.try_clone()?, peer.try_clone()?);
    pump(peer, client);
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either end may break; both are told.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
