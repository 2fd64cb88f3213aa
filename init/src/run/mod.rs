//! The loop of PID 1: one thread, one poll(2), no runtime.
//!
//! It turns what the kernel says (signals, dead children, readable sockets, time) into events for the
//! [`crate::supervisor`] and carries out its actions. All that it holds is bounded: see the named
//! bounds in each module.

mod advertisements;
mod answers;
mod backup_desk;
mod cgroup;
mod clock_desk;
mod config_desk;
mod ctl;
mod forward;
mod life;
mod machine;
mod notify;
mod output;
mod power_button;
mod pressure;
mod refusals;
mod reset_desk;
mod slots;
mod sockets;
mod spawn;
mod status;
mod terminals;

pub use cgroup::Cgroups;
pub use config_desk::adopt;
pub use machine::{Machine, Setting};
pub use slots::{Found, Place};
pub use sockets::PortMap;
pub use status::MachineStatus;
