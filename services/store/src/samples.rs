//! Samples of one series, in columns.

use crate::histogram::Histogram;

/// The bits of the NaN that Prometheus writes when a series ends.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// One sample's value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A plain number.
    Float(f64),
    /// A native histogram. Boxed: it is rare, and this keeps the enum at two words.
    Histogram(Box<Histogram>),
}

/// The samples of a series: floats as two columns, native histograms as a third one. Both ascend by time, and a time is in
/// one of them only: of one time the last sample to arrive stays, whatever its kind.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Milliseconds since the epoch of the floats, ascending and unique.
    pub times: Vec<i64>,
    /// One value for each of `times`; staleness markers are still in it.
    pub values: Vec<f64>,
    /// Native histograms with their times (milliseconds since the epoch), ascending and unique.
    pub histograms: Vec<(i64, Histogram)>,
}

impl Samples {
    /// Number of samples of both kinds.
    pub fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest and the newest time, or `None` when there is no sample.
    pub fn span(&self) -> Option<(i64, i64)> {
        let histograms =
            [self.histograms.first(), self.histograms.last()].map(|sample| sample.map(|(time, _)| *time));
        let oldest = self.times.first().copied().into_iter().chain(histograms[0]).min()?;
        let newest = self.times.last().copied().into_iter().chain(histograms[1]).max()?;
        Some((oldest, newest))
    }

    /// Appends a float; its time must be greater than that of every sample.
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// From floats in the order they arrived: sorted, and of one time the last to arrive.
    pub fn from_arrivals(arrivals: &[(i64, f64)]) -> Samples {
        let mut sorted = arrivals.to_vec();
        // Stable, so that among equal times the order of arrival stays.
        sorted.sort_by_key(|&(time, _)| time);
        let mut samples = Samples::default();
        for (time, value) in sorted {
            match samples.times.last() {
                Some(&last) if last == time => *samples.values.last_mut().unwrap_or(&mut 0.0) = value,
                _ => samples.push(time, value),
            }
        }
        samples
    }

    /// As [`Samples::from_arrivals`], for samples of both kinds.
    pub fn from_mixed_arrivals(mut arrivals: Vec<(i64, Value)>) -> Samples {
        arrivals.sort_by_key(|(time, _)| *time);
        let mut samples = Samples::default();
        let mut arrivals = arrivals.into_iter().peekable();
        while let Some((time, value)) = arrivals.next() {
            if arrivals.peek().is_some_and(|(next, _)| *next == time) {
                continue;
            }
            match value {
                Value::Float(value) => samples.push(time, value),
                Value::Histogram(histogram) => samples.histograms.push((time, *histogram)),
            }
        }
        samples
    }

    /// Lays `newer` over these samples: where both have a time, the newer sample stays.
    pub fn overlay(&mut self, newer: &Samples) {
        if !self.histograms.is_empty() || !newer.histograms.is_empty() {
            self.overlay_histograms(newer);
        }
        self.overlay_floats(newer);
    }

    fn overlay_floats(&mut self, newer: &Samples) {
        let (Some(&last), Some(&first)) = (self.times.last(), newer.times.first()) else {
            if self.times.is_empty() {
                self.times.clone_from(&newer.times);
                self.values.clone_from(&newer.values);
            }
            return;
        };
        if first > last {
            self.times.extend_from_slice(&newer.times);
            self.values.extend_from_slice(&newer.values);
            return;
        }
        let (times, values) = (std::mem::take(&mut self.times), std::mem::take(&mut self.values));
        let (mut a, mut b) = (0, 0);
        while a < times.len() || b < newer.times.len() {
            let take_older = b == newer.times.len() || (a < times.len() && times[a] < newer.times[b]);
            if take_older {
                self.push(times[a], values[a]);
                a += 1;
            } else {
                a += usize::from(a < times.len() && times[a] == newer.times[b]);
                self.push(newer.times[b], newer.values[b]);
                b += 1;
            }
        }
    }

    /// Lays the newer histograms over the older ones, and takes away what a newer sample of the other kind replaces.
    fn overlay_histograms(&mut self, newer: &Samples) {
        let mut replaced = newer.histograms.iter().map(|(time, _)| *time).peekable();
        let mut kept = 0;
        for index in 0..self.times.len() {
            let time = self.times[index];
            while replaced.next_if(|other| *other < time).is_some() {}
            if replaced.peek() != Some(&time) {
                (self.times[kept], self.values[kept]) = (time, self.values[index]);
                kept += 1;
            }
        }
        self.times.truncate(kept);
        self.values.truncate(kept);
        let floats = &newer.times;
        self.histograms.retain(|(time, _)| floats.binary_search(time).is_err());
        match (self.histograms.last(), newer.histograms.first()) {
            (_, None) => {}
            (Some((last, _)), Some((first, _))) if first <= last => {
                let times: Vec<i64> = newer.histograms.iter().map(|(time, _)| *time).collect();
                self.histograms.retain(|(time, _)| times.binary_search(time).is_err());
                self.histograms.extend_from_slice(&newer.histograms);
                // Two ascending runs: the sort merges them in one pass.
                self.histograms.sort_by_key(|(time, _)| *time);
            }
            _ => self.histograms.extend_from_slice(&newer.histograms),
        }
    }

    /// Keeps the samples from `from` to `to`, both included.
    pub fn clip(&mut self, from: i64, to: i64) {
        let end = self.times.partition_point(|&time| time <= to);
        let start = self.times.partition_point(|&time| time < from).min(end);
        self.times.truncate(end);
        self.values.truncate(end);
        self.times.drain(..start);
        self.values.drain(..start);
        self.histograms.retain(|(time, _)| (from..=to).contains(time));
    }

    /// Takes out the samples from `from` to `to`, both included.
    pub fn remove(&mut self, from: i64, to: i64) {
        let end = self.times.partition_point(|&time| time <= to);
        let start = self.times.partition_point(|&time| time < from).min(end);
        self.times.drain(start..end);
        self.values.drain(start..end);
        self.histograms.retain(|(time, _)| !(from..=to).contains(time));
    }

    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What a sample is told by: its kind and a number.
    type Told = (bool, u32);

    fn value((histogram, number): Told) -> Value {
        match histogram {
            true => Value::Histogram(Box::new(Histogram { sum: number.into(), ..Histogram::default() })),
            false => Value::Float(number.into()),
        }
    }

    fn told(samples: &Samples) -> Vec<(i64, Told)> {
        let floats = samples.times.iter().zip(&samples.values).map(|(t, v)| (*t, (false, *v as u32)));
        let histograms = samples.histograms.iter().map(|(t, h)| (*t, (true, h.sum as u32)));
        let mut all: Vec<_> = floats.chain(histograms).collect();
        all.sort_by_key(|(time, _)| *time);
        all
    }

    proptest! {
        #[test]
        fn the_last_to_arrive_wins_however_samples_are_laid_over_each_other(
            layers in prop::collection::vec(prop::collection::vec((0i64..50, (prop::bool::weighted(0.3), 0u32..1000)), 0..30), 0..5),
            mixed: bool, from in -5i64..60, to in -5i64..60,
        ) {
            let (mut model, mut samples) = (BTreeMap::new(), Samples::default());
            for layer in layers {
                let layer: Vec<_> = layer.into_iter().map(|(t, (h, n))| (t, (h && mixed, n))).collect();
                model.extend(layer.iter().copied());
                let newer = if mixed {
                    Samples::from_mixed_arrivals(layer.into_iter().map(|(t, v)| (t, value(v))).collect())
                } else {
                    Samples::from_arrivals(&layer.iter().map(|&(t, (_, n))| (t, n.into())).collect::<Vec<_>>())
                };
                samples.overlay(&newer);
                prop_assert!(samples.histograms.is_sorted_by(|a, b| a.0 < b.0));
            }
            prop_assert_eq!(told(&samples), model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(samples.len(), model.len());
            prop_assert_eq!(samples.span().map(|span| span.0), model.keys().next().copied());
            prop_assert_eq!(samples.span().map(|span| span.1), model.keys().last().copied());
            let mut rest = samples.clone();
            rest.remove(from, to);
            let outside: Vec<_> = model.iter().filter(|(t, _)| !(from..=to).contains(*t)).map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(told(&rest), outside);
            samples.clip(from, to);
            let clipped: Vec<_> = model.into_iter().filter(|(t, _)| (from..=to).contains(t)).collect();
            prop_assert_eq!(told(&samples), clipped);
        }
    }
}
