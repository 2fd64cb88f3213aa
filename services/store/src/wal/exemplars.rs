//! Exemplars beside the log (FORMAT.md, "Exemplars"): a file for each segment that has some, and one with all that were in
//! memory when memory was last written to blocks.
//!
//! They have files of their own, so that a build that knows nothing of them reads the log as before. An exemplar is worth less
//! than a sample: an error here is told and counted, and holds no sample back.

use std::io;

use hashbrown::HashMap;

use super::record::{self, RecordError};
use super::{FOLDER, segment_number};
use crate::disk::{self, Disk};
use crate::notes::{EXEMPLARS_MAX, Exemplar};
use crate::protobuf::{put_varint, unzigzag, varint, zigzag};
use crate::series::SeriesId;

/// First bytes of each such file.
const MAGIC: &[u8; 8] = b"VAKTEXM\0";

/// The only version there is.
const VERSION: u32 = 1;

/// Magic (8), version (4), CRC-32 of these 12 bytes (4).
pub(super) const HEADER_BYTES: usize = 16;

/// Bytes of one segment's exemplars: some 60,000, three times what memory keeps. Past it they are in memory alone until the
/// next flush.
pub(super) const SEGMENT_BYTES_MAX: u64 = 16 << 20;

/// The file with all of them.
const ALL: &str = "exemplars";

/// Exemplars of one record of that file.
const RECORD_EXEMPLARS: usize = 1_000;

/// The name of a segment's exemplars, with its folder.
pub fn file_name(number: u64) -> String {
    format!("{FOLDER}/{number:016x}.exm")
}

/// The segment's number from such a name without folder.
pub(super) fn file_number(name: &str) -> Option<u64> {
    segment_number(&name.strip_suffix(".exm").map(|digits| format!("{digits}.wal"))?)
}

pub(super) fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A record with these exemplars, each with the key of its series; empty without any.
pub fn record<'a>(all: impl Iterator<Item = (&'a [u8], &'a Exemplar)>) -> Vec<u8> {
    let mut payload = Vec::new();
    for (key, exemplar) in all {
        put_bytes(key, &mut payload);
        put_varint(zigzag(exemplar.time), &mut payload);
        payload.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_varint(exemplar.labels.len() as u64, &mut payload);
        for (name, value) in &exemplar.labels {
            put_bytes(name.as_bytes(), &mut payload);
            put_bytes(value.as_bytes(), &mut payload);
        }
    }
    if payload.is_empty() { payload } else { record::frame(&payload) }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads a file: what stands in whole records, and why that is not all when it is not.
pub fn parse(bytes: &[u8], mut take: impl FnMut(&[u8], Exemplar)) -> Result<(), RecordError> {
    let (head, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(RecordError::Short)?;
    if *head != header() {
        return Err(RecordError::Magic);
    }
    while !rest.is_empty() {
        let (payload, after) = record::split_record(rest)?;
        let mut reader = Reader(payload);
        while !reader.0.is_empty() {
            let (key, exemplar) = reader.exemplar()?;
            take(key, exemplar);
        }
        rest = after;
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, RecordError> {
        let (value, length) = varint(self.0)?;
        self.0 = &self.0[length..];
        Ok(value)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(self.number()?).map_err(|_| RecordError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, RecordError> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn exemplar(&mut self) -> Result<(&'a [u8], Exemplar), RecordError> {
        let key = self.bytes()?;
        let time = unzigzag(self.number()?);
        let (bits, rest) = self.0.split_first_chunk::<8>().ok_or(RecordError::Short)?;
        self.0 = rest;
        let (value, mut labels) = (f64::from_bits(u64::from_le_bytes(*bits)), Vec::new());
        for _ in 0..self.number()? {
            labels.push((self.text()?, self.text()?));
        }
        // Whose it is, is for the caller to say.
        Ok((key, Exemplar { series: SeriesId(0), time, value, labels }))
    }
}

/// Reads all files but those of segments up to `in_blocks`, whose exemplars are in the file with all. `find` knows the
/// series; exemplars of others are left out. The newest come last.
///
/// # Errors
/// When a file cannot be listed or read. What is broken is told, and left out.
pub fn load(
    disk: &dyn Disk,
    in_blocks: u64,
    find: impl Fn(&[u8]) -> Option<SeriesId>,
) -> io::Result<Vec<Exemplar>> {
    let names = disk.list(FOLDER)?;
    let mut segments: Vec<u64> = names.iter().filter_map(|name| file_number(name)).collect();
    segments.retain(|number| *number > in_blocks);
    segments.sort_unstable();
    let all = names.iter().any(|name| name == ALL).then(|| format!("{FOLDER}/{ALL}"));
    let mut found = Vec::new();
    for name in all.into_iter().chain(segments.into_iter().map(file_name)) {
        let file = disk.open(&name)?;
        let bytes = disk::read(&*file, 0, usize::try_from(file.bytes()?).unwrap_or(usize::MAX))?;
        let take = |key: &[u8], exemplar| {
            found.extend(find(key).map(|series| Exemplar { series, ..exemplar }));
        };
        if let Err(error) = parse(&bytes, take) {
            tracing::warn!(file = %name, %error, "exemplars end in a torn record; what was before it is kept");
        }
        // Each file holds the newest at its end.
        let spare = found.len().saturating_sub(2 * EXEMPLARS_MAX);
        found.drain(..spare);
    }
    Ok(found)
}

/// Writes the file with all, in place of the one before. The keys are those of the series.
///
/// # Errors
/// As the disk says; the file of before stays.
pub fn store(disk: &dyn Disk, all: &[Exemplar], keys: &HashMap<SeriesId, Vec<u8>>) -> io::Result<()> {
    let unfinished = format!("{FOLDER}/{ALL}.tmp");
    let mut file = disk.create(&unfinished)?;
    let written = file.append(&header()).and_then(|()| {
        for part in all.chunks(RECORD_EXEMPLARS) {
            let keyed = part.iter().filter_map(|one| Some((keys.get(&one.series)?.as_slice(), one)));
            file.append(&record(keyed))?;
        }
        file.sync()
    });
    drop(file);
    if let Err(error) = written {
        // Its room is needed; the next one is written over it otherwise.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, &format!("{FOLDER}/{ALL}"))?;
    disk.sync_folder(FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::SimulatedDisk;
    use proptest::prelude::*;

    fn one(time: i64, id: &str) -> Exemplar {
        let labels = vec![("trace_id".to_owned(), id.to_owned())];
        Exemplar { series: SeriesId(0), time, value: -0.0, labels }
    }

    fn read(bytes: &[u8]) -> (Vec<(Vec<u8>, i64)>, Result<(), RecordError>) {
        let mut found = Vec::new();
        let outcome = parse(bytes, |key, exemplar| found.push((key.to_vec(), exemplar.time)));
        (found, outcome)
    }

    #[test]
    fn a_torn_record_is_left_out_and_the_rest_kept_at_every_byte() {
        let (a, b) = (one(5, "a"), one(i64::MIN, "é"));
        let first = record([(&b"k"[..], &a)].into_iter());
        let second = record([(&b""[..], &a), (b"l", &b)].into_iter());
        let bytes = [&header()[..], &first, &second].concat();
        let ends = [HEADER_BYTES, HEADER_BYTES + first.len(), bytes.len()];
        for length in 0..=bytes.len() {
            let (found, outcome) = read(&bytes[..length]);
            let expected = [(b"k".to_vec(), 5), (Vec::new(), 5), (b"l".to_vec(), i64::MIN)];
            let whole = if length < ends[1] {
                0
            } else if length < ends[2] {
                1
            } else {
                3
            };
            assert_eq!(
                (&found[..], outcome.is_ok()),
                (&expected[..whole], ends.contains(&length)),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = read(&[&header()[..], &record::frame(&[&[1], &bytes[..]].concat())].concat());
        }
    }

    #[test]
    fn what_is_in_blocks_and_of_unknown_series_is_left_out() {
        let disk = SimulatedDisk::default();
        for (number, key) in [(1, "a"), (2, "a"), (3, "b")] {
            let mut file = disk.create(&file_name(number)).unwrap();
            file.append(&header()).unwrap();
            file.append(&record([(key.as_bytes(), &one(number as i64, "x"))].into_iter())).unwrap();
        }
        store(&disk, &[one(0, "x")], &HashMap::from([(SeriesId(0), b"a".to_vec())])).unwrap();
        let find = |key: &[u8]| (key == b"a").then_some(SeriesId(7));
        let found = load(&disk, 1, find).unwrap();
        assert_eq!(found.iter().map(|one| (one.series.0, one.time)).collect::<Vec<_>>(), [(7, 0), (7, 2)]);
    }
}
