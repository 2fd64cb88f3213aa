//! Test beds.

pub mod systemd_peer;
