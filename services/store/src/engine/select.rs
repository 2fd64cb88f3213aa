//! Finding series and reading their samples, on a snapshot that no later write changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use crate::block::{Block, BlockError, ColumnCache};
use crate::hot::{Hot, HotSeries};
use crate::samples::Samples;
use crate::series::{Labels, Matcher, SeriesId};

/// The series that matched, with everything needed to read them outside the lock.
pub struct Snapshot<'a> {
    engine: &'a Engine,
    series: Vec<(SeriesId, Labels, Option<HotSeries>)>,
    frozen: Option<Arc<Hot>>,
    blocks: Vec<Arc<Block>>,
    caches: Vec<ColumnCache>,
    from: i64,
}

impl Engine {
    /// The series that satisfy all matchers and may have samples from `from` to `to` (milliseconds, both
    /// included). Times before the retention are cut off.
    pub fn select(&self, matchers: &[Matcher], from: i64, to: i64) -> Snapshot<'_> {
        let from = from.max(self.now().saturating_sub(self.settings.retention_ms));
        let state = self.lock();
        let blocks: Vec<_> = state
            .blocks
            .iter()
            .filter(|block| block.span().0 <= to && block.span().1 >= from)
            .cloned()
            .collect();
        let overlaps = |hot: &Hot| hot.span().is_some_and(|(oldest, newest)| oldest <= to && newest >= from);
        let frozen = state.frozen.as_ref().map(|frozen| frozen.hot.clone()).filter(|hot| overlaps(hot));
        let live = overlaps(&state.hot);
        let mut series = Vec::new();
        for id in state.registry.select(matchers) {
            let hot = if live { state.hot.get(id).cloned() } else { None };
            let in_frozen = || frozen.as_ref().is_some_and(|hot| hot.get(id).is_some());
            if hot.is_some() || in_frozen() || blocks.iter().any(|block| block.holds(id)) {
                series.push((id, state.registry.labels(id), hot));
            }
        }
        let caches = blocks.iter().map(|_| ColumnCache::default()).collect();
        Snapshot { engine: self, series, frozen, blocks, caches, from }
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

impl Snapshot<'_> {
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
        let (id, _, hot) = &self.series[index];
        let from = from.max(self.from);
        let mut samples = Samples::default();
        for (block, cache) in self.blocks.iter().zip(&mut self.caches) {
            if block.span().0 <= to && block.span().1 >= from {
                let part = block
                    .read(*id, from, to, cache)
                    .inspect_err(|error| self.engine.distrust(block, error))?;
                samples.overlay(&part);
            }
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.get(*id));
        for series in frozen.into_iter().chain(hot) {
            let mut newer = series.samples();
            newer.clip(from, to);
            samples.overlay(&newer);
        }
        self.engine.counters.query_samples.add(samples.len() as u64);
        Ok(samples)
    }
}
