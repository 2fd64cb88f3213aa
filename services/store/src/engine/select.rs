//! Finding series and reading their samples, on a snapshot that no later write changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use crate::block::{Block, BlockError, BlockName, ColumnCache, Shared};
use crate::deletions::Deletions;
use crate::hot::{Hot, HotSeries};
use crate::samples::{STALE_NAN, Samples};
use crate::series::{Labels, Matcher, SeriesId};
use crate::tiers::{Aspect, Grain, Tier};

/// The series that matched, with everything needed to read them outside the lock.
pub struct Snapshot<'a> {
    engine: &'a Engine,
    series: Vec<(SeriesId, Labels, Option<HotSeries>)>,
    frozen: Option<Arc<Hot>>,
    blocks: Vec<Arc<Block>>,
    caches: Vec<ColumnCache>,
    /// Tiers that overlap, which of them stand for samples that are gone, and which a coarse reading uses.
    tiers: Vec<Arc<Block>>,
    left: Vec<UsedTier>,
    coarse: Vec<UsedTier>,
    now: i64,
    deletions: Arc<Deletions>,
    /// Its number among the readers of what was decoded.
    query: u64,
    /// All blocks, those that do not overlap too.
    spans: Vec<(BlockName, (i64, i64))>,
    /// The oldest and newest time of the hot window.
    hot_span: Option<(i64, i64)>,
    /// And of the frozen one.
    frozen_span: Option<(i64, i64)>,
}

/// A tier that stands for its partition's samples after a time and up to its newest bucket.
struct UsedTier {
    block: Arc<Block>,
    cache: ColumnCache,
    after: i64,
    newest: i64,
}

/// How a series is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As samples.
    Samples,
    /// By this number of buckets, where there are some.
    Buckets(Aspect),
}

impl Engine {
    /// The series that satisfy all matchers and may have samples from `from` to `to` (milliseconds, both
    /// included). Times before the retention are cut off.
    pub fn select(&self, matchers: &[Matcher], from: i64, to: i64) -> Snapshot<'_> {
        let now = self.now();
        let asked = from;
        let from = from.max(now.saturating_sub(self.keep.longest_ms()));
        let state = self.lock();
        let overlaps_tier = |tier: &&Arc<Block>| tier.span().0 <= to && tier.span().1 >= asked;
        let tiers: Vec<_> = state.tiers.iter().filter(overlaps_tier).cloned().collect();
        let blocks: Vec<_> = state
            .blocks
            .iter()
            .filter(|block| block.span().0 <= to && block.span().1 >= from)
            .cloned()
            .collect();
        let overlaps = |hot: &Hot| hot.span().is_some_and(|(oldest, newest)| oldest <= to && newest >= from);
        let frozen_span = state.frozen.as_ref().and_then(|frozen| frozen.hot.span());
        let frozen = state.frozen.as_ref().map(|frozen| frozen.hot.clone()).filter(|hot| overlaps(hot));
        let (live, hot_span) = (overlaps(&state.hot), state.hot.span());
        let mut series = Vec::new();
        for id in state.registry.select(matchers) {
            let hot = if live { state.hot.get(id).cloned() } else { None };
            let in_frozen = || frozen.as_ref().is_some_and(|hot| hot.get(id).is_some());
            let in_blocks = || blocks.iter().chain(&tiers).any(|block| block.holds(id));
            if hot.is_some() || in_frozen() || in_blocks() {
                series.push((id, state.registry.labels(id), hot));
            }
        }
        let caches = blocks.iter().map(|_| ColumnCache::default()).collect();
        // What no block holds any more is read from the finest tier that is left.
        let spans: Vec<_> = state.blocks.iter().map(|block| (block.name, block.span())).collect();
        let expired =
            |tier: &Arc<Block>| !spans.iter().any(|(name, _)| name.partition == tier.name.partition);
        let left = tiers.iter().filter(|tier| expired(tier) && !finer(&tiers, tier)).cloned();
        let left = left.map(|tier| UsedTier::new(tier, (i64::MIN, i64::MAX))).collect();
        let deletions = state.deletions.clone();
        drop(state);
        let mut snapshot = Snapshot {
            engine: self,
            series,
            frozen,
            blocks,
            caches,
            tiers,
            left,
            coarse: Vec::new(),
            now,
            deletions,
            query: self.decoded.query(),
            hot_span,
            frozen_span,
            spans,
        };
        snapshot.leave_out_deleted(from, to);
        snapshot
    }

    /// The label names of series with samples from `from` to `to`, sorted.
    pub fn label_names(&self, matchers: &[Matcher], from: i64, to: i64) -> BTreeSet<Arc<str>> {
        let ids = self.select(matchers, from, to).ids();
        self.lock().registry.names_of(&ids)
    }

    /// The values of one label among series with samples from `from` to `to`, sorted.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], from: i64, to: i64) -> BTreeSet<Arc<str>> {
        let ids = self.select(matchers, from, to).ids();
        self.lock().registry.values_of(&ids, name)
    }
}

/// Whether another tier of the same partition has narrower buckets.
fn finer(tiers: &[Arc<Block>], than: &Arc<Block>) -> bool {
    tiers.iter().any(|tier| tier.name.partition == than.name.partition && tier.name.tier < than.name.tier)
}

impl UsedTier {
    fn new(block: Arc<Block>, (after, up_to): (i64, i64)) -> UsedTier {
        UsedTier { after, newest: block.span().1.min(up_to), block, cache: ColumnCache::default() }
    }
}

impl Snapshot<'_> {
    /// Leaves out the series of which deletions have left nothing in this time.
    fn leave_out_deleted(&mut self, from: i64, to: i64) {
        if !self.deletions.is_empty() {
            let left: Vec<bool> = (0..self.len()).map(|index| self.has_any(index, from, to)).collect();
            let mut left = left.into_iter();
            self.series.retain(|_| left.next().unwrap_or(true));
        }
    }

    fn has_any(&mut self, index: usize, from: i64, to: i64) -> bool {
        let (id, labels, hot) = &self.series[index];
        let gone = self.deletions.of(labels);
        let in_memory = hot.is_some() || self.frozen.as_ref().is_some_and(|hot| hot.get(*id).is_some());
        if gone.is_empty() || in_memory {
            return true;
        }
        let mut in_part = false;
        for block in self.blocks.iter().chain(&self.tiers).filter(|block| block.holds(*id)) {
            let span = (block.span().0.max(from), block.span().1.min(to));
            if !gone.touches(&block.name, span) {
                return true;
            }
            in_part |= !gone.covers(&block.name, span);
        }
        // One that cannot be read says so when its samples are asked for.
        in_part && self.read(index, from, to).map_or(true, |samples| !samples.is_empty())
    }

    /// Chooses for each partition the coarsest tier whose buckets can stand for samples in windows that lie so. A tier is
    /// not taken while anything newer than it reaches back into its time. Returns whether there is any, or one that is all
    /// that is left of its time: [`Snapshot::read_buckets`] then has something to give.
    pub fn coarsen(&mut self, grain: Grain) -> bool {
        let partitions: BTreeSet<i64> = self.blocks.iter().map(|block| block.name.partition).collect();
        let mut coarse: Vec<UsedTier> = Vec::new();
        for partition in partitions {
            let mine = |tier: &&Arc<Block>| tier.name.partition == partition && self.covers(tier);
            let allowed = |tier: &Arc<Block>| {
                let bounds = tier.name.tier.and_then(|width| grain.allows(width))?;
                Some(UsedTier::new(tier.clone(), bounds)).filter(|used| used.after < used.newest)
            };
            let fit = self.tiers.iter().filter(mine).filter_map(allowed);
            coarse.extend(fit.max_by_key(|used| used.block.name.tier));
        }
        let whole = (i64::MIN, i64::MAX);
        coarse.extend(self.left.iter().map(|used| UsedTier::new(used.block.clone(), whole)));
        self.coarse = coarse;
        !self.coarse.is_empty()
    }

    /// Whether nothing that is newer than a tier reaches back into its time.
    fn covers(&self, tier: &Block) -> bool {
        let newest = tier.span().1;
        let late = |(name, span): &(BlockName, (i64, i64))| {
            name.partition == tier.name.partition && name.last > tier.name.last && span.0 <= newest
        };
        let windows = self.frozen_span.into_iter().chain(self.hot_span);
        !self.spans.iter().any(late) && windows.into_iter().all(|(oldest, _)| oldest > newest)
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether no series matched.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The labels of a series; `index` is below [`Snapshot::len`].
    pub fn labels(&self, index: usize) -> &Labels {
        &self.series[index].1
    }

    fn ids(&self) -> Vec<SeriesId> {
        self.series.iter().map(|(id, ..)| *id).collect()
    }

    /// The samples of a series from `from` to `to` (both included).
    ///
    /// # Errors
    /// [`BlockError`]; a corrupt block has been set aside, so that another snapshot reads what is left.
    pub fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Samples, BlockError> {
        self.read_as(index, (from, to), Reading::Samples)
    }

    /// As [`Snapshot::read`], by the buckets that [`Snapshot::coarsen`] chose: one number of each, at its end. Samples that
    /// no tier covers are read as they are (as 1 each when counts are asked for).
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn read_buckets(
        &mut self,
        index: usize,
        from: i64,
        to: i64,
        aspect: Aspect,
    ) -> Result<Samples, BlockError> {
        self.read_as(index, (from, to), Reading::Buckets(aspect))
    }

    fn read_as(&mut self, index: usize, (from, to): (i64, i64), how: Reading) -> Result<Samples, BlockError> {
        let (id, labels, hot) = &self.series[index];
        let rule = self.engine.keep.rule_of(labels);
        let kept = self.now.saturating_sub(rule.unwrap_or(self.engine.keep.otherwise_ms));
        let (asked, from) = (from, from.max(kept));
        let mut samples = Samples::default();
        let gone = self.deletions.of(labels);
        let shared = Shared { decoded: &self.engine.decoded, query: self.query };
        let (used, aspect) = match how {
            Reading::Samples => (&mut self.left, Aspect::Last),
            Reading::Buckets(aspect) => (&mut self.coarse, aspect),
        };
        // A bucket of which only a part is gone stands for nothing, where the samples are still there.
        let has_samples =
            |tier: &Block| self.blocks.iter().any(|block| block.name.partition == tier.name.partition);
        let stands = |tier: &Block| !gone.touches(&tier.name, tier.span()) || !has_samples(tier);
        for used in used.iter_mut().filter(|used| stands(&used.block)) {
            let width = used.block.name.tier.unwrap_or(Tier::Minute);
            let kept = rule.unwrap_or_else(|| self.engine.tier_retention_ms(width));
            let first = asked.max(self.now.saturating_sub(kept)).max(used.after.saturating_add(1));
            let mut part = used
                .block
                .read_shared(*id, (first, to.min(used.newest)), aspect, &mut used.cache, shared)
                .inspect_err(|error| self.engine.distrust(&used.block, error))?;
            gone.cut(&used.block.name, &mut part);
            lay(&mut samples, part);
        }
        for (block, cache) in self.blocks.iter().zip(&mut self.caches) {
            let of_partition = |used: &&UsedTier| used.block.name.partition == block.name.partition;
            let tier = used.iter().find(|used| of_partition(used) && stands(&used.block));
            // What comes before the tier's part, and what comes after it.
            let parts = match tier {
                None => [Some((from, to)), None],
                Some(used) => {
                    [Some((from, to.min(used.after))), Some((from.max(used.newest.saturating_add(1)), to))]
                }
            };
            for (from, to) in parts.into_iter().flatten() {
                if from > to || block.span().0 > to || block.span().1 < from {
                    continue;
                }
                let mut part = block
                    .read_shared(*id, (from, to), Aspect::Last, cache, shared)
                    .inspect_err(|error| self.engine.distrust(block, error))?;
                gone.cut(&block.name, &mut part);
                count_each(&mut part, aspect);
                lay(&mut samples, part);
            }
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.get(*id));
        for series in frozen.into_iter().chain(hot) {
            let mut newer = series.samples();
            newer.clip(from, to);
            count_each(&mut newer, aspect);
            lay(&mut samples, newer);
        }
        self.engine.counters.query_samples.add(samples.len() as u64);
        Ok(samples)
    }
}

/// Lays samples over older ones.
fn lay(samples: &mut Samples, newer: Samples) {
    if samples.is_empty() { *samples = newer } else { samples.overlay(&newer) }
}

/// Where counts are asked for, a sample that no tier covers counts as one; a marker of staleness as none.
fn count_each(samples: &mut Samples, aspect: Aspect) {
    if aspect == Aspect::Count {
        let ones = samples.values.iter().map(|value| if value.to_bits() == STALE_NAN { *value } else { 1.0 });
        samples.values = ones.collect();
    }
}
