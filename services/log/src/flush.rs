//! From sealed rows to durable blocks, and what is removed again: segments, and blocks past retention.
//!
//! The order is what makes it safe: blocks are written under temporary names, synced, renamed, their
//! directories synced; only then is the segment removed. A crash in between leaves the segment and
//! some or all of its blocks; [`crate::recover`] sorts that out by the numbers in their footers.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use vakt_wire::size::Size;

use crate::append;
use crate::block::{self, Source};
use crate::metrics::Metrics;
use crate::row::{self, Row};
use crate::shelf::{BlockRef, Frame, Shelf, block_name, day_dir};
use crate::time::DAY;

/// Suffix of a block that is being written.
pub const TEMPORARY: &str = ".tmp";

/// Writes the rows of a segment as blocks, durably. Returns them; none for no rows.
///
/// # Errors
/// As the operating system says. Temporary files may be left; the next start removes them.
pub fn write_blocks<'a>(
    dir: &Path,
    segment: u64,
    frames: impl Iterator<Item = &'a Frame>,
    metrics: &Metrics,
) -> io::Result<Vec<BlockRef>> {
    // Frames hold rows that this process encoded or replay verified: they always decode.
    let mut rows: Vec<Row<'_>> = frames.flat_map(|frame| row::rows(&frame.bytes).flatten()).collect();
    // Stable, so that rows of one time stay in the order of their arrival.
    rows.sort_by_key(|row| row.time_ns);
    let runs = block::runs(&rows);
    let mut blocks = Vec::with_capacity(runs.len());
    let mut start = 0;
    for (part, length) in runs.iter().enumerate() {
        let run = &rows[start..start + length];
        start += length;
        let source = Source { segment, part: part as u32, parts: runs.len() as u32 };
        let bytes = block::build(run, source)?;
        blocks.push(write_block(dir, run, source, &bytes)?);
        metrics.blocks_written.add(1);
        metrics.block_bytes.add(bytes.len() as u64);
        metrics.block_rows.add(*length as u64);
    }
    let mut days: Vec<i64> = blocks.iter().map(|block| block.day).collect();
    days.dedup();
    for day in days {
        append::sync_dir(&day_dir(dir, day))?;
    }
    append::sync_dir(&dir.join("blocks"))?;
    Ok(blocks)
}

fn write_block(dir: &Path, rows: &[Row<'_>], source: Source, bytes: &[u8]) -> io::Result<BlockRef> {
    let (first, last) = (rows.first().map_or(0, |r| r.time_ns), rows.last().map_or(0, |r| r.time_ns));
    let day = first.div_euclid(DAY);
    let dir = day_dir(dir, day);
    std::fs::create_dir_all(&dir)?;
    let name = block_name(source.segment, source.part);
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    Ok(BlockRef {
        day,
        segment: source.segment,
        part: source.part,
        min_ns: first,
        max_ns: last,
        rows: rows.len() as u32,
        bytes: bytes.len() as u64,
    })
}

/// Removes a segment whose blocks are durable.
///
/// # Errors
/// As the operating system says; a segment that is gone is no error.
pub fn remove_segment(append_dir: &Path, segment: u64) -> io::Result<()> {
    match std::fs::remove_file(append_dir.join(append::file_name(segment))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => append::sync_dir(append_dir),
    }
}

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age in nanoseconds past which a day's partition goes.
    pub age_ns: i64,
    /// Bytes of blocks past which the oldest go.
    pub bytes_max: u64,
}

impl Retention {
    /// What is kept in `data`, which is made when it is not there.
    ///
    /// # Errors
    /// When it can be neither made nor asked how large its disk is.
    pub fn of(age_ns: i64, size: Size, data: &Path) -> anyhow::Result<Retention> {
        std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
        let bytes_max = size.bytes(data);
        let bytes_max =
            bytes_max.with_context(|| format!("cannot tell how large the disk of {} is", data.display()))?;
        Ok(Retention { age_ns, bytes_max })
    }
}

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Past the age.
    pub by_age: Vec<BlockRef>,
    /// The oldest of what is too much.
    pub by_size: Vec<BlockRef>,
}

/// Which blocks are to go, by age and by size: pure.
pub fn expired(blocks: &[BlockRef], retention: Retention, now_ns: i64) -> Expired {
    let oldest_day = now_ns.saturating_sub(retention.age_ns).div_euclid(DAY);
    let (mut kept, by_age): (Vec<BlockRef>, Vec<BlockRef>) =
        blocks.iter().partition(|block| block.day >= oldest_day);
    let mut bytes: u64 = kept.iter().map(|block| block.bytes).sum();
    kept.sort_by_key(|block| block.max_ns);
    let mut by_size = Vec::new();
    for block in kept {
        if bytes <= retention.bytes_max {
            break;
        }
        bytes -= block.bytes;
        by_size.push(block);
    }
    Expired { by_age, by_size }
}

/// Takes expired blocks off the shelf and removes their files and empty partitions.
pub fn apply_retention(shelf: &Shelf, retention: Retention, now_ns: i64) {
    let goes = expired(&shelf.snapshot().blocks, retention, now_ns);
    shelf.metrics().blocks_expired.add(remove_blocks(shelf, &goes.by_age));
    shelf.metrics().blocks_dropped_size.add(remove_blocks(shelf, &goes.by_size));
}

/// Removes the oldest block, to make room on a full disk. Returns whether there was one.
pub fn remove_oldest(shelf: &Shelf) -> bool {
    let oldest = shelf.snapshot().blocks.iter().min_by_key(|block| block.max_ns).copied();
    shelf.metrics().blocks_dropped_full.add(remove_blocks(shelf, oldest.as_slice()));
    oldest.is_some()
}

/// Returns how many were removed.
fn remove_blocks(shelf: &Shelf, goes: &[BlockRef]) -> u64 {
    let mut removed = 0;
    for block in shelf.take(|block| goes.contains(block)) {
        let path = shelf.path_of(&block);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(block = %path.display(), %error, "cannot remove an expired block");
            continue;
        }
        removed += 1;
        // Fails while other blocks of the day are there, which is what is wanted.
        if std::fs::remove_dir(day_dir(shelf.dir(), block.day)).is_ok() {
            shelf.metrics().partitions_removed.add(1);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_by_age_first_and_then_the_oldest_by_size() {
        let block = |day: i64, bytes| BlockRef {
            day,
            segment: day as u64,
            part: 0,
            min_ns: day * DAY,
            max_ns: day * DAY + 1,
            rows: 1,
            bytes,
        };
        let blocks = [block(10, 5), block(3, 5), block(8, 5), block(9, 5)];
        let days = |age_days: i64, bytes_max| {
            let retention = Retention { age_ns: age_days * DAY, bytes_max };
            let Expired { by_age, by_size } = expired(&blocks, retention, 10 * DAY + 5);
            [by_age, by_size].map(|goes| goes.iter().map(|block| block.day).collect::<Vec<_>>())
        };
        let nothing = [Vec::<i64>::new(), Vec::new()];
        assert_eq!(days(100, 100), nothing);
        assert_eq!(days(7, 100), nothing);
        assert_eq!(days(6, 100), [vec![3], vec![]]);
        assert_eq!(days(6, 10), [vec![3], vec![8]]);
        assert_eq!(days(100, 0), [vec![], vec![3, 8, 9, 10]]);
    }
}
