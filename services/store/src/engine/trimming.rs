//! Taking samples that are older than their series is kept out of blocks that others still need.
//!
//! Such samples are not read any more from the moment they are too old; merges leave them out, and a block that no merge
//! touches is written anew, under its own name, when it holds any.

use std::sync::Arc;

use super::{Engine, hold};
use crate::block::{Block, BlockError, BlockName, ColumnCache};
use crate::samples::Samples;
use crate::series::SeriesId;

/// A block is looked at this often: a day, so that what is too old goes a day late at most and a block is not
/// written anew for each hour of its samples.
const LOOK_EVERY_MS: i64 = 86_400_000;

impl Engine {
    /// Writes one block anew when it holds what is too old. Returns whether there was one.
    ///
    /// # Errors
    /// A text that says what went wrong; nothing has changed then, besides that a corrupt block is set aside.
    pub fn trim(&self) -> Result<bool, String> {
        let _work = hold(&self.work);
        while let Some(block) = self.next_to_look_at() {
            let due = self.holds_old(&block).inspect_err(|error| self.distrust(&block, error));
            if due.map_err(|error| error.to_string())? {
                let effort = block.effort();
                self.merge_blocks(&[block], effort).map_err(|error| error.to_string())?;
                self.counters.trimmed.add(1);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A block that may hold what is too old, and was not looked at for a while.
    fn next_to_look_at(&self) -> Option<Arc<Block>> {
        if self.keep.rules.is_empty() {
            return None;
        }
        let (now, shortest) = (self.now(), self.keep.shortest_ms());
        let mut state = self.lock();
        let oldest = state.newest().min(now).saturating_sub(shortest);
        let due = |name: &BlockName| {
            let seen = state.looked_at.get(name);
            seen.is_none_or(|seen| now.saturating_sub(*seen) >= LOOK_EVERY_MS || *seen > now)
        };
        let found = state.blocks.iter().find(|block| block.span().0 < oldest && due(&block.name)).cloned()?;
        let names: Vec<BlockName> = state.blocks.iter().map(|block| block.name).collect();
        state.looked_at.retain(|name, _| names.contains(name));
        state.looked_at.insert(found.name, now);
        Some(found)
    }

    fn holds_old(&self, block: &Block) -> Result<bool, BlockError> {
        let mut cache = ColumnCache::default();
        for id in block.series() {
            let horizon = self.horizon_of(id);
            if block.span().0 < horizon && !block.read(id, i64::MIN, horizon - 1, &mut cache)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The time before which a series' samples are too old.
    fn horizon_of(&self, id: SeriesId) -> i64 {
        let state = self.lock();
        let newest = state.newest().min(self.now());
        newest.saturating_sub(self.keep.of(&state.registry.labels(id)))
    }

    /// Takes what is too old out of samples that are about to be written.
    pub(super) fn trim_samples(&self, id: SeriesId, samples: &mut Samples) {
        if !self.keep.rules.is_empty() {
            samples.clip(self.horizon_of(id), i64::MAX);
        }
    }
}
