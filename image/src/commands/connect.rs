//! `vakt-image connect`: one connection of a guest, carried to this host's loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;

use anyhow::Context;

/// Connects standard input and output with a TCP address.
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// An address of the loopback.
    address: SocketAddr,
}

impl Connect {
    /// Carries until either side ends.
    ///
    /// # Errors
    /// When the address is not on the loopback, or nobody listens there.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(self.address.ip().is_loopback(), "{} is not on the loopback", self.address);
        let stream = TcpStream::connect(self.address)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let mut outwards = stream.try_clone()?;
        let mut inwards = stream;
        std::thread::spawn(move || {
            // The guest's end of the connection is the end of the other direction too.
            let _ = carry(&mut std::io::stdin(), &mut outwards);
            let _ = outwards.shutdown(Shutdown::Write);
        });
        // An error here is the end of the connection, which is how every connection ends.
        let _ = carry(&mut inwards, &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}

/// Copies and flushes piece by piece: an SSH packet must not wait for a full buffer.
fn carry(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        to.flush()?;
    }
}
