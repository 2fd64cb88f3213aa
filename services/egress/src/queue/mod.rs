//! The queue: segments that are appended to and synced, and cursors that move through them. FORMAT.md beside this
//! crate says how both look on the disk.

mod cursor;
mod segment;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use cursor::Cursor;
pub use segment::{BODY_BYTES_MAX, Record};
pub use writer::{Appender, start};

/// A segment is closed past this. Room is given back a segment at a time.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than [`BODY_BYTES_MAX`].
    #[error("a request of {0} bytes; at most {BODY_BYTES_MAX} are taken")]
    TooLarge(usize),
    /// The thread that writes has ended.
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> QueueError {
        let path = path.to_owned();
        move |source| QueueError::Io { path, source }
    }
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    /// Its synced bytes, the header included.
    bytes: u64,
    /// Samples in its records.
    samples: u64,
}

/// The queue on disk; shared behind an `Arc`.
#[derive(Debug)]
pub struct Queue {
    directory: PathBuf,
    bytes_max: u64,
    segments: Mutex<BTreeMap<u64, Extent>>,
}

/// What a cursor finds.
#[derive(Debug)]
pub struct Found {
    /// Records, oldest first.
    pub records: Vec<Record>,
    /// The cursor behind the last of them.
    pub next: Cursor,
    /// Samples that are gone: dropped for room, or in a record that cannot be read.
    pub lost: u64,
}

impl Queue {
    /// Opens the queue below `directory`, which may take `bytes_max`; cuts a torn tail off.
    ///
    /// # Errors
    /// [`QueueError::Io`].
    pub fn open(directory: &Path, bytes_max: u64) -> Result<Queue, QueueError> {
        let directory = directory.join("queue");
        fs::create_dir_all(&directory).map_err(QueueError::at(&directory))?;
        let mut numbers: Vec<u64> = fs::read_dir(&directory)
            .map_err(QueueError::at(&directory))?
            .filter_map(|entry| segment::number(&entry.ok()?.file_name()))
            .collect();
        numbers.sort_unstable();
        let mut segments = BTreeMap::new();
        for (place, number) in numbers.iter().enumerate() {
            let path = segment::path(&directory, *number);
            let is_last = place + 1 == numbers.len();
            if let Some(extent) = segment::measure(&path, *number, is_last).map_err(QueueError::at(&path))? {
                segments.insert(*number, extent);
            }
        }
        Ok(Queue { directory, bytes_max, segments: Mutex::new(segments) })
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.lock().values().map(|extent| extent.bytes).sum()
    }

    /// Bytes and samples from `cursor` to the end.
    pub fn pending(&self, cursor: &Cursor) -> (u64, u64) {
        let segments = self.lock();
        let ahead = segments.range(cursor.segment..).map(|(number, extent)| {
            let (read, done) = if *number == cursor.segment {
                (cursor.offset, cursor.samples)
            } else {
                (segment::HEADER_BYTES, 0)
            };
            (extent.bytes.saturating_sub(read), extent.samples.saturating_sub(done))
        });
        ahead.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// A cursor at the end: what comes from now on.
    pub fn end(&self) -> Cursor {
        let segments = self.lock();
        segments.last_key_value().map_or_else(Cursor::default, |(number, extent)| Cursor {
            segment: *number,
            offset: extent.bytes,
            samples: extent.samples,
        })
    }

    /// The records from `cursor` on: whole ones of one segment, until `enough` says so of (samples, bytes) so far.
    ///
    /// # Errors
    /// [`QueueError::Io`] when the segment cannot be read; a record that is broken is no error, but lost.
    pub fn read(&self, cursor: &Cursor, enough: impl Fn(u64, u64) -> bool) -> Result<Found, QueueError> {
        let mut next = *cursor;
        let mut lost = 0;
        let (extent, follower) = {
            let segments = self.lock();
            if !segments.contains_key(&next.segment) {
                // Dropped for room, or never there: on to the oldest that is.
                match segments.range(next.segment..).next() {
                    Some((number, _)) => next = Cursor::begin(*number),
                    None => return Ok(Found { records: Vec::new(), next, lost }),
                }
            }
            let follower = segments.range(next.segment + 1..).next().map(|(number, _)| *number);
            (segments[&next.segment], follower)
        };
        let path = segment::path(&self.directory, next.segment);
        let (records, whole) =
            segment::read(&path, next.offset, extent.bytes, &enough).map_err(QueueError::at(&path))?;
        for record in &records {
            next.offset += record.bytes();
            next.samples += u64::from(record.samples);
        }
        let at_end = next.offset >= extent.bytes;
        if !whole {
            lost = extent.samples.saturating_sub(next.samples);
        }
        if let Some(follower) = follower.filter(|_| at_end || !whole) {
            next = Cursor::begin(follower);
        } else if !whole {
            next = Cursor { offset: extent.bytes, samples: extent.samples, ..next };
        }
        Ok(Found { records, next, lost })
    }

    /// Removes the segments that every cursor of `cursors` has passed, and the oldest while all take more than the
    /// queue may. Returns the samples that each cursor loses by the latter; the cursors move on.
    ///
    /// # Errors
    /// [`QueueError::Io`] when a segment cannot be removed.
    pub fn trim(&self, cursors: &mut [&mut Cursor]) -> Result<Vec<u64>, QueueError> {
        let mut lost = vec![0; cursors.len()];
        let mut segments = self.lock();
        while segments.len() > 1 {
            let all: u64 = segments.values().map(|extent| extent.bytes).sum();
            let Some((&oldest, &extent)) = segments.first_key_value() else { break };
            let passed = cursors.iter().all(|cursor| cursor.segment > oldest);
            if !passed && all <= self.bytes_max {
                break;
            }
            let path = segment::path(&self.directory, oldest);
            fs::remove_file(&path).map_err(QueueError::at(&path))?;
            segments.remove(&oldest);
            let following = segments.first_key_value().map_or(oldest + 1, |(number, _)| *number);
            for (cursor, lost) in cursors.iter_mut().zip(&mut lost) {
                if cursor.segment <= oldest {
                    *lost += if cursor.segment == oldest {
                        extent.samples.saturating_sub(cursor.samples)
                    } else {
                        extent.samples
                    };
                    **cursor = Cursor::begin(following);
                }
            }
        }
        Ok(lost)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Extent>> {
        // Each change is one insertion or removal: a panic elsewhere leaves none that is half done.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
