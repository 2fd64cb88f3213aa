//! Writes one block, row by row, and commits it.

use std::io;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap};
use std::hash::BuildHasher;

use super::format::{Footer, VERSION, VERSION_LASTING, header};
use super::index::IndexWriter;
use super::row::{Chunk, Kind, Times, directory};
use super::{BlockName, FOLDER};
use crate::codec::{CHUNK_SAMPLES_MAX, Effort, aggregates, histograms, times, values};
use crate::disk::{Append, Disk};
use crate::histogram::Histogram;
use crate::samples::Samples;
use crate::tiers::Aggregate;

/// Bytes that are gathered before they go to the file.
const BUFFER_BYTES: usize = 256 << 10;

/// Coded times up to this length stay in the row: a reference to a column takes about as much.
const INLINE_BYTES_MAX: usize = 16;

/// Times (not columns) remembered to be shared; at 8 bytes each 4 MiB. Past it the memory starts anew.
const SHARED_TIMES_MAX: usize = 512 << 10;

/// A block under construction. Dropping it without [`BlockWriter::finish`] removes its `.tmp` file, whose room others need
/// when it was given up on a full disk; what a crash leaves is removed by the next start.
pub struct BlockWriter {
    disk: Arc<dyn Disk>,
    name: BlockName,
    file: Box<dyn Append>,
    buffer: Vec<u8>,
    written: u64,
    base: i64,
    effort: Effort,
    index: IndexWriter,
    footer: Footer,
    columns: Columns,
    finished: bool,
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.finished {
            // The next start tries again.
            let _ = self.disk.remove(&self.name.path_unfinished());
        }
    }
}

/// The time columns that rows may refer to, by the times they hold.
#[derive(Default)]
struct Columns {
    hasher: DefaultHashBuilder,
    known: HashMap<u64, (Vec<i64>, Times)>,
    times: usize,
}

impl BlockWriter {
    /// Begins a block. Rows' times are written as distances from `base`; `log_up_to` is what
    /// [`super::Block::log_up_to`] will say.
    ///
    /// # Errors
    /// As the disk says.
    pub fn create(
        disk: Arc<dyn Disk>,
        name: BlockName,
        base: i64,
        log_up_to: u64,
        effort: Effort,
    ) -> io::Result<BlockWriter> {
        let file = disk.create(&name.path_unfinished())?;
        let version = if effort == Effort::Lasting { VERSION_LASTING } else { VERSION };
        let footer = Footer {
            index_offset: 0,
            index_bytes: 0,
            samples: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            log_up_to,
            series: 0,
            version,
        };
        let (index, columns) = (IndexWriter::default(), Columns::default());
        let buffer = header(base, version).to_vec();
        let (written, finished) = (0, false);
        Ok(BlockWriter { disk, name, file, buffer, written, base, effort, index, footer, columns, finished })
    }

    /// Adds the samples of one series; nothing when there are none. A series is added once.
    ///
    /// # Errors
    /// As the disk says.
    pub fn add(&mut self, key: &[u8], samples: &Samples) -> io::Result<()> {
        self.add_all(key, samples, &[])
    }

    /// Adds the aggregates of one series, and what stays of its histograms.
    ///
    /// # Errors
    /// As the disk says.
    pub fn add_aggregates(
        &mut self,
        key: &[u8],
        aggregates: &[Aggregate],
        histograms: Vec<(i64, Histogram)>,
    ) -> io::Result<()> {
        self.add_all(key, &Samples { histograms, ..Samples::default() }, aggregates)
    }

    fn add_all(&mut self, key: &[u8], samples: &Samples, aggregates: &[Aggregate]) -> io::Result<()> {
        let ends = aggregates.first().zip(aggregates.last()).map(|(first, last)| (first.time, last.time));
        let spans = [samples.span(), ends];
        let oldest = spans.iter().flatten().map(|span| span.0).min();
        let newest = spans.iter().flatten().map(|span| span.1).max();
        let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(()) };
        let (mut chunks, mut coded) = (Vec::new(), Vec::new());
        for part in aggregates.chunks(CHUNK_SAMPLES_MAX) {
            let times: Vec<i64> = part.iter().map(|aggregate| aggregate.time).collect();
            let bytes = aggregates::encode(part, self.effort);
            chunks.push(self.chunk(&times, Kind::Aggregates, coded.len(), &bytes));
            coded.extend_from_slice(&bytes);
        }
        let parts = samples.times.chunks(CHUNK_SAMPLES_MAX).zip(samples.values.chunks(CHUNK_SAMPLES_MAX));
        for (part_times, part_values) in parts {
            let bytes = values::encode(part_values, self.effort);
            chunks.push(self.chunk(part_times, Kind::Floats, coded.len(), &bytes));
            coded.extend_from_slice(&bytes);
        }
        let mut rest = samples.histograms.as_slice();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(histograms::run(rest));
            let times: Vec<i64> = part.iter().map(|(time, _)| *time).collect();
            let bytes = histograms::encode(part, self.effort);
            chunks.push(self.chunk(&times, Kind::Histograms, coded.len(), &bytes));
            coded.extend_from_slice(&bytes);
            rest = after;
        }
        let directory = directory(&chunks, self.base);
        let row_bytes = u32::try_from(directory.len() + coded.len())
            .map_err(|_| io::Error::other(format!("{}: row of more than 4 GiB", self.name.path())))?;
        self.index.add(key, self.offset(), row_bytes);
        self.buffer.extend_from_slice(&directory);
        self.buffer.extend_from_slice(&coded);
        self.footer.samples += (samples.len() + aggregates.len()) as u64;
        self.footer.series += 1;
        self.footer.oldest = self.footer.oldest.min(oldest);
        self.footer.newest = self.footer.newest.max(newest);
        if self.buffer.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn chunk(&mut self, part_times: &[i64], kind: Kind, values_offset: usize, coded: &[u8]) -> Chunk {
        Chunk {
            oldest: part_times[0],
            newest: part_times[part_times.len() - 1],
            count: part_times.len(),
            kind,
            times: self.times(part_times),
            values_offset,
            values_bytes: coded.len(),
            values_crc: crc32fast::hash(coded),
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.footer.series == 0
    }

    /// Writes index and footer, syncs, and gives the block its name: from then on it counts.
    ///
    /// # Errors
    /// As the disk says; the block does not count then.
    pub fn finish(mut self) -> io::Result<()> {
        let index = std::mem::take(&mut self.index).finish();
        self.footer.index_offset = self.offset();
        self.footer.index_bytes = index.len() as u64;
        self.buffer.extend_from_slice(&index);
        self.buffer.extend_from_slice(&self.footer.bytes());
        self.write()?;
        self.file.sync()?;
        self.disk.rename(&self.name.path_unfinished(), &self.name.path())?;
        self.finished = true;
        self.disk.sync_folder(FOLDER)
    }

    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Where these times are, written as a column first when no row had them yet.
    fn times(&mut self, part: &[i64]) -> Times {
        let hash = self.columns.hasher.hash_one(part);
        if let Some((known, times)) = self.columns.known.get(&hash)
            && known == part
        {
            return times.clone();
        }
        let bytes = times::encode(part, self.effort);
        let times = if bytes.len() <= INLINE_BYTES_MAX {
            Times::Inline(bytes)
        } else {
            let offset = self.offset();
            self.buffer.extend_from_slice(&bytes);
            Times::Column { offset, length: bytes.len() as u32, crc: crc32fast::hash(&bytes) }
        };
        if self.columns.times + part.len() > SHARED_TIMES_MAX {
            (self.columns.known, self.columns.times) = (HashMap::new(), 0);
        }
        self.columns.times += part.len();
        self.columns.known.insert(hash, (part.to_vec(), times.clone()));
        times
    }
}
