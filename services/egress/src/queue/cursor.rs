//! How far a place has been written to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::segment::HEADER_BYTES;

const MAGIC: &[u8; 8] = b"VAKTCUR1";

/// Magic, three numbers, checksum.
const BYTES: usize = 36;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The segment.
    pub segment: u64,
    /// The next record's offset in it.
    pub offset: u64,
    /// Samples of the segment that are behind.
    pub samples: u64,
}

impl Default for Cursor {
    /// Before the first segment there ever was.
    fn default() -> Cursor {
        Cursor::begin(0)
    }
}

impl Cursor {
    /// The first record of a segment.
    pub fn begin(segment: u64) -> Cursor {
        Cursor { segment, offset: HEADER_BYTES, samples: 0 }
    }

    /// The cursor in the file; `None` when there is none that is whole.
    pub fn load(path: &Path) -> Option<Cursor> {
        let bytes: [u8; BYTES] = fs::read(path).ok()?.try_into().ok()?;
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let sum = u32::from_le_bytes(bytes[32..].try_into().ok()?);
        let whole = bytes[..8] == *MAGIC && crc32fast::hash(&bytes[..32]) == sum;
        whole.then_some(Cursor { segment: word(8)?, offset: word(16)?, samples: word(24)? })
    }

    /// Replaces the file; synced.
    ///
    /// # Errors
    /// The system's.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.segment, self.offset, self.samples] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}
