//! The append log: rows are durable here before they are acknowledged, and until their block is.
//!
//! One segment file holds the rows of one hot generation. It is written front to back, synced in
//! groups, and removed after the generation's blocks are durable. FORMAT.md section 2 has its bytes.

mod read;
mod segment;

pub use read::{Damage, Replayed, SegmentError, replay};
pub use segment::{Segment, file_name, id_of_name, sync_dir};

/// The file's first bytes.
const MAGIC: [u8; 8] = *b"VAKTAPND";
/// Version of the layout.
const VERSION: u32 = 1;
/// Magic, version, id, CRC32 of these.
const HEADER_BYTES: usize = 24;
/// Length and CRC32 before each payload.
const FRAME_HEADER_BYTES: usize = 8;
/// Largest payload of a frame: a batch (256 KiB) that one giant row (under 1 MiB) was added to.
pub const FRAME_BYTES_MAX: usize = 2 << 20;
