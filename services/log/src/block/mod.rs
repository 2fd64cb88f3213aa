//! Blocks: rows at rest, immutable, column by column. FORMAT.md section 3 has their bytes.
//!
//! A block holds rows of one UTC day in the order of time. It is written whole under a temporary name,
//! synced and renamed; from then on it is only read or removed. Every byte is under a CRC32, and
//! nothing of a block is used before its checksum was compared.
//!
//! Limits: [`ROWS_MAX`] rows and [`COLUMNS_MAX`] columns a block, [`FILTER_BYTES_MAX`] of token filter.

mod build;
mod filter;
mod footer;
mod read;

pub(crate) use build::runs;
pub use build::{Source, build};
pub use filter::{Filter, FilterBuilder, token_hash};
pub use footer::{ColumnMeta, ColumnPlace, Footer, FooterError, SectionPlace};
pub use read::{Block, BlockError, Column};

/// Rows of a block. A hot generation has at most this many, so that one becomes one block a day.
pub const ROWS_MAX: usize = 32_768;
/// Columns of a block; rows that would bring more begin another block.
pub const COLUMNS_MAX: usize = 1024;
/// Distinct values up to which a column is a dictionary: its places are one byte.
const DICT_MAX: usize = 256;
/// Bytes of a block's token filter; beyond the tokens that fit, false positives grow.
pub const FILTER_BYTES_MAX: usize = 512 << 10;
/// Bytes of one section once unpacked: a generation's 4 MiB, with room for one giant row.
const SECTION_BYTES_MAX: usize = 8 << 20;
/// First and last bytes of the file.
const MAGIC: [u8; 8] = *b"VAKTBLK1";
/// Footer length, CRC32 of the footer, magic.
const TRAILER_BYTES: usize = 16;
/// Largest footer that is read: [`COLUMNS_MAX`] names with a constant value each, on average 4 KiB.
const FOOTER_BYTES_MAX: usize = 8 << 20;
/// zstd level of sections: measured in FORMAT.md.
const ZSTD_LEVEL: i32 = 3;
