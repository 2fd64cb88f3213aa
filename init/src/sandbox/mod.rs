//! The room of a service: built in the child between clone3 and exec, fail-closed.
//!
//! Layers, outermost first: fresh mount, pid, ipc, uts and (unless it shares the machine's) net
//! namespaces; a tmpfs root that holds only the listed paths; rlimits; own uid with only the listed
//! capabilities, also in the bounding set; no_new_privs; Landlock (ABI 6 is required) for paths, TCP,
//! abstract sockets and signals; seccomp with an allow-list that also judges socket(2)'s arguments.
//! Around it, the cgroup that the child is born into holds a service with the machine's network to its
//! addresses ([`addresses`]).
//! Any step that fails ends the child before the program runs.

pub mod addresses;
pub mod calls;
mod enter;
mod landlock;
pub mod names;
mod plan;
mod privileges;
pub mod refusal;
mod root;
mod seccomp;

pub use enter::enter;
pub use plan::{Access, CGROUPS, ETC, MEASURED, Plan, Program, RUN};
