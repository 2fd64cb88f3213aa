//! The bytes of segments and records.

use crate::codec::{CodecError, histogram_stream};
use crate::histogram::Histogram;
use crate::protobuf::{ProtobufError, put_varint, unzigzag, varint, zigzag};
use crate::samples::Value;
use crate::series::SeriesId;

/// First bytes of a segment.
const MAGIC: &[u8; 8] = b"VAKTWAL\0";

/// The version that is written. Version 1, which is still read, had floats only.
const VERSION: u32 = 2;

/// The oldest version that is read.
const VERSION_MIN: u32 = 1;

/// Magic (8), version (4), segment number (8), CRC-32 of these 20 bytes (4).
pub const SEGMENT_HEADER_BYTES: usize = 24;

/// Length (4) and CRC-32 (4) in front of each record.
const RECORD_HEADER_BYTES: usize = 8;

/// Largest record. A write request is at most 32 MiB unpacked, and a sample of at least 9 bytes there
/// takes at most 21 here.
pub const RECORD_BYTES_MAX: usize = 128 << 20;

/// Why a segment or record is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The file ends inside of it.
    #[error("ends early")]
    Short,
    /// The first bytes are not those of a segment.
    #[error("is no write-ahead log segment")]
    Magic,
    /// Written by another version.
    #[error("has format version {0}, this build reads {VERSION_MIN} to {VERSION}")]
    Version(u32),
    /// The checksum does not match.
    #[error("checksum does not match")]
    Checksum,
    /// Larger than [`RECORD_BYTES_MAX`], or empty.
    #[error("claims {0} bytes")]
    Length(usize),
    /// A sample of a series that the segment did not name before.
    #[error("mentions unknown series {0}")]
    Unknown(u32),
    /// The content is not what a record holds, though its checksum matches.
    #[error("holds {0}")]
    Content(#[from] ProtobufError),
    /// A native histogram that is broken, though the checksum matches.
    #[error("holds a histogram that is broken: {0}")]
    Histogram(#[from] CodecError),
}

/// Samples of a series in a record, as the series' head names them in its lowest bit.
const FLOATS: u64 = 0;
const HISTOGRAMS: u64 = 1;

/// The header of segment `number`.
pub fn segment_header(number: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks a segment's header and returns the version of its records.
///
/// # Errors
/// [`RecordError`] when it is none of a version that this build reads.
pub fn check_segment_header(bytes: &[u8]) -> Result<u32, RecordError> {
    let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>().ok_or(RecordError::Short)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if &header[..8] != MAGIC {
        return Err(RecordError::Magic);
    }
    if word(20) != crc32fast::hash(&header[..20]) {
        return Err(RecordError::Checksum);
    }
    match word(8) {
        version @ VERSION_MIN..=VERSION => Ok(version),
        other => Err(RecordError::Version(other)),
    }
}

/// Puts one record together: first the series that the segment does not know yet, then samples.
#[derive(Debug)]
pub struct RecordBuilder {
    series: Vec<u8>,
    samples: Vec<u8>,
    count: u64,
    last_time: i64,
    histograms: histogram_stream::Writer,
}

impl RecordBuilder {
    /// An empty record with room for `bytes` of samples.
    pub fn with_capacity(bytes: usize) -> RecordBuilder {
        RecordBuilder {
            series: Vec::new(),
            samples: Vec::with_capacity(bytes),
            count: 0,
            last_time: 0,
            histograms: histogram_stream::Writer::default(),
        }
    }

    /// Names a series; `key` is written by the caller (see [`crate::series::encode`]).
    pub fn define(&mut self, id: SeriesId, key: &[u8]) {
        put_varint(u64::from(id.0), &mut self.series);
        put_varint(key.len() as u64, &mut self.series);
        self.series.extend_from_slice(key);
        self.count += 1;
    }

    /// Begins the floats of a series; exactly `count` calls of [`RecordBuilder::sample`] follow.
    #[inline]
    pub fn begin(&mut self, id: SeriesId, count: usize) {
        put_varint(u64::from(id.0), &mut self.samples);
        put_varint((count as u64) << 1 | FLOATS, &mut self.samples);
    }

    /// Begins the native histograms of a series; exactly `count` calls of [`RecordBuilder::histogram`] follow.
    pub fn begin_histograms(&mut self, id: SeriesId, count: usize) {
        put_varint(u64::from(id.0), &mut self.samples);
        put_varint((count as u64) << 1 | HISTOGRAMS, &mut self.samples);
    }

    /// Adds a histogram of the series begun last.
    pub fn histogram(&mut self, time: i64, histogram: &Histogram) {
        put_varint(zigzag(time.wrapping_sub(self.last_time)), &mut self.samples);
        self.histograms.put(histogram, &mut self.samples);
        self.last_time = time;
    }

    /// Adds a sample of the series begun last.
    #[inline]
    pub fn sample(&mut self, time: i64, value: f64) {
        put_varint(zigzag(time.wrapping_sub(self.last_time)), &mut self.samples);
        self.samples.extend_from_slice(&value.to_bits().to_le_bytes());
        self.last_time = time;
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.samples.is_empty()
    }

    /// The record's bytes, header included.
    pub fn finish(self) -> Vec<u8> {
        let mut count = Vec::with_capacity(4);
        put_varint(self.count, &mut count);
        frame_parts(&[&count, &self.series, &self.samples])
    }
}

/// A record with this payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    frame_parts(&[payload])
}

fn frame_parts(parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut record = Vec::with_capacity(RECORD_HEADER_BYTES + length);
    record.extend_from_slice(&(length as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| record.extend_from_slice(part));
    let crc = checksum(&record[..4], &record[RECORD_HEADER_BYTES..]);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
    record
}

/// The checksum covers the length too, so that a tail of zeros is no record.
fn checksum(length: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

/// Splits the first record off `bytes`: its payload and what follows it.
///
/// # Errors
/// [`RecordError`] when there is no whole, unharmed record.
pub fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), RecordError> {
    let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>().ok_or(RecordError::Short)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = word(0) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return Err(RecordError::Length(length));
    }
    let (payload, rest) = rest.split_at_checked(length).ok_or(RecordError::Short)?;
    if word(4) != checksum(&header[..4], payload) {
        return Err(RecordError::Checksum);
    }
    Ok((payload, rest))
}

/// What a payload is read into.
pub trait Sink {
    /// A series is named; `key` as [`crate::series::encode`] writes it.
    ///
    /// # Errors
    /// What is wrong with the key; reading ends.
    fn define(&mut self, id: u32, key: &[u8]) -> Result<(), RecordError>;

    /// A sample of a series that was named before.
    ///
    /// # Errors
    /// When it was not; reading ends.
    fn sample(&mut self, id: u32, time: i64, value: Value) -> Result<(), RecordError>;
}

/// Reads a payload of a segment of this version.
///
/// # Errors
/// [`RecordError`]; what was read before it has been handed over.
pub fn read_payload(payload: &[u8], version: u32, sink: &mut impl Sink) -> Result<(), RecordError> {
    let mut rest = payload;
    for _ in 0..take_varint(&mut rest)? {
        let id = take_id(&mut rest)?;
        let length = usize::try_from(take_varint(&mut rest)?).map_err(|_| RecordError::Short)?;
        let (key, after) = rest.split_at_checked(length).ok_or(RecordError::Short)?;
        rest = after;
        sink.define(id, key)?;
    }
    let (mut time, mut histograms) = (0i64, histogram_stream::Reader::default());
    while !rest.is_empty() {
        let id = take_id(&mut rest)?;
        let head = take_varint(&mut rest)?;
        let (count, kind) = if version == 1 { (head, FLOATS) } else { (head >> 1, head & 1) };
        for _ in 0..count {
            time = time.wrapping_add(unzigzag(take_varint(&mut rest)?));
            let value = if kind == FLOATS {
                let (bits, after) = rest.split_first_chunk::<8>().ok_or(RecordError::Short)?;
                rest = after;
                Value::Float(f64::from_bits(u64::from_le_bytes(*bits)))
            } else {
                Value::Histogram(Box::new(histograms.take(&mut rest)?))
            };
            sink.sample(id, time, value)?;
        }
    }
    Ok(())
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, RecordError> {
    let (value, length) = varint(rest)?;
    *rest = &rest[length..];
    Ok(value)
}

fn take_id(rest: &mut &[u8]) -> Result<u32, RecordError> {
    u32::try_from(take_varint(rest)?).map_err(|_| RecordError::Unknown(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Nowhere;

    impl Sink for Nowhere {
        fn define(&mut self, _: u32, _: &[u8]) -> Result<(), RecordError> {
            Ok(())
        }

        fn sample(&mut self, _: u32, _: i64, _: Value) -> Result<(), RecordError> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_reader_panic(bytes: Vec<u8>, version in 1u32..=2) {
            let _ = read_payload(&bytes, version, &mut Nowhere);
            let _ = split_record(&bytes);
            let _ = check_segment_header(&bytes);
        }
    }

    #[test]
    fn a_tail_of_zeros_is_no_record() {
        assert_eq!(split_record(&[0; 64]), Err(RecordError::Length(0)));
    }

    #[test]
    fn another_version_is_named() {
        let mut header = segment_header(1);
        header[8] = 9;
        assert_eq!(check_segment_header(&header), Err(RecordError::Checksum));
        let crc = crc32fast::hash(&header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(check_segment_header(&header), Err(RecordError::Version(9)));
    }
}
