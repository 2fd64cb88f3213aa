//! The firewall: nothing comes in but what the machine listens for.
//!
//! One nf_tables table, `inet vakt`, replaced in one transaction before any link is switched on: [`rules`] decides
//! from the services' manifests and the config, [`message`] writes the bytes, this file sends them. The rules stay
//! when this service ends. A kernel without nf_tables leaves the box open, and that is said on the console and in
//! `/v1/machine`: services check who speaks to them, and a box that nobody reaches helps nobody.

mod message;
mod rules;

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

pub use rules::{Opening, Rule, openings, rules};

/// The kernel answers at once; this long is a defect, and is not waited out.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of answers read at a time.
const RECEIVE_BYTES: usize = 64 << 10;

/// Puts the rules in force, all or none of them.
///
/// # Errors
/// When the kernel has no nf_tables, or refuses; the rules before stay.
pub fn raise(rules: &[Rule]) -> anyhow::Result<()> {
    let batch = message::batch(rules);
    let mut socket = Socket::new(NETLINK_NETFILTER).context("the kernel has no netfilter")?;
    socket.bind_auto().context("cannot bind netfilter's socket")?;
    socket.connect(&SocketAddr::new(0, 0)).context("cannot connect netfilter's socket")?;
    rustix::net::sockopt::set_socket_timeout(
        fd(&socket),
        rustix::net::sockopt::Timeout::Recv,
        Some(ANSWER_WITHIN),
    )?;
    socket.send(&batch.bytes, 0).context("cannot send the rules")?;
    let mut acknowledged = 0;
    while acknowledged < batch.acknowledgements {
        let mut received = Vec::with_capacity(RECEIVE_BYTES);
        socket.recv(&mut received, 0).context("the kernel did not answer")?;
        acknowledged += message::acknowledged(&received)?;
    }
    Ok(())
}

fn fd(socket: &Socket) -> std::os::fd::BorrowedFd<'_> {
    socket.as_fd()
}
