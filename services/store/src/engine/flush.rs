//! From the hot window to blocks.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::open::set_aside;
use super::{Engine, Frozen, Partitions, hold};
use crate::block::{Block, BlockError, BlockName, BlockWriter};
use crate::codec::Effort;
use crate::hot::Hot;
use crate::series::SeriesId;
use crate::wal::exemplars;

impl Engine {
    /// Freezes the hot window, when it holds anything and no other is on its way. Returns whether one
    /// is on its way now.
    pub(super) fn freeze(&self) -> bool {
        let mut state = self.lock();
        if state.frozen.is_none() && !state.hot.is_empty() {
            let hot = Arc::new(std::mem::take(&mut state.hot));
            let (number, segments_up_to) = (state.next_flush, state.segment);
            state.next_flush += 1;
            state.segment += 1;
            state.hot_since = Instant::now();
            state.frozen = Some(Frozen { hot, number, segments_up_to });
        }
        state.frozen.is_some()
    }

    /// Writes the hot window to blocks now, however full it is. Afterwards its log segments are gone.
    ///
    /// # Errors
    /// As the disk says; the window stays in memory and in the log, and the next call tries again.
    pub fn flush(&self) -> io::Result<()> {
        let _one = hold(&self.flushing);
        if !self.freeze() {
            return Ok(());
        }
        self.write_frozen().inspect_err(|_| self.counters.flush_errors.add(1))
    }

    /// Writes a window that is due while something longer is under way on the same thread, so that writers need not wait for its
    /// end.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub(super) fn flush_between(&self) -> io::Result<()> {
        let state = self.lock();
        let is_due = state.frozen.is_some() || self.window_due(&state);
        drop(state);
        if is_due { self.flush() } else { Ok(()) }
    }

    /// Writes all that was taken before the call to blocks, and returns the number of the last flush.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub(super) fn flush_all(&self) -> io::Result<u64> {
        let _one = hold(&self.flushing);
        // What is on its way holds older samples alone; its flush may have failed before.
        self.write_frozen()?;
        self.freeze();
        let last = self.lock().next_flush - 1;
        self.write_frozen()?;
        Ok(last)
    }

    fn write_frozen(&self) -> io::Result<()> {
        let (hot, number, segments_up_to) = match &self.lock().frozen {
            Some(frozen) => (frozen.hot.clone(), frozen.number, frozen.segments_up_to),
            None => return Ok(()),
        };
        // Before the blocks say that the log is not needed, nor what stands beside it.
        if let Err(error) = self.keep_exemplars() {
            tracing::warn!(%error, "exemplars are kept in memory alone until the next flush");
        }
        let mut ids: Vec<SeriesId> = hot.series().iter().map(|series| series.id).collect();
        ids.sort_unstable();
        let mut names = Vec::new();
        let partitions = partitions(&hot);
        for &partition in &partitions {
            let name = BlockName { first: number, last: number, partition, tier: None };
            // Only the last block may say that the log is not needed any more: the others are in place then.
            let log_up_to = if Some(&partition) == partitions.last() { segments_up_to } else { 0 };
            if self.write_partition(&hot, &ids, name, log_up_to)? {
                names.push(name);
            }
        }
        let mut state = self.lock();
        for name in names {
            let block = Block::open(&*self.disk, name, &mut state.registry).map_err(io::Error::other)?;
            state.blocks.push(Arc::new(block));
        }
        state.blocks.sort_by_key(|block| block.name.first);
        state.frozen = None;
        drop(state);
        self.wal.remove(segments_up_to);
        self.counters.flushes.add(1);
        Ok(())
    }

    /// Writes all exemplars of memory to their file, when any came or went since.
    pub(super) fn keep_exemplars(&self) -> io::Result<()> {
        let Some(all) = self.notes.take_changed() else { return Ok(()) };
        let state = self.lock();
        let keys = all.iter().map(|one| (one.series, state.registry.key(one.series).to_vec())).collect();
        drop(state);
        exemplars::store(&*self.disk, &all, &keys).inspect_err(|_| self.notes.still_changed())
    }

    /// Writes the samples of one partition. Returns whether there were any.
    fn write_partition(
        &self,
        hot: &Hot,
        ids: &[SeriesId],
        name: BlockName,
        log_up_to: u64,
    ) -> io::Result<bool> {
        let (start, end) = Partitions::span(name.partition);
        let mut writer = BlockWriter::create(self.disk.clone(), name, start, log_up_to, Effort::Quick)?;
        let mut key = Vec::with_capacity(256);
        for &id in ids {
            let Some(series) = hot.get(id) else { continue };
            let mut samples = series.samples();
            samples.clip(start, end);
            if !samples.is_empty() {
                key.clear();
                key.extend_from_slice(self.lock().registry.key(id));
                writer.add(&key, &samples)?;
            }
        }
        if writer.is_empty() {
            return Ok(false);
        }
        writer.finish()?;
        Ok(true)
    }

    /// Takes a block that turned out to be corrupt out of use. An error that says nothing about the
    /// block's content changes nothing.
    pub(super) fn distrust(&self, block: &Arc<Block>, error: &BlockError) {
        if !matches!(error, BlockError::Corrupt { .. }) || !block.mark_bad() {
            return;
        }
        self.counters.blocks_bad.add(1);
        let mut state = self.lock();
        state.blocks.retain(|other| other.name != block.name);
        state.tiers.retain(|other| other.name != block.name);
        drop(state);
        if let Err(error) = set_aside(&*self.disk, block.name, error) {
            tracing::error!(%error, block = %block.name, "cannot rename a corrupt block; the next start tries again");
        }
    }
}

/// The partitions that the window's samples lie in.
fn partitions(hot: &Hot) -> BTreeSet<i64> {
    let Some((oldest, newest)) = hot.span() else { return BTreeSet::new() };
    if Partitions::of(oldest) == Partitions::of(newest) {
        return BTreeSet::from([Partitions::of(oldest)]);
    }
    let times = hot.series().iter().flat_map(|series| {
        let samples = series.samples();
        let histograms = samples.histograms.iter().map(|(time, _)| *time).collect::<Vec<_>>();
        samples.times.into_iter().chain(histograms)
    });
    times.map(Partitions::of).collect()
}
