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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Programs that a machine of our own runs may still be none for the kernel.
    #[test]
    fn the_kernel_takes_the_programs_of_all_kinds_of_lists() {
        let hosts = |n: u128| Prefix::v6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | n), 128);
        let lists: Vec<Vec<Prefix>> = vec![
            Vec::new(),
            vec![Prefix::v4(Ipv4Addr::UNSPECIFIED, 0)],
            vec![Prefix::v6(Ipv6Addr::UNSPECIFIED, 0), Prefix::v6(Ipv6Addr::LOCALHOST, 128)],
            vec![Prefix::v4(Ipv4Addr::LOCALHOST, 32)],
            lists::unicast(),
            (0..program::PREFIXES_MAX as u128).map(hosts).collect(),
        ];
        for list in lists {
            let code = program::compile(&list, Direction::Leaving).unwrap();
            match sys::load(&code, Kind::Leaving) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    eprintln!("not tried: this user may load no programs");
                    return;
                }
                Err(error) => panic!("{} prefixes: {error}", list.len()),
            }
        }
    }
}
