//! Policies, repairs over D-Bus, and signed evidence of each.

pub mod enrol;
pub mod policy;
