//! What goes: blocks that are too old, and the oldest ones of too many.

use std::io;
use std::sync::Arc;

use super::{Engine, State};
use crate::block::Block;
use crate::tiers::Tier;

impl Engine {
    /// Removes the blocks whose every sample is older than the retention, and the oldest ones while all are
    /// larger than the retention by size. The age counts from the newest sample when that is older than the
    /// clock, so that a clock that jumped ahead deletes nothing.
    ///
    /// # Errors
    /// As the disk says.
    pub fn expire(&self) -> io::Result<()> {
        let mut state = self.lock();
        let newest = state.newest();
        let horizon = self.now().min(newest).saturating_sub(self.keep.longest_ms());
        let mut expired = take(&mut state.blocks, |block| block.span().1 < horizon);
        let tier_horizon = |tier| self.now().min(newest).saturating_sub(self.tier_retention_ms(tier));
        let gone = |tier: &Block| tier.name.tier.is_some_and(|width| tier.span().1 < tier_horizon(width));
        expired.extend(take(&mut state.tiers, gone));
        let files = state.blocks.iter().chain(&state.tiers);
        let mut bytes: u64 = files.map(|block| block.file_bytes()).sum();
        let mut dropped = Vec::new();
        while bytes > self.settings.bytes_max
            && let Some(oldest) = take_oldest(&mut state)
        {
            bytes -= oldest.file_bytes();
            dropped.push(oldest);
        }
        drop(state);
        self.remove(&expired, "block is older than the retention and deleted")?;
        self.counters.blocks_expired.add(expired.len() as u64);
        self.remove(&dropped, "blocks are larger than their retention by size; the oldest is deleted")?;
        self.counters.blocks_dropped_size.add(dropped.len() as u64);
        Ok(())
    }

    /// Removes the oldest snapshots, and when there is none the oldest blocks: one at least when a write has found no room
    /// since the last call, and more until four times the reserve is free ([`crate::disk::Room`]). Says whether it did.
    ///
    /// # Errors
    /// As the disk says.
    pub fn make_room(&self) -> io::Result<bool> {
        let refused = self.disk.take_full();
        let mut missing = self.room.missing();
        if refused || missing > 0 {
            // Segments that a flush has made needless may still be on their way out.
            self.wal.settle();
            missing = self.room.missing();
        }
        let mut made = false;
        while missing > 0 || (refused && !made) {
            // First what holds on to the room of blocks that go.
            if self.remove_oldest_snapshot()? {
                missing = self.room.missing();
            } else {
                let Some(oldest) = take_oldest(&mut self.lock()) else { break };
                self.counters.blocks_dropped_full.add(1);
                missing = missing.saturating_sub(oldest.file_bytes());
                self.remove(&[oldest], "the disk is full; the oldest block is deleted")?;
            }
            made = true;
        }
        self.room.look_again();
        if !made && (refused || self.room.is_short()) {
            tracing::error!("the disk is full, and no block is left to delete");
        }
        Ok(made)
    }

    /// How long a tier is kept: never shorter than the samples that it is made of.
    pub(super) fn tier_retention_ms(&self, tier: Tier) -> i64 {
        let [minutes, hours] = self.settings.tier_retention_ms;
        let own = match tier {
            Tier::Minute => minutes,
            Tier::Hour => hours,
        };
        own.max(self.settings.retention_ms)
    }

    fn remove(&self, blocks: &[Arc<Block>], why: &str) -> io::Result<()> {
        for block in blocks {
            tracing::warn!(block = %block.name, bytes = block.file_bytes(), "{why}");
            self.disk.remove(&block.name.path())?;
        }
        if blocks.is_empty() { Ok(()) } else { self.disk.sync_folder(crate::block::FOLDER) }
    }
}

fn take(blocks: &mut Vec<Arc<Block>>, goes: impl Fn(&Block) -> bool) -> Vec<Arc<Block>> {
    let (taken, kept) = std::mem::take(blocks).into_iter().partition(|block| goes(block));
    *blocks = kept;
    taken
}

/// The block whose newest sample is the oldest; a tier only when no block is left, for it says the same in less.
fn take_oldest(state: &mut State) -> Option<Arc<Block>> {
    let from = if state.blocks.is_empty() { &mut state.tiers } else { &mut state.blocks };
    let oldest = (0..from.len()).min_by_key(|index| from[*index].span().1)?;
    Some(from.remove(oldest))
}
