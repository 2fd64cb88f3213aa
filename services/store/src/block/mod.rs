//! Blocks: closed, checksummed files of samples (FORMAT.md, "Block").
//!
//! A block holds the samples of one time partition that one flush, or one merge of neighbouring flushes,
//! put there. It never changes: its name appears by rename when it is whole and synced, and it leaves by
//! removal, or by a rename to `.bad` when it is corrupt. Blocks of higher sequence numbers were written
//! later and win where two hold the same time of the same series.

mod decoded;
mod format;
mod index;
mod name;
mod reader;
mod row;
mod writer;

pub use decoded::Decoded;
pub use format::BlockError;
pub use name::BlockName;
pub use reader::{Block, ColumnCache, Shared};
pub use writer::BlockWriter;

/// The folder of the blocks.
pub const FOLDER: &str = "blocks";
