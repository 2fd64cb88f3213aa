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

/// Whether the blocks of a partition that is over, oldest first, are worth being made one: when those beside the largest are not
/// so few that late samples would have it written again and again.
fn is_worth_one(samples: &[u64]) -> bool {
    let total: u64 = samples.iter().sum();
    let largest = samples.iter().max().copied().unwrap_or(0);
    samples.len() > 1 && (total - largest).saturating_mul(LATE_PART) >= total
}

impl Engine {
    /// Merges one run of blocks when there is one worth it. Returns whether there was.
    ///
    /// # Errors
    /// A text that says what went wrong; nothing has changed then, besides that a corrupt block is set aside.
    pub fn merge(&self) -> Result<bool, String> {
        let _work = hold(&self.work);
        let Some(parts) = self.plan_merge() else { return Ok(false) };
        self.merge_blocks(&parts).map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn plan_merge(&self) -> Option<Vec<Arc<Block>>> {
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
                return Some(blocks[start..range.end].to_vec());
            }
            let is_over = Partitions::span(partition).1 < now;
            (is_over && is_settled && is_worth_one(&sizes) && self.room.holds(bytes(&blocks)))
                .then_some(blocks)
        })
    }

    /// Merges neighbours into one block; of one alone makes it anew, without what is too old or deleted.
    pub(super) fn merge_blocks(&self, parts: &[Arc<Block>]) -> Result<(), MergeError> {
        let (first, last) = (parts[0].name, parts[parts.len() - 1].name);
        let name = BlockName { first: first.first, last: last.last, partition: first.partition, tier: None };
        let (base, _) = Partitions::span(name.partition);
        let log_up_to = parts.iter().map(|block| block.log_up_to()).max().unwrap_or(0);
        let mut writer = BlockWriter::create(self.disk.clone(), name, base, log_up_to, Effort::Thorough)?;
        let ids: BTreeSet<_> = parts.iter().flat_map(|block| block.series()).collect();
        let mut caches: Vec<ColumnCache> = parts.iter().map(|_| ColumnCache::default()).collect();
        let mut key = Vec::with_capacity(256);
        let deletions = self.lock().deletions.clone();
        for id in ids {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(MergeError::Stopping);
            }
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
    use super::*;

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
        let check = |sizes: &[u64], expected| assert_eq!(is_worth_one(sizes), expected, "{sizes:?}");
        check(&[], false);
        check(&[1000], false);
        check(&[1000, 1], false);
        check(&[1000, 10, 6], true);
        check(&[10, 1000, 6], true);
        check(&[5, 5], true);
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
