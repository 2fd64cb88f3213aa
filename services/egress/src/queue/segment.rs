//! One file of records.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Extent;

/// Magic and number.
pub const HEADER_BYTES: u64 = 16;

/// The largest body: what the store takes at once, unpacked.
pub const BODY_BYTES_MAX: usize = 32 << 20;

const MAGIC: &[u8; 8] = b"VAKTQUE1";

/// Length, checksum, samples, time.
const RECORD_HEAD_BYTES: usize = 20;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Samples in it.
    pub samples: u32,
    /// When it was taken, in milliseconds since the epoch.
    pub time_ms: i64,
    /// Remote-write 1.0, packed by snappy.
    pub body: Vec<u8>,
}

impl Record {
    /// Its bytes on the disk.
    pub fn bytes(&self) -> u64 {
        (RECORD_HEAD_BYTES + self.body.len()) as u64
    }

    /// Appends it as it stands on the disk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&checksum(self.samples, self.time_ms, &self.body).to_le_bytes());
        out.extend_from_slice(&self.samples.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&self.body);
    }
}

fn checksum(samples: u32, time_ms: i64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&samples.to_le_bytes());
    crc.update(&time_ms.to_le_bytes());
    crc.update(body);
    crc.finalize()
}

/// The file of a segment.
pub fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.seg"))
}

/// The number in a segment's name; `None` for another file.
pub fn number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// Makes an empty segment over whatever a failed try left; synced, its name too.
///
/// # Errors
/// The system's.
pub fn create(directory: &Path, number: u64) -> io::Result<File> {
    let mut file = File::create(path(directory, number))?;
    file.write_all(MAGIC)?;
    file.write_all(&number.to_le_bytes())?;
    file.sync_all()?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Opens a segment to append to it.
///
/// # Errors
/// The system's.
pub fn append_to(directory: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().append(true).open(path(directory, number))
}

/// What is whole in a segment. The last one's torn tail is cut off; `None` for a file that is none of ours (its
/// header is torn), which is removed when it is the last.
///
/// # Errors
/// The system's.
pub fn measure(path: &Path, number: u64, is_last: bool) -> io::Result<Option<Extent>> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES as usize];
    let good = bytes >= HEADER_BYTES && {
        file.read_exact(&mut header)?;
        header[..8] == *MAGIC && header[8..] == number.to_le_bytes()
    };
    if !good {
        if is_last {
            std::fs::remove_file(path)?;
        }
        return Ok(None);
    }
    let mut extent = Extent { bytes: HEADER_BYTES, samples: 0 };
    while let Some(record) = next(&mut file, bytes - extent.bytes)? {
        extent.bytes += record.bytes();
        extent.samples += u64::from(record.samples);
    }
    if is_last && extent.bytes < bytes {
        tracing::warn!(segment = number, bytes = bytes - extent.bytes, "a torn tail of the queue is cut off");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(extent.bytes)?;
        file.sync_all()?;
    }
    Ok(Some(extent))
}

/// The records from `offset` to `end`, until `enough` says so of (samples, bytes). False when one of them is broken.
///
/// # Errors
/// The system's.
pub fn read(
    path: &Path,
    offset: u64,
    end: u64,
    enough: &impl Fn(u64, u64) -> bool,
) -> io::Result<(Vec<Record>, bool)> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let (mut records, mut at, mut samples) = (Vec::new(), offset, 0);
    while at < end && (records.is_empty() || !enough(samples, at - offset)) {
        let Some(record) = next(&mut file, end - at)? else { return Ok((records, false)) };
        at += record.bytes();
        samples += u64::from(record.samples);
        records.push(record);
    }
    Ok((records, true))
}

/// The next record of at most `room` bytes; `None` when there is no whole one.
fn next(file: &mut File, room: u64) -> io::Result<Option<Record>> {
    if room < RECORD_HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; RECORD_HEAD_BYTES];
    file.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, sum, samples) = (word(0) as usize, word(4), word(8));
    let time_ms = i64::from(word(12)) | i64::from(word(16)) << 32;
    if length > BODY_BYTES_MAX || (length + RECORD_HEAD_BYTES) as u64 > room {
        return Ok(None);
    }
    let mut body = vec![0; length];
    file.read_exact(&mut body)?;
    let whole = checksum(samples, time_ms, &body) == sum;
    Ok(whole.then_some(Record { samples, time_ms, body }))
}
