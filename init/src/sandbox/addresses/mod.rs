//! The addresses that a service with the machine's network may talk to, and what holds it to them.
//!
//! [`lists`] says from the machine config who that is; [`program`] turns the list into two eBPF programs
//! (one for what arrives, one for what is sent); [`bind`] attaches them to the service's cgroup before its first
//! instruction. A packet to or from any other address is dropped, whatever socket of the service it
//! belongs to. Sockets that init opened and handed over are init's own and are not judged.
//!
//! Attached without flags, a program is the only one of its group: nothing can be put below it, and another
//! one takes its place in one step. At most [`program::PREFIXES_MAX`] prefixes.

pub mod lists;
mod prefix;
mod program;

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::Context;

pub use prefix::Prefix;
use program::Direction;

use crate::bpf::sys::{self, Kind};

/// Lets the processes of `cgroup` talk to `allowed` and to nobody else, from now on.
///
/// # Errors
/// When the list is too long or the kernel takes no such program (CONFIG_CGROUP_BPF); what was attached
/// before is still in force then.
pub fn bind(cgroup: BorrowedFd<'_>, allowed: &[Prefix]) -> anyhow::Result<()> {
    for (direction, kind) in [(Direction::Arriving, Kind::Arriving), (Direction::Leaving, Kind::Leaving)] {
        let code = program::compile(allowed, direction)?;
        let loaded = sys::load(&code, kind)
            .context("the kernel refuses the program that holds the service to its addresses")?;
        sys::attach(cgroup, loaded.as_fd(), kind)
            .context("cannot attach the service's address list; the kernel needs CONFIG_CGROUP_BPF")?;
    }
    Ok(())
}
