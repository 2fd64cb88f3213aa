//! A row: the chunks of one series in one block, behind a directory that says what is where.
//!
//! Row: varint directory length, directory, its CRC-32 (4), then the chunks' values one after the other. The
//! directory holds for each chunk: zigzag varint oldest time - base, varint newest - oldest, varint samples,
//! times (0: varint length and the coded times; 1: varint file offset and varint length of a time column,
//! and its CRC-32; plus 2 for a chunk of native histograms, plus 4 for one of aggregates), varint length of the values and their CRC-32.

use super::format::PartError;
use crate::codec::CHUNK_SAMPLES_MAX;
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};

/// Bits of the byte before a chunk's times: they are in a column of the file, ...
const COLUMN: u8 = 1;
/// ... the samples are native histograms, or ...
const HISTOGRAMS: u8 = 2;
/// ... aggregates.
const AGGREGATES: u8 = 4;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain numbers.
    Floats,
    /// Native histograms.
    Histograms,
    /// Aggregates of a tier.
    Aggregates,
}

impl Kind {
    fn bits(self) -> u8 {
        match self {
            Kind::Floats => 0,
            Kind::Histograms => HISTOGRAMS,
            Kind::Aggregates => AGGREGATES,
        }
    }
}

/// Where a chunk's times are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// In the directory itself: so short that a column would cost more.
    Inline(Vec<u8>),
    /// In a column of the file, shared by the series that were scraped together.
    Column {
        /// From the file's start.
        offset: u64,
        /// Bytes.
        length: u32,
        /// Of these bytes.
        crc: u32,
    },
}

/// One chunk as the directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first sample's time.
    pub oldest: i64,
    /// The last sample's time.
    pub newest: i64,
    /// Samples.
    pub count: usize,
    /// What its samples are.
    pub kind: Kind,
    /// Its times.
    pub times: Times,
    /// Where its values begin, from the end of the directory; set by the reader.
    pub values_offset: usize,
    /// Bytes of its values.
    pub values_bytes: usize,
    /// CRC-32 of its values.
    pub values_crc: u32,
}

/// The bytes of a directory, with its length before and its checksum behind it.
pub fn directory(chunks: &[Chunk], base: i64) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len() * 24);
    for chunk in chunks {
        put_varint(zigzag(chunk.oldest.wrapping_sub(base)), &mut body);
        put_varint(chunk.newest.wrapping_sub(chunk.oldest).cast_unsigned(), &mut body);
        put_varint(chunk.count as u64, &mut body);
        let kind = chunk.kind.bits();
        match &chunk.times {
            Times::Inline(bytes) => {
                body.push(kind);
                put_varint(bytes.len() as u64, &mut body);
                body.extend_from_slice(bytes);
            }
            Times::Column { offset, length, crc } => {
                body.push(kind | COLUMN);
                put_varint(*offset, &mut body);
                put_varint(u64::from(*length), &mut body);
                body.extend_from_slice(&crc.to_le_bytes());
            }
        }
        put_varint(chunk.values_bytes as u64, &mut body);
        body.extend_from_slice(&chunk.values_crc.to_le_bytes());
    }
    let mut out = Vec::with_capacity(body.len() + 8);
    put_varint(body.len() as u64, &mut out);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out
}

/// How long the directory at the start of `row` is, all told; `None` when not even its length is there.
pub fn directory_bytes(row: &[u8]) -> Option<usize> {
    let (length, head) = varint(row).ok()?;
    usize::try_from(length).ok()?.checked_add(head + 4)
}

/// Reads the directory at the start of `row`.
///
/// # Errors
/// [`PartError`] when it is broken.
pub fn read_directory(row: &[u8], base: i64) -> Result<Vec<Chunk>, PartError> {
    const BROKEN: PartError = PartError::Broken("row directory");
    let whole = directory_bytes(row).filter(|&bytes| bytes <= row.len()).ok_or(BROKEN)?;
    let (_, head) = varint(row).map_err(|_| BROKEN)?;
    let (body, crc) = row[head..whole].split_last_chunk::<4>().ok_or(BROKEN)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(PartError::Checksum("row directory"));
    }
    let (mut rest, mut chunks, mut values_offset) = (body, Vec::new(), 0usize);
    while !rest.is_empty() {
        let mut chunk = read_chunk(&mut rest, base).ok_or(BROKEN)?;
        chunk.values_offset = values_offset;
        values_offset = values_offset.checked_add(chunk.values_bytes).ok_or(BROKEN)?;
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn read_chunk(rest: &mut &[u8], base: i64) -> Option<Chunk> {
    let oldest = base.wrapping_add(unzigzag(take(rest)?));
    let newest = oldest.checked_add(i64::try_from(take(rest)?).ok()?)?;
    let count = usize::try_from(take(rest)?).ok().filter(|count| (1..=CHUNK_SAMPLES_MAX).contains(count))?;
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    let (column, kind) = (kind & COLUMN, kind & !COLUMN);
    let kind =
        [Kind::Floats, Kind::Histograms, Kind::Aggregates].into_iter().find(|known| known.bits() == kind)?;
    let times = match column {
        0 => {
            let length = usize::try_from(take(rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Times::Inline(bytes.to_vec())
        }
        _ => {
            let offset = take(rest)?;
            let length = u32::try_from(take(rest)?).ok()?;
            Times::Column { offset, length, crc: take_u32(rest)? }
        }
    };
    let values_bytes = usize::try_from(take(rest)?).ok()?;
    let values_crc = take_u32(rest)?;
    Some(Chunk { oldest, newest, count, kind, times, values_offset: 0, values_bytes, values_crc })
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let (value, length) = varint(rest).ok()?;
    *rest = &rest[length..];
    Some(value)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_directory_comes_back() {
        let chunk = |oldest, times, values_offset| Chunk {
            oldest,
            newest: oldest + 5000,
            count: 2,
            kind: if oldest > 0 { Kind::Aggregates } else { Kind::Histograms },
            times,
            values_offset,
            values_bytes: 9,
            values_crc: 7,
        };
        let chunks = [
            chunk(-10, Times::Inline(vec![0, 1, 2]), 0),
            chunk(1 << 41, Times::Column { offset: 1 << 33, length: 70_000, crc: 0xdead_beef }, 9),
        ];
        let bytes = directory(&chunks, 1 << 40);
        assert_eq!(directory_bytes(&bytes), Some(bytes.len()));
        assert_eq!(read_directory(&bytes, 1 << 40).unwrap(), chunks);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read_directory(&bytes, 0);
        }
    }
}
