//! Merging neighbouring blocks of one partition, so that their number stays small and their chunks
//! grow long enough for the strong codecs.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Engine, Partitions, hold};
use crate::block::{Block, BlockError, BlockName, BlockWriter, ColumnCache};
use crate::codec::Effort;
use crate::samples::Samples;

/// Blocks that are worth a merge. With the rule of [`plan`] a partition of n flushes holds at most
/// some 3 log4(n) blocks, and a sample is rewritten log4(n) times.
const MERGE_BLOCKS_MIN: usize = 4;

/// A partition that is over is made one block when nothing was written for so long: what lies for years takes the least then.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// Of a partition that is over, this part of the samples may lie beside its largest block.
const LATE_PART: u64 = 64;

/// Why a merge did not happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("cannot write the merged block: {0}")]
    Io(#[from] std::io::Error),
    #[error("a window that became due meanwhile cannot be written: {0}")]
    Window(std::io::Error),
    #[error("the store is stopping")]
    Stopping,
}

/// Which of a partition's blocks, oldest first, to merge: the newest ones, as long as each older one is
/// not larger than twice all newer ones together; the factor lets flushes of about the same size be neighbours.
fn plan(samples: &[u64]) -> Option<Range<usize>> {
    let (mut start, mut sum) = (samples.len(), 0u64);
    while start > 0 && (start == samples.len() || samples[start - 1] <= sum.saturating_mul(2)) {
        start -= 1;
        sum = sum.saturating_add(samples[start]);
    }
    (samples.len() - start >= MERGE_BLOCKS_MIN).then_some(start..samples.len())
}

/// Whether the blocks of a partition that is over are worth being made one that lasts. Each is told by its samples and whether it
/// lasts already: when the largest does, those beside it must not be so few that late samples would have it written again and again.
fn is_worth_one(blocks: &[(u64, bool)]) -> bool {
    let total: u64 = blocks.iter().map(|(samples, _)| samples).sum();
    let Some((largest, lasts)) = blocks.iter().max().copied() else { return false };
    !lasts || blocks.len() > 1 && (total - largest).saturating_mul(LATE_PART) >= total
}

impl Engine {
    /// Merges one run of blocks when there is one worth it. Returns whether there was.
    ///
    /// # Errors
    /// A text that says what went wrong; nothing has changed then, besides that a corrupt block is set aside.
    pub fn merge(&self) -> Result<bool, String> {
        let _work = hold(&self.work);
        let Some((parts, effort)) = self.plan_merge() else { return Ok(false) };
        self.merge_blocks(&parts, effort).map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn plan_merge(&self) -> Option<(Vec<Arc<Block>>, Effort)> {
        let state = self.lock();
        let partitions: BTreeSet<i64> = state.blocks.iter().map(|block| block.name.partition).collect();
        let is_settled = state.frozen.is_none() && state.hot_since.elapsed() >= SETTLED_AFTER;
        let now = self.now();
        partitions.into_iter().rev().find_map(|partition| {
            let blocks: Vec<_> =
                state.blocks.iter().filter(|block| block.name.partition == partition).cloned().collect();
            let sizes: Vec<u64> = blocks.iter().map(|block| block.samples()).collect();
            let bytes = |part: &[Arc<Block>]| part.iter().map(|block| block.file_bytes()).sum::<u64>();
            if let Some(range) = plan(&sizes) {
                // On a disk with little room only the newest are merged, or none: old data does not go for that.
                let mut starts = range.start..=range.end - MERGE_BLOCKS_MIN;
                let start = starts.find(|start| self.room.holds(bytes(&blocks[*start..range.end])))?;
                let parts = blocks[start..range.end].to_vec();
                let lasts = parts.iter().any(|block| block.effort() == Effort::Lasting);
                return Some((parts, if lasts { Effort::Lasting } else { Effort::Thorough }));
            }
            let is_over = Partitions::span(partition).1 < now;
            let told: Vec<_> =
                blocks.iter().map(|block| (block.samples(), block.effort() == Effort::Lasting)).collect();
            (is_over && is_settled && is_worth_one(&told) && self.room.holds(bytes(&blocks)))
                .then_some((blocks, Effort::Lasting))
        })
    }

    /// Merges neighbours into one block; of one alone makes it anew, without what is too old or deleted.
    pub(super) fn merge_blocks(&self, parts: &[Arc<Block>], effort: Effort) -> Result<(), MergeError> {
        let (first, last) = (parts[0].name, parts[parts.len() - 1].name);
        let name = BlockName { first: first.first, last: last.last, partition: first.partition, tier: None };
        let (base, _) = Partitions::span(name.partition);
        let log_up_to = parts.iter().map(|block| block.log_up_to()).max().unwrap_or(0);
        let mut writer = BlockWriter::create(self.disk.clone(), name, base, log_up_to, effort)?;
        let ids: BTreeSet<_> = parts.iter().flat_map(|block| block.series()).collect();
        let mut caches: Vec<ColumnCache> = parts.iter().map(|_| ColumnCache::default()).collect();
        let mut key = Vec::with_capacity(256);
        let deletions = self.lock().deletions.clone();
        for id in ids {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(MergeError::Stopping);
            }
            self.flush_between().map_err(MergeError::Window)?;
            let mut samples = Samples::default();
            let gone = self.gone_of(id, &deletions);
            for (block, cache) in parts.iter().zip(&mut caches) {
                let mut part = block
                    .read(id, i64::MIN, i64::MAX, cache)
                    .inspect_err(|error| self.distrust(block, error))?;
                gone.cut(&block.name, &mut part);
                samples.overlay(&part);
            }
            self.trim_samples(id, &mut samples);
            key.clear();
            key.extend_from_slice(self.lock().registry.key(id));
            writer.add(&key, &samples)?;
        }
        if writer.is_empty() {
            drop(writer);
            return self.replace(parts, None);
        }
        writer.finish()?;
        self.replace(parts, Some(name))
    }

    /// Takes a merged block into use in place of its parts; `None` when nothing of them was left.
    fn replace(&self, parts: &[Arc<Block>], merged: Option<BlockName>) -> Result<(), MergeError> {
        let mut state = self.lock();
        let block = merged.map(|name| Block::open(&*self.disk, name, &mut state.registry)).transpose()?;
        state.blocks.retain(|block| !parts.iter().any(|part| part.name == block.name));
        state.blocks.extend(block.map(Arc::new));
        state.blocks.sort_by_key(|block| block.name.first);
        drop(state);
        // One that was made anew has replaced the old file already.
        for part in parts.iter().filter(|part| Some(part.name) != merged) {
            self.disk.remove(&part.name.path())?;
        }
        self.disk.sync_folder(crate::block::FOLDER)?;
        self.counters.merges.add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::{NOW, settings, write};
    use super::*;
    use crate::disk::simulated::SimulatedDisk;
    use crate::engine::Settings;

    #[test]
    fn small_neighbours_are_merged_and_large_ones_left_alone() {
        let check = |sizes: &[u64], expected: Option<Range<usize>>| assert_eq!(plan(sizes), expected);
        check(&[], None);
        check(&[1, 1, 1], None);
        check(&[1, 1, 1, 1], Some(0..4));
        check(&[100, 30, 1, 1, 1, 1], Some(2..6));
        check(&[100, 30, 4, 1, 1, 1], Some(2..6));
        check(&[100, 30, 7, 1, 1, 1], None);
        check(&[9, 10, 11, 10], Some(0..4));
        check(&[100, 4, 1, 1, 1, 1], Some(1..6));
        check(&[1, 1, 1, 100], Some(0..4));
    }

    #[test]
    fn a_month_that_is_over_becomes_one_block_but_not_for_a_few_late_samples() {
        let check =
            |blocks: &[(u64, bool)], expected| assert_eq!(is_worth_one(blocks), expected, "{blocks:?}");
        check(&[], false);
        check(&[(1000, false)], true);
        check(&[(1000, true)], false);
        check(&[(1000, true), (1, false)], false);
        check(&[(1000, false), (1, false)], true);
        check(&[(1000, true), (10, false), (6, false)], true);
        check(&[(10, false), (1000, true), (6, false)], true);
        check(&[(5, false), (5, false)], true);
    }

    #[test]
    fn a_month_that_is_over_is_written_once_more_and_then_left_alone() {
        let disk = SimulatedDisk::default();
        let open = || Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)).unwrap().0;
        let settle = |engine: &Engine| {
            engine.lock().hot_since = Instant::now().checked_sub(SETTLED_AFTER).expect("it runs for a while");
        };
        let bytes =
            |engine: &Engine| engine.lock().blocks.iter().map(|block| block.file_bytes()).sum::<u64>();
        let read = |engine: &Engine| {
            let samples = engine.select(&[], i64::MIN, i64::MAX).read(0, i64::MIN, i64::MAX).unwrap();
            (samples.times, samples.values.into_iter().map(f64::to_bits).collect::<Vec<_>>())
        };
        let engine = open();
        // 60 days ago, 8 hours of values that come again and are no decimals.
        let sample = |n: i64| (1, NOW - 60 * 86_400_000 + n * 10_000, ((n * n % 97) as f64).sqrt().to_bits());
        write(&engine, &(0..2880).map(sample).collect::<Vec<_>>());
        engine.flush().unwrap();
        assert_eq!(engine.merge(), Ok(false), "more of it may come");
        let (samples, flushed) = (read(&engine), bytes(&engine));
        settle(&engine);
        assert_eq!(engine.merge(), Ok(true));
        assert_eq!(engine.merge(), Ok(false));
        assert!(bytes(&engine) < flushed / 4, "{flushed} and then {}", bytes(&engine));
        assert_eq!(read(&engine), samples);
        engine.close();
        let engine = open();
        settle(&engine);
        assert_eq!(engine.merge(), Ok(false));
        assert_eq!(read(&engine), samples);
    }

    #[test]
    fn a_window_that_is_due_does_not_wait_for_the_end_of_a_merge() {
        let disk = SimulatedDisk::default();
        let settings = Settings { window_samples_max: 100, ..settings() };
        let engine = Engine::open(Arc::new(disk), settings, Box::new(|| NOW)).unwrap().0;
        let samples = |from: i64, count: i64| -> Vec<(u8, i64, u64)> {
            (from..from + count).map(|n| (1, NOW - 60 * 86_400_000 + n * 10_000, n as u64)).collect()
        };
        for part in 0..4 {
            write(&engine, &samples(part * 50, 50));
            engine.flush().unwrap();
        }
        write(&engine, &samples(200, 150));
        assert!(engine.is_due());
        assert_eq!(engine.merge(), Ok(true));
        assert!(!engine.is_due());
        let all = engine.select(&[], i64::MIN, i64::MAX).read(0, i64::MIN, i64::MAX).unwrap();
        assert_eq!(all.times.len(), 350);
        assert_eq!(engine.lock().blocks.len(), 2);
    }

    #[test]
    fn the_number_of_blocks_stays_logarithmic() {
        let (mut sizes, mut most, mut rewritten) = (Vec::new(), 0, 0);
        for _ in 0..10_000u64 {
            sizes.push(1);
            while let Some(range) = plan(&sizes) {
                let sum: u64 = sizes[range.clone()].iter().sum();
                rewritten += sum;
                sizes.splice(range, [sum]);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 24, "{most} blocks");
        assert!(rewritten <= 10 * 10_000, "{rewritten} rewritten");
    }
}
