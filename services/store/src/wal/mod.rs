//! The write-ahead log: what makes an acknowledged sample survive.
//!
//! A segment is a file `wal/<number, 16 hex digits>.wal` (FORMAT.md, "Write-ahead log"). It is
//! self-contained: the first record that mentions a series in a segment carries its labels. Segments are
//! only appended to, and removed when a block that holds their samples is durable.
//!
//! Records are queued to one thread, which writes what is there, syncs once for all of it, and then says
//! so to each waiting writer (group commit). After a failed write or sync a segment is never touched
//! again: the kernel may have dropped its pages (fsyncgate), so the next record goes to a new one.

pub mod exemplars;
mod record;
mod replay;
mod writer;

pub use record::{RecordBuilder, RecordError};
pub use replay::{Replayed, known_series, replay};
pub use writer::{Done, Wal, WalError};

/// The folder of the segments.
pub const FOLDER: &str = "wal";

/// The file name of a segment, with its folder.
pub fn segment_name(number: u64) -> String {
    format!("{FOLDER}/{number:016x}.wal")
}

/// The number of a segment from its name without folder, or `None` for a file that is no segment.
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
