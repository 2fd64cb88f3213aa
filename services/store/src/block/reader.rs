//! Reads a block: its index once at the start, rows when they are asked for.
//!
//! Memory: 16 bytes a series, and one file descriptor a block.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::decoded::{Decoded, Piece, Row as DecodedRow};
use super::format::{
    BlockError, FOOTER_BYTES, Footer, HEADER_BYTES, PartError, VERSION_LASTING, read_header,
};
use super::row::{Chunk, Kind, Times, directory_bytes, read_directory};
use super::{BlockName, index};
use crate::codec::{Effort, aggregates, histograms, times, values};
use crate::disk::{self, Disk, ReadAt};
use crate::samples::Samples;
use crate::series::{Registry, SeriesId};
use crate::tiers::Aspect;
use crate::wal;

/// The first read of a row; most directories, and the whole of most rows, fit.
const ROW_READ_BYTES: usize = 4 << 10;

/// Where a series' row lies.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: SeriesId,
    length: u32,
    offset: u64,
}

/// A block that was opened: header, footer and index are intact.
pub struct Block {
    /// What its file name says.
    pub name: BlockName,
    file: Box<dyn ReadAt>,
    file_bytes: u64,
    base: i64,
    footer: Footer,
    /// Sorted by series.
    rows: Vec<Row>,
    bad: AtomicBool,
    serial: u64,
}

/// The time column that was decoded last: neighbouring rows mostly share theirs.
#[derive(Default)]
pub struct ColumnCache {
    place: Option<(BlockName, u64)>,
    times: Vec<i64>,
    /// Those of the piece that was kept last.
    kept: Option<Arc<[i64]>>,
}

/// How many blocks were opened so far.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// Where the pieces of one query come from and go to.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// All pieces.
    pub decoded: &'a Decoded,
    /// The query's number.
    pub query: u64,
}

impl Block {
    /// Opens a block and adds its series to the registry.
    ///
    /// # Errors
    /// [`BlockError::Io`] when it cannot be read, [`BlockError::Corrupt`] when a checksum or a number in header,
    /// footer or index is wrong.
    pub fn open(disk: &dyn Disk, name: BlockName, registry: &mut Registry) -> Result<Block, BlockError> {
        let io = |source| BlockError::Io { file: name.path(), source };
        let corrupt = |offset, error: PartError| BlockError::Corrupt {
            file: name.path(),
            offset,
            what: error.to_string(),
        };
        let file = disk.open(&name.path()).map_err(io)?;
        let file_bytes = file.bytes().map_err(io)?;
        if file_bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(corrupt(file_bytes, PartError::Broken("end of the file")));
        }
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(io)?;
        let base = read_header(&header).map_err(|e| corrupt(0, e))?;
        let mut footer = [0; FOOTER_BYTES];
        let footer_offset = file_bytes - FOOTER_BYTES as u64;
        file.read_at(footer_offset, &mut footer).map_err(io)?;
        let footer = Footer::read(&footer, file_bytes).map_err(|e| corrupt(footer_offset, e))?;
        let index_bytes = usize::try_from(footer.index_bytes).unwrap_or(usize::MAX);
        let bytes = disk::read(&*file, footer.index_offset, index_bytes).map_err(io)?;
        let mut rows = Vec::with_capacity((footer.series as usize).min(index_bytes));
        index::read(&bytes, |key, offset, length| {
            let id = wal::known_series(key, registry).map_err(|_| PartError::Broken("series key"))?;
            if offset + u64::from(length) > footer.index_offset {
                return Err(PartError::Broken("place of a row"));
            }
            rows.push(Row { id, length, offset });
            Ok(())
        })
        .map_err(|error| corrupt(footer.index_offset, error))?;
        rows.sort_unstable_by_key(|row| row.id);
        let serial = OPENED.fetch_add(1, Ordering::Relaxed);
        Ok(Block { name, file, file_bytes, base, footer, rows, bad: AtomicBool::new(false), serial })
    }

    /// The oldest and the newest sample's time.
    pub fn span(&self) -> (i64, i64) {
        (self.footer.oldest, self.footer.newest)
    }

    /// Log segments up to this one hold nothing that is not in blocks; 0 when this block does not say.
    pub fn log_up_to(&self) -> u64 {
        self.footer.log_up_to
    }

    /// How hard an encoder has to try that writes it anew, so that it grows no larger.
    pub fn effort(&self) -> Effort {
        if self.footer.version == VERSION_LASTING { Effort::Lasting } else { Effort::Thorough }
    }

    /// Samples in it.
    pub fn samples(&self) -> u64 {
        self.footer.samples
    }

    /// Bytes on disk.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The series that it holds, ascending.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> + '_ {
        self.rows.iter().map(|row| row.id)
    }

    /// Whether it holds samples of `id`.
    pub fn holds(&self, id: SeriesId) -> bool {
        self.rows.binary_search_by_key(&id, |row| row.id).is_ok()
    }

    /// Notes that it turned out to be corrupt. Returns whether that is news.
    pub fn mark_bad(&self) -> bool {
        !self.bad.swap(true, Ordering::Relaxed)
    }

    /// The samples of a series from `from` to `to` (both included); none when it has none.
    ///
    /// # Errors
    /// As [`Block::open`], for the row's parts.
    pub fn read(
        &self,
        id: SeriesId,
        from: i64,
        to: i64,
        cache: &mut ColumnCache,
    ) -> Result<Samples, BlockError> {
        self.read_aspect(id, from, to, Aspect::Last, cache)
    }

    /// As [`Block::read`]; of a tier's buckets the number that is asked for, at the end of each bucket.
    ///
    /// # Errors
    /// As [`Block::read`].
    pub fn read_aspect(
        &self,
        id: SeriesId,
        from: i64,
        to: i64,
        aspect: Aspect,
        cache: &mut ColumnCache,
    ) -> Result<Samples, BlockError> {
        let mut samples = self.read_chunks(id, (from, to), aspect, cache)?.0;
        samples.clip(from, to);
        Ok(samples)
    }

    /// As [`Block::read_aspect`], from what other queries decoded where that is kept.
    ///
    /// # Errors
    /// As [`Block::read`].
    pub fn read_shared(
        &self,
        id: SeriesId,
        (from, to): (i64, i64),
        aspect: Aspect,
        cache: &mut ColumnCache,
        shared: Shared<'_>,
    ) -> Result<Samples, BlockError> {
        let row = DecodedRow { block: self.serial, id, aspect };
        if let Some(piece) = shared.decoded.get(row, from, to, shared.query) {
            return Ok(piece.within(from, to));
        }
        let (mut samples, covered) = self.read_chunks(id, (from, to), aspect, cache)?;
        if let Some(piece) = Piece::of(&samples, (from, to), covered, &mut cache.kept) {
            shared.decoded.put(row, piece, shared.query);
        }
        samples.clip(from, to);
        Ok(samples)
    }

    /// The samples of all chunks of a row that reach into a span, and the span in which the row has no others.
    fn read_chunks(
        &self,
        id: SeriesId,
        (from, to): (i64, i64),
        aspect: Aspect,
        cache: &mut ColumnCache,
    ) -> Result<(Samples, (i64, i64)), BlockError> {
        let (mut samples, mut covered) = (Samples::default(), (i64::MIN, i64::MAX));
        let Ok(at) = self.rows.binary_search_by_key(&id, |row| row.id) else { return Ok((samples, covered)) };
        let row = self.rows[at];
        let mut bytes = self.bytes(row.offset, ROW_READ_BYTES.min(row.length as usize))?;
        let corrupt = |error: PartError| self.corrupt(row.offset, &error);
        let head = directory_bytes(&bytes).filter(|&head| head <= row.length as usize);
        let head = head.ok_or_else(|| corrupt(PartError::Broken("row directory")))?;
        if head > bytes.len() {
            bytes = self.bytes(row.offset, head)?;
        }
        let chunks = read_directory(&bytes, self.base).map_err(corrupt)?;
        let body = bytes.split_off(head.min(bytes.len()));
        for chunk in &chunks {
            if chunk.newest < from {
                covered.0 = covered.0.max(chunk.newest.saturating_add(1));
                continue;
            }
            if chunk.oldest > to {
                covered.1 = covered.1.min(chunk.oldest.saturating_sub(1));
                continue;
            }
            let values_at = row.offset + (head + chunk.values_offset) as u64;
            let values = match body.get(chunk.values_offset..chunk.values_offset + chunk.values_bytes) {
                Some(values) => values.to_vec(),
                None => self.bytes(values_at, chunk.values_bytes)?,
            };
            if crc32fast::hash(&values) != chunk.values_crc {
                return Err(self.corrupt(values_at, &PartError::Checksum("values")));
            }
            let broken = |error| self.corrupt(values_at, &PartError::Codec(error));
            self.times(chunk, row.offset, cache)?;
            match chunk.kind {
                Kind::Floats => {
                    samples.values.extend_from_slice(&values::decode(&values, chunk.count).map_err(broken)?);
                    samples.times.extend_from_slice(&cache.times);
                }
                Kind::Histograms => {
                    let decoded = histograms::decode(&values, chunk.count).map_err(broken)?;
                    samples.histograms.extend(cache.times.iter().copied().zip(decoded));
                }
                Kind::Aggregates => {
                    for bucket in aggregates::decode(&values, &cache.times).map_err(broken)? {
                        bucket.get(aspect).into_iter().for_each(|value| samples.push(bucket.time, value));
                    }
                }
            }
        }
        Ok((samples, covered))
    }

    /// Decodes a chunk's times into the cache.
    fn times(&self, chunk: &Chunk, row_offset: u64, cache: &mut ColumnCache) -> Result<(), BlockError> {
        let (place, offset, bytes) = match &chunk.times {
            Times::Inline(bytes) => (None, row_offset, bytes.clone()),
            Times::Column { offset, length, crc } => {
                if cache.place == Some((self.name, *offset)) && cache.times.len() == chunk.count {
                    return Ok(());
                }
                let bytes = self.bytes(*offset, *length as usize)?;
                if crc32fast::hash(&bytes) != *crc {
                    return Err(self.corrupt(*offset, &PartError::Checksum("times")));
                }
                (Some((self.name, *offset)), *offset, bytes)
            }
        };
        cache.times = times::decode(&bytes, chunk.count)
            .map_err(|error| self.corrupt(offset, &PartError::Codec(error)))?;
        cache.place = place;
        Ok(())
    }

    fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, BlockError> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.file_bytes) {
            return Err(self.corrupt(offset, &PartError::Broken("length of a part")));
        }
        disk::read(&*self.file, offset, length).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                return self.corrupt(offset, &PartError::Broken("end of the file"));
            }
            BlockError::Io { file: self.name.path(), source }
        })
    }

    fn corrupt(&self, offset: u64, error: &PartError) -> BlockError {
        BlockError::Corrupt { file: self.name.path(), offset, what: error.to_string() }
    }

    /// Reads every row: what `vakt-store check` does.
    ///
    /// # Errors
    /// The first [`BlockError`].
    pub fn verify(&self) -> Result<(), BlockError> {
        let (mut cache, mut samples) = (ColumnCache::default(), 0);
        for id in self.series() {
            samples += self.read(id, i64::MIN, i64::MAX, &mut cache)?.len() as u64;
        }
        if samples != self.footer.samples {
            return Err(self.corrupt(0, &PartError::Broken("number of samples")));
        }
        Ok(())
    }
}
