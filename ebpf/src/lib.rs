//! CO-RE eBPF programs and their typed loader.
//!
//! Each program measures one thing that /proc cannot say. Loading one either attaches all of it or fails with the
//! kernel's reason and leaves nothing behind; dropping the handle detaches it. The programs are C (rustc emits no
//! CO-RE relocations), compiled by build.rs and embedded. Needed: CAP_BPF, CAP_PERFMON, /sys/kernel/btf/vmlinux.
//!
//! Limits: run-queue latency takes 128 KiB of map memory for waits and 216 bytes a CPU for counts.

mod runqlat;

pub use runqlat::{BOUNDS, Histogram, RunQueue, Unavailable};
