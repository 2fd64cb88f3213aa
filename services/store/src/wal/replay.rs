//! Reading the log after a start: every whole record of every segment, oldest first.

use std::io;

use hashbrown::HashMap;

use super::record::{self, RecordError, SEGMENT_HEADER_BYTES, Sink};
use super::{FOLDER, segment_name, segment_number};
use crate::disk::{self, Disk};
use crate::hot::Hot;
use crate::samples::Value;
use crate::series::{Pairs, Registry, SeriesId, canonical};

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The segments that were read, ascending; they go when their samples are in a block.
    pub segments: Vec<u64>,
    /// Whole records.
    pub records: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes at the ends of segments that were no whole record: writes that were never acknowledged.
    pub torn_bytes: u64,
}

/// Reads the segments after `in_blocks` into `hot`, adding their series to `registry`. Segments up to `in_blocks`
/// were left behind by a removal that failed; they must not be read, because their samples may have been overwritten
/// since, and are only removed with the next flush.
///
/// # Errors
/// Only when a file cannot be listed or read; damaged content is counted in
/// [`Replayed::torn_bytes`], logged, and skipped to the next segment.
pub fn replay(
    disk: &dyn Disk,
    in_blocks: u64,
    registry: &mut Registry,
    hot: &mut Hot,
) -> io::Result<Replayed> {
    let mut segments: Vec<u64> = disk.list(FOLDER)?.iter().filter_map(|name| segment_number(name)).collect();
    segments.sort_unstable();
    let mut found = Replayed { segments, ..Replayed::default() };
    for &number in found.segments.iter().filter(|&&number| number > in_blocks) {
        let name = segment_name(number);
        let file = disk.open(&name)?;
        let bytes = disk::read(&*file, 0, usize::try_from(file.bytes()?).unwrap_or(usize::MAX))?;
        let mut reader = SegmentReader::default();
        let (taken, error) = reader.read(&bytes, registry, hot);
        found.records += reader.records;
        found.samples += reader.samples;
        if let Some(error) = error {
            let torn = (bytes.len() - taken) as u64;
            found.torn_bytes += torn;
            tracing::warn!(segment = %name, offset = taken, torn, %error, "log ends in a torn record; what was before it is kept");
        }
    }
    Ok(found)
}

/// Reads one segment; holds what its records said about series.
#[derive(Debug, Default)]
pub struct SegmentReader {
    series: HashMap<u32, SeriesId>,
    records: u64,
    samples: u64,
}

impl SegmentReader {
    /// Reads the records of a whole segment. Returns how many bytes were taken, and why it stopped
    /// when that was before the end.
    pub fn read(
        &mut self,
        bytes: &[u8],
        registry: &mut Registry,
        hot: &mut Hot,
    ) -> (usize, Option<RecordError>) {
        let version = match record::check_segment_header(bytes) {
            Ok(version) => version,
            Err(error) => return (0, Some(error)),
        };
        let mut rest = &bytes[SEGMENT_HEADER_BYTES..];
        while !rest.is_empty() {
            let taken = bytes.len() - rest.len();
            let (payload, after) = match record::split_record(rest) {
                Ok(split) => split,
                Err(error) => return (taken, Some(error)),
            };
            let mut target = Target { reader: self, registry, hot };
            if let Err(error) = record::read_payload(payload, version, &mut target) {
                return (taken, Some(error));
            }
            self.records += 1;
            rest = after;
        }
        (bytes.len(), None)
    }
}

/// Where the content of a segment's records goes.
struct Target<'a> {
    reader: &'a mut SegmentReader,
    registry: &'a mut Registry,
    hot: &'a mut Hot,
}

impl Sink for Target<'_> {
    fn define(&mut self, id: u32, key: &[u8]) -> Result<(), RecordError> {
        let known = known_series(key, self.registry)?;
        self.reader.series.insert(id, known);
        Ok(())
    }

    fn sample(&mut self, id: u32, time: i64, value: Value) -> Result<(), RecordError> {
        let known = *self.reader.series.get(&id).ok_or(RecordError::Unknown(id))?;
        match value {
            Value::Float(value) => self.hot.append(known, time, value),
            Value::Histogram(histogram) => self.hot.append_histogram(known, time, &histogram),
        }
        self.reader.samples += 1;
        Ok(())
    }
}

/// The registry's id for a key of ours, added when it is new. The limit on series does not hold here:
/// what is on disk was accepted under the limit of its time.
///
/// # Errors
/// [`RecordError::Content`] and [`RecordError::Checksum`] when it is no canonical key.
pub fn known_series(key: &[u8], registry: &mut Registry) -> Result<SeriesId, RecordError> {
    if let Some(id) = registry.find(key) {
        return Ok(id);
    }
    let (mut pairs, mut all) = (Pairs::new(key), Vec::new());
    while let Some(pair) = pairs.next_pair()? {
        all.push(pair);
    }
    // Our own records hold canonical keys under a matching checksum.
    let labels = canonical(&all).map_err(|_| RecordError::Checksum)?;
    Ok(registry.restore(&labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::series::encode;
    use crate::wal::RecordBuilder;

    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = record::segment_header(1).to_vec();
        let mut ends = vec![bytes.len()];
        for n in 0..4u32 {
            let mut key = Vec::new();
            encode([("__name__", "m"), ("n", n.to_string().as_str())].into_iter(), &mut key);
            let mut builder = RecordBuilder::with_capacity(64);
            builder.define(SeriesId(n), &key);
            builder.begin(SeriesId(n), 2);
            builder.sample(i64::from(n), 1.5);
            builder.sample(i64::from(n) + 1000, f64::from_bits(0x7ff0000000000002));
            builder.begin_histograms(SeriesId(n), 1);
            builder.histogram(i64::from(n) + 500, &Histogram { sum: 2.5, ..Histogram::default() });
            bytes.extend(builder.finish());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (usize, u64, u64) {
        let (mut registry, mut hot) = (Registry::new(100), Hot::default());
        let mut reader = SegmentReader::default();
        let (taken, _) = reader.read(bytes, &mut registry, &mut hot);
        (taken, reader.records, hot.len())
    }

    #[test]
    fn a_torn_tail_is_dropped_and_the_rest_kept_at_every_byte() {
        let (bytes, ends) = segment();
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= length).count().saturating_sub(1);
            let taken = if length < ends[0] { 0 } else { ends[whole] };
            assert_eq!(read(&bytes[..length]), (taken, whole as u64, 3 * whole as u64), "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_ends_the_segment_before_its_record() {
        let (bytes, ends) = segment();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut harmed = bytes.clone();
                harmed[at] ^= 1 << bit;
                let whole = ends.iter().filter(|&&end| end <= at).count().saturating_sub(1) as u64;
                let (_, records, samples) = read(&harmed);
                assert_eq!((records, samples), (whole, 3 * whole), "bit {bit} of byte {at}");
            }
        }
    }
}
