//! Receivers: from sockets and the kernel to the intake. No bytes are looked into here but for framing.
//!
//! Each runs until it is asked to stop, and then leaves what it has not read to the kernel: under a
//! supervisor that holds the sockets, the next process reads on there.

mod datagram;
mod kernel;
mod stream;

pub use datagram::{udp, unix};
pub use kernel::{kernel, machine};
pub use stream::{CONNECTIONS_MAX, tcp};
