//! What is asked about the store besides samples: exemplars, and what takes the most series.

use super::Engine;
use crate::notes::Exemplar;
use crate::series::{Cardinality, Labels, Matcher};

impl Engine {
    /// The exemplars of the series that satisfy all matchers, from `from` to `to` (milliseconds, both included).
    pub fn exemplars(&self, matchers: &[Matcher], from: i64, to: i64) -> Vec<(Labels, Vec<Exemplar>)> {
        let state = self.lock();
        let series = state.registry.select(matchers);
        let mut found: Vec<(Labels, Vec<Exemplar>)> = Vec::new();
        let mut all = self.notes.exemplars(&series, from, to);
        all.sort_by_key(|exemplar| (exemplar.series, exemplar.time));
        let mut last = None;
        for exemplar in all {
            if last != Some(exemplar.series) {
                found.push((state.registry.labels(exemplar.series), Vec::new()));
                last = Some(exemplar.series);
            }
            if let Some((_, list)) = found.last_mut() {
                list.push(exemplar);
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// What takes the most series, at most `most` of each kind.
    pub fn cardinality(&self, most: usize) -> Cardinality {
        self.lock().registry.cardinality(most)
    }

    /// The oldest and the newest time of what is in memory; `None` when nothing is.
    pub fn memory_span(&self) -> Option<(i64, i64)> {
        let state = self.lock();
        let frozen = state.frozen.as_ref().and_then(|frozen| frozen.hot.span());
        [state.hot.span(), frozen].into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}
