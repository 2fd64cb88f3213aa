//! The index of a block: each series' key and where its row lies, in pages.
//!
//! A page is: bytes unpacked (4), bytes packed (4), CRC-32 of these 8 and of the packed bytes (4), zstd. Unpacked,
//! a page is a run of entries: varint key length, key, varint gap since the row before, varint row length.

use super::format::PartError;
use crate::protobuf::{put_varint, varint};

/// A page is closed when it holds this much unpacked; one entry may exceed it by its own length.
const PAGE_BYTES: usize = 64 << 10;

/// A page that claims more is broken.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// zstd's own default: keys of one scrape differ little, and the index is written at every flush and merge.
const ZSTD_LEVEL: i32 = 3;

/// Puts the index together, entry by entry in the order of the rows.
#[derive(Default)]
pub struct IndexWriter {
    page: Vec<u8>,
    packed: Vec<u8>,
    row_end: u64,
}

impl IndexWriter {
    /// Adds a series whose row has `length` bytes at `offset`.
    pub fn add(&mut self, key: &[u8], offset: u64, length: u32) {
        put_varint(key.len() as u64, &mut self.page);
        self.page.extend_from_slice(key);
        put_varint(offset - self.row_end, &mut self.page);
        put_varint(length.into(), &mut self.page);
        self.row_end = offset + u64::from(length);
        if self.page.len() >= PAGE_BYTES {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        // Level and input are ours, so that an error could only be a lack of memory; a page that cannot
        // be packed would not be read back, and the reader says so.
        let packed = zstd::bulk::compress(&self.page, ZSTD_LEVEL).unwrap_or_default();
        let lengths = (self.page.len() as u64 | (packed.len() as u64) << 32).to_le_bytes();
        self.packed.extend_from_slice(&lengths);
        self.packed.extend_from_slice(&checksum(&lengths, &packed).to_le_bytes());
        self.packed.extend_from_slice(&packed);
        self.page.clear();
    }

    /// The index' bytes.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.page.is_empty() {
            self.close_page();
        }
        self.packed
    }
}

/// Reads a whole index; `entry` gets each series' key, row offset and row length.
///
/// # Errors
/// [`PartError`] when a page is broken, or what `entry` returns.
pub fn read(
    mut index: &[u8],
    mut entry: impl FnMut(&[u8], u64, u32) -> Result<(), PartError>,
) -> Result<(), PartError> {
    const BROKEN: PartError = PartError::Broken("index page");
    let mut row_end = 0u64;
    while !index.is_empty() {
        let (header, rest) = index.split_first_chunk::<12>().ok_or(BROKEN)?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (unpacked, packed) = (word(0) as usize, word(4) as usize);
        let (bytes, rest) = rest.split_at_checked(packed).ok_or(BROKEN)?;
        if checksum(&header[..8], bytes) != word(8) {
            return Err(PartError::Checksum("index page"));
        }
        if unpacked > PAGE_BYTES_MAX {
            return Err(BROKEN);
        }
        let page = zstd::bulk::decompress(bytes, unpacked).map_err(|_| BROKEN)?;
        let mut page = page.as_slice();
        while !page.is_empty() {
            let length = take(&mut page)? as usize;
            let (key, after) = page.split_at_checked(length).ok_or(BROKEN)?;
            page = after;
            let offset = row_end.checked_add(take(&mut page)?).ok_or(BROKEN)?;
            let length = u32::try_from(take(&mut page)?).map_err(|_| BROKEN)?;
            row_end = offset.checked_add(length.into()).ok_or(BROKEN)?;
            entry(key, offset, length)?;
        }
        index = rest;
    }
    Ok(())
}

fn checksum(lengths: &[u8], packed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(lengths);
    hasher.update(packed);
    hasher.finalize()
}

fn take(bytes: &mut &[u8]) -> Result<u64, PartError> {
    let (value, length) = varint(bytes).map_err(|_| PartError::Broken("index page"))?;
    *bytes = &bytes[length..];
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_come_back_over_several_pages() {
        let mut writer = IndexWriter::default();
        let keys: Vec<_> = (0..3000u32).map(|n| format!("{n:060}").into_bytes()).collect();
        for (n, key) in keys.iter().enumerate() {
            writer.add(key, 24 + n as u64 * 100, 90);
        }
        let index = writer.finish();
        let mut seen = 0;
        read(&index, |key, offset, length| {
            assert_eq!((key, offset, length), (keys[seen].as_slice(), 24 + seen as u64 * 100, 90));
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 3000);
        assert!(index.len() < 3000 * 8, "{} bytes", index.len());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, |_, _, _| Ok(()));
        }
    }
}
