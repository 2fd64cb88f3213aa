//! Repairs what broke on the machines that are watched, by policy, through their systemd's D-Bus, and keeps
//! signed evidence of every step.
//!
//! [`policy`] reads what is to be repaired; [`engine`] decides, as a pure state machine; [`watch`] keeps a
//! connection to each machine, looks, and does what was decided; [`evidence`] records it in the store, and
//! [`audit`] checks that record. [`enrol`] prints what a machine must be told first.
//!
//! It never acts on what it cannot record, never uses a verb that the policy does not name, never touches
//! its own disk, and never decides twice for one invocation of a unit.
//!
//! Limits: 256 policies of 64 KiB; 256 units a machine; at most 60 actions an hour for one unit on one
//! machine; 256 records waiting for the store; 200 repairs in memory.

pub mod api;
pub mod audit;
pub mod board;
pub mod clock;
pub mod commands;
pub mod engine;
pub mod enrol;
pub mod evidence;
pub mod policy;
pub mod serve;
pub mod watch;
