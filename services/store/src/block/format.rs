//! The fixed parts of a block file: header, footer, and what is said about a broken one.

use std::io;

use crate::codec::CodecError;

const MAGIC: &[u8; 8] = b"VAKTBLK\0";
const MAGIC_END: &[u8; 8] = b"\0KLBTKAV";
/// The version of most blocks. Version 1, which is still read, had floats only.
pub const VERSION: u32 = 2;
/// The version of blocks that are written once and lie for years: dictionaries may be in them.
pub const VERSION_LASTING: u32 = 3;
const VERSION_MIN: u32 = 1;

/// Magic (8), version (4), base time (8), CRC-32 of these 20 bytes (4).
pub const HEADER_BYTES: usize = 24;

/// Six 8-byte numbers, two 4-byte numbers, CRC-32 of these 56 bytes, magic.
pub const FOOTER_BYTES: usize = 68;

/// Why a block cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The file could not be read; that says nothing about its content.
    #[error("{file}: {source}")]
    Io {
        /// The block's file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold what was written.
    #[error("{file}: {what} at offset {offset}")]
    Corrupt {
        /// The block's file.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

/// What is wrong with a part of a block, before the file's name is known.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A CRC.
    #[error("checksum of the {0} does not match")]
    Checksum(&'static str),
    /// Too few bytes or an impossible number.
    #[error("{0} is broken")]
    Broken(&'static str),
    /// Another version, or no block at all.
    #[error("{0}")]
    Foreign(String),
    /// The coded samples.
    #[error("{0}")]
    Codec(#[from] CodecError),
}

/// The footer's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Where the index begins.
    pub index_offset: u64,
    /// How long it is; the footer follows it.
    pub index_bytes: u64,
    /// Samples in the block.
    pub samples: u64,
    /// The oldest sample's time.
    pub oldest: i64,
    /// The newest sample's time.
    pub newest: i64,
    /// Log segments up to this one hold nothing that is not in blocks; 0 when this block does not say.
    pub log_up_to: u64,
    /// Series in the block.
    pub series: u32,
    /// [`VERSION`] or another.
    pub version: u32,
}

/// The header; times in rows count from `base`.
pub fn header(base: i64, version: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..20].copy_from_slice(&base.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The base time of a header.
///
/// # Errors
/// [`PartError`] when it is none of this version.
pub fn read_header(bytes: &[u8; HEADER_BYTES]) -> Result<i64, PartError> {
    if &bytes[..8] != MAGIC {
        return Err(PartError::Foreign("is no block".into()));
    }
    if crc_at(bytes, 20) != crc32fast::hash(&bytes[..20]) {
        return Err(PartError::Checksum("header"));
    }
    let version = crc_at(bytes, 8);
    if !(VERSION_MIN..=VERSION_LASTING).contains(&version) {
        let reads = format!("this build reads {VERSION_MIN} to {VERSION_LASTING}");
        return Err(PartError::Foreign(format!("has format version {version}, {reads}")));
    }
    Ok(word(bytes, 12).cast_signed())
}

impl Footer {
    /// The footer's bytes.
    pub fn bytes(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let words = [
            self.index_offset,
            self.index_bytes,
            self.samples,
            self.oldest.cast_unsigned(),
            self.newest.cast_unsigned(),
            self.log_up_to,
        ];
        for (index, number) in words.into_iter().enumerate() {
            bytes[index * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[48..52].copy_from_slice(&self.series.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.version.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes[60..].copy_from_slice(MAGIC_END);
        bytes
    }

    /// Reads a footer of a file that is `file_bytes` long.
    ///
    /// # Errors
    /// [`PartError`] when it is none of this version, or points outside the file.
    pub fn read(bytes: &[u8; FOOTER_BYTES], file_bytes: u64) -> Result<Footer, PartError> {
        if &bytes[60..] != MAGIC_END {
            return Err(PartError::Broken("end of the file"));
        }
        if crc_at(bytes, 56) != crc32fast::hash(&bytes[..56]) {
            return Err(PartError::Checksum("footer"));
        }
        let footer = Footer {
            index_offset: word(bytes, 0),
            index_bytes: word(bytes, 8),
            samples: word(bytes, 16),
            oldest: word(bytes, 24).cast_signed(),
            newest: word(bytes, 32).cast_signed(),
            log_up_to: word(bytes, 40),
            series: crc_at(bytes, 48),
            version: crc_at(bytes, 52),
        };
        let end = footer.index_offset.checked_add(footer.index_bytes);
        let room = file_bytes.checked_sub(FOOTER_BYTES as u64);
        if footer.index_offset < HEADER_BYTES as u64 || end != room {
            return Err(PartError::Broken("place of the index"));
        }
        Ok(footer)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn crc_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
