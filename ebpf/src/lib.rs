//! CO-RE eBPF programs and their typed loader.
//!
//! Each group of programs measures what /proc cannot say: waits for a CPU, block I/O, TCP, processes, interrupts. A
//! group is attached whole or not at all, with the kernel's reason; the others go on. Dropping it detaches it and leaves
//! nothing behind. The programs are C (rustc emits no CO-RE relocations), compiled by build.rs and embedded. Needed:
//! CAP_BPF, CAP_PERFMON, /sys/kernel/btf/vmlinux.
//!
//! Limits: all maps together take some 2 MB of kernel memory on two CPUs; each has its bound beside it in programs/.

mod child;
mod group;
mod histogram;
mod loader;
mod readings;
mod sys;
mod unavailable;

use std::os::fd::OwnedFd;

pub use group::{Attached, Cost};
pub use histogram::{BOUNDS, Histogram};
pub use loader::is_apart;
pub use readings::{DiskLatency, Edge, Interrupts, Processes, Tcp};
pub use unavailable::Unavailable;

/// Loads and attaches every group; names and outcomes in a fixed order.
///
/// The memory that this takes (some 40 MB for the kernel's types) is a short-lived child's, when the caller is the only
/// thread of its process.
pub fn attach() -> Vec<(&'static str, Result<Attached, Unavailable>)> {
    child::load_all().into_iter().map(|(name, parts)| (name, parts.and_then(Attached::new))).collect()
}

/// The kernel measures the run time of all programs while the result is kept; that itself costs some 40 ns a run.
///
/// # Errors
/// [`Unavailable`] without CAP_SYS_ADMIN.
pub fn measure_cost() -> Result<OwnedFd, Unavailable> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime)
        .map_err(|e| Unavailable::new("have the kernel measure the programs", &e))
}
