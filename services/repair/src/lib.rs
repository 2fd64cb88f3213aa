//! Policies, repairs over D-Bus, and signed evidence of each.

pub mod engine;
pub mod enrol;
pub mod evidence;
pub mod policy;
