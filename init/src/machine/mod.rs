//! The machine around the services: mounts, disks, identity, config, console.

mod check;
pub mod clock;
pub mod config;
pub mod config_disk;
pub mod console;
pub mod credentials;
pub mod disk;
pub mod identity;
pub mod mounts;
pub mod quota;
pub mod state;
mod table;
