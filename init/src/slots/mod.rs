//! Two slots, one of which runs: which one boots, whether a new one proves itself, and the way back.
//!
//! [`assess`] decides, [`history`] remembers from boot to boot, [`ends`] tells
//! people how they ended, [`esp`] changes the UKIs' names (in a child,
//! sent by [`errand`]; in an order of writes that a power cut cannot hurt, see [`fat`]), [`loader`] is what
//! systemd-boot makes of them. `run/slots/` is where PID 1's loop holds all of it.

pub mod assess;
#[cfg(test)]
mod cuts;
pub mod ends;
pub mod entry;
pub mod errand;
pub mod esp;
pub mod evidence;
pub mod fat;
pub mod health;
pub mod history;
pub mod loader;
pub mod version;
pub mod watchdog;
