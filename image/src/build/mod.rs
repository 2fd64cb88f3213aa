//! From inputs and programs to a disk, step by step, each a function from files to a file.

pub mod config_disk;
mod convert;
mod disk;
mod erofs;
pub mod esp;
mod image;
mod initramfs;
mod layout;
mod modules;
mod programs;
mod state;
mod tree;
mod uki;
mod verity;

pub use convert::{Format, qcow2};
pub use image::{BILL, Built, Manifest, Options, assemble, stem};
pub use programs::{PROGRAMS, Profile, build as build_programs};
pub use tree::stage;

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time that every file of an image carries: fixed, so that the same inputs give the same bytes.
/// 2020-01-01, which FAT and every file system can say.
pub const EPOCH_S: u64 = 1_577_836_800;
