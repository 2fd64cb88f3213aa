//! Series in memory.

use std::sync::Arc;

use crate::histogram::{Histogram, ResetHint};
use crate::promql::{QueryError, Selection, Source, Track, native};
use crate::series::{Labels, Matcher};

/// The series that a script loaded.
#[derive(Default)]
pub(super) struct Memory(pub(super) Vec<(Labels, Track)>);

struct Chosen<'a>(Vec<&'a (Labels, Track)>);

impl Memory {
    /// The samples of a series, new when it is not there yet.
    pub(super) fn track(&mut self, labels: &Labels) -> &mut Track {
        let place = self.0.iter().position(|(other, _)| other == labels).unwrap_or_else(|| {
            self.0.push((labels.clone(), Track::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Brings each series' samples in order; of one time the last one loaded stays.
    pub(super) fn sort(&mut self) {
        for (_, track) in &mut self.0 {
            let starts =
                if track.starts.is_empty() { vec![0; track.times.len()] } else { track.starts.clone() };
            let mut floats: Vec<_> =
                track.times.iter().copied().zip(track.values.iter().copied()).zip(starts).collect();
            floats.reverse();
            floats.sort_by_key(|((time, _), _)| *time);
            floats.dedup_by_key(|((time, _), _)| *time);
            track.times = floats.iter().map(|((time, _), _)| *time).collect();
            track.values = floats.iter().map(|((_, value), _)| *value).collect();
            track.starts = floats.iter().map(|(_, start)| *start).collect();
            track.histograms.sort_by_key(|(time, _)| *time);
            hint(&mut track.histograms);
        }
    }
}

/// Sets the hints that Prometheus' storage gives: a histogram that its chunk took after another one is no reset, and of
/// the first of a chunk nothing is known. A chunk takes no reset, no other kind and no other layout.
fn hint(histograms: &mut [(i64, Arc<Histogram>)]) {
    let mut before: Option<Histogram> = None;
    for (_, histogram) in histograms {
        let original = (**histogram).clone();
        let gauge = |h: &Histogram| h.reset_hint == ResetHint::Gauge;
        let layout = |h: &Histogram| (h.schema, h.zero_threshold.to_bits(), h.custom_bounds.clone());
        let unhinted = Histogram { reset_hint: ResetHint::Unknown, ..original.clone() };
        let same_chunk = before.as_ref().is_some_and(|before| {
            original.reset_hint != ResetHint::Reset
                && !gauge(before)
                && layout(before) == layout(&original)
                && !before.is_stale()
                && !original.is_stale()
                && !native::is_reset(&unhinted, before)
        });
        if !gauge(&original) {
            let hint = if same_chunk { ResetHint::NotReset } else { ResetHint::Unknown };
            Arc::make_mut(histogram).reset_hint = hint;
        }
        before = Some(original);
    }
}

impl Source for Memory {
    fn select<'s>(&'s self, matchers: &[Matcher], _: i64, _: i64) -> Box<dyn Selection + 's> {
        let fits = |labels: &Labels| matchers.iter().all(|m| m.is_match(labels.get(&m.name)));
        let mut chosen: Vec<_> = self.0.iter().filter(|(labels, _)| fits(labels)).collect();
        chosen.sort_by(|a, b| a.0.cmp(&b.0));
        Box::new(Chosen(chosen))
    }
}

impl Selection for Chosen<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> Labels {
        self.0[index].0.clone()
    }

    fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Track, QueryError> {
        let track = &self.0[index].1;
        let floats = track.times.partition_point(|&t| t < from)..track.times.partition_point(|&t| t <= to);
        let within = |bound: i64, after: bool| {
            track.histograms.partition_point(|(t, _)| *t < bound || (after && *t == bound))
        };
        let histograms = within(from, false)..within(to, true);
        Ok(Track {
            times: track.times[floats.clone()].to_vec(),
            values: track.values[floats.clone()].to_vec(),
            starts: track.starts.get(floats).unwrap_or_default().to_vec(),
            histograms: track.histograms[histograms.clone()].to_vec(),
            histogram_starts: track.histogram_starts.get(histograms).unwrap_or_default().to_vec(),
        })
    }
}
