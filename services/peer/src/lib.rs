//! One SSH connection to a managed machine, on which nothing of ours is installed.
//!
//! A [`Session`] signs in with an ed25519 key to a machine whose host key is pinned in the config,
//! runs commands ([`Session::exec`]) and speaks to the machine's systemd over its own D-Bus socket
//! ([`Session::systemd`]). systemd is reached only through typed verbs on checked unit names
//! ([`systemd::Systemd`]): the bus connection itself never leaves this crate.
//!
//! It never trusts a host key on first use, never asks for a password, never forwards anything back,
//! and never reconnects by itself: the owner does, paced by [`backoff::delay`].
//!
//! Limits: connect, handshake and sign-in 10 s each ([`session::STEP_WITHIN`]); 4 commands
//! ([`exec::EXECS_MAX`]) and 64 D-Bus calls ([`systemd::CALLS_MAX`]) in flight a connection; a dead
//! connection is noticed after 45 s ([`session::KEEPALIVE_EVERY`] three times); 256 watched units.

pub mod backoff;
mod bus;
pub mod exec;
pub mod session;
pub mod systemd;
pub mod target;

pub use exec::{ExecError, Output};
pub use session::{ConnectError, Session};
pub use target::{Target, TargetError};
