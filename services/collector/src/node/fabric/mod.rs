//! Ways to storage and other machines beyond a usual host's: Fibre Channel, InfiniBand, tapes, several paths to one disk.

pub mod fibrechannel;
pub mod infiniband;
pub mod multipath;
pub mod tape;
