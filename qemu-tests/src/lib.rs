//! Test beds: the real thing, started and stopped by tests and benchmarks.
//!
//! [`container`] is the whole appliance as a container of this host, [`guest`] the built image in QEMU ([`slots`] its two slots),
//! [`systemd_peer`] a real systemd machine to watch and repair, [`browser`] Debian's Chromium, [`visitor`] somebody with forms and cookies alone. Each
//! cleans up after itself, also when a test panics, and each says why when it cannot run here.

pub mod acknowledged;
pub mod bench;
pub mod browser;
pub mod container;
pub mod escape;
pub mod guest;
pub mod harness;
pub mod lan;
pub mod programs;
pub mod refusals;
pub mod slots;
pub mod systemd_peer;
pub mod updates;
pub mod visitor;
pub mod write_log;
