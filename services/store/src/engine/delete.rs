//! Deleting samples: at once for every reader, later in the files.
//!
//! What is in memory is flushed first, so that a deletion is about blocks up to a flush and nothing else; whatever is
//! written afterwards is in a later flush and stays. Then the deletion is committed (FORMAT.md, "Tombstones") and only
//! then in force and acknowledged. Reading and merging leave out what it names. Cleaning writes the blocks anew.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Engine, State, hold};
use crate::block::{Block, BlockError, ColumnCache};
use crate::deletions::{Deletion, Deletions, Gone, TooMany, file};
use crate::series::{Matcher, SeriesId};

/// Blocks are cleaned by themselves this long after the last deletion, so that many in a row write a block anew once.
const CLEAN_AFTER_MS: i64 = 3_600_000;

/// ... or when so many wait: half of what is kept.
const CLEAN_AT: usize = crate::deletions::DELETIONS_MAX / 2;

/// Why nothing was deleted. After [`DeleteError::Io`] it may be after the next start.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// Too many wait.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The disk refused.
    #[error("the deletion cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// Whether it is time to write blocks without what was deleted.
fn is_due(deletions: &Deletions, now: i64) -> bool {
    let newest = deletions.all().iter().map(|one| one.at).max();
    let is_old = |at: i64| at > now || now.saturating_sub(at) >= CLEAN_AFTER_MS;
    deletions.all().len() >= CLEAN_AT || newest.is_some_and(is_old)
}

impl Engine {
    /// Deletes the samples from `from` to `to` (milliseconds, both included) of the series that satisfy all matchers. When
    /// it returns they are gone, and stay gone.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub fn delete(&self, matchers: &[Matcher], from: i64, to: i64) -> Result<(), DeleteError> {
        let _one = hold(&self.deleting);
        if self.lock().registry.select(matchers).is_empty() {
            return Ok(());
        }
        let up_to = self.flush_all()?;
        // Before the deletion is committed: an exemplar that a crash brings back would be there for good.
        let ids = self.lock().registry.select(matchers);
        self.notes.forget(&ids, from, to);
        self.keep_exemplars()?;
        let one = Deletion { up_to, from, to, at: self.now(), matchers: matchers.to_vec() };
        let mut more = self.lock().deletions.and(one.clone())?;
        more.log_up_to = self.log_in_blocks();
        file::store(&*self.disk, &more)?;
        let mut state = self.lock();
        let ids = state.registry.select(matchers);
        state.deletions = Arc::new(more);
        let stale = state.take_stale_tiers(&one, &ids);
        let files: Vec<Arc<Block>> = state.blocks.iter().chain(&state.tiers).cloned().collect();
        drop(state);
        self.remove_files(&stale)?;
        self.forget_whole(ids, &one, &files);
        self.counters.deletions.add(1);
        Ok(())
    }

    /// Does at a start what a crash may have cut off after a deletion was committed.
    pub(super) fn finish_deletions(&self) -> io::Result<()> {
        let deletions: Arc<Deletions> = self.lock().deletions.clone();
        for one in deletions.all() {
            let mut state = self.lock();
            let ids = state.registry.select(&one.matchers);
            let stale = state.take_stale_tiers(one, &ids);
            let files: Vec<Arc<Block>> = state.blocks.iter().chain(&state.tiers).cloned().collect();
            drop(state);
            self.remove_files(&stale)?;
            self.forget_whole(ids, one, &files);
        }
        Ok(())
    }

    pub(super) fn remove_files(&self, files: &[Arc<Block>]) -> io::Result<()> {
        for file in files {
            self.disk.remove(&file.name.path())?;
        }
        if files.is_empty() { Ok(()) } else { self.disk.sync_folder(crate::block::FOLDER) }
    }

    /// Forgets the series of which a deletion leaves nothing.
    fn forget_whole(&self, ids: Vec<SeriesId>, one: &Deletion, files: &[Arc<Block>]) {
        let gone = Gone::from(one);
        let whole = |id: &SeriesId| {
            files.iter().all(|block| !block.holds(*id) || gone.covers(&block.name, block.span()))
        };
        self.forget(ids.into_iter().filter(whole).collect(), files);
    }

    /// Log segments up to this one hold nothing that is not in blocks or deleted.
    fn log_in_blocks(&self) -> u64 {
        let state = self.lock();
        let blocks = state.blocks.iter().map(|block| block.log_up_to());
        blocks.max().unwrap_or(0).max(state.deletions.log_up_to)
    }

    /// Forgets series of which nothing is left in `files`, unless something came since.
    fn forget(&self, mut ids: Vec<SeriesId>, files: &[Arc<Block>]) {
        let mut state = self.lock();
        let State { hot, frozen, blocks, tiers, registry, .. } = &mut *state;
        let fresh: Vec<_> = (blocks.iter().chain(tiers.iter()))
            .filter(|block| !files.iter().any(|file| Arc::ptr_eq(file, block)))
            .collect();
        ids.retain(|id| {
            hot.get(*id).is_none()
                && frozen.as_ref().is_none_or(|frozen| frozen.hot.get(*id).is_none())
                && !fresh.iter().any(|block| block.holds(*id))
        });
        registry.forget(&ids);
    }

    /// Writes every block that holds what was deleted anew, without it. Afterwards no deletion of before is kept.
    /// Returns whether there was one.
    ///
    /// # Errors
    /// A text that says what went wrong; the deletions stay in force, and the next call goes on.
    pub fn clean(&self) -> Result<bool, String> {
        let _work = hold(&self.work);
        let deletions = self.lock().deletions.clone();
        if deletions.is_empty() {
            return Ok(false);
        }
        // Tiers first: whether one can be made anew is told by what the blocks still hold.
        let tiers = self.lock().tiers.clone();
        for tier in tiers {
            if self.holds_deleted(&tier, &deletions)? {
                self.clean_tier(&tier, &deletions)?;
            }
        }
        let blocks = self.lock().blocks.clone();
        for block in blocks {
            if self.stopping.load(Ordering::Relaxed) {
                return Err("the store is stopping".into());
            }
            if self.holds_deleted(&block, &deletions)? {
                let effort = block.effort();
                self.merge_blocks(&[block], effort).map_err(|error| error.to_string())?;
                self.counters.cleaned.add(1);
            }
        }
        self.retire(&deletions)
            .map_err(|error| format!("the list of deletions cannot be written: {error}"))?;
        Ok(true)
    }

    /// As [`Engine::clean`], when it is time.
    pub(super) fn clean_when_due(&self) -> Result<bool, String> {
        let deletions = self.lock().deletions.clone();
        if is_due(&deletions, self.now()) { self.clean() } else { Ok(false) }
    }

    /// What is gone of a series.
    pub(super) fn gone_of(&self, id: SeriesId, deletions: &Deletions) -> Gone {
        if deletions.is_empty() { Gone::default() } else { deletions.of(&self.lock().registry.labels(id)) }
    }

    fn holds_deleted(&self, block: &Arc<Block>, deletions: &Deletions) -> Result<bool, String> {
        if !deletions.reach(&block.name, block.span()) {
            return Ok(false);
        }
        let mut cache = ColumnCache::default();
        for id in block.series() {
            let gone = self.gone_of(id, deletions);
            if !gone.touches(&block.name, block.span()) {
                continue;
            }
            let read = block.read(id, i64::MIN, i64::MAX, &mut cache);
            let mut samples = read.inspect_err(|error| self.distrust(block, error)).map_err(said)?;
            let before = samples.len();
            gone.cut(&block.name, &mut samples);
            if samples.len() < before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets the deletions go that no file needs any more, and the series that no file holds.
    fn retire(&self, done: &Deletions) -> io::Result<()> {
        let _one = hold(&self.deleting);
        let mut left = self.lock().deletions.without(done);
        left.log_up_to = self.log_in_blocks();
        file::store(&*self.disk, &left)?;
        let mut state = self.lock();
        state.deletions = Arc::new(left);
        let files: Vec<Arc<Block>> = state.blocks.iter().chain(&state.tiers).cloned().collect();
        let chosen: BTreeSet<SeriesId> =
            done.all().iter().flat_map(|one| state.registry.select(&one.matchers)).collect();
        drop(state);
        let nowhere = |id: &SeriesId| !files.iter().any(|block| block.holds(*id));
        self.forget(chosen.into_iter().filter(nowhere).collect(), &files);
        Ok(())
    }
}

fn said(error: BlockError) -> String {
    error.to_string()
}

impl State {
    /// Takes the tiers out of use that hold what a deletion names and can be made anew from the blocks.
    pub(super) fn take_stale_tiers(&mut self, one: &Deletion, ids: &[SeriesId]) -> Vec<Arc<Block>> {
        let (gone, tiers) = (Gone::from(one), std::mem::take(&mut self.tiers));
        let (stale, kept) = tiers.into_iter().partition(|tier| {
            gone.touches(&tier.name, tier.span())
                && self.reaches_back(tier)
                && ids.iter().any(|id| tier.holds(*id))
        });
        self.tiers = kept;
        stale
    }

    /// Whether the blocks of a tier's partition reach back as far as the tier.
    pub(super) fn reaches_back(&self, tier: &Block) -> bool {
        let blocks = self.blocks.iter().filter(|block| block.name.partition == tier.name.partition);
        blocks.map(|block| block.span().0).min().is_some_and(|oldest| oldest <= tier.span().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_waits_for_the_last_of_many_deletions_but_not_for_a_clock_that_went_back() {
        let at = |times: &[i64]| {
            let one = |at| Deletion { up_to: 1, from: 0, to: at, at, matchers: Vec::new() };
            times.iter().rev().fold(Deletions::default(), |all, time| all.and(one(*time)).unwrap())
        };
        assert!(!is_due(&at(&[]), 0));
        assert!(!is_due(&at(&[0, 100]), CLEAN_AFTER_MS));
        assert!(is_due(&at(&[0, 100]), CLEAN_AFTER_MS + 100));
        assert!(is_due(&at(&[100]), 99));
        let many: Vec<i64> = (0..CLEAN_AT as i64).collect();
        assert!(is_due(&at(&many), CLEAN_AT as i64));
    }
}
