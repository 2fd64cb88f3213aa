//! File systems and caches with statistics of their own.

pub mod bcache;
pub mod bcachefs;
pub mod btrfs;
pub mod xfs;
pub mod zfs;
