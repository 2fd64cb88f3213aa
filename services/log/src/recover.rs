//! What is done with the data directory before anything is served.
//!
//! 1. Temporary files go: nobody was told that they exist.
//! 2. Each block's footer is verified; a damaged block is set aside.
//! 3. Each segment of the append log: when all the blocks made of it are there, it goes; otherwise
//!    those blocks go, its rows are replayed and written as blocks, and then it goes. A torn tail is
//!    dropped (it was never acknowledged); a damaged segment is kept aside for a look.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::append::{self, Damage};
use crate::block::Block;
use crate::flush::{self, TEMPORARY};
use crate::metrics::Metrics;
use crate::shelf::{BlockRef, Frame, Shelf, block_name, day_dir, set_aside};
use crate::time;

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// Another process has it.
    #[error("{0}: another process uses this directory")]
    InUse(PathBuf),
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A data directory that is ours and in order.
#[derive(Debug)]
pub struct Recovered {
    /// What can be queried.
    pub shelf: Arc<Shelf>,
    /// The id that the next segment takes.
    pub next_segment: u64,
    /// Held for the life of the process, so that no other uses the directory.
    pub lock: File,
}

/// Puts `dir` in order; creates it when it is new.
///
/// # Errors
/// [`RecoverError`]. Damaged contents are no error.
pub fn recover(dir: &Path, metrics: Arc<Metrics>) -> Result<Recovered, RecoverError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoverError::Io { path, source }
    };
    let (append_dir, blocks_dir) = (dir.join("append"), dir.join("blocks"));
    for each in [&append_dir, &blocks_dir] {
        std::fs::create_dir_all(each).map_err(at(each))?;
    }
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RecoverError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => return Err(RecoverError::Io { path: lock_path, source }),
    }
    let mut found = blocks(dir, &metrics).map_err(at(&blocks_dir))?;
    let mut segments = segments(&append_dir).map_err(at(&append_dir))?;
    segments.sort_unstable();
    let newest = found.iter().map(|(block, _)| block.segment).chain(segments.iter().copied()).max();
    for id in segments {
        found = settle(dir, &append_dir, id, found, &metrics).map_err(at(&append_dir))?;
    }
    let blocks = found.into_iter().map(|(block, _)| block).collect();
    let shelf = Arc::new(Shelf::new(dir, metrics, blocks));
    Ok(Recovered { shelf, next_segment: newest.map_or(1, |id| id + 1), lock })
}

/// Every sound block, with the number of blocks that were made of its segment.
fn blocks(dir: &Path, metrics: &Metrics) -> io::Result<Vec<(BlockRef, u32)>> {
    let mut found = Vec::new();
    for partition in std::fs::read_dir(dir.join("blocks"))? {
        let partition = partition?;
        let Some(day) = time::day_of_name(&partition.file_name().to_string_lossy()) else { continue };
        for entry in std::fs::read_dir(partition.path())? {
            let entry = entry?;
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if name.ends_with(TEMPORARY) {
                std::fs::remove_file(&path)?;
                continue;
            }
            match Block::open(&path) {
                Ok(block) => {
                    let footer = block.footer();
                    if name != block_name(footer.segment, footer.part) {
                        set_aside(dir, &path, "its footer belongs to another name", metrics);
                        continue;
                    }
                    let place = BlockRef {
                        day,
                        segment: footer.segment,
                        part: footer.part,
                        min_ns: footer.min_ns,
                        max_ns: footer.max_ns,
                        rows: footer.rows,
                        bytes: entry.metadata()?.len(),
                    };
                    found.push((place, footer.parts));
                }
                Err(error) => set_aside(dir, &path, &error.to_string(), metrics),
            }
        }
    }
    Ok(found)
}

fn segments(append_dir: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(append_dir)? {
        ids.extend(append::id_of_name(&entry?.file_name().to_string_lossy()));
    }
    Ok(ids)
}

/// Brings one segment to rest and returns the blocks as they are then.
fn settle(
    dir: &Path,
    append_dir: &Path,
    id: u64,
    mut found: Vec<(BlockRef, u32)>,
    metrics: &Metrics,
) -> io::Result<Vec<(BlockRef, u32)>> {
    let made: Vec<_> = found.iter().filter(|(block, _)| block.segment == id).copied().collect();
    if made.first().is_some_and(|(_, parts)| made.len() == *parts as usize) {
        flush::remove_segment(append_dir, id)?;
        return Ok(found);
    }
    for (block, _) in &made {
        std::fs::remove_file(day_dir(dir, block.day).join(block_name(id, block.part)))?;
    }
    found.retain(|(block, _)| block.segment != id);
    let path = append_dir.join(append::file_name(id));
    let bytes = std::fs::read(&path)?;
    let replayed = match append::replay(id, &bytes) {
        Ok(replayed) => replayed,
        Err(append::SegmentError::NoHeader { .. }) => {
            metrics.torn_bytes.add(bytes.len() as u64);
            flush::remove_segment(append_dir, id)?;
            return Ok(found);
        }
        Err(error) => {
            set_aside(dir, &path, &error.to_string(), metrics);
            return Ok(found);
        }
    };
    drop(bytes);
    let rotten = report(id, &replayed.damage, metrics);
    let frames: Vec<Frame> = replayed.frames.into_iter().map(|(bytes, rows)| Frame { bytes, rows }).collect();
    let blocks = flush::write_blocks(dir, id, frames.iter(), metrics)?;
    let parts = blocks.len() as u32;
    tracing::info!(
        segment = id,
        rows = frames.iter().map(|f| f.rows).sum::<usize>(),
        "replayed the append log"
    );
    match rotten {
        Some(reason) => set_aside(dir, &path, &reason, metrics),
        None => flush::remove_segment(append_dir, id)?,
    }
    found.extend(blocks.into_iter().map(|block| (block, parts)));
    Ok(found)
}

/// Says what was dropped; returns the reason to keep the segment when it was more than a torn tail.
fn report(id: u64, damage: &[Damage], metrics: &Metrics) -> Option<String> {
    let mut rotten = None;
    for one in damage {
        match one {
            Damage::TornTail { offset, bytes } => {
                metrics.torn_bytes.add(*bytes as u64);
                tracing::warn!(segment = id, offset, bytes, "dropped the torn end of the append log");
            }
            Damage::BadFrame { offset, bytes } => {
                let reason = format!("segment {id}: frame of {bytes} bytes at byte {offset} is damaged");
                rotten.get_or_insert(reason);
            }
        }
    }
    rotten
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::Segment;
    use crate::row;

    fn frame(number: i64) -> Frame {
        let mut bytes = Vec::new();
        row::put_row(number * time::DAY, [("_msg", "hello")].into_iter(), &mut bytes);
        Frame { bytes, rows: 1 }
    }

    /// A directory as a crash may leave it: a segment with rows of three days, and `made` of the three
    /// blocks that the flusher was making of it.
    fn crashed(made: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::default());
        drop(recover(dir.path(), metrics.clone()).unwrap());
        let mut segment = Segment::create(&dir.path().join("append"), 1).unwrap();
        let frames = [frame(1), frame(2), frame(3)];
        for frame in &frames {
            segment.append(&frame.bytes).unwrap();
        }
        let blocks = flush::write_blocks(dir.path(), 1, frames.iter(), &metrics).unwrap();
        for block in &blocks[made..] {
            std::fs::remove_file(day_dir(dir.path(), block.day).join(block_name(1, block.part))).unwrap();
        }
        std::fs::write(day_dir(dir.path(), 1).join("x.block.tmp"), "half").unwrap();
        dir
    }

    #[test]
    fn a_crash_at_any_moment_of_a_flush_leaves_each_row_once() {
        for made in 0..=3 {
            let dir = crashed(made);
            for start in 0..2 {
                let recovered = recover(dir.path(), Arc::default()).unwrap();
                let sizes = recovered.shelf.sizes();
                let rows: u32 = recovered.shelf.snapshot().blocks.iter().map(|b| b.rows).sum();
                assert_eq!((sizes.blocks, rows), (3, 3), "{made} blocks made, start {start}");
                assert_eq!(recovered.next_segment, 2);
                assert_eq!(std::fs::read_dir(dir.path().join("append")).unwrap().count(), 0);
                assert!(!day_dir(dir.path(), 1).join("x.block.tmp").exists());
            }
        }
    }

    #[test]
    fn a_segment_with_a_damaged_frame_serves_the_rest_and_is_kept_aside() {
        let dir = crashed(0);
        let path = dir.path().join("append").join(append::file_name(1));
        let mut bytes = std::fs::read(&path).unwrap();
        let frame_bytes = (bytes.len() - 24) / 3;
        bytes[24 + frame_bytes + 12] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let recovered = recover(dir.path(), Arc::default()).unwrap();
        assert_eq!(recovered.shelf.sizes().blocks, 2);
        let reason = dir.path().join("set-aside").join(format!("{}.reason", append::file_name(1)));
        assert!(std::fs::read_to_string(reason).unwrap().contains("is damaged"));
    }
}
